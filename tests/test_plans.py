"""The hot queries go by key: on a table that has grown, none of them reads what it does not want.

Each function runs for real; every statement that it sends is explained first, as the generic plan of a worker's
session. Three times: on grown tables, with sequential scans allowed, so that the planner is free to show that an index
does not serve; on grown ones that nobody has analyzed yet; and on empty ones, because a plan that a worker's session
makes then is kept when they have grown. In these two a scan is a walk through a whole index, which costs no less.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Self, cast

import psycopg
import pytest
from psycopg import sql

from store import (
    audits,
    breakers,
    claims,
    companies,
    doubts,
    effects,
    facts,
    feedback,
    freshness,
    hints,
    outcomes,
    reports,
    rules,
    runs,
    tasks,
)
from store.connection import connect
from store.tick import Answered, Uploaded, tick
from tests.chasing import open_chase
from tests.databases import administering, copied
from workflow.filter_text import parse_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from store.connection import Connection

GROWN = (
    """
    INSERT INTO customers (number, name, email)
    SELECT 'K-' || n, 'Client ' || n, 'k' || n || '@client.example' FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on, state,
                          commercial_state, before_settled)
    SELECT (SELECT min(id) FROM companies), c.id, 'K' || c.id || '-' || k, 'EUR', 100,
           CASE WHEN k = 1 THEN 100 ELSE 0 END, '2026-01-01', date '2025-01-01' + (c.id * 7 + k)::int % 600,
           CASE WHEN k = 1 THEN 'level_0' ELSE 'settled' END, CASE WHEN k = 1 THEN 'open' ELSE 'paid' END,
           CASE WHEN k = 1 THEN NULL ELSE 'level_2' END
      FROM customers c CROSS JOIN generate_series(1, 4) AS k WHERE c.number LIKE 'K-%'
    """,
    """
    INSERT INTO runs (rule_id, rule_version, due_at, state, opened_at, closed_at, reported_at, candidates)
    SELECT (SELECT min(id) FROM rules), 1, timestamptz '2026-01-01' + n * interval '1 day', 'closed', now(), now(),
           now(), 20 FROM generate_series(1, 250) AS n
    """,
    """
    INSERT INTO runs (rule_id, rule_version, due_at, request_key, state, opened_at, candidates)
    SELECT (SELECT min(id) FROM rules), 1, now(), 'hand:' || n, 'open', now(), 20 FROM generate_series(1, 2) AS n
    """,
    """
    INSERT INTO reminders (id, run_id, rule_id, rule_version, company_id, customer_id, currency, level, recipient,
                           message_id, state, ended_at, ended_on)
    SELECT 1000000 + i.id, n.id, n.rule_id, 1, i.company_id, i.customer_id, 'EUR', 0, 'a@client.example',
           '<' || i.id || '>', CASE n.state WHEN 'closed' THEN 'sent' ELSE 'due' END, n.closed_at, n.closed_at::date
      FROM invoices i JOIN runs n ON n.id = (SELECT min(id) FROM runs) + i.id % 252 WHERE i.number LIKE 'K%'
    """,
    """
    INSERT INTO reminder_invoices (reminder_id, invoice_id, rule_id, run_id, counts, level, cycle, amount, outcome)
    SELECT id, id - 1000000, rule_id, run_id, true, 0, 1, 100, CASE state WHEN 'sent' THEN 'accepted' ELSE 'planned' END
      FROM reminders
    """,
    """
    UPDATE invoices i SET state = CASE i.state WHEN 'settled' THEN 'settled' ELSE 'level_0_sending' END,
           before_settled = CASE i.state WHEN 'settled' THEN 'level_0_sending' END
      FROM reminder_invoices ri WHERE ri.invoice_id = i.id AND ri.outcome = 'planned'
    """,
    """
    INSERT INTO effects (reminder_id, kind, state, tag_ids)
    SELECT id, 'tags', CASE state WHEN 'sent' THEN 'done' ELSE 'planned' END, ARRAY(SELECT id FROM tags) FROM reminders
    """,
    "INSERT INTO taggings SELECT id, (SELECT min(id) FROM tags) FROM invoices WHERE id % 2 = 0",
    """
    INSERT INTO payments (company_id, customer_id, invoice_id, kind, reference, currency, amount, received_on)
    SELECT company_id, customer_id, CASE WHEN id % 40 > 0 THEN id END, 'payment', 'K' || id, 'EUR', 1, '2026-01-01'
      FROM invoices WHERE number LIKE 'K%' AND id % 20 = 0
    """,
    """
    INSERT INTO candidates (run_id, invoice_id, reason, reminder_id)
    SELECT run_id, invoice_id, 'reminded', reminder_id FROM reminder_invoices
    """,
    "INSERT INTO attempts (reminder_id, fence, step) SELECT id, 1, 'accepted' FROM reminders WHERE state = 'sent'",
    """
    INSERT INTO pauses (invoice_id, customer_id, reason, until_on, lifted_at)
    SELECT CASE WHEN id % 2 = 0 THEN id END, CASE WHEN id % 2 = 1 THEN customer_id END, 'x', '2026-01-01',
           CASE WHEN id % 3 > 0 THEN now() END FROM invoices
    """,
)
LARGE = {
    "invoices", "customers", "reminders", "reminder_invoices", "effects", "taggings", "payments", "journal",
    "candidates", "attempts", "pauses",
}  # fmt: skip


class Explained:
    """A connection that explains each statement before it runs it."""

    def __init__(self, conn: Connection, planned_on: Connection) -> None:
        self._conn = conn
        self._planned_on = planned_on
        self.plans: list[str] = []

    def execute(self, query: str | sql.Composable, parameters: Mapping[str, Any] | None = None) -> object:
        return self._conn.execute(self.explained(query, parameters), parameters)

    def cursor(self, **ways: Any) -> ExplainedCursor:  # noqa: ANN401 - as psycopg takes them
        return ExplainedCursor(self, self._conn.cursor(**ways))

    def explained(
        self, query: bytes | str | sql.Composable, parameters: Mapping[str, Any] | None
    ) -> bytes | sql.Composed:
        """Explain the statement, and return it as it is to be run."""
        if isinstance(query, bytes):
            query = query.decode()
        text = query if isinstance(query, str) else query.as_string(self._conn)
        if not re.search(r"set_config|^\s*(SAVEPOINT|RELEASE)", text):
            self._explain(text, parameters or {})
        return query.encode() if isinstance(query, str) else sql.Composed([query])

    def _explain(self, text: str, parameters: Mapping[str, Any]) -> None:
        names = list(dict.fromkeys(re.findall(r"%\((\w+)\)[sb]", text)))
        numbered = re.sub(r"%\((\w+)\)[sb]", lambda name: f"${names.index(name[1]) + 1}", text).replace("%%", "%")
        given = f"({', '.join(['%s'] * len(names))})" if names else ""
        with psycopg.ClientCursor(self._planned_on) as cursor:
            cursor.execute(f"PREPARE explained AS {numbered}".encode())
            cursor.execute(f"EXPLAIN EXECUTE explained{given}".encode(), [parameters[name] for name in names])
            self.plans.append("\n".join(row[0] for row in cursor))
            cursor.execute("DEALLOCATE explained")

    def pipeline(self) -> AbstractContextManager[object]:
        return self._conn.pipeline()

    def transaction(self) -> AbstractContextManager[object]:
        return self._conn.transaction()

    def __getattr__(self, name: str) -> object:
        return getattr(self._conn, name)

    def may_scan(self) -> bool:
        """Whether the planner may read a table in its own order."""
        return self._planned_on.execute("SHOW enable_seqscan").fetchone() == ("on",)

    def scanned(self) -> set[str]:
        """Large tables that some statement reads from end to end, in their own order or in an index's."""
        read = {table for plan in self.plans for table in re.findall(r"Seq Scan on (\w+)", plan)}
        return (read | {table for plan in self.plans for table in _walked(plan)}) & LARGE


class ExplainedCursor:
    """A cursor of such a connection."""

    def __init__(self, conn: Explained, cursor: psycopg.Cursor[Any]) -> None:
        self._conn = conn
        self._cursor = cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def execute(self, query: str | sql.Composable, parameters: Mapping[str, Any] | None = None) -> psycopg.Cursor[Any]:
        return self._cursor.execute(self._conn.explained(query, parameters), parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self._cursor, name)


def _walked(plan: str) -> Iterator[str]:
    """Tables of which a plan reads a whole index, one of what is open excepted: those stay small."""
    lines = plan.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        scan = re.search(r"Index (?:Only )?Scan (?:Backward )?using (\w+) on (\w+)", line)
        if scan and "Index Cond" not in following and not scan[1].endswith(("_open", "_due", "_leased", "_in_doubt")):
            yield scan[2]


_OUR_TABLES = """
SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""


@pytest.fixture(scope="module")
def grown(shared_database_url: str) -> Iterator[Connection]:
    """One transaction that nobody else sees and that is rolled back: growing takes a second or two."""
    with connect(shared_database_url) as conn, conn.transaction(force_rollback=True):
        open_chase(conn)
        conn.execute("SET LOCAL enable_seqscan = on")
        for statement in GROWN:
            conn.execute(statement.encode())
            conn.execute("ANALYZE invoices, reminders, customers, runs")
        # By name: what all databases share would stay locked until the end, and another test worker wants it too.
        (tables,) = (row[0] for row in conn.execute(_OUR_TABLES))
        conn.execute(f"ANALYZE {tables}".encode())
        yield conn


@pytest.fixture(scope="module")
def untouched(servers: tuple[str, str], template: str) -> Iterator[Connection]:
    """A database that never held anything."""
    with administering(servers[0]) as server:
        for url in copied(server, servers[0], template, f"{template}_plans"):
            with connect(url) as conn:
                yield conn


_FORGET = """
SELECT pg_clear_relation_stats(n.nspname, c.relname),
       (SELECT count(pg_clear_attribute_stats(n.nspname, c.relname, a.attname, false))
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i')
"""


@pytest.fixture(params=["analyzed", "never analyzed", "empty"])
def explained(grown: Connection, untouched: Connection, request: pytest.FixtureRequest) -> Iterator[Explained]:
    watched = Explained(grown, untouched if request.param == "empty" else grown)
    with grown.transaction(force_rollback=True):
        if request.param == "never analyzed":
            grown.execute("SET LOCAL enable_seqscan = off")
            grown.execute(_FORGET)
        yield watched
    assert watched.plans, "nothing was explained"


def conn_of(explained: Explained) -> Connection:
    return cast("Connection", explained)


def due(explained: Explained) -> list[int]:
    found = explained._conn.execute("SELECT id FROM reminders WHERE state = 'due' ORDER BY id LIMIT 50")  # noqa: SLF001
    return [row[0] for row in found]


def test_a_guard_that_finds_nothing_would_find_something(explained: Explained) -> None:
    explained.execute("SELECT id FROM reminders WHERE last_error = %(error)s", {"error": "554"})
    assert explained.scanned() == {"reminders"}


def test_a_rules_candidates_come_from_the_index_of_what_is_due(explained: Explained) -> None:
    conn = conn_of(explained)
    (rule,) = rules.saved(conn)
    run_id = runs.insert(conn, rule.pinned, due_at=rule.counting_from, request_key="x")
    assert run_id
    run = runs.read(explained._conn, run_id)  # noqa: SLF001
    assert run
    explained.plans.clear()
    assert runs.fix_candidates(conn, run, rule.pinned, date(2026, 11, 24)) > 1000
    assert explained.scanned() <= {"customers"}, "each of the many candidates has its customer"
    undated, candidates = explained.plans[:2]
    assert "invoices_due" in candidates
    assert "(due_on IS NULL))" in undated, "the same index finds what has no due date"
    assert "invoices_due" in undated
    where, parameters = runs.selected(
        parse_text("level = 0 and days_overdue >= 700"), rule.company_id, date(2026, 11, 24)
    )
    few = sql.SQL("SELECT i.id FROM invoices i JOIN customers c ON c.id = i.customer_id WHERE {}").format(where)
    explained.plans.clear()
    explained.execute(few, parameters)
    assert "invoices_due" in explained.plans[0]


def test_the_relay_reads_what_is_open_alone(explained: Explained) -> None:
    conn = conn_of(explained)
    assert sum(map(len, hints.due_reminders(conn, alive_s=60, limit=400).values())) > 50
    hints.due_runs(conn, alive_s=60)
    hints.open_chunks(conn, alive_s=60, limit=16)
    hints.closing_runs(conn, alive_s=60, patience_s=7200)
    hints.due_effects(conn, alive_s=60, limit=400)
    assert explained.scanned() == set()
    assert any("reminders_open" in plan for plan in explained.plans)
    assert any("effects_due" in plan for plan in explained.plans)


def test_a_claim_and_its_facts_go_by_key(explained: Explained) -> None:
    conn = conn_of(explained)
    claimed = claims.claim(conn, due(explained), lease_s=60, quarantine_s=1800)
    assert len(claimed) == 50
    held = claims.invoices(conn, [one.id for one in claimed])
    ids = [invoice_id for each in held.values() for invoice_id in each]
    asking = facts.Asking(
        company_id=claimed[0].company_id, today=date(2026, 11, 24), min_days_between_mails=3, rule_id=claimed[0].rule_id
    )
    assert len(facts.load(conn, ids, asking)) == 50
    claims.originals(conn, ids)
    claims.thread(conn, ids)
    assert explained.scanned() == set()


def test_a_tick_goes_by_key(explained: Explained) -> None:
    conn = conn_of(explained)
    plain = explained._conn  # noqa: SLF001
    claimed = claims.claim(plain, due(explained), lease_s=60, quarantine_s=1800)
    held = claims.invoices(plain, [one.id for one in claimed])
    versions: dict[int, int] = dict(plain.execute("SELECT id, row_version FROM invoices").fetchall())
    people: dict[int, int] = dict(plain.execute("SELECT id, row_version FROM customers").fetchall())
    uploaded = [
        Uploaded(
            reminder_id=one.id, fence=one.fence, company_id=one.company_id, customer_id=one.customer_id,
            customer_version=people[one.customer_id], versions={each: versions[each] for each in held[one.id]},
            recipient="a@client.example", subject="s", letter=b"", sha256=b"\0" * 32,
        )
        for one in claimed
    ]  # fmt: skip
    sellers = companies.companies(plain)
    tick(conn, uploaded[:25], [], lease_s=660, companies=sellers)
    answered = [
        Answered(
            reminder_id=one.reminder_id, fence=one.fence, company_id=one.company_id,
            invoice_ids=tuple(one.versions), reply="250",
        )
        for one in uploaded[:25]
    ]  # fmt: skip
    done = tick(conn, uploaded[25:], answered, lease_s=660, companies=sellers)
    assert (len(done.sent), len(done.armed)) == (25, 25)
    effects.apply_tags(conn, [one.reminder_id for one in uploaded])
    assert explained.scanned() == set()


def test_the_sweep_reads_what_is_open_alone(explained: Explained) -> None:
    conn = conn_of(explained)
    claims.claim(explained._conn, due(explained), lease_s=-1, quarantine_s=1800)  # noqa: SLF001
    assert outcomes.free_lapsed(conn) == 50
    outcomes.doubt_lapsed(conn)
    explained._conn.execute("UPDATE rules SET held_because = 'text', held_at = now() - interval '2 days'")  # noqa: SLF001
    assert outcomes.cancel_long_held(conn, dict.fromkeys(companies.companies(conn), date(2026, 11, 24))) == 100
    assert explained.scanned() == set()


def test_a_policy_reads_what_is_in_doubt_alone(explained: Explained) -> None:
    conn = conn_of(explained)
    plain = explained._conn  # noqa: SLF001
    plain.execute(
        "UPDATE reminders SET state = 'in_doubt', armed_at = now(), recipient = 'a@client.example'"
        " WHERE id = (SELECT max(id) FROM reminders WHERE state = 'due')"
    )
    plain.execute("UPDATE mail_accounts SET doubt_policy = 'resend'")
    (found,) = doubts.to_look_at(conn, again_s=60, limit=100)
    doubts.letters(conn, found.id)
    doubts.witnesses_after(conn, found.account_id, found.armed_at, limit=5)
    doubts.witnesses_before(conn, found.account_id, found.armed_at, since=None, limit=5)
    doubts.witnesses_within(conn, found.account_id, found.armed_at, found.armed_at, limit=5)
    doubts.leave(conn, found.id, found.fence, reason="quarantine", look_s=60, alert_at=None)
    plain.execute("UPDATE reminders SET alert_at = now() WHERE state = 'in_doubt'")
    (alert,) = doubts.to_alert(conn, after_s=900, again_s=300, limit=100)
    doubts.readers(conn, [alert.id])
    doubts.alerted(conn, [alert.id])
    doubts.standing(conn, after_s=900)
    assert explained.scanned() == set()


def test_a_run_is_counted_without_reading_the_others(explained: Explained) -> None:
    conn = conn_of(explained)
    run_id = runs.insert(conn, rules.saved(conn)[0].pinned, due_at=datetime(2026, 11, 24, tzinfo=UTC), request_key="x")
    assert run_id
    assert runs.last_minute(conn, run_id) == 0
    assert explained.scanned() == set()


def test_what_comes_back_about_a_mail_goes_by_key(explained: Explained) -> None:
    conn = conn_of(explained)
    plain = explained._conn  # noqa: SLF001
    plain.execute("INSERT INTO tasks (kind, company_id, customer_id, reminder_id, reason)"
                  " SELECT 'undelivered', company_id, customer_id, id, 'no_mailbox' FROM reminders"
                  " WHERE state = 'sent' ORDER BY id LIMIT 20")  # fmt: skip
    (sent, message_id), *_ = plain.execute("SELECT id, message_id FROM reminders WHERE state = 'sent' ORDER BY id")
    assert feedback.reminder(conn, message_id)
    assert feedback.note(
        conn, sent, kind="hard", reason="no_mailbox", status="", about="", told_by=b"\0" * 32, received_at=None
    )
    assert feedback.mark_undelivered(conn, sent)
    assert feedback.make_task(conn, sent, kind="undelivered", reason="no_mailbox") is None
    feedback.reminded(conn, sent)
    assert len(tasks.tasks(conn, done=False)) == 20
    assert tasks.open_tasks(conn) == {"undelivered": 20}
    assert explained.scanned() == set()


def test_an_audit_reads_a_page_of_invoices_and_what_is_about_them_by_key(explained: Explained) -> None:
    conn = conn_of(explained)
    plain = explained._conn  # noqa: SLF001
    (rule,) = rules.saved(plain)
    audits.plan(conn)
    audits.last(conn)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    looked = audits.runs(conn, [rule.id], since, ended_since=since)
    assert len(looked) > 200
    run_ids = [one.id for one in looked]
    (page,) = list(audits.records(conn, rule.company_id, since))[:1]
    ids = [one.id for one in page]
    assert len(ids) == audits.PAGE_INVOICES
    assert audits.became(conn, run_ids, ids)
    audits.undecided(conn, run_ids)
    assert audits.mail_tags(conn, ids)
    assert explained.scanned() == set()
    assert audits.without_evidence(conn, run_ids[:3]) == {}
    # Of twenty thousand mails three runs are so many that reading all is no more work, where that is allowed.
    assert explained.scanned() <= ({"attempts", "reminder_invoices"} if explained.may_scan() else set())


def test_breakers_and_freshness_are_looked_up_among_a_few(explained: Explained) -> None:
    conn = conn_of(explained)
    account_id = min(companies.accounts(conn))
    breakers.move(conn, account_id, lambda breaker, _now: breaker)
    assert breakers.breakers(conn)
    breakers.troubled(conn, [account_id])
    breakers.take_probe(conn, account_id, patience_s=60)
    freshness.heard(conn, companies.companies(conn), "heartbeat")
    assert freshness.of_companies(conn)
    assert explained.scanned() == set()


def test_a_report_reads_its_own_run_alone(explained: Explained) -> None:
    conn = conn_of(explained)
    plain = explained._conn  # noqa: SLF001
    (run_id,) = (row[0] for row in plain.execute("SELECT min(id) FROM runs"))
    plain.execute("UPDATE runs SET reported_at = NULL WHERE id = %s", [run_id])
    assert reports.summary(conn, run_id).sent > 10
    assert not reports.close(conn, run_id)
    assert reports.lock_unreported(conn, run_id, patience_s=7200)
    reports.readers(conn, run_id)
    reports.strangers(conn, run_id)
    reports.told(conn, run_id, [])
    reports.mark_reported(conn, run_id)
    assert runs.reasons(conn, run_id)
    assert explained.scanned() == set()
