"""What happened to one invoice: the runs that looked at it, the mails about it, every change with who and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from store.connection import Connection
    from workflow.feedback import FeedbackKind

_KIND = "SELECT kind FROM invoices WHERE id = %(invoice_id)s"
_OPEN_OF_CUSTOMER = """
SELECT id FROM invoices
 WHERE customer_id = %(customer_id)s AND company_id = %(company_id)s AND open AND kind = 'invoice'
 ORDER BY id LIMIT 10000
"""
_RUNS = """
SELECT c.run_id, u.title AS rule, n.rule_version, n.due_at, n.started_by, c.reason, c.detail, c.reminder_id
  FROM candidates c JOIN runs n ON n.id = c.run_id JOIN rules u ON u.id = n.rule_id
 WHERE c.invoice_id = %(invoice_id)s
UNION ALL
SELECT n.id, u.title, n.rule_version, n.due_at, n.started_by, 'undecided', NULL, NULL
  FROM chunks k JOIN runs n ON n.id = k.run_id JOIN rules u ON u.id = n.rule_id
 WHERE k.open AND %(invoice_id)s = ANY(k.invoice_ids)
 ORDER BY 1 LIMIT 1000
"""
_REMINDERS = """
SELECT r.id, r.run_id, u.title AS rule, r.state, r.level, ri.counts, ri.outcome, ri.amount, r.currency, r.recipient,
       r.message_id, r.created_at, r.ended_at, r.ended_on, r.ever_in_doubt, r.problem, r.last_error, r.undelivered_at
  FROM reminder_invoices ri JOIN reminders r ON r.id = ri.reminder_id JOIN rules u ON u.id = r.rule_id
 WHERE ri.invoice_id = %(invoice_id)s
 ORDER BY r.id LIMIT 1000
"""
_ATTEMPTS = """
SELECT reminder_id, fence, step, detail, actor, at
  FROM attempts WHERE reminder_id = ANY(%(reminder_ids)s::bigint[])
 ORDER BY reminder_id, id LIMIT 10000
"""
_FEEDBACK = """
SELECT reminder_id, kind, reason, status, about, received_at
  FROM feedback WHERE reminder_id = ANY(%(reminder_ids)s::bigint[])
 ORDER BY reminder_id, id LIMIT 10000
"""
_CHANGES = """
SELECT at, today, actor, because, change
  FROM journal WHERE subject = 'invoice' AND subject_id = %(invoice_id)s
 ORDER BY id LIMIT 10000
"""
_PAYMENTS = """
SELECT kind, reference, amount, currency, received_on
  FROM payments WHERE invoice_id = %(invoice_id)s ORDER BY received_on, id LIMIT 1000
"""
_TAGS = "SELECT id, title FROM tags ORDER BY id LIMIT 10000"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that had the invoice as a candidate, with its verdict; `undecided`: it waits for its turn."""

    run_id: int
    rule: str
    rule_version: int
    due_at: datetime
    started_by: str
    reason: str
    detail: str | None
    reminder_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastReminder:
    """A mail about the invoice. `level` is the one it left from; None where it does not count."""

    id: int
    run_id: int
    rule: str
    state: str
    level: int | None
    counts: bool
    outcome: str
    amount: Decimal
    currency: str
    recipient: str
    message_id: str
    created_at: datetime
    ended_at: datetime | None
    ended_on: date | None
    ever_in_doubt: bool
    problem: str | None
    last_error: str | None
    undelivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of the ledger: who tried what, and what the server said."""

    reminder_id: int
    fence: int
    step: str
    detail: str | None
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What came back about a mail. `reason` is a key of workflow.bounces.REASONS; `about`: the hash of an address.

    It is the address that a report speaks of, or whoever answers.
    """

    reminder_id: int
    kind: FeedbackKind
    reason: str
    status: str | None
    about: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the journal. `change`: {column: [old, new]}."""

    at: datetime
    today: date | None
    actor: str
    because: str | None
    change: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One line of the invoice's ledger."""

    kind: str
    reference: str
    amount: Decimal
    currency: str
    received_on: date


def kind(conn: Connection, invoice_id: int) -> str:
    """Whether it is an invoice or a credit note."""
    row = conn.execute(_KIND, {"invoice_id": invoice_id}).fetchone()
    return row[0] if row else ""


def open_of_customer(conn: Connection, customer_id: int, company_id: int) -> list[int]:
    """The open invoices of a customer of one company: what the decision looks at together."""
    parameters = {"customer_id": customer_id, "company_id": company_id}
    return [row[0] for row in conn.execute(_OPEN_OF_CUSTOMER, parameters)]


def past_runs(conn: Connection, invoice_id: int) -> list[PastRun]:
    """Every run that had it as a candidate, oldest first."""
    with conn.cursor(row_factory=class_row(PastRun)) as cursor:
        return cursor.execute(_RUNS, {"invoice_id": invoice_id}).fetchall()


def past_reminders(conn: Connection, invoice_id: int) -> list[PastReminder]:
    """Every mail about it, oldest first."""
    with conn.cursor(row_factory=class_row(PastReminder)) as cursor:
        return cursor.execute(_REMINDERS, {"invoice_id": invoice_id}).fetchall()


def attempts(conn: Connection, reminder_ids: Sequence[int]) -> dict[int, list[Attempt]]:
    """The ledger of attempts by reminder, in its order."""
    found: dict[int, list[Attempt]] = {reminder_id: [] for reminder_id in reminder_ids}
    with conn.cursor(row_factory=class_row(Attempt)) as cursor:
        for attempt in cursor.execute(_ATTEMPTS, {"reminder_ids": list(reminder_ids)}):
            found[attempt.reminder_id].append(attempt)
    return found


def feedback(conn: Connection, reminder_ids: Sequence[int]) -> dict[int, list[Feedback]]:
    """What came back about these mails, in its order."""
    found: dict[int, list[Feedback]] = {reminder_id: [] for reminder_id in reminder_ids}
    with conn.cursor(row_factory=class_row(Feedback)) as cursor:
        for one in cursor.execute(_FEEDBACK, {"reminder_ids": list(reminder_ids)}):
            found[one.reminder_id].append(one)
    return found


def changes(conn: Connection, invoice_id: int) -> list[Change]:
    """Every change of the invoice itself, oldest first; tags by their titles."""
    titles: dict[int, str] = dict(conn.execute(_TAGS).fetchall())
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        found = cursor.execute(_CHANGES, {"invoice_id": invoice_id}).fetchall()
    return [_with_titles(one, titles) if "tag" in one.change else one for one in found]


def payments(conn: Connection, invoice_id: int) -> list[Payment]:
    """Its ledger."""
    with conn.cursor(row_factory=class_row(Payment)) as cursor:
        return cursor.execute(_PAYMENTS, {"invoice_id": invoice_id}).fetchall()


def _with_titles(one: Change, titles: Mapping[int, str]) -> Change:
    tag = [titles.get(tag_id, str(tag_id)) if tag_id is not None else None for tag_id in one.change["tag"]]
    return Change(
        at=one.at, today=one.today, actor=one.actor, because=one.because, change={**one.change, "tag": tag}
    )  # fmt: skip
