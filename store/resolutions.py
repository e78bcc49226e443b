"""What a person, or an account's policy, decides about a mail in doubt.

It arrived, it is to be sent again, it was refused, or it is lost and let go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from store import outcomes

if TYPE_CHECKING:
    from datetime import date, datetime

    from store.companies import Company
    from store.connection import Connection
    from store.settings import Settings

_READ = """
SELECT r.id, r.state, r.fence, r.company_id, r.recipient, r.message_id, r.armed_at, r.level,
       ARRAY(SELECT i.number FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome IN ('planned', 'in_doubt') ORDER BY i.number) AS invoices
  FROM reminders r WHERE r.id = %(reminder_id)s
"""
_LOCKED = sql.SQL(_READ + " FOR NO KEY UPDATE")
# Those too whose state an uncounted mail leaves alone: by the lock a batch made meanwhile knows what came first.
_LOCK_INVOICES = """
SELECT id FROM invoices
 WHERE id IN (SELECT invoice_id FROM reminder_invoices WHERE reminder_id = %(reminder_id)s)
 ORDER BY id FOR NO KEY UPDATE
"""
_ARRIVED = """
UPDATE reminders
   SET state = 'sent', ended_at = clock_timestamp(), ended_on = %(day)s::date, problem = NULL, doubt_reason = NULL
 WHERE id = %(reminder_id)s AND state = 'in_doubt'
"""
_AGAIN = """
UPDATE reminders
   SET state = 'due', fence = fence + 1, not_before = clock_timestamp(), hinted_until = '-infinity', waits_for = NULL,
       deferrals = 0, deferred_at = NULL, problem = NULL, doubt_reason = NULL, alert_at = NULL,
       again_until = %(until)s::timestamptz
 WHERE id = %(reminder_id)s AND state = 'in_doubt'
"""
_LET_GO = """
UPDATE reminders
   SET state = 'failed', ended_at = clock_timestamp(), ended_on = %(day)s::date, problem = %(problem)s::text,
       last_error = %(error)s::text, doubt_reason = NULL
 WHERE id = %(reminder_id)s AND state = 'in_doubt'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """A reminder that may be in doubt. `armed_at`: when its dot may have left, on the database's clock."""

    id: int
    state: str
    fence: int
    company_id: int
    recipient: str
    message_id: str
    armed_at: datetime | None
    level: int | None
    invoices: list[str]


def read(conn: Connection, reminder_id: int, *, lock: bool) -> Doubtful | None:
    """The reminder; locked until the transaction ends where it is to be resolved."""
    with conn.cursor(row_factory=class_row(Doubtful)) as cursor:
        return cursor.execute(_LOCKED if lock else sql.SQL(_READ), {"reminder_id": reminder_id}).fetchone()


def day_it_left(reminder: Doubtful, company: Company, here: Settings) -> date:
    """The business day on which it counts, where it arrived: that of its dot, or today where the clock is set."""
    if reminder.armed_at is None:
        raise LookupError(f"reminder {reminder.id} never left")
    return company.day(here.business_now if here.clock_is_set else reminder.armed_at)


def arrived(conn: Connection, locked: Doubtful, day: date, because: str) -> None:
    """It reached its reader: as if the server had said so, on the business day it was armed."""
    conn.execute(_LOCK_INVOICES, {"reminder_id": locked.id})
    conn.execute(_ARRIVED, {"reminder_id": locked.id, "day": day})
    outcomes.settle_invoices(conn, [locked.id], "confirm", "accepted", day=day)
    outcomes.effects_due(conn, [locked.id])
    outcomes.note(conn, [(locked.id, locked.fence, "resolved", f"it arrived: {because}")])


def send_again(conn: Connection, locked: Doubtful, because: str, *, until: datetime | None = None) -> None:
    """It is due again, under a new fence; the claim decides on the day's facts. It stays one that was in doubt.

    From `until` on it goes back to being in doubt instead.
    """
    conn.execute(_AGAIN, {"reminder_id": locked.id, "until": until})
    outcomes.settle_invoices(conn, [locked.id], "retry", "planned")
    outcomes.note(conn, [(locked.id, locked.fence + 1, "resolved", f"send again: {because}")])


def lost(conn: Connection, locked: Doubtful, day: date, because: str) -> None:
    """It did not arrive and is let go: its invoices come back to their level, for the rule's next run to decide on."""
    _let_go(conn, locked, day, ("lost", "it did not arrive", f"lost: {because}"))


def refused(conn: Connection, locked: Doubtful, day: date, evidence: str) -> None:
    """It was refused after all: as if the server had said so."""
    _let_go(conn, locked, day, ("refused", evidence, f"refused: {evidence}"))


def _let_go(conn: Connection, locked: Doubtful, day: date, why: tuple[str, str, str]) -> None:
    problem, error, detail = why
    conn.execute(_LET_GO, {"reminder_id": locked.id, "day": day, "problem": problem, "error": error})
    outcomes.settle_invoices(conn, [locked.id], "release", "failed")
    outcomes.drop_effects(conn, [locked.id])
    outcomes.note(conn, [(locked.id, locked.fence, "resolved", detail)])
