"""One change on many invoices, the list of such batches, and the way back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.exits import PARTLY_DONE, REFUSED
from scripts.printing import DAY, ROW_ID, because_option, json_option, lang_option, yes_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from operations.batch import Batch, Sample
    from operations.batch_undo import Undone
    from store.batches import KeptBatch
    from workflow.facts import Language

_LARGEST_LIST: Final = 10 * 1024 * 1024
_LEFT_SHOWN: Final = 20
_ASKED: Final = {
    "level": "level",
    "last_reminded_on": "last reminded",
    "add_tags": "add tag",
    "remove_tags": "remove tag",
    "pause_until": "paused until",
}


def _day_or_never(ctx: click.Context, parameter: click.Parameter, value: str | None) -> date | str | None:
    return value if value in (None, "never") else DAY.convert(value, parameter, ctx).date()


def _numbers(_ctx: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> tuple[str, ...] | None:
    """`A,B`, or `@FILE` with a number a line (`@-`: standard input)."""
    if not values:
        return None
    found: list[str] = []
    for value in values:
        listed = _lines(value[1:]) if value.startswith("@") else value.split(",")
        found += [stripped for one in listed if (stripped := one.strip())]
    return tuple(found)


def _lines(name: str) -> list[str]:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            content = file.read(_LARGEST_LIST + 1)
        if len(content) > _LARGEST_LIST:
            raise click.BadParameter(f"{name} is larger than 10 MiB")
        return content.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise click.BadParameter(f"{name} cannot be read: {reason}") from error


@click.command()
@click.option("--filter", "filter_", metavar="TEXT", help="The invoices that it selects; open ones only.")
@click.option(
    "--invoices",
    "numbers",
    metavar="A,B,…|@FILE",
    multiple=True,
    callback=_numbers,
    help="These invoices, by number; @FILE has one a line, @- is standard input.",
)
@click.option("--company", metavar="CODE", help="Whose invoices; needed where there are several companies.")
@click.option("--settled", is_flag=True, help="With --filter: paid and cancelled invoices too.")
@click.option("--add-tag", "add_tags", metavar="TAG", multiple=True, help="Put this tag on.")
@click.option("--remove-tag", "remove_tags", metavar="TAG", multiple=True, help="Take this tag off.")
@click.option("--set-level", "level", type=click.IntRange(0, 3), help="Reminders already sent; idle invoices only.")
@click.option(
    "--set-last-reminded", "last_reminded", metavar="DAY|never", callback=_day_or_never, help="When the last one was."
)
@click.option("--pause", "pause_until", metavar="UNTIL", type=DAY, help="Remind of them again after this day only.")
@click.option("--exclude", is_flag=True, help="Remind their customers of nothing any more.")
@click.option("--assign-contact", "contact", metavar="EMAIL", help="A contact of their customers, as interlocutor.")
@click.option(
    "--role", type=click.Choice(["dunning", "billing"]), default="dunning", show_default=True, help="As which one."
)
@because_option
@yes_option
@json_option
@lang_option
@calling
def batch(
    caller: Caller,
    /,
    *,
    filter_: str | None,
    numbers: tuple[str, ...] | None,
    company: str | None,
    settled: bool,
    level: int | None,
    last_reminded: Any,  # noqa: ANN401 - a date, `never` or nothing
    pause_until: datetime | None,
    contact: str | None,
    because: str,
    lang: Language,
    yes: bool,
    as_json: bool,
    **asked: Any,  # noqa: ANN401 - what operations.batch_plan.Asked declares
) -> None:
    """Make the same change on many invoices at once: shown first, made with --yes, taken back by `relance undo`.

    An invoice that cannot change as asked is left alone altogether, and listed; exit code 3 says so.
    """
    from operations import batch as batches  # noqa: PLC0415 - loaded when asked for
    from operations.batch_plan import Asked  # noqa: PLC0415
    from scripts.progress import progress  # noqa: PLC0415

    if (filter_ is None) == (numbers is None):
        raise click.UsageError("choose the invoices: --filter or --invoices")
    changes = Asked(
        level=level,
        last_reminded_on=last_reminded,
        pause_until=pause_until.date() if pause_until else None,
        contact=contact,
        **asked,
    )
    if changes == Asked(role=changes.role):
        raise click.UsageError("say what is to change: --add-tag, --set-level, --pause …")
    chosen = batches.Chosen(company=company, filter=filter_, numbers=numbers, settled=settled)
    with desk(caller) as at, progress("changing", as_json=as_json) as bar:
        found = batches.batch(at.conn, chosen, changes, because=because, by=at.by, dry_run=not yes, progress=bar)
    _show(found, lang, as_json=as_json, yes=yes)
    if yes and found.refused:
        sys.exit(PARTLY_DONE if found.done else REFUSED)


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to list.")
@json_option
@calling
def batches(caller: Caller, *, limit: int, as_json: bool) -> None:
    """List the latest batches: who changed what and why, and whether it was undone."""
    from operations.batch_undo import latest  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = latest(at.conn, limit)
    if as_json:
        printing.print_json(found)
        return
    rows = [
        (
            one.id,
            printing.minute(one.at),
            one.by,
            printing.two_lines(_asked(one), f"{one.because}{_undone(one)}"),
            one.counts.get("changed"),
        )
        for one in found
    ]
    printing.table(printing.console(), ("batch", "at", "by", "what", "changed"), rows, right=("batch", "changed"))


@click.command()
@click.argument("batch_id", metavar="BATCH", type=ROW_ID)
@because_option
@yes_option
@json_option
@calling
def undo(caller: Caller, *, batch_id: int, because: str, yes: bool, as_json: bool) -> None:
    """Take a batch back, whole or not at all: what it changed is again as it was, and nothing else is touched.

    Refused once a reminder of one of its invoices left or is about to, or the same was changed again; once only.
    """
    from operations.batch_undo import undo as undone  # noqa: PLC0415 - loaded when asked for
    from scripts.progress import progress  # noqa: PLC0415

    with desk(caller) as at, progress("restoring", as_json=as_json) as bar:
        found = undone(at.conn, batch_id, because=because, by=at.by, dry_run=not yes, progress=bar)
    _show_undone(found, as_json=as_json)


def _show(found: Batch, lang: Language, *, as_json: bool, yes: bool) -> None:
    from operations.batch_plan import REFUSALS  # noqa: PLC0415 - loaded when asked for

    if as_json:
        printing.print_json(
            {**printing.plain(found), "words": {reason: REFUSALS[reason][lang] for reason in found.refused}}
        )
    else:
        out = printing.console()
        printing.heading(out, f"{printing.count(found.selected, 'invoice')} of {found.company} selected")
        rows: list[tuple[object, str]] = [
            (found.changed, "changed" if found.done else "to change"),
            (found.unchanged, "so already"),
        ]
        if found.customers:
            excluded = "customers excluded" if found.done else "customers to exclude"
            rows.append((found.customers, excluded))
        rows += [(len(numbers), f"left alone: {REFUSALS[why][lang]}") for why, numbers in found.refused.items()]
        printing.table(out, ("invoices", ""), rows, right=("invoices",))
        _samples(out, found.samples, found.changed)
        for why, numbers in found.refused.items():
            printing.heading(out, f"Left alone: {REFUSALS[why][lang]}")
            more = f" and {len(numbers) - _LEFT_SHOWN} more" if len(numbers) > _LEFT_SHOWN else ""
            printing.line(out, ", ".join(numbers[:_LEFT_SHOWN]) + more)
        for note in found.notes:
            printing.message(f"note: {note}")
    if found.done:
        printing.message(f"batch {found.id} is made; take it back: relance undo {found.id}")
    elif not found.changed:
        printing.message("nothing to change")
    elif not yes:
        printing.message("nothing was done: add --yes to change it")


def _samples(out: Any, samples: Sequence[Sample], of: int) -> None:  # noqa: ANN401 - rich is loaded lazily
    if not samples:
        return
    printing.heading(out, "The changes" if of <= len(samples) else f"The first {len(samples)} of {of} changes")
    rows = [
        (one.invoice, f"{one.customer} {one.customer_name}", ", ".join(_words(*item) for item in one.change.items()))
        for one in samples
    ]
    printing.table(out, ("invoice", "customer", "change"), rows)


def _words(name: str, values: tuple[Any, Any]) -> str:
    old, new = values
    if name == "tags":
        return " ".join([*(f"-{one}" for one in old), *(f"+{one}" for one in new)])
    shown = (
        printing.DASH if one is None else "yes" if one is True else "no" if one is False else one for one in values
    )
    before, after = shown
    named = "customer excluded" if name == "excluded" else name.replace("_", " ")
    return f"{named} {before} → {after}"


def _asked(one: KeptBatch) -> str:
    """What was asked, on a line: which invoices, then what."""
    asked = one.asked
    which = asked.get("filter") or "all"
    if "numbers" in asked:
        which = printing.count(asked["numbers"], "named invoice")
    elif "settled" in asked:
        which += " (settled ones too)"
    what = [
        f"{words} {', '.join(value) if isinstance(value, list) else value}"
        for name, words in _ASKED.items()
        if (value := asked.get(name)) is not None
    ]
    if "exclude" in asked:
        what.append("customers excluded")
    if "contact" in asked:
        what.append(f"{asked['role']} contact {asked['contact']}")
    return f"{one.company}, {which}: {', '.join(what)}"


def _undone(one: KeptBatch) -> str:
    return (
        f"; undone {printing.minute(one.undone_at)} by {one.undone_by}: {one.undone_because}" if one.undone_at else ""
    )


def _show_undone(found: Undone, *, as_json: bool) -> None:
    if as_json:
        printing.print_json(found)
    else:
        out = printing.console()
        printing.heading(out, f"Batch {found.batch.id} of {printing.minute(found.batch.at)}, by {found.batch.by}")
        out.print(printing.clean(f"{_asked(found.batch)} ({found.batch.because})"))
        _samples(out, found.samples, found.invoices)
    what = printing.count(found.invoices, "invoice")
    if found.customers:
        what += f" and {printing.count(found.customers, 'customer')}"
    verb = "restored" if found.done else "to restore"
    printing.message(f"batch {found.batch.id}: {what} {verb}")
    if not found.done:
        printing.message("nothing was done: add --yes to undo it")
