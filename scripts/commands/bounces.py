"""What comes back: bounces, complaints, automatic answers and people's own."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.exits import PARTLY_DONE
from scripts.printing import json_option, lang_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.bounces import Classified, MailboxRead
    from scripts.printing import Out
    from workers.feedback import Came
    from workflow.facts import Language


@click.group()
def bounces() -> None:
    """Read what comes back: bounces, complaints and automatic answers."""


@bounces.command()
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE|FOLDER...", type=click.Path(exists=True, path_type=Path)
)
@json_option
@lang_option
def classify(paths: Sequence[Path], *, lang: Language, as_json: bool) -> None:
    """Say what each mail of FILE or FOLDER tells of the mails sent, and change nothing.

    hard: nobody is at the address, by evidence. soft: this mail did not arrive. auto_reply: nobody wrote it.
    complaint: reported as spam. none: anything else. A mail that tells of several recipients comes once for each.
    """
    from operations.bounces import classify as classified  # noqa: PLC0415 - loaded when asked for
    from workflow.bounces import KINDS, REASONS  # noqa: PLC0415

    found = list(classified(paths))
    if as_json:
        printing.print_json([_json(one, REASONS[one.bounce.reason][lang]) for one in found])
        return
    out = printing.console()
    columns = ("mail and address", "kind", "status", "reminder", "reason")
    rows = [
        (
            printing.two_lines(Path(one.file).name, one.bounce.address or printing.DASH),
            one.bounce.kind.replace("_", " "),
            one.bounce.status or one.bounce.reply or None,
            one.bounce.reminder,
            REASONS[one.bounce.reason][lang],
        )
        for one in found
    ]
    printing.table(out, columns, rows, right=("reminder",))
    kinds = Counter(one.bounce.kind for one in found)
    out.print()
    out.print(", ".join(f"{kind.replace('_', ' ')} {kinds[kind]}" for kind in KINDS if kinds[kind]) or "no mail there")


def _json(one: Classified, words: str) -> dict[str, object]:
    return {"file": one.file, **printing.plain(one.bounce), "words": words}


@bounces.command()
@click.option("--account", metavar="ACCOUNT", help="Only this mail account's mailbox: its name or id.")
@click.option("--dry-run", is_flag=True, help="Only say what would follow.")
@json_option
@lang_option
@calling
def read(caller: Caller, *, account: str | None, dry_run: bool, lang: Language, as_json: bool) -> None:
    """Read what is new in the accounts' mailboxes, as a scheduler does every minute, and do what follows.

    A bounce or complaint counts where it quotes the message id of a reminder that went to that very address: the
    address gets no more mail, and a task is made. The mailboxes stay as they are.
    """
    from operations.bounces import read as reading  # noqa: PLC0415 - loaded when asked for
    from operations.lookup import find_account  # noqa: PLC0415

    with desk(caller) as at:
        named = find_account(at.conn, account) if account else None
        found = reading(at.conn, account=named, dry_run=dry_run, by=at.by, instance=at.settings.instance)
    if as_json:
        printing.print_json([_read_json(one, lang) for one in found])
    else:
        out = printing.console()
        for one in found:
            _shown(out, one, lang, dry_run=dry_run)
    if any(one.look is None for one in found):
        sys.exit(PARTLY_DONE)


def _shown(out: Out, one: MailboxRead, lang: Language, *, dry_run: bool) -> None:
    from workflow.bounces import REASONS  # noqa: PLC0415 - loaded when asked for

    printing.heading(out, one.account)
    if one.look is None:
        out.print(printing.clean(f"cannot be read: {one.error}"), style="bold red")
        return
    new = printing.count(one.look.mails, "new mail")
    failed = f", {one.look.failed} of them not readable" if one.look.failed else ""
    about = f"{len(one.look.came)} new about reminders" if one.look.came else "nothing new about reminders"
    out.print(f"{new}{failed}: {about}" + (" (dry run)" if dry_run else ""))
    rows = [
        (
            came.reminder_id,
            printing.two_lines(came.kind.replace("_", " "), came.address or printing.DASH),
            came.status or None,
            REASONS[came.reason][lang],
            _followed(came, dry_run=dry_run),
        )
        for came in one.look.came
    ]
    if rows:
        printing.table(
            out, ("reminder", "kind and address", "status", "reason", "what follows"), rows, right=("reminder",)
        )
    if one.look.more:
        out.print("There is more: read again, or let a scheduler go on.", style="dim")


def _followed(came: Came, *, dry_run: bool) -> str:
    parts = []
    if came.suppressed:
        parts.append("no more mail there")
    if came.task_id is not None:
        parts.append("a task" if dry_run else f"task {came.task_id}")
    if came.again:
        parts.append(f"reminded anew: {', '.join(came.again)}")
    return ", ".join(parts) or "noted"


def _read_json(one: MailboxRead, lang: Language) -> dict[str, object]:
    from workflow.bounces import REASONS  # noqa: PLC0415 - loaded when asked for

    found = printing.plain(one)
    if one.look:
        found["look"]["came"] = [
            {**printing.plain(came), "words": REASONS[came.reason][lang]} for came in one.look.came
        ]
    return dict(found)
