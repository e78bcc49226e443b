"""How everything stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desks
from scripts.printing import json_option
from scripts.watching import watch, watch_options
from workflow.doubt import REASONS

if TYPE_CHECKING:
    from operations.pace import Pace
    from operations.runs import RunLine
    from operations.status import AccountStanding, Status
    from scripts.printing import Out

_SHOWN: Final = 10


@click.command()
@watch_options
@json_option
@calling
def status(caller: Caller, *, watching: bool, every_s: float, as_json: bool) -> None:
    """Show how everything stands: what waits, what runs and how fast, what failed, what is held and why."""
    from operations.status import status as looked  # noqa: PLC0415 - loaded when asked for

    with desks(caller) as desk:

        def look() -> Status:
            with desk() as at:
                return looked(at.conn, at.settings.redis_url, instance=at.settings.instance, ever=not watching)

        if watching:
            watch(look, show, every_s=every_s, to_json=_json if as_json else None)
        elif as_json:
            printing.print_json(_json(look()))
        else:
            show(printing.console(), look())


def _json(found: Status) -> dict[str, Any]:
    return {
        **printing.plain(found),
        "sent_today": found.sent_today,
        "per_s": round(found.per_s, 2),
        "in_doubt": found.reminders["in_doubt"],
        "failed": found.reminders["failed"],
        "stopped": found.instance.stopped_because is not None,
    }


def show(out: Out, found: Status) -> None:
    """Print one look, what matters most first: a screen may be too short for all of it."""
    _instance(out, found)
    _queues(out, found)
    _to_see_to(out, found)
    _events(out, found)
    _open_runs(out, found)
    _held(out, found)
    _unreadable(out, found)
    _accounts(out, found)
    _coming(out, found)
    _last_runs(out, found)


def _instance(out: Out, found: Status) -> None:
    here = found.instance
    kind = "test instance" if here.test_instance else "production"
    clock = " (its clock is set)" if here.clock_is_set else ""
    days = ", ".join(f"{code} {day}" for code, day in found.days.items()) or "no company yet"
    out.print(f"{kind}, schema {found.schema}; business day: {printing.clean(days)}{clock}")
    if here.redirect_to:
        out.print(f"all mail goes to {printing.clean(here.redirect_to)}", style="yellow")
    if found.foreign:
        out.print(
            f"NOTHING IS MAILED FROM HERE: {printing.clean(found.foreign)}; relance instance show", style="bold red"
        )
    if here.stopped_because:
        since = printing.minute(here.stopped_at)
        out.print(f"ALL MAIL IS STOPPED since {since}: {printing.clean(here.stopped_because)}", style="bold red")
    if found.redis.reachable:
        hints = ", ".join(
            f"{queue} {count} + {found.redis.in_work[queue]}" for queue, count in found.redis.waiting.items()
        )
        out.print(f"Redis answers; hints waiting and in work: {hints}")
    else:
        out.print(f"Redis does not answer ({found.redis.error}): nothing moves until it does", style="bold red")


def _queues(out: Out, found: Status) -> None:
    printing.heading(out, "Reminders")
    queues = found.queues
    waits = {
        "due": f"{queues.waiting_for_window} for their send window, {queues.waiting_for_server} for a server",
        "claimed": "being rendered and uploaded",
        "armed": "leaving, or waiting for the server's answer",
        "in_doubt": "to be checked: relance outbox --state in_doubt, then relance resolve",
        "failed": "relance replay sends them again",
    }
    rows = [
        (count, state.replace("_", " "), waits.get(state, "") if count else "")
        for state, count in found.reminders.items()
    ]
    printing.table(out, ("mails", "state", ""), rows, right=("mails",))
    out.print(f"{printing.count(found.sent_today, 'mail')} sent today; {found.per_s:.1f} a second in the last minute.")
    if queues.oldest_due_at:
        waited_s = (found.looked_at - queues.oldest_due_at).total_seconds()
        out.print(f"The oldest due mail has waited {printing.duration(waited_s)}.")
    out.print(
        f"{queues.due_runs} runs to begin, {queues.undecided} candidates undecided, {queues.due_effects} effects due."
    )


def _to_see_to(out: Out, found: Status) -> None:
    if found.doubts:
        mails = printing.count(sum(one.mails for one in found.doubts), "mail")
        since = printing.minute(min(one.since for one in found.doubts))
        out.print(f"{mails} in doubt for more than 15 minutes, the oldest since {since}:", style="bold red")
        for one in found.doubts:
            out.print(f"  {one.mails}: {REASONS[one.reason]['en']}", style="red")
    if found.audit and found.audit.findings:
        what = printing.count(found.audit.findings, "difference")
        out.print(f"The audit of {found.audit.on_day} found {what}: relance audit", style="bold red")
    elif found.audit:
        out.print(f"The audit of {found.audit.on_day}: nobody who was due was missed.")
    if found.tasks:
        counts = ", ".join(f"{kind} {count}" for kind, count in found.tasks.items())
        out.print(f"Tasks to be done: {counts}: relance tasks list", style="bold yellow")
    for box in found.mailboxes:
        if box.error:
            since = f", last read {printing.minute(box.looked_at)}" if box.looked_at else ", never read yet"
            text = f"The mailbox of {box.account} cannot be read ({box.error}){since}: relance bounces read"
            out.print(printing.clean(text), style="yellow")
    for code, detail in found.stale.items():
        text = f"Payment data of {code}: {detail}. Firmer reminders wait: relance heartbeat {code}, or import them."
        out.print(printing.clean(text), style="yellow")
    if found.undated:
        counts = ", ".join(f"{code} {count}" for code, count in found.undated.items())
        out.print(f"Invoices without a due date, never chased: {printing.clean(counts)}", style="yellow")


def _events(out: Out, found: Status) -> None:
    for outcome, number in found.events.items():
        what = f"{printing.count(number, 'event')} {outcome}"
        out.print(f"{what}: relance events list --outcome {outcome}", style="yellow")


def _open_runs(out: Out, found: Status) -> None:
    if found.open_runs:
        printing.heading(out, "Open runs")
        rows = [_open_run(line, found.pace[line.run.id]) for line in found.open_runs[:_SHOWN]]
        columns = ("run", "rule", "", "mails", "a second", "left", "doubt", "failed")
        printing.table(out, columns, rows, right=("run", *columns[3:]))
        printing.and_more(out, len(found.open_runs) - _SHOWN, "open runs")


def _open_run(line: RunLine, pace: Pace) -> tuple[object, ...]:
    return (
        line.run.id,
        line.rule,
        printing.bar(pace.done, pace.mails),
        pace.done_of(estimate=line.progress.undecided > 0),
        f"{pace.per_s:.1f}",
        printing.duration(pace.left_s),
        line.progress.in_doubt,
        line.progress.failed,
    )


def _accounts(out: Out, found: Status) -> None:
    if found.accounts:
        printing.heading(out, "Mail accounts")
        rows = [
            (
                one.name,
                one.sent_today,
                one.waiting_for_window + one.waiting_for_server,
                printing.minute(one.open_until or one.next_try_at),
                _trouble(one),
            )
            for one in found.accounts[:_SHOWN]
        ]
        columns = ("account", "sent today", "waiting", "next try", "last error")
        printing.table(out, columns, rows, right=columns[1:3])
        printing.and_more(out, len(found.accounts) - _SHOWN, "accounts")


def _trouble(account: AccountStanding) -> str:
    if account.held_because:
        return f"held: {account.held_because}"
    said = account.last_error or ""
    if account.open_until:
        return f"left alone after {printing.count(account.failures, 'failure')} in a row: {said}"
    return said


def _unreadable(out: Out, found: Status) -> None:
    if found.unreadable:
        printing.heading(out, "Rules that cannot be read: they fire for nobody")
        printing.table(out, ("rule", "why"), list(found.unreadable.items())[:_SHOWN])
        printing.and_more(out, len(found.unreadable) - _SHOWN, "rules")


def _coming(out: Out, found: Status) -> None:
    if found.next_instants:
        printing.heading(out, "Next")
        rows = [(printing.minute(one.due_at), one.rule) for one in found.next_instants[:_SHOWN]]
        printing.table(out, ("due", "rule"), rows)
        printing.and_more(out, len(found.next_instants) - _SHOWN, "rules")


def _held(out: Out, found: Status) -> None:
    if found.held:
        printing.heading(out, "Held")
        rows = [(one.kind, one.name, one.because, printing.minute(one.held_at)) for one in found.held[:_SHOWN]]
        printing.table(out, ("what", "name", "because", "since"), rows)
        printing.and_more(out, len(found.held) - _SHOWN, "held")


def _last_runs(out: Out, found: Status) -> None:
    if found.last_runs:
        printing.heading(out, "Last runs")
        last = [
            (
                line.run.id,
                line.rule,
                printing.minute(line.run.due_at),
                line.run.standing,
                line.progress.sent,
            )
            for line in found.last_runs
        ]
        printing.table(out, ("run", "rule", "due", "state", "sent"), last, right=("run", "sent"))
