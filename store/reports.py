"""A run's report: the facts, counted from the rows whenever they are asked for, and who has been told.

Every candidate is counted once: undecided, left out with a reason, or with the outcome it met in its reminder. Who was
told is in the journal (subject `run`, change `report_to`, or `supplement_to` for the second report of a run that was
reported before its end), in the transaction that marks the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row

from store.runs import REPORTED_BEFORE
from workflow.limits import TooLarge
from workflow.summary import Problem, RunSummary, Share

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from store.connection import Connection
    from workflow.facts import Language

PROBLEMS_SHOWN = 200
INVOICES_A_PROBLEM = 10
GIVE_UP_S = 86400.0

_HEAD = """
SELECT n.id AS run_id, n.rule_id, coalesce(v.definition ->> 'title', u.title) AS rule_title,
       c.code AS company_code, c.name AS company_name, c.zone, n.due_at, n.request_key IS NOT NULL AS by_hand,
       coalesce(w.name, n.started_by) AS started_by, n.missed, coalesce(f.name, n.refused_by, '') AS refused_by,
       CASE WHEN n.state = 'due' AND n.held_because IS NOT NULL THEN 'held' ELSE n.state END AS state,
       coalesce(n.held_because, n.problem, '') AS problem, n.oversize, n.supplement,
       (SELECT test_instance FROM settings) AS test_instance, coalesce(n.candidates, 0) AS candidates,
       n.undated, n.first_undated,
       (SELECT coalesce(sum(cardinality(k.invoice_ids)), 0)::int FROM chunks k WHERE k.run_id = n.id) AS undecided
  FROM runs n
  JOIN rules u ON u.id = n.rule_id
  JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
  JOIN companies c ON c.id = u.company_id
  LEFT JOIN users w ON 'user:' || w.login = n.started_by
  LEFT JOIN users f ON 'user:' || f.login = n.refused_by
 WHERE n.id = %(run_id)s
"""
_MAILS = "SELECT state, count(*) FROM reminders_of_runs WHERE run_id = %(run_id)s GROUP BY state"
_SHARES = """
SELECT CASE WHEN c.reminder_id IS NULL THEN 'left_out' ELSE ri.outcome END AS outcome,
       CASE WHEN c.reminder_id IS NULL THEN c.reason
            WHEN ri.outcome = 'dropped' AND r.state = 'cancelled' THEN coalesce(r.problem, 'withdrawn')
            WHEN ri.outcome = 'dropped' THEN 'withdrawn'
            ELSE '' END AS reason,
       CASE WHEN ri.counts THEN ri.level + 1 END AS level,
       i.currency, count(*) AS invoices, coalesce(sum(ri.amount), 0) AS amount
  FROM candidates c
  JOIN invoices i ON i.id = c.invoice_id
  LEFT JOIN reminder_invoices ri ON ri.reminder_id = c.reminder_id AND ri.invoice_id = c.invoice_id
  LEFT JOIN reminders r ON r.id = c.reminder_id
 WHERE c.run_id = %(run_id)s
 GROUP BY 1, 2, 3, 4
 ORDER BY 1, 2, 3, 4
"""
_PROBLEMS = """
WITH found AS (
    SELECT c.reason AS kind, i.customer_id, NULL::bigint AS reminder_id, i.number,
           CASE WHEN c.reason = 'error' THEN c.detail END AS detail
      FROM candidates c JOIN invoices i ON i.id = c.invoice_id
     WHERE c.run_id = %(run_id)s AND c.reason IN ('no_recipient', 'suppressed', 'error')
    UNION ALL
    SELECT CASE r.state WHEN 'failed' THEN r.problem WHEN 'in_doubt' THEN 'in_doubt' ELSE 'deferred' END,
           r.customer_id, r.id, i.number, r.last_error
      FROM reminders_of_runs r
      JOIN reminder_invoices ri ON ri.reminder_id = r.id AND ri.outcome IN ('planned', 'in_doubt', 'failed')
      JOIN invoices i ON i.id = ri.invoice_id
     WHERE r.run_id = %(run_id)s AND (r.state IN ('failed', 'in_doubt') OR (r.state = 'due' AND r.waits_for = 'server'))
)
SELECT f.kind, k.number AS customer_number, k.name AS customer_name,
       (array_agg(f.number ORDER BY f.number))[:%(numbers)s] AS numbers, count(*) AS count,
       coalesce(max(f.detail), '') AS detail, count(*) OVER () AS problem_count
  FROM found f JOIN customers k ON k.id = f.customer_id
 GROUP BY f.kind, f.customer_id, f.reminder_id, k.number, k.name
 ORDER BY f.kind <> 'in_doubt', f.kind, k.number, f.reminder_id
 LIMIT %(limit)s
"""
# NO KEY: a row that refers to the run may still be written while its report is on its way.
_LOCK = """
SELECT n.id, n.state, n.supplement, n.created_at, v.account_id,
       coalesce(n.closed_at, n.held_at, n.opened_at + make_interval(secs => %(patience_s)s::float8))
           < now() - make_interval(secs => %(give_up_s)s::float8) AS last_try
  FROM runs n JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
 WHERE n.id = %(run_id)s AND n.reported_at IS NULL
   AND (n.closed_at IS NOT NULL
        OR (n.state = 'due' AND n.held_because IS NOT NULL)
        OR (n.state = 'open' AND n.opened_at < now() - make_interval(secs => %(patience_s)s::float8)))
   FOR NO KEY UPDATE OF n SKIP LOCKED
"""
# Read from the JSON itself: a run that failed because its rule cannot be read is reported too.
_LOGINS = """
 FROM runs n
 JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(v.definition -> 'report_to')
                                             WHEN 'array' THEN v.definition -> 'report_to' ELSE '[]' END) AS l (login)
"""
_READERS = f"""
SELECT DISTINCT w.id, w.name, w.email, w.language {_LOGINS} JOIN users w ON w.login = l.login AND w.active
 WHERE n.id = %(run_id)s
   AND NOT EXISTS (SELECT FROM journal j
                    WHERE j.subject = 'run' AND j.subject_id = n.id
                      AND (j.change -> CASE WHEN n.supplement THEN 'supplement_to' ELSE 'report_to' END
                           ->> 1)::bigint = w.id)
 ORDER BY w.id LIMIT 1000
"""
_STRANGERS = f"""
SELECT count(*) {_LOGINS} WHERE n.id = %(run_id)s
   AND NOT EXISTS (SELECT FROM users w WHERE w.login = l.login AND w.active)
"""
_TOLD = """
INSERT INTO journal (subject, subject_id, change)
SELECT 'run', n.id, jsonb_build_object(CASE WHEN n.supplement THEN 'supplement_to' ELSE 'report_to' END,
                                       jsonb_build_array(NULL, u.id))
  FROM runs n CROSS JOIN unnest(%(user_ids)s::bigint[]) AS u (id)
 WHERE n.id = %(run_id)s
"""
_REPORTED = """
UPDATE runs SET reported_at = now(), supplement = supplement OR closed_at IS NULL, hinted_until = '-infinity'
 WHERE id = %(run_id)s
"""
_LATER = """
UPDATE runs SET hinted_until = clock_timestamp() + make_interval(secs => %(wait_s)s::float8) WHERE id = %(run_id)s
"""
_CLOSE = f"""
UPDATE runs n
   SET state = 'closed', closed_at = now(), reported_at = NULL, hinted_until = '-infinity',
       supplement = {REPORTED_BEFORE}
 WHERE n.id = %(run_id)s AND n.state = 'open'
   AND NOT EXISTS (SELECT FROM chunks k WHERE k.run_id = n.id AND k.open)
   AND (SELECT r.id FROM reminders r WHERE r.run_id = n.id AND r.open ORDER BY r.run_id, r.id LIMIT 1) IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreported:
    """A run whose report is due, locked. `last_try`: it has been due for a day."""

    id: int
    state: str
    supplement: bool
    created_at: datetime
    account_id: int
    last_try: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A user who gets the report and has not had it yet."""

    id: int
    name: str
    email: str
    language: Language


def summary(conn: Connection, run_id: int) -> RunSummary:
    """Count what a run did, from the rows as they stand. Raises LookupError where there is no such run."""
    parameters = {"run_id": run_id, "limit": PROBLEMS_SHOWN, "numbers": INVOICES_A_PROBLEM}
    with conn.cursor(row_factory=dict_row) as cursor:
        head = cursor.execute(_HEAD, parameters).fetchone()
    if head is None:
        raise LookupError(f"there is no run {run_id}")
    with conn.cursor(row_factory=class_row(Share)) as counting:
        shares = counting.execute(_SHARES, parameters).fetchall()
    problems = conn.execute(_PROBLEMS, parameters).fetchall()
    undated = _undated(head)
    oversize = head.pop("oversize")
    return RunSummary(
        **head,
        oversize=TooLarge(**oversize) if oversize else None,
        mails=dict(conn.execute(_MAILS, parameters).fetchall()),
        shares=tuple(shares),
        problems=tuple(
            Problem(
                kind=kind,
                customer_number=number,
                customer_name=name,
                invoices=tuple(numbers),
                count=count,
                detail=detail,
            )
            for kind, number, name, numbers, count, detail, _ in problems
        )
        + undated,
        problem_count=(problems[0][-1] if problems else 0) + len(undated),
    )


def _undated(head: dict[str, Any]) -> tuple[Problem, ...]:
    """All invoices without a due date as one point under the company's own name, whether or not they were candidates.

    Takes what only this point needs out of the head.
    """
    code, count, first = head.pop("company_code"), head.pop("undated"), head.pop("first_undated")
    if not count:
        return ()
    return (
        Problem(
            kind="no_due_date",
            customer_number=code,
            customer_name=head["company_name"],
            invoices=tuple(first),
            count=count,
            detail="",
        ),
    )


def close(conn: Connection, run_id: int) -> bool:
    """Close a run of which every candidate is decided and every mail has ended. False when that is not so, or was done.

    One that was reported before its end is to be reported again.
    """
    return conn.execute(_CLOSE, {"run_id": run_id}).rowcount == 1


def lock_unreported(
    conn: Connection, run_id: int, *, patience_s: float, give_up_s: float = GIVE_UP_S
) -> Unreported | None:
    """Lock a run whose report is due: it has ended, or was opened `patience_s` ago.

    None when it is not due, when it was reported, or while another worker reports it.
    """
    parameters = {"run_id": run_id, "patience_s": patience_s, "give_up_s": give_up_s}
    with conn.cursor(row_factory=class_row(Unreported)) as cursor:
        return cursor.execute(_LOCK, parameters).fetchone()


def readers(conn: Connection, run_id: int) -> list[Reader]:
    """The users whom the run's rule version names and who have not had this report."""
    with conn.cursor(row_factory=class_row(Reader)) as cursor:
        return cursor.execute(_READERS, {"run_id": run_id}).fetchall()


def strangers(conn: Connection, run_id: int) -> int:
    """How many of the named logins are nobody's."""
    row = conn.execute(_STRANGERS, {"run_id": run_id}).fetchone()
    return int(row[0]) if row else 0


def told(conn: Connection, run_id: int, user_ids: Iterable[int]) -> None:
    """Journal that these users have had the report: they do not get it again."""
    conn.execute(_TOLD, {"run_id": run_id, "user_ids": list(user_ids)})


def mark_reported(conn: Connection, run_id: int) -> None:
    """The report is done; that of a run which is still open will have a supplement."""
    conn.execute(_REPORTED, {"run_id": run_id})


def try_later(conn: Connection, run_id: int, *, wait_s: float) -> None:
    """No hint for this run before `wait_s` have passed."""
    conn.execute(_LATER, {"run_id": run_id, "wait_s": wait_s})
