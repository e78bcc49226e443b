"""Rules as text and on the calendar: look at them, check them, keep them in a file, let them fire."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.commands import rules_printed as printed
from scripts.exits import PARTLY_DONE, REFUSED
from scripts.files import overwrite_option, write
from scripts.printing import because_option, json_option, lang_option, yes_option

if TYPE_CHECKING:
    from scripts.caller import Desk
    from workflow.facts import Language


_file = click.argument("file", metavar="FILE")


@click.group()
def rules() -> None:
    """Look at rules, check them, keep them in a file that can be versioned, activate them."""


@rules.command("list")
@json_option
@lang_option
@calling
def list_(caller: Caller, *, lang: Language, as_json: bool) -> None:
    """List the rules: level, schedule in words, when each is due next."""
    from operations.rulebook_shown import listed  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = listed(at.conn, lang, by=at.by)
    if as_json:
        printing.print_json(found)
    elif found:
        printed.lines(found, lang)
    else:
        printing.message("no rule yet: relance rules import FILE makes some")


@rules.command()
@click.argument("rule")
@json_option
@lang_option
@calling
def show(caller: Caller, *, rule: str, lang: Language, as_json: bool) -> None:
    """Show RULE (a title or an id) in full: filter, schedule and next instants, account, who may see it, texts."""
    from operations.rulebook_shown import details  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = details(at.conn, rule, lang, by=at.by)
    if as_json:
        printing.print_json(found)
    else:
        printed.details(found, lang)


@rules.command("next")
@click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True, help="How far to look.")
@json_option
@lang_option
@calling
def next_(caller: Caller, *, days: int, lang: Language, as_json: bool) -> None:
    """Show when the active rules are due, day by day on their company's clock."""
    from operations.rulebook_shown import calendar  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = calendar(at.conn, days=days, by=at.by)
    if as_json:
        printing.print_json(found)
    elif found.instants:
        printed.calendar(found, lang)
    else:
        printing.message(f"no active rule is due within {printing.count(days, 'day')}")


@rules.command()
@click.argument("file", metavar="[FILE]", required=False)
@json_option
@lang_option
@calling
def check(caller: Caller, *, file: str | None, lang: Language, as_json: bool) -> None:
    """Say what is wrong with the rules before it bites, or with those of FILE before they are imported.

    The rules of FILE are checked as if they were imported and active, once nothing of it is refused. Exit code 1 where
    there are errors.
    """
    from operations import rulebook_checks as checks  # noqa: PLC0415 - loaded when asked for

    text = _content(file) if file else None
    with desk(caller) as at:
        found = (
            checks.check_rules(at.conn, by=at.by)
            if text is None
            else checks.check_text_of(at.conn, text, by=at.by, now=_now(at))
        )
    if as_json:
        printing.print_json(printed.report_as_json(found, lang))
    else:
        printed.report(found, lang)
    printing.message(", ".join(printing.count(count, severity) for severity, count in found.counts.items()))
    if found.counts["error"]:
        sys.exit(REFUSED)


@rules.command()
@click.argument("file", metavar="[FILE]", required=False)
@overwrite_option
@calling
def export(caller: Caller, *, file: str | None, overwrite: bool) -> None:
    """Write companies, mail accounts, tags and the rules that you may see to FILE, or print them: without secrets."""
    from operations.rulebook import export as exported  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = exported(at.conn, by=at.by)
    if file in (None, "-"):
        click.echo(found.text, nl=False)
    else:
        write(_path(file), found.text.encode(), overwrite=overwrite)
        printing.message(f"written to {file}")
    for title, problem in found.left_out.items():
        printing.message(f"the rule {title} is left out, since it cannot be read: {problem}")
    if found.left_out:
        sys.exit(PARTLY_DONE)


@rules.command("import")
@_file
@because_option
@yes_option
@json_option
@lang_option
@calling
def import_(caller: Caller, *, file: str, because: str, lang: Language, yes: bool, as_json: bool) -> None:
    """Bring the database to what FILE says (-: standard input): shown first, done with --yes, all of it or nothing.

    What FILE does not name is left alone; new rules wait to be activated. Twice changes nothing.
    """
    from operations.rulebook import import_text  # noqa: PLC0415 - loaded when asked for

    text = _content(file)
    with desk(caller) as at:
        found = import_text(at.conn, text, because=because, yes=yes, by=at.by, now=_now(at))
    if as_json:
        printing.print_json({"done": yes and not found.refusals, **printing.plain(found)})
    else:
        printed.outcome(found, lang)
    for refusal in found.refusals:
        printing.message(str(refusal))
    for warning in found.warnings:
        printing.message(f"! {warning}")
    printing.message(printed.concluded(found, yes=yes))
    if found.refusals:
        sys.exit(REFUSED)


@rules.command()
@click.argument("rule")
@json_option
@calling
def activate(caller: Caller, *, rule: str, as_json: bool) -> None:
    """Let RULE (a title or an id) fire by its schedule, from now on."""
    _set_active(caller, rule, active=True, as_json=as_json)


@rules.command()
@click.argument("rule")
@json_option
@calling
def deactivate(caller: Caller, *, rule: str, as_json: bool) -> None:
    """Let RULE (a title or an id) fire no longer; what its schedule has queued waits, and goes after a day."""
    _set_active(caller, rule, active=False, as_json=as_json)


def _set_active(caller: Caller, rule: str, *, active: bool, as_json: bool) -> None:
    from operations import rules as saved_rules  # noqa: PLC0415 - loaded when asked for
    from operations.lookup import find_rule  # noqa: PLC0415

    act = saved_rules.activate if active else saved_rules.deactivate
    with desk(caller) as at:
        title = find_rule(at.conn, rule).title
        changed = act(at.conn, rule=title, by=at.by, now=_now(at))
    if as_json:
        printing.print_json({"rule": title, "active": active, "changed": changed})
    already = "" if changed else " already"
    printing.message(f"the rule {title} is {'active' if active else 'not active'}{already}")


def _now(at: Desk) -> Any:  # noqa: ANN401 - a datetime
    from store import settings  # noqa: PLC0415 - loaded when asked for

    return settings.read(at.conn).business_now


def _path(name: str) -> Path:
    """Raise BadParameter for what no file system names a file by."""
    try:
        named = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise click.BadParameter(f"{name!r} names no file")
    return Path(name)


def _content(name: str) -> str:
    """The text of a file, `-` for standard input. Raises InvalidInput for what is too large or no text."""
    from operations.yaml_text import LARGEST  # noqa: PLC0415 - loaded when asked for
    from workflow.errors import InvalidInput  # noqa: PLC0415

    with sys.stdin.buffer if name == "-" else _path(name).open("rb") as file:
        content = file.read(4 * LARGEST + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise InvalidInput(field=name, value=None, reason=f"line {line} is no UTF-8 text") from None
