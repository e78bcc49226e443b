"""What came back about our mails: which reminder a message id is of, and what is written down about it, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from store.invoices import Correction
from workflow.machine import Position

if TYPE_CHECKING:
    from datetime import date, datetime

    from store.connection import Connection
    from workflow.feedback import AfterBounce, FeedbackKind, TaskKind

# The whole message id is compared, never what it looks like.
_REMINDER = """
SELECT r.id, r.company_id, r.recipient, r.armed_at IS NOT NULL AS left,
       (SELECT m.letter FROM mails m WHERE m.reminder_id = r.id ORDER BY m.fence DESC LIMIT 1) AS letter,
       r.rule_id, r.rule_version, c.after_bounce
  FROM reminders r JOIN companies c ON c.id = r.company_id
 WHERE r.message_id = %(message_id)s::text
"""
_NOTE = """
INSERT INTO feedback (reminder_id, kind, reason, status, about, told_by, received_at)
VALUES (%(reminder_id)s, %(kind)s::text, %(reason)s::text, %(status)s::text, %(about)s::text, %(told_by)b::bytea,
        coalesce(%(received_at)s::timestamptz, now()))
ON CONFLICT DO NOTHING
"""
_UNDELIVERED = """
UPDATE reminders SET undelivered_at = clock_timestamp() WHERE id = %(reminder_id)s AND undelivered_at IS NULL
"""
# Each once: from when its mail counts as sent on, it counts as undelivered.
_TOLD_TOO_EARLY = """
UPDATE reminders SET undelivered_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT r.id FROM tasks t JOIN reminders r ON r.id = t.reminder_id
                       WHERE t.done_at IS NULL AND t.kind = 'undelivered' AND r.state = 'sent'
                         AND r.undelivered_at < r.ended_at
                       ORDER BY r.id LIMIT 100 FOR NO KEY UPDATE OF r SKIP LOCKED))
RETURNING message_id
"""
_TASK = """
INSERT INTO tasks (kind, company_id, customer_id, reminder_id, reason)
SELECT %(kind)s::text, company_id, customer_id, id, %(reason)s::text FROM reminders WHERE id = %(reminder_id)s
ON CONFLICT (kind, reminder_id) DO NOTHING
RETURNING id
"""
# What stands where this mail brought it; when it was reminded before that, the journal knows.
_REMINDED = """
SELECT i.id, i.number, i.state, i.before_settled, i.cycle, i.last_reminded_on,
       (SELECT (j.change #>> '{last_reminded_on,0}')::date FROM journal j
         WHERE j.subject = 'invoice' AND j.subject_id = i.id AND j.change -> 'last_reminded_on' IS NOT NULL
         ORDER BY j.id DESC LIMIT 1)
  FROM reminder_invoices ri JOIN reminders r ON r.id = ri.reminder_id JOIN invoices i ON i.id = ri.invoice_id
 WHERE ri.reminder_id = %(reminder_id)s AND ri.counts AND ri.outcome = 'accepted' AND i.open
   AND i.cycle = ri.cycle AND i.state = 'level_' || (ri.level + 1) AND i.last_reminded_on = r.ended_on
 ORDER BY i.id
   FOR NO KEY UPDATE OF i
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentReminder:
    """A reminder by its message id. `left`: it may have; `letter`: the last that was armed, as it was kept."""

    id: int
    company_id: int
    recipient: str
    left: bool
    letter: bytes | None
    rule_id: int
    rule_version: int
    after_bounce: AfterBounce


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminded:
    """An invoice as a mail left it; `before_on`: the day of its reminder before that."""

    id: int
    number: str
    stands: Correction
    before_on: date | None


def reminder(conn: Connection, message_id: str) -> SentReminder | None:
    """The reminder with this very message id."""
    with conn.cursor(row_factory=class_row(SentReminder)) as cursor:
        return cursor.execute(_REMINDER, {"message_id": message_id}).fetchone()


def note(
    conn: Connection,
    reminder_id: int,
    *,
    kind: FeedbackKind,
    reason: str,
    status: str,
    about: str,
    told_by: bytes,
    received_at: datetime | None,
) -> bool:
    """Write down what a mail told, hashes of who and by which mail. False where it is written down already.

    `received_at` None: nobody knows when, so now.
    """
    parameters = {
        "reminder_id": reminder_id, "kind": kind, "reason": reason, "status": status or None, "about": about,
        "told_by": told_by, "received_at": received_at,
    }  # fmt: skip
    return conn.execute(_NOTE, parameters).rowcount == 1


def mark_undelivered(conn: Connection, reminder_id: int) -> bool:
    """It reached nobody. False where that was known."""
    return conn.execute(_UNDELIVERED, {"reminder_id": reminder_id}).rowcount == 1


def told_too_early(conn: Connection) -> list[str]:
    """Take the mails that came back before they counted as sent, now that they do: their message ids."""
    return [row[0] for row in conn.execute(_TOLD_TOO_EARLY)]


def make_task(conn: Connection, reminder_id: int, *, kind: TaskKind, reason: str) -> int | None:
    """Somebody is to look at it. None where there was such a task already, done or not."""
    row = conn.execute(_TASK, {"reminder_id": reminder_id, "kind": kind, "reason": reason}).fetchone()
    return row[0] if row else None


def reminded(conn: Connection, reminder_id: int) -> list[Reminded]:
    """The open invoices that stand where this mail brought them, locked in id order."""
    return [
        Reminded(
            id=row[0], number=row[1], stands=Correction(Position(row[2], row[3]), row[4], row[5]), before_on=row[6]
        )
        for row in conn.execute(_REMINDED, {"reminder_id": reminder_id})
    ]
