"""What the invoicing system has told, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import ROW_ID, because_option, json_option, yes_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.printing import Out
    from store.inbox import Kept, Outcome, Replayable

_SHOWN: Final = 50
_OUTCOMES: Final = ("waiting", "applied", "duplicate", "stale", "parked", "rejected")
_LONGEST_ID: Final = 24


@click.group()
def events() -> None:
    """Look at events of the invoicing system, and have those that were refused tried again."""


@events.command("list")
@click.option("--outcome", type=click.Choice(_OUTCOMES), help="Those of one outcome only.")
@click.option("--subject", metavar="SUBJECT", help='Those about one thing only, such as "invoice NORD/FA-1".')
@click.option("--limit", type=click.IntRange(1, 10_000), default=_SHOWN, show_default=True, help="The latest so many.")
@json_option
@calling
def list_(caller: Caller, *, outcome: Outcome | None, subject: str | None, limit: int, as_json: bool) -> None:
    """List the latest events, newest first, with what became of each."""
    from operations.events import counted, listed  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = listed(at.conn, outcome=outcome, subject=subject, limit=limit)
        counts = counted(at.conn)
    if as_json:
        printing.print_json({"counts": counts, "events": [_json(one) for one in found]})
        return
    out = printing.console()
    _table(out, found)
    if not found:
        out.print("no event has come" if not sum(counts.values()) else "no such event")
        return
    out.print()
    out.print(", ".join(f"{number} {what}" for what, number in counts.items() if number), style="dim")


@events.command()
@click.argument("event", type=ROW_ID)
@json_option
@calling
def show(caller: Caller, *, event: int, as_json: bool) -> None:
    """Show EVENT (a number of the list) as it came, and what became of it."""
    from operations.events import shown  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = shown(at.conn, event)
    if as_json:
        printing.print_json({**_json(found), "payload": found.payload})
        return
    out = printing.console()
    printing.heading(out, f"{found.id}  {found.type or 'unreadable'}: {found.outcome}")
    for name, value in (
        ("about", found.subject),
        ("version", found.version),
        ("source", found.source),
        ("id", found.event_id),
        ("came", f"{printing.instant(found.received_at)} by {found.door}{_again(found)}"),
        ("decided", printing.instant(found.decided_at) if found.decided_at else None),
        ("reason", found.reason),
    ):
        if value is not None:
            printing.line(out, f"{name}: {value}")
    printing.heading(out, "As it came")
    for line in _pretty(found.payload).splitlines():
        printing.line(out, line)


@events.command()
@click.argument("event", type=ROW_ID, nargs=-1)
@click.option("--parked", is_flag=True, help="All that is parked; it is woken by itself when what it waits for comes.")
@click.option("--rejected", is_flag=True, help="All that was rejected.")
@click.option("--max", "limit", type=click.IntRange(1, 100_000), default=100_000, help="No more than so many.")
@because_option
@yes_option
@json_option
@calling
def replay(
    caller: Caller,
    *,
    event: Sequence[int],
    parked: bool,
    rejected: bool,
    limit: int,
    because: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Have rejected or parked events applied again, in the order in which they came; a look until --yes.

    Name EVENTs (numbers of the list), or --rejected, or --parked. What has been told since at a newer version stays.
    """
    from operations.events import replay as again  # noqa: PLC0415 - loaded when asked for

    chosen: list[Replayable] = []
    if rejected:
        chosen.append("rejected")
    if parked:
        chosen.append("parked")
    if bool(event) == bool(chosen):
        raise click.UsageError("name events, or --rejected or --parked")
    with desk(caller) as at:
        found = again(
            at.conn,
            ids=list(event) or None,
            outcomes=chosen,
            limit=limit,
            because=because,
            dry_run=not yes,
            by=at.by,
        )
    if as_json:
        printing.print_json({"dry_run": not yes, "more": found.more, "events": [_json(one) for one in found.events]})
    else:
        out = printing.console()
        _table(out, found.events[:_SHOWN])
        printing.and_more(out, len(found.events) - _SHOWN, "events")
    number = printing.count(len(found.events), "event")
    printing.message(f"{number} will be applied again" if yes else f"{number} would be applied again; --yes does it")


def _table(out: Out, found: Sequence[Kept]) -> None:
    if found:
        rows = [
            (
                one.id,
                printing.minute(one.received_at),
                printing.two_lines(one.type or "unreadable", one.subject or one.event_id[:_LONGEST_ID]),
                printing.two_lines(f"{one.outcome}{_again(one)}", one.reason or ""),
            )
            for one in found
        ]
        printing.table(out, ["event", "came", "what", "outcome"], rows, right=["event"])


def _again(one: Kept) -> str:
    return f", came again {'once' if one.repeats == 1 else f'{one.repeats} times'}" if one.repeats else ""


def _json(one: Kept) -> dict[str, Any]:
    return {name: value for name, value in printing.plain(one).items() if name != "payload"}


def _pretty(payload: str) -> str:
    import json  # noqa: PLC0415 - only for a person

    from workflow.events import Malformed, parse  # noqa: PLC0415 - loaded when asked for

    try:
        return json.dumps(parse(payload), ensure_ascii=False, indent=2)
    except Malformed:
        return payload
