"""One received mail and what follows of it: noted, the address suppressed, a task made. Twice is once.

The report's words are read and forgotten; addresses are kept as hashes, beside the one that gets no more mail.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letters.letter import read_stored
from store import companies, facts, feedback, invoices, journal, outcomes, rules, settings
from store.connection import act
from store.invoices import Correction
from workers.bounces import read_bounces, read_head
from workers.log import log
from workflow.errors import RelanceError
from workflow.feedback import Sent, meaning
from workflow.machine import corrected, level_of
from workflow.recipients import recipient

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from store.connection import Connection
    from store.feedback import SentReminder
    from workers.bounces import Bounce
    from workflow.feedback import FeedbackKind, Meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came back about a reminder. `again`: numbers of invoices of which the next contact is reminded."""

    reminder_id: int
    kind: FeedbackKind
    reason: str
    status: str
    address: str
    suppressed: bool
    task_id: int | None
    again: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A mail as what is kept of it."""

    by: str
    sender: str
    told_by: bytes
    received_at: datetime | None


def take(conn: Connection, content: bytes, *, received_at: datetime | None, by: str) -> list[Came]:
    """Read one mail and do what follows, in the caller's transaction. Returns what was not known before.

    A mail that is about none of ours, or is one of ours, changes nothing.
    """
    head = read_head(content)
    if head.message_id and feedback.reminder(conn, head.message_id):
        return []  # a copy of our own mail refers to the reminders before it
    own = head.message_id.encode() or content.replace(b"\r\n", b"\n")
    told = _Told(by=by, sender=head.sender, told_by=hashlib.sha256(own).digest(), received_at=received_at)
    found = []
    for bounce in read_bounces(content):
        reminder = feedback.reminder(conn, bounce.message_id) if bounce.message_id else None
        came = _one(conn, reminder, bounce, told) if reminder else None
        found += [came] if came else []
    return found


def remind_again(conn: Connection, reminder_id: int, *, only: Collection[int] | None = None) -> tuple[str, ...]:
    """Let the invoices of a mail that reached nobody be reminded anew: a level down, in a new cycle, by their rule.

    Only what stands where that mail brought it. Returns their numbers.
    """
    held = [one for one in feedback.reminded(conn, reminder_id) if only is None or one.id in only]
    corrections = {
        one.id: Correction(
            corrected(one.stands.position, level_of(one.stands.position.state) - 1),
            one.stands.cycle + 1,
            one.before_on,
        )
        for one in held
    }
    invoices.correct(conn, corrections)
    return tuple(one.number for one in held)


def catch_up(conn: Connection, *, by: str) -> int:
    """Do what follows of the bounces that came before their mail counted as sent. Returns of how many.

    While nobody had said that it left, its invoices stood where they were before it.
    """
    early = [found for each in feedback.told_too_early(conn) if (found := feedback.reminder(conn, each))]
    for reminder in early:
        _act(conn, reminder, by)
        _remind_the_next(conn, reminder)
    return len(early)


def _act(conn: Connection, reminder: SentReminder, by: str) -> None:
    today = companies.companies(conn)[reminder.company_id].day(settings.read(conn).business_now)
    act(conn, actor=by, because=f"what came back about reminder {reminder.id}", today=today)


def _one(conn: Connection, reminder: SentReminder, bounce: Bounce, told: _Told) -> Came | None:
    sent = Sent(recipient=reminder.recipient, left=reminder.left, diverted=_diverted(reminder))
    means = meaning(bounce.kind, bounce.reason, bounce.address, sent)
    if means is None:
        return None
    address = told.sender if means.kind == "answer" else bounce.address
    _act(conn, reminder, told.by)
    new = feedback.note(
        conn,
        reminder.id,
        kind=means.kind,
        reason=means.reason,
        status=bounce.status or bounce.reply,
        about=_hashed(address),
        told_by=told.told_by,
        received_at=told.received_at,
    )
    if not new:
        return None
    task_id, again = _follow(conn, reminder, means, bounce)
    return Came(
        reminder_id=reminder.id,
        kind=means.kind,
        reason=means.reason,
        status=bounce.status or bounce.reply,
        address=address,
        suppressed=means.suppresses,
        task_id=task_id,
        again=again,
    )


def _follow(
    conn: Connection, reminder: SentReminder, means: Meaning, bounce: Bounce
) -> tuple[int | None, tuple[str, ...]]:
    if means.suppresses:
        why = bounce.status or bounce.reply or means.reason
        outcomes.suppress(conn, reminder.recipient, "complaint" if means.kind == "complaint" else f"bounced: {why}")
    if means.task is None:
        return None, ()
    task_id = feedback.make_task(conn, reminder.id, kind=means.task, reason=means.reason)
    again: tuple[str, ...] = ()
    if means.task == "undelivered" and feedback.mark_undelivered(conn, reminder.id):
        journal.write(conn, "reminder", reminder.id, {"undelivered": [None, means.reason]})
        again = _remind_the_next(conn, reminder)
    return task_id, again


def _remind_the_next(conn: Connection, reminder: SentReminder) -> tuple[str, ...]:
    """Where the company wants it, and there is one."""
    if reminder.after_bounce != "next_contact":
        return ()
    return remind_again(conn, reminder.id, only=_reachable(conn, reminder))


def _reachable(conn: Connection, reminder: SentReminder) -> set[int]:
    """The mail's invoices whose chain has somebody left who can be written to."""
    try:
        rule = rules.pinned(conn, reminder.rule_id, reminder.rule_version).rule
    except RelanceError as error:  # a definition of another version: nobody knows its chain, and a person has the task
        log("rule_unreadable", level="error", rule=reminder.rule_id, reminder=reminder.id, error=type(error).__name__)
        return set()
    today = companies.companies(conn)[reminder.company_id].day(settings.read(conn).business_now)
    asking = facts.Asking(company_id=reminder.company_id, today=today)
    ids = [one.id for one in feedback.reminded(conn, reminder.id)]
    return {
        one.id
        for one in facts.load(conn, ids, asking)
        if (found := recipient(one, rule)) and not found.contact.suppressed
    }


def _diverted(reminder: SentReminder) -> bool:
    """Whether that very mail went to a test's mailbox, whatever the test says today."""
    return reminder.letter is not None and bool(read_stored(reminder.letter).get("redirected_from"))


def _hashed(address: str) -> str:
    """As the journal writes an address; empty where there is none."""
    return f"sha256:{hashlib.sha256(address.lower().encode('utf-8', 'replace')).hexdigest()}" if address else ""
