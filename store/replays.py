"""Failed mails again: which they are, which of their invoices may still be reminded, and the run that will decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from store import runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from store.connection import Connection
    from store.rules import PinnedRule

# Still where the failed mail left it, and no later mail took its place: one that counts stands at its level and cycle
# with nothing out; where mails do not count, the level says nothing and the rule's own later mails do.
_STANDS = """
    NOT EXISTS (SELECT FROM reminder_invoices l
                 WHERE l.invoice_id = ri.invoice_id AND l.reminder_id > ri.reminder_id AND l.outcome <> 'dropped'
                   AND CASE WHEN ri.counts THEN l.counts ELSE l.rule_id = ri.rule_id END)
    AND (NOT ri.counts OR (i.level = ri.level AND i.cycle = ri.cycle AND i.state = 'level_' || ri.level))
"""
_FAILED = f"""
SELECT r.id, r.rule_id, r.rule_version, r.run_id, r.problem, r.last_error, r.ended_on,
       ARRAY(SELECT ri.invoice_id FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome = 'failed' AND ({_STANDS}) ORDER BY i.id) AS standing,
       ARRAY(SELECT i.number FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome = 'failed' AND NOT ({_STANDS}) ORDER BY i.number) AS moved_on
  FROM reminders r
 WHERE r.state = 'failed'
   AND (%(run_id)s::bigint IS NULL OR r.run_id = %(run_id)s::bigint)
   AND (%(rule_id)s::bigint IS NULL OR r.rule_id = %(rule_id)s::bigint)
   AND (%(since)s::date IS NULL OR r.ended_on >= %(since)s::date)
   AND (%(error)s::text IS NULL OR strpos(lower(concat_ws(' ', r.problem, r.last_error)), lower(%(error)s::text)) > 0)
 ORDER BY r.id LIMIT %(limit)s
"""
_CHOSEN = sql.SQL("i.id = ANY(%(ids)s::bigint[])").format()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A failed mail. `standing`: ids of its invoices still where it left them; `moved_on`: the others' numbers."""

    id: int
    rule_id: int
    rule_version: int
    run_id: int
    problem: str | None
    last_error: str | None
    ended_on: date | None
    standing: list[int]
    moved_on: list[str]


def failed(
    conn: Connection,
    *,
    run_id: int | None,
    rule_id: int | None,
    since: date | None,
    error: str | None,
    limit: int,
) -> list[Failed]:
    """Failed mails, oldest first. `error`: part of the problem's class or of the server's words, whatever the case."""
    parameters = {"run_id": run_id, "rule_id": rule_id, "since": since, "error": error, "limit": limit}
    with conn.cursor(row_factory=class_row(Failed)) as cursor:
        return cursor.execute(_FAILED, parameters).fetchall()


def insert_run(
    conn: Connection, pinned: PinnedRule, invoice_ids: Sequence[int], *, due_at: datetime, request_key: str
) -> int:
    """Make an open run of this rule version whose candidates are these invoices; its chunks are decided as any's."""
    run_id = runs.insert(conn, pinned, due_at=due_at, request_key=request_key)
    if run_id is None:
        raise LookupError(f"the request {request_key} has its run already")
    runs.fix(conn, run_id, _CHOSEN, {"ids": list(invoice_ids)})
    return run_id
