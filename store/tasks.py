"""What an accountant is to look at: mails that reached nobody, readers who complained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import date, datetime

    from store.connection import Connection
    from workflow.feedback import TaskKind

_TASKS = """
SELECT t.id, t.kind, t.reason, t.created_at, t.done_at, t.done_by, t.company_id, co.code AS company,
       c.number AS customer, c.name AS customer_name, t.reminder_id, r.rule_id, r.rule_version, r.recipient,
       r.ended_on AS sent_on, r.open AS unsettled, s.id AS invoice_id, s.numbers AS invoices
  FROM tasks t
  JOIN companies co ON co.id = t.company_id
  JOIN customers c ON c.id = t.customer_id
  JOIN reminders r ON r.id = t.reminder_id
  LEFT JOIN LATERAL (SELECT min(i.id) AS id, array_agg(i.number ORDER BY i.number) AS numbers
                       FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
                      WHERE ri.reminder_id = t.reminder_id AND ri.outcome <> 'dropped') s ON true
"""
_OPEN_ONES = f"{_TASKS} WHERE t.done_at IS NULL ORDER BY t.id DESC LIMIT %(limit)s"
_DONE_ONES = f"{_TASKS} WHERE t.done_at IS NOT NULL ORDER BY t.id DESC LIMIT %(limit)s"
_ONE = f"{_TASKS} WHERE t.id = %(task_id)s::bigint"
_DONE = """
UPDATE tasks SET done_at = clock_timestamp(), done_by = acting() WHERE id = %(task_id)s::bigint AND done_at IS NULL
"""
_OPEN = "SELECT kind, count(*) FROM tasks WHERE done_at IS NULL GROUP BY kind ORDER BY kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, the mail that it is about, and whose. `reason` is a key of workflow.bounces.REASONS.

    `unsettled`: that mail is still on its way, or in doubt.
    """

    id: int
    kind: TaskKind
    reason: str
    created_at: datetime
    done_at: datetime | None
    done_by: str | None
    company_id: int
    company: str
    customer: str
    customer_name: str
    reminder_id: int
    rule_id: int
    rule_version: int
    recipient: str
    sent_on: date | None
    unsettled: bool
    invoice_id: int | None
    invoices: list[str] | None


def tasks(conn: Connection, *, done: bool, limit: int = 200) -> list[Task]:
    """The open tasks, or those that are done, newest first."""
    with conn.cursor(row_factory=class_row(Task)) as cursor:
        return cursor.execute(_DONE_ONES if done else _OPEN_ONES, {"limit": limit}).fetchall()


def task(conn: Connection, task_id: int) -> Task | None:
    """The task of that number."""
    with conn.cursor(row_factory=class_row(Task)) as cursor:
        return cursor.execute(_ONE, {"task_id": task_id}).fetchone()


def finish(conn: Connection, task_id: int) -> bool:
    """Somebody says that it is done. False where it was."""
    return conn.execute(_DONE, {"task_id": task_id}).rowcount == 1


def open_tasks(conn: Connection) -> dict[str, int]:
    """How many are open, by kind."""
    return dict(conn.execute(_OPEN).fetchall())
