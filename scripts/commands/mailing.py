"""Each reminder as it left, and what a person decides about those that did not simply leave."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.exits import PARTLY_DONE
from scripts.printing import DAY, ROW_ID, because_option, json_option, lang_option, yes_option
from workflow.doubt import REASONS as WHY_IN_DOUBT

if TYPE_CHECKING:
    from datetime import datetime

    from operations.outbox import ReadMail
    from operations.replay import Replay
    from operations.resolve import Answer, Resolution
    from store.outbox import Posted
    from store.replays import ErrorClass
    from workflow.facts import Language


_STATES = ("due", "claimed", "armed", "sent", "in_doubt", "cancelled", "failed")
_CLASSES = ("4xx", "5xx", "unreachable", "template", "attachment", "no_address", "lost", "other")


@click.command()
@click.argument("reminder", type=ROW_ID, required=False)
@click.option("--eml", is_flag=True, help="Write REMINDER's exact bytes.")
@click.option("--state", type=click.Choice(_STATES), help="Only these.")
@click.option("--run", "run_id", type=ROW_ID, metavar="ID", help="Only this run's.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="The latest so many.")
@json_option
@calling
def outbox(
    caller: Caller, *, reminder: int | None, state: str | None, run_id: int | None, limit: int, eml: bool, as_json: bool
) -> None:
    """Show reminders, latest first, or one of them with its mail.

    A reminder's level is the one that its invoices reach with it.
    """
    from operations import outbox as posted  # noqa: PLC0415 - loaded when asked for

    if eml and reminder is None:
        raise click.UsageError("--eml needs the REMINDER whose bytes are wanted")
    with desk(caller) as at:
        mail = None
        if eml and reminder is not None:
            content = posted.eml(at.conn, reminder)
        elif reminder is not None:
            found = [posted.one(at.conn, reminder)]
            mail = posted.read(at.conn, reminder)
        else:
            found = posted.outbox(at.conn, state=state, run_id=run_id, limit=limit)
    if eml:
        sys.stdout.buffer.write(content)
    elif as_json:
        printing.print_json([_json(one) for one in found])
    else:
        _show(found)
        if mail:
            _show_mail(mail)


@click.command()
@click.option("--run", "run_id", type=ROW_ID, metavar="ID", help="Only what failed in this run.")
@click.option("--rule", metavar="RULE", help="Only what this rule sent.")
@click.option("--account", metavar="ACCOUNT", help="Only what was to leave by this mail account: a name or an id.")
@click.option("--class", "error_class", type=click.Choice(_CLASSES), help="Only what failed of this.")
@click.option("--error", metavar="TEXT", help="Only where the problem or the server's words contain it.")
@click.option("--from", "--since", "since", type=DAY, help="Only what failed on that business day or later.")
@click.option("--until", type=DAY, help="Only what failed on that business day or earlier.")
@click.option("--max", "maximum", type=click.IntRange(1, 100_000), required=True, help="How many mails at most.")
@because_option
@yes_option
@json_option
@lang_option
@calling
def replay(
    caller: Caller,
    *,
    run_id: int | None,
    rule: str | None,
    account: str | None,
    error_class: ErrorClass | None,
    error: str | None,
    since: datetime | None,
    until: datetime | None,
    maximum: int,
    because: str,
    lang: Language,
    yes: bool,
    as_json: bool,
) -> None:
    """Send failed reminders again: a fresh run decides about their invoices, on today's facts, to today's address.

    What is on its way, was sent, or has moved on is skipped, so that it may be interrupted and asked for again. Exit
    code 3: more match than the maximum allowed.
    """
    from operations.lookup import find_account, find_rule  # noqa: PLC0415 - loaded when asked for
    from operations.replay import replay as replayed  # noqa: PLC0415
    from scripts.progress import progress  # noqa: PLC0415
    from store.lookups import accounts  # noqa: PLC0415
    from store.replays import Which  # noqa: PLC0415

    with desk(caller) as at, progress("replaying", as_json=as_json) as bar:
        which = Which(
            run_id=run_id,
            rule_id=find_rule(at.conn, rule).id if rule else None,
            account_id=accounts(at.conn)[find_account(at.conn, account)] if account else None,
            since=since.date() if since else None,
            until=until.date() if until else None,
            error_class=error_class,
            error=error,
        )
        found = replayed(
            at.conn,
            which,
            because=because,
            maximum=maximum,
            dry_run=not yes,
            by=at.by,
            commit=at.conn.commit,
            progress=bar,
        )
    _show_replay(found, lang, as_json=as_json)
    if found.done and found.left:
        sys.exit(PARTLY_DONE)


@click.command()
@click.argument("reminder", type=ROW_ID)
@click.option("--arrived", "answer", flag_value="arrived", help="It is known to have reached its reader.")
@click.option("--send-again", "answer", flag_value="send again", help="Send it again, once that is safe.")
@click.option("--lost", "answer", flag_value="lost", help="It did not arrive, and this one is let go.")
@because_option
@yes_option
@json_option
@calling
def resolve(caller: Caller, *, reminder: int, answer: Answer | None, because: str, yes: bool, as_json: bool) -> None:
    """Settle a reminder in doubt: it arrived, it goes again, or it is lost. What was sent is never touched."""
    from operations.resolve import resolve as resolved  # noqa: PLC0415 - loaded when asked for

    if answer is None:
        raise click.UsageError("say which: --arrived, --send-again or --lost")
    with desk(caller) as at:
        found = resolved(
            at.conn,
            reminder,
            answer,
            because=because,
            quarantine_s=at.settings.quarantine_s,
            dry_run=not yes,
            by=at.by,
        )
    _show_resolution(found, as_json=as_json)


def _json(one: Posted) -> dict[str, Any]:
    shown: dict[str, Any] = printing.plain(one)
    shown["level"] = None if one.level is None else one.level + 1
    shown["sent_at"] = printing.plain(one.ended_at) if one.state == "sent" else None
    shown["sent_on"] = printing.plain(one.ended_on) if one.state == "sent" else None
    del shown["company_id"]
    return shown


def _show(found: list[Posted]) -> None:
    rows = [
        (
            one.reminder,
            f"{one.state.replace('_', ' ')}{f' {one.ended_on}' if one.ended_on else ''}",
            printing.two_lines(", ".join(one.invoices), f"{one.rule} to {one.recipient}{_said(one)}"),
            printing.amount(one.amount, one.currency),
        )
        for one in found
    ]
    printing.table(printing.console(), ("reminder", "state", "about", "amount"), rows, right=("reminder", "amount"))


def _show_mail(mail: ReadMail) -> None:
    out = printing.console()
    out.print()
    headers = [("From", mail.sender), ("To", mail.recipient), *(("Cc", one) for one in mail.cc)]
    headers += [("Attached", name) for name in mail.attachments]
    for name, value in (*headers, ("Subject", mail.subject)):
        out.print(f"{name}: {printing.clean(value)}", style="bold", soft_wrap=True)
    out.print()
    for line in mail.text.splitlines():
        out.print(printing.clean(line), soft_wrap=True)


def _said(one: Posted) -> str:
    said = one.subject if one.state == "sent" else one.last_error or one.problem
    if one.doubt_reason:
        said = WHY_IN_DOUBT[one.doubt_reason]["en"]
    return f": {said}" if said else ""


def _show_replay(found: Replay, lang: Language, *, as_json: bool) -> None:
    from operations.replay import SKIPPED  # noqa: PLC0415 - loaded when asked for
    from workflow.decision import REASONS  # noqa: PLC0415

    words = {reason: said[lang] for reason, said in REASONS.items()}
    words |= {reason: said[lang] for reason, said in SKIPPED.items()}
    if as_json:
        shown = printing.plain(found)
        for one in shown["skipped"]:
            one["words"] = words[one["reason"]]
        printing.print_json(shown)
    else:
        out = printing.console()
        if found.again:
            printing.heading(
                out, f"{printing.count(len(found.mails), 'failed mail')}, {printing.count(len(found.again), 'invoice')}"
            )
            rows = [(one.invoice, one.customer, one.rule, one.recipient) for one in found.again]
            printing.table(out, ("invoice", "customer", "rule", "to"), rows)
        if found.skipped:
            printing.heading(out, "Skipped")
            skipped = [
                (one.invoice, f"{words[one.reason]}{f': {one.detail}' if one.detail else ''}") for one in found.skipped
            ]
            printing.table(out, ("invoice", "why"), skipped)
        for run_id in found.runs:
            click.echo(run_id)
    if not found.mails:
        printing.message("nothing to replay")
    elif not found.done:
        printing.message("nothing was done: add --yes to replay")
    else:
        made = ", ".join(str(run_id) for run_id in found.runs)
        printing.message(f"{printing.count(len(found.mails), 'failed mail')} to be decided again by run {made}")
    if found.left:
        printing.message(f"{printing.count(found.left, 'failed mail')} more would be due; raise --max or replay again")


def _show_resolution(found: Resolution, *, as_json: bool) -> None:
    reminder = found.reminder
    if as_json:
        printing.print_json(
            {
                "reminder": reminder.id,
                "answer": found.answer,
                "invoices": reminder.invoices,
                "counts_on": found.day,
                "done": found.done,
            }
        )
    if found.answer == "arrived":
        what = f"counts as sent on {found.day}" if found.done else f"would count as sent on {found.day}"
    elif found.answer == "lost":
        what = "is let go" if found.done else "would be let go"
    else:
        what = "is due again" if found.done else "would be due again"
    printing.message(f"reminder {reminder.id} to {reminder.recipient} ({', '.join(reminder.invoices)}) {what}")
    if not found.done:
        printing.message("nothing was done: add --yes")
