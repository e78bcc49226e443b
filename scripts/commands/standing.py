"""How everything stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from operations.status import Status


@click.command()
@json_option
@calling
def status(caller: Caller, *, as_json: bool) -> None:
    """Show how everything stands: what waits, what runs and how fast, what failed, what is held and why."""
    from operations.status import status as looked  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = looked(at.conn, at.settings.redis_url)
    if as_json:
        printing.print_json(
            {
                **printing.plain(found),
                "in_doubt": found.reminders["in_doubt"],
                "failed": found.reminders["failed"],
                "stopped": found.instance.stopped_because is not None,
            }
        )
        return
    out = printing.console()
    _instance(out, found)
    _queues(out, found)
    _runs(out, found)
    if found.held:
        printing.heading(out, "Held")
        rows = [(one.kind, one.name, one.because, printing.minute(one.held_at)) for one in found.held]
        printing.table(out, ("what", "name", "because", "since"), rows)


def _instance(out: Console, found: Status) -> None:
    here = found.instance
    kind = "test instance" if here.test_instance else "production"
    clock = " (its clock is set)" if here.clock_is_set else ""
    days = ", ".join(f"{code} {day}" for code, day in found.days.items()) or "no company yet"
    out.print(f"{kind}, schema {found.schema}; business day: {printing.clean(days)}{clock}")
    if here.stopped_because:
        since = printing.minute(here.stopped_at)
        out.print(f"ALL MAIL IS STOPPED since {since}: {printing.clean(here.stopped_because)}", style="bold red")
    if found.redis.reachable:
        waiting = ", ".join(f"{queue} {count}" for queue, count in found.redis.waiting.items())
        out.print(f"Redis answers; hints waiting: {waiting}")
    else:
        out.print(f"Redis does not answer ({found.redis.error}): nothing moves until it does", style="bold red")


def _queues(out: Console, found: Status) -> None:
    printing.heading(out, "Reminders")
    queues = found.queues
    waits = {
        "due": f"{queues.waiting_for_window} for their send window, {queues.waiting_for_server} for a server",
        "in_doubt": "to be checked: relance outbox --state in_doubt, then relance resolve",
        "failed": "relance replay sends them again",
    }
    rows = [
        (count, state.replace("_", " "), waits.get(state, "") if count else "")
        for state, count in found.reminders.items()
    ]
    printing.table(out, ("mails", "state", ""), rows, right=("mails",))
    if queues.oldest_due_at:
        waited = found.looked_at - queues.oldest_due_at
        out.print(f"The oldest due mail has waited {str(waited).split('.', maxsplit=1)[0]}.")
    out.print(
        f"{queues.due_runs} runs to begin, {queues.undecided} candidates undecided, {queues.due_effects} effects due."
    )


def _runs(out: Console, found: Status) -> None:
    if found.open_runs:
        printing.heading(out, "Open runs")
        rows = [
            (
                line.run.id,
                line.rule,
                line.progress.undecided,
                line.progress.waiting + line.progress.leaving,
                line.progress.sent,
                line.progress.in_doubt,
                line.progress.failed,
                f"{found.pace[line.run.id]}/min",
            )
            for line in found.open_runs
        ]
        columns = ("run", "rule", "undecided", "waiting", "sent", "in doubt", "failed", "pace")
        printing.table(out, columns, rows, right=columns[2:])
    if found.last_runs:
        printing.heading(out, "Last runs")
        last = [
            (
                line.run.id,
                line.rule,
                printing.minute(line.run.due_at),
                line.run.problem or line.run.state,
                line.progress.sent,
            )
            for line in found.last_runs
        ]
        printing.table(out, ("run", "rule", "due", "state", "sent"), last, right=("run", "sent"))
