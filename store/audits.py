"""What an audit reads: the ledger, the journal, and what the runs say they did; and what it found, a row a day.

Its queries are its own: it must not share a fault with what it looks at.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from workflow.audit import Became, Pause, Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from store.connection import Connection

PAGE_INVOICES = 2_000

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# Between two pages it reckons, for minutes where runs are large and the machine is busy.
_TAKE_TIME = "SET LOCAL idle_in_transaction_session_timeout = '1h'"
# closed_at is when its transaction began: what was committed just after the last audit looked may bear a time before.
_RUNS = """
SELECT id, rule_id, rule_version, due_at, state, opened_at, closed_at,
       CASE WHEN refused_by IS NULL THEN held_because END AS held_because
  FROM runs
 WHERE rule_id = ANY(%(rule_ids)s::bigint[]) AND request_key IS NULL
   AND (due_at > %(since)s::timestamptz
        OR closed_at IS NULL OR closed_at > %(ended_since)s::timestamptz - interval '1 minute')
 ORDER BY rule_id, due_at LIMIT 100000
"""
_INVOICES = """
SELECT i.id, i.number, i.created_at, i.customer_id, i.state, i.before_settled, i.cycle, i.commercial_state, i.currency,
       i.total, i.balance, i.issued_on, i.due_on, i.last_reminded_on, i.payment_method, i.factored, i.held_because,
       co.code AS company
  FROM invoices i JOIN companies co ON co.id = i.company_id
 WHERE i.company_id = %(company_id)s AND i.open AND i.kind = 'invoice' AND i.id > %(after)s
 ORDER BY i.id LIMIT %(limit)s
"""
_CUSTOMERS = """
SELECT id, number, kind, excluded, held_because FROM customers WHERE id = ANY(%(ids)s::bigint[])
"""
_TAGS = "SELECT invoice_id, tag_id FROM taggings WHERE invoice_id = ANY(%(ids)s::bigint[])"
_CUSTOMER_TAGS = "SELECT customer_id, tag_id FROM customer_taggings WHERE customer_id = ANY(%(ids)s::bigint[])"
_PAYMENTS = "SELECT invoice_id, recorded_at, amount FROM payments WHERE invoice_id = ANY(%(ids)s::bigint[])"
_PAUSES = """
SELECT invoice_id, NULL::bigint, created_at, lifted_at, until_on FROM pauses WHERE invoice_id = ANY(%(ids)s::bigint[])
UNION ALL
SELECT NULL, customer_id, created_at, lifted_at, until_on
  FROM pauses WHERE customer_id = ANY(%(customer_ids)s::bigint[])
"""
_CHANGES = """
SELECT subject_id, at, change FROM journal
 WHERE subject = ANY(%(subjects)s::text[]) AND subject_id = ANY(%(ids)s::bigint[]) AND at > %(since)s::timestamptz
 ORDER BY id DESC
"""
_CANDIDATES = """
SELECT c.run_id, c.invoice_id, c.reason, r.state, ri.outcome
  FROM candidates c
  LEFT JOIN reminders r ON r.id = c.reminder_id
  LEFT JOIN reminder_invoices ri ON ri.reminder_id = c.reminder_id AND ri.invoice_id = c.invoice_id
 WHERE c.invoice_id = ANY(%(ids)s::bigint[]) AND c.run_id = ANY(%(run_ids)s::bigint[])
"""
_MAIL_TAGS = """
SELECT DISTINCT ri.invoice_id, v.definition -> 'tags'
  FROM reminder_invoices ri
  JOIN runs n ON n.id = ri.run_id
  JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
 WHERE ri.invoice_id = ANY(%(ids)s::bigint[]) AND jsonb_typeof(v.definition -> 'tags') = 'array'
"""
_UNDECIDED = """
SELECT run_id, unnest(invoice_ids) FROM chunks WHERE run_id = ANY(%(run_ids)s::bigint[]) AND open
"""
_NO_EVIDENCE = """
SELECT r.run_id, i.number
  FROM reminders_of_runs r
  JOIN reminder_invoices ri ON ri.reminder_id = r.id AND ri.outcome = 'accepted'
  JOIN invoices i ON i.id = ri.invoice_id
 WHERE r.run_id = ANY(%(run_ids)s::bigint[]) AND r.state = 'sent'
   AND NOT EXISTS (SELECT FROM attempts a WHERE a.reminder_id = r.id AND a.step IN ('accepted', 'resolved'))
 ORDER BY r.run_id, i.number LIMIT 1000
"""
_TITLES = "SELECT id, title FROM tags ORDER BY id LIMIT 100000"
_PLAN = """
INSERT INTO audits (on_day)
SELECT (coalesce(business_now, now()) AT TIME ZONE 'UTC')::date FROM settings
 WHERE NOT EXISTS (SELECT FROM audits
                    WHERE on_day >= (SELECT (coalesce(business_now, now()) AT TIME ZONE 'UTC')::date FROM settings))
ON CONFLICT DO NOTHING
"""
_KEEP = """
UPDATE audits SET finished_at = now(), since = %(since)s::timestamptz, until = %(until)s::timestamptz,
       findings = %(findings)s, result = %(result)s::jsonb
 WHERE id = %(id)s AND finished_at IS NULL
"""
_LAST = """
SELECT on_day, since, until, finished_at, findings, (result ->> 'looked_at')::timestamptz AS looked_at
  FROM audits WHERE finished_at IS NOT NULL
 ORDER BY on_day DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRun:
    """A run that a rule's schedule made."""

    id: int
    rule_id: int
    rule_version: int
    due_at: datetime
    state: str
    opened_at: datetime | None
    closed_at: datetime | None
    held_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAudit:
    """The latest that is finished: how many things it found. `looked_at`: it saw what was committed by then."""

    on_day: date
    since: datetime
    until: datetime
    finished_at: datetime
    findings: int
    looked_at: datetime


def one_snapshot(conn: Connection) -> None:
    """See the database as it is now in all of this transaction, and change nothing. To be said before any query.

    The transaction may rest for an hour between two of its queries.
    """
    conn.execute(_SNAPSHOT)
    conn.execute(_TAKE_TIME)


def runs(
    conn: Connection, rule_ids: Collection[int], since: datetime, *, ended_since: datetime | None
) -> list[AuditedRun]:
    """These rules' scheduled runs in their order: due after `since`, not ended yet, or ended after `ended_since`.

    The first instant is of the business clock, the other of the machine's.
    """
    parameters = {"rule_ids": list(rule_ids), "since": since, "ended_since": ended_since}
    with conn.cursor(row_factory=class_row(AuditedRun)) as cursor:
        return cursor.execute(_RUNS, parameters).fetchall()


def records(conn: Connection, company_id: int, since: datetime) -> Iterator[list[Record]]:
    """The company's open invoices, page by page, each with what changed since that instant of the machine's clock."""
    after = 0
    while True:
        with conn.cursor(row_factory=dict_row) as cursor:
            page = {"company_id": company_id, "after": after, "limit": PAGE_INVOICES}
            rows = cursor.execute(_INVOICES, page).fetchall()
        if not rows:
            return
        yield _records(conn, rows, since)
        after = rows[-1]["id"]


def _records(conn: Connection, rows: Sequence[dict[str, Any]], since: datetime) -> list[Record]:
    ids = [row["id"] for row in rows]
    people = sorted({row["customer_id"] for row in rows})
    with conn.cursor(row_factory=dict_row) as cursor:
        customers = {one["id"]: one for one in cursor.execute(_CUSTOMERS, {"ids": people})}
    tags, customer_tags = _sets(conn, _TAGS, ids), _sets(conn, _CUSTOMER_TAGS, people)
    payments: dict[int, list[tuple[datetime, Decimal]]] = defaultdict(list)
    for invoice_id, at, amount in conn.execute(_PAYMENTS, {"ids": ids}):
        payments[invoice_id].append((at, amount))
    pauses: dict[tuple[str, int], list[Pause]] = defaultdict(list)
    for invoice_id, customer_id, made, lifted, until_on in conn.execute(_PAUSES, {"ids": ids, "customer_ids": people}):
        key = ("invoice", invoice_id) if invoice_id else ("customer", customer_id)
        pauses[key].append(Pause(created_at=made, lifted_at=lifted, until_on=until_on))
    changes = _changes(conn, ["invoice"], ids, since)
    customer_changes = _changes(conn, ["customer", "customer_tagging"], people, since)
    return [
        Record(
            id=row["id"],
            number=row["number"],
            created_at=row["created_at"],
            columns=row,
            customer=customers[row["customer_id"]],
            tags=frozenset(tags[row["id"]]),
            customer_tags=frozenset(customer_tags[row["customer_id"]]),
            payments=tuple(payments[row["id"]]),
            pauses=(*pauses["invoice", row["id"]], *pauses["customer", row["customer_id"]]),
            changes=tuple(changes[row["id"]]),
            customer_changes=tuple(customer_changes[row["customer_id"]]),
        )
        for row in rows
    ]


def _sets(conn: Connection, query: str, ids: list[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for one, tag_id in conn.execute(query.encode(), {"ids": ids}):
        found[one].add(tag_id)
    return found


def _changes(
    conn: Connection, subjects: list[str], ids: list[int], since: datetime
) -> dict[int, list[tuple[datetime, Mapping[str, Sequence[Any]]]]]:
    found: dict[int, list[tuple[datetime, Mapping[str, Sequence[Any]]]]] = defaultdict(list)
    for subject_id, at, change in conn.execute(_CHANGES, {"subjects": subjects, "ids": ids, "since": since}):
        found[subject_id].append((at, change))
    return found


def became(conn: Connection, run_ids: Collection[int], invoice_ids: Collection[int]) -> dict[tuple[int, int], Became]:
    """By run and invoice: what the runs say of these invoices."""
    parameters = {"run_ids": list(run_ids), "ids": list(invoice_ids)}
    return {
        (run_id, invoice_id): Became(reason=reason, state=state, outcome=outcome)
        for run_id, invoice_id, reason, state, outcome in conn.execute(_CANDIDATES, parameters)
    }


def mail_tags(conn: Connection, invoice_ids: Collection[int]) -> dict[int, set[frozenset[str]]]:
    """By invoice: the tags that each mail which ever listed it puts on, or would have."""
    found: dict[int, set[frozenset[str]]] = defaultdict(set)
    for invoice_id, titles in conn.execute(_MAIL_TAGS, {"ids": list(invoice_ids)}):
        found[invoice_id].add(frozenset(titles))
    return found


def undecided(conn: Connection, run_ids: Collection[int]) -> set[tuple[int, int]]:
    """(run, invoice) of candidates whose turn has not come."""
    return set(conn.execute(_UNDECIDED, {"run_ids": list(run_ids)}).fetchall())


def without_evidence(conn: Connection, run_ids: Collection[int]) -> dict[int, list[str]]:
    """By run: the numbers of invoices that were reminded by a mail of which no answer is on record."""
    found: dict[int, list[str]] = defaultdict(list)
    for run_id, number in conn.execute(_NO_EVIDENCE, {"run_ids": list(run_ids)}):
        found[run_id].append(number)
    return found


def tag_titles(conn: Connection) -> dict[int, str]:
    """Every tag by its id."""
    return dict(conn.execute(_TITLES).fetchall())


def plan(conn: Connection) -> bool:
    """Make the day's audit, once however many schedulers ask. True where it was made now."""
    return conn.execute(_PLAN).rowcount == 1


def keep(conn: Connection, audit_id: int, result: Mapping[str, Any], *, since: datetime, until: datetime) -> None:
    """Write down what an audit found."""
    parameters = {
        "id": audit_id,
        "since": since,
        "until": until,
        "findings": len(result["findings"]),
        "result": Jsonb(result),
    }
    conn.execute(_KEEP, parameters)


def last(conn: Connection) -> LastAudit | None:
    """The latest finished audit."""
    with conn.cursor(row_factory=class_row(LastAudit)) as cursor:
        return cursor.execute(_LAST).fetchone()
