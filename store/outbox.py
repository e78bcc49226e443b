"""Each reminder as it left: its row, its invoices, the letter that was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from store.connection import Connection

REMINDER_STATES = ("due", "claimed", "armed", "sent", "in_doubt", "cancelled", "failed")

# The fence that the server accepted is the mail as it left; before that, the last one armed. One never armed has none.
_LEFT_FIRST = """
 ORDER BY EXISTS (SELECT FROM attempts a
                   WHERE a.reminder_id = m.reminder_id AND a.fence = m.fence AND a.step = 'accepted') DESC, m.fence DESC
 LIMIT 1
"""
_OUTBOX = f"""
SELECT r.id AS reminder, r.state, r.message_id, r.recipient, r.level, r.company_id, r.currency, u.title AS rule,
       r.run_id AS run, c.number AS customer, r.fence, r.armed_at, r.ended_at, r.ended_on, r.ever_in_doubt, r.problem,
       r.last_error, CASE r.state WHEN 'in_doubt' THEN r.doubt_reason END AS doubt_reason, m.subject,
       (SELECT sum(ri.amount) FROM reminder_invoices ri
         WHERE ri.reminder_id = r.id AND ri.outcome <> 'dropped') AS amount,
       ARRAY(SELECT i.number FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome <> 'dropped' ORDER BY i.number) AS invoices
  FROM reminders r
  JOIN rules u ON u.id = r.rule_id
  JOIN customers c ON c.id = r.customer_id
  LEFT JOIN LATERAL (SELECT m.subject FROM mails m WHERE m.reminder_id = r.id {_LEFT_FIRST}) m ON true
 WHERE (%(state)s::text IS NULL OR r.state = %(state)s::text)
   AND (%(run_id)s::bigint IS NULL OR r.run_id = %(run_id)s::bigint)
   AND (%(reminder_id)s::bigint IS NULL OR r.id = %(reminder_id)s::bigint)
 ORDER BY r.id DESC LIMIT %(limit)s
"""
_EXISTS = "SELECT FROM reminders WHERE id = %(reminder_id)s"
_MAIL = f"SELECT m.fence, m.letter, m.sha256 FROM mails m WHERE m.reminder_id = %(reminder_id)s {_LEFT_FIRST}"
_CONTENTS = "SELECT encode(sha256, 'hex'), content FROM attachments WHERE sha256 = ANY(%(hashes)s::bytea[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One reminder. `level`: the one it left from; `subject` is None before it was armed.

    `doubt_reason`: why its account's policy leaves it in doubt, one of workflow.doubt.REASONS.
    """

    reminder: int
    state: str
    message_id: str
    recipient: str
    level: int | None
    company_id: int
    currency: str
    rule: str
    run: int
    customer: str
    fence: int
    armed_at: datetime | None
    ended_at: datetime | None
    ended_on: date | None
    ever_in_doubt: bool
    problem: str | None
    last_error: str | None
    doubt_reason: str | None
    subject: str | None
    amount: Decimal | None
    invoices: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as it froze: what `letters.letter` kept of it, and the hash of its bytes."""

    fence: int
    letter: bytes
    sha256: bytes


def posted(
    conn: Connection,
    *,
    state: str | None = None,
    run_id: int | None = None,
    reminder_id: int | None = None,
    limit: int = 50,
) -> list[Posted]:
    """Reminders, newest first."""
    parameters = {"state": state, "run_id": run_id, "reminder_id": reminder_id, "limit": limit}
    with conn.cursor(row_factory=class_row(Posted)) as cursor:
        return cursor.execute(_OUTBOX, parameters).fetchall()


def exists(conn: Connection, reminder_id: int) -> bool:
    """Whether there is such a reminder."""
    return conn.execute(_EXISTS, {"reminder_id": reminder_id}).fetchone() is not None


def mail(conn: Connection, reminder_id: int) -> Mail | None:
    """The mail as it left, or as it was last armed. None where it never was."""
    row = conn.execute(_MAIL, {"reminder_id": reminder_id}).fetchone()
    return Mail(fence=row[0], letter=bytes(row[1]), sha256=bytes(row[2])) if row else None


def contents(conn: Connection, hashes: Sequence[str]) -> dict[str, bytes]:
    """What is kept under these hashes, by hexadecimal sha256."""
    parameters = {"hashes": [bytes.fromhex(one) for one in hashes]}
    return {row[0]: bytes(row[1]) for row in conn.execute(_CONTENTS, parameters)}
