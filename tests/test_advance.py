"""A due run becomes reminders: candidates fixed once, whole customers, one wrong row stopping no other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from operations.holds import release
from operations.run import run_by_hand
from store.connection import connect, pool
from tests.chasing import committed_chase, one, open_rule, pay
from tests.trade import TODAY, invoice
from workers.advance import advance, open_run
from workers.office import Office
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.connection import Connection


class Run:
    """A run by hand of the chase's rule, not opened yet, and the office that works on it."""

    def __init__(self, conn: Connection, office: Office, run_id: int) -> None:
        self.conn = conn
        self.office = office
        self.id = run_id

    def open(self) -> None:
        open_run(self.office, self.id)

    def advance(self, number: int = 0) -> int:
        return advance(self.office, self.id, number)

    def verdicts(self) -> dict[str, str]:
        return dict(
            self.conn.execute(
                "SELECT i.number, c.reason FROM candidates c JOIN invoices i ON i.id = c.invoice_id"
                " WHERE c.run_id = %s",
                [self.id],
            ).fetchall()
        )

    def mails(self) -> list[list[str]]:
        rows = self.conn.execute(
            "SELECT array_agg(i.number ORDER BY i.number) FROM reminder_invoices ri"
            " JOIN invoices i ON i.id = ri.invoice_id WHERE ri.run_id = %s GROUP BY ri.reminder_id ORDER BY 1",
            [self.id],
        )
        return [row[0] for row in rows]


@pytest.fixture
def run(database_url: str) -> Iterator[Run]:
    rule = committed_chase(database_url)
    with connect(database_url) as conn, pool(database_url, actor="worker:test:1", size=4) as connections:
        conn.autocommit = True
        run_id = run_by_hand(conn, rule, by="user:marie").run_id
        yield Run(conn, Office(pool=connections, settings=Settings()), run_id)


def test_every_candidate_gets_a_verdict_and_what_is_reminded_a_mail(run: Run) -> None:
    run.open()
    assert run.advance() == 0
    assert run.verdicts() == {"FA-1": "reminded", "FA-2": "reminded", "FA-5": "disputed", "FA-6": "no_recipient"}
    assert run.mails() == [["FA-1", "FA-2"]]
    states = run.conn.execute("SELECT DISTINCT state FROM invoices WHERE number IN ('FA-1', 'FA-2')").fetchall()
    assert states == [("level_0_sending",)]
    planned = run.conn.execute("SELECT kind, state, cardinality(tag_ids) FROM effects").fetchall()
    assert planned == [("tags", "planned", 1)]


def test_a_hint_that_comes_twice_changes_nothing(run: Run) -> None:
    for _ in range(2):
        run.open()
        run.advance()
    assert run.mails() == [["FA-1", "FA-2"]]
    assert one(run.conn, "SELECT candidates FROM runs") == 4


def test_a_chunk_that_is_hinted_to_four_threads_is_decided_once(run: Run) -> None:
    run.open()
    threads = [threading.Thread(target=run.advance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.mails() == [["FA-1", "FA-2"]]


def test_candidates_are_fixed_when_the_run_opens(run: Run) -> None:
    run.open()
    invoice(run.conn, "FA-9", "10.00")
    pay(run.conn, "FA-1")
    run.advance()
    assert "FA-9" not in run.verdicts()
    assert run.verdicts()["FA-1"] == "paid"
    assert run.mails() == [["FA-2"]]


@pytest.mark.parametrize(
    "held", ["SELECT FROM invoices WHERE number = 'FA-2'", "SELECT FROM customers WHERE number = 'C-1'"]
)
def test_a_customer_of_whom_a_row_is_in_other_hands_stays_whole_for_the_next_visit(
    run: Run, database_url: str, held: str
) -> None:
    run.open()
    with connect(database_url) as other:
        other.execute(f"{held} FOR UPDATE".encode())
        assert run.advance() == 2
        assert run.verdicts() == {"FA-5": "disputed", "FA-6": "no_recipient"}
        assert run.mails() == []
        other.rollback()
    assert run.advance() == 0
    assert run.mails() == [["FA-1", "FA-2"]]


def test_one_wrong_row_stops_no_other_customer(run: Run) -> None:
    """An invoice whose key is taken although its state says that it is idle: a broken promise is not made worse."""
    invoice(run.conn, "FA-9", "10.00", customer="C-2")
    run.conn.execute(
        "INSERT INTO reminders (run_id, rule_id, rule_version, company_id, customer_id, currency, level, recipient,"
        " message_id) SELECT n.id, n.rule_id, 1, i.company_id, i.customer_id, 'EUR', 0, 'x@x.example', '<odd>'"
        " FROM runs n, invoices i WHERE i.number = 'FA-9'"
    )
    run.conn.execute(
        "INSERT INTO reminder_invoices (reminder_id, invoice_id, rule_id, run_id, counts, level, cycle, amount)"
        " SELECT r.id, i.id, r.rule_id, r.run_id, true, 0, 1, 10 FROM reminders r, invoices i WHERE i.number = 'FA-9'"
    )
    run.open()
    assert run.advance() == 0
    assert run.verdicts() == {
        "FA-1": "reminded", "FA-2": "reminded", "FA-5": "error", "FA-6": "no_recipient", "FA-9": "error",
    }  # fmt: skip
    assert one(run.conn, "SELECT detail FROM candidates WHERE reason = 'error' LIMIT 1") == "UniqueViolation"
    assert ["FA-1", "FA-2"] in run.mails()


def test_a_chunk_never_splits_a_customer(run: Run) -> None:
    run.conn.execute(
        "INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on)"
        " SELECT (SELECT min(id) FROM companies), c.id, 'K' || c.number || n, 'EUR', 10, 10, '2026-01-01', '2026-02-01'"
        "   FROM customers c CROSS JOIN generate_series(1, 330) AS n"
    )
    run.open()
    split = run.conn.execute(
        "SELECT i.customer_id FROM chunks k CROSS JOIN unnest(k.invoice_ids) AS u (id) JOIN invoices i ON i.id = u.id"
        " GROUP BY i.customer_id HAVING count(DISTINCT k.number) > 1"
    ).fetchall()
    sizes = run.conn.execute("SELECT cardinality(invoice_ids) FROM chunks ORDER BY number").fetchall()
    assert split == []
    assert len(sizes) > 1
    assert sum(size for (size,) in sizes) == one(run.conn, "SELECT candidates FROM runs")


def test_a_rule_that_may_not_run_on_a_test_instance_is_refused_there(run: Run) -> None:
    rule = open_rule(run.conn, "Ailleurs", on_test_instance=False)
    elsewhere = Run(run.conn, run.office, run_by_hand(run.conn, rule, by="user:marie").run_id)
    elsewhere.open()
    state = run.conn.execute("SELECT state, problem, candidates FROM runs WHERE id = %s", [elsewhere.id]).fetchall()
    assert state == [("refused", "the rule may not run on a test instance", 0)]
    assert (elsewhere.verdicts(), elsewhere.mails()) == ({}, [])


def test_a_rule_that_cannot_be_read_fails_its_run_and_says_why(run: Run) -> None:
    run.conn.execute('UPDATE rule_versions SET definition = definition || \'{"tone": "firm"}\'')
    run.open()
    state, problem = run.conn.execute("SELECT state, problem FROM runs").fetchall()[0]
    assert state == "failed"
    assert "tone" in problem


def test_a_rule_that_can_be_read_no_longer_keeps_its_run_back_and_loses_nobody(run: Run) -> None:
    run.open()
    run.conn.execute('UPDATE rule_versions SET definition = definition || \'{"tone": "firm"}\'')
    run.office._pinned.clear()  # noqa: SLF001 - another process reads it for the first time
    assert run.advance() > 0
    state, because = run.conn.execute("SELECT state, held_because FROM runs").fetchall()[0]
    assert state == "open"
    assert "tone" in because
    run.conn.execute("UPDATE rule_versions SET definition = definition - 'tone'")
    release(run.conn, run=run.id, because="an upgrade", by="user:marie", today=TODAY)
    assert run.advance() == 0
    assert run.mails()


def test_a_run_with_nobody_to_remind_is_open_with_no_candidates(run: Run) -> None:
    rule = open_rule(run.conn, "Personne", level=2)
    nobody = Run(run.conn, run.office, run_by_hand(run.conn, rule, by="user:marie").run_id)
    nobody.open()
    assert run.conn.execute("SELECT state, candidates FROM runs WHERE id = %s", [nobody.id]).fetchall() == [("open", 0)]
    assert nobody.advance() == 0
