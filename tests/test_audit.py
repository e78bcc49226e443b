"""The audit finds who was missed, whatever missed them, and accuses nobody for what changed since."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from operations import holds
from operations.invoices import dispute, end_dispute
from operations.ledger import reverse
from operations.pauses import pause
from operations.rules import activate, deactivate
from operations.status import status
from operations.tags import tag, untag
from scripts.main import cli
from scripts.sink import Sink
from store import audits, settings
from store.connection import connect, pool
from tests.chasing import (
    NOW,
    RULE,
    committed_chase,
    decide_run,
    decided_run,
    doubt,
    fail,
    one,
    open_rule,
    pay,
    send_all,
)
from tests.trade import TODAY, invoice
from workers.advance import open_run
from workers.auditing import audit, make_audit
from workers.closing import close_run
from workers.office import Office
from workers.relay import relay
from workers.scheduler import fire, plan_audit
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from store.connection import Connection
    from workflow.audit import Audit

MARIE = "user:marie"
NINE = datetime(2026, 11, 25, 8, tzinfo=UTC)
LATER = NINE + timedelta(hours=2)


class Books:
    """A chase whose rule is due every day at nine; on the 25th FA-1 and FA-2 are."""

    def __init__(self, url: str, *, port: int) -> None:
        self.url = url
        committed_chase(url, port=port)
        with connect(url) as conn:
            open_rule(conn, RULE, schedule_lines=["0 9 * * *"])
            activate(conn, rule=RULE, by=MARIE, now=NOW)

    def do(self, act: Callable[[Connection], object]) -> None:
        with connect(self.url) as conn:
            act(conn)

    def sql(self, statement: str) -> None:
        self.do(lambda conn: conn.execute(statement.encode()))

    def fired(self, at: datetime = LATER) -> int:
        """The run of nine o'clock, its candidates not fixed yet."""
        with connect(self.url) as conn:
            settings.set_clock(conn, at)
            (run_id,) = fire(conn)
        return run_id

    def decided(self) -> int:
        run_id = self.fired()
        decide_run(self.url, run_id)
        return run_id

    def sent(self) -> int:
        run_id = self.decided()
        send_all(self.url, run_id)
        return run_id

    def audit(self) -> Audit:
        with connect(self.url) as conn:
            return audit(conn, since=NOW, grace=timedelta(0), margin=timedelta(0))

    def found(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(each.kind, each.invoices) for each in self.audit().findings]


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Iterator[Books]:
    with Sink(tmp_path / "sink") as sink:
        yield Books(database_url, port=sink.port)


def test_who_was_reminded_is_no_difference(books: Books) -> None:
    books.sent()
    looked = books.audit()
    assert (looked.became, looked.findings) == ({"left_out": 1, "reminded": 2}, ())
    assert looked.runs == 1


@pytest.mark.parametrize("fate", ["waiting", "in_doubt", "failed"])
def test_a_mail_that_has_not_left_is_no_difference_as_long_as_it_is_visible(books: Books, fate: str) -> None:
    books.decided()
    with connect(books.url) as conn:
        reminder_id = one(conn, "SELECT id FROM reminders")
        assert isinstance(reminder_id, int)
        if fate == "in_doubt":
            doubt(conn, reminder_id)
        if fate == "failed":
            fail(conn, reminder_id)
    looked = books.audit()
    assert (looked.became[fate], looked.findings) == (2, ())


def test_candidates_whose_turn_has_not_come_are_waited_for(books: Books) -> None:
    run_id = books.fired()
    with pool(books.url, actor="test", size=2) as connections:
        open_run(Office(pool=connections, settings=Settings()), run_id)
    looked = books.audit()
    assert (looked.became, looked.findings) == ({"waiting": 3}, ())


def test_an_invoice_that_a_run_did_not_look_at_is_missing(books: Books) -> None:
    run_id = books.fired()
    with pool(books.url, actor="test", size=2) as connections:
        open_run(Office(pool=connections, settings=Settings()), run_id)
    forget(books, "FA-2")
    decide_run(books.url, run_id)
    send_all(books.url, run_id)
    assert books.found() == [("missing", ("FA-2",))]


def test_a_later_run_that_looks_at_it_makes_it_good(books: Books) -> None:
    test_an_invoice_that_a_run_did_not_look_at_is_missing(books)
    run_id = books.fired(LATER + timedelta(days=1))
    decide_run(books.url, run_id)
    send_all(books.url, run_id)
    looked = books.audit()
    assert (looked.findings, looked.became["by_a_later_run"]) == ((), 1)


def test_a_reason_that_is_not_so_is_found(books: Books) -> None:
    books.decided()
    books.sql("UPDATE candidates SET reason = 'excluded', reminder_id = NULL WHERE reminder_id IS NOT NULL")
    assert books.found() == [("unfounded", ("FA-1", "FA-2"))]


@pytest.mark.parametrize("reason", ["filter", "other_level", "today", "disputed"])
def test_a_reason_is_worked_out_anew_and_not_believed(books: Books, reason: str) -> None:
    books.decided()
    books.sql(f"UPDATE candidates SET reason = '{reason}', reminder_id = NULL WHERE reminder_id IS NOT NULL")
    assert books.found() == [("unfounded", ("FA-1", "FA-2"))]


UNTAGGED = {
    "all": [
        {"field": "level", "op": "=", "value": 0},
        {"field": "days_overdue", "op": ">=", "value": 15},
        {"field": "tag", "op": "not in", "value": ["Relance 1"]},
    ]
}


def undecided(books: Books) -> int:
    """The run of a rule that asks for a tag; its candidates are fixed."""
    with connect(books.url) as conn:
        open_rule(conn, RULE, schedule_lines=["0 9 * * *"], filter=UNTAGGED)
    run_id = books.fired()
    with pool(books.url, actor="test", size=2) as connections:
        open_run(Office(pool=connections, settings=Settings()), run_id)
    return run_id


def test_a_tag_that_came_and_went_while_the_run_decided_was_a_reason(books: Books) -> None:
    run_id = undecided(books)
    books.do(lambda conn: tag(conn, company="NORD", invoices=["FA-2"], tags=["Relance 1"], by=MARIE))
    decide_run(books.url, run_id)
    books.do(lambda conn: untag(conn, company="NORD", invoices=["FA-2"], tags=["Relance 1"], by=MARIE))
    looked = books.audit()
    assert (looked.became["left_out"], looked.findings) == (2, ()), "FA-2, and FA-6 without an address"


def test_a_tag_of_a_mail_that_never_left_was_a_reason_while_it_was_on_its_way(books: Books) -> None:
    run_id = undecided(books)
    with connect(books.url) as conn:
        other = open_rule(conn, "Relevé", schedule_lines=[], counts=False, minimum_gap_days=9)
    by_hand = decided_run(books.url, other)
    decide_run(books.url, run_id)
    with connect(books.url) as conn:
        reminder_id = one(conn, "SELECT min(id) FROM reminders WHERE run_id = %s", by_hand)
        assert isinstance(reminder_id, int)
        fail(conn, reminder_id)
        reasons = conn.execute("SELECT DISTINCT reason FROM candidates WHERE run_id = %s", [run_id]).fetchall()
    assert ("filter",) in reasons
    assert books.found() == []


def test_a_rule_that_was_due_and_made_no_run_is_found(books: Books) -> None:
    books.do(lambda conn: settings.set_clock(conn, LATER))
    assert books.found() == [("no_run", ("FA-1", "FA-2", "FA-6"))]


def test_an_instant_that_was_slept_over_is_covered_by_the_run_that_stands_for_it(books: Books) -> None:
    run_id = books.fired(LATER + timedelta(days=3))
    decide_run(books.url, run_id)
    assert books.found() == []


def test_a_mail_that_counts_as_sent_without_a_servers_word_is_found(books: Books) -> None:
    books.decided()
    books.sql("UPDATE reminders SET state = 'sent', ended_at = now(), ended_on = '2026-11-25'")
    books.sql("UPDATE reminder_invoices SET outcome = 'accepted'")
    assert ("no_evidence", ("FA-1", "FA-2")) in books.found()


def test_a_balance_that_the_ledger_does_not_confirm_is_found(books: Books) -> None:
    books.sent()
    books.do(lambda conn: pay(conn, "FA-2", "10.00"))
    assert books.found() == []
    books.sql("UPDATE invoices SET balance = 50.50 WHERE number = 'FA-2'")
    assert books.found() == [("balance", ("FA-2",))]


CHANGES: dict[str, Callable[[Connection], object]] = {
    "a dispute that ended": lambda conn: end_dispute(conn, company="NORD", number="FA-5", by=MARIE, today=TODAY),
    "an invoice that came later": lambda conn: invoice(conn, "FA-9", "10.00"),
    "a payment that was sent back": lambda conn: reverse(
        conn, company="NORD", reference="VIR-FA-4", reversed_on=TODAY, because="sent back", by=MARIE, today=TODAY
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_became_due_after_the_run_was_not_owed_by_it(books: Books, change: str) -> None:
    books.sent()
    books.do(CHANGES[change])
    assert books.found() == []


AGAINST: dict[str, Callable[[Connection], object]] = {
    "a dispute": lambda conn: dispute(conn, company="NORD", number="FA-2", because="price", by=MARIE, today=TODAY),
    "a pause": lambda conn: pause(
        conn, company="NORD", invoice="FA-2", until_on=TODAY + timedelta(days=9), reason="x", today=TODAY, by=MARIE
    ),
    "a payment": lambda conn: pay(conn, "FA-2", "50.50"),
    "a hold": lambda conn: holds.hold(conn, company="NORD", invoice="FA-2", because="talks", by=MARIE),
}


@pytest.mark.parametrize("reason", AGAINST)
def test_who_was_not_to_be_reminded_was_not_missed(books: Books, reason: str) -> None:
    books.do(AGAINST[reason])
    books.sent()
    looked = books.audit()
    assert (looked.findings, looked.became["reminded"]) == ((), 1)


def test_a_tag_put_on_since_does_not_change_what_the_filter_took(books: Books) -> None:
    with connect(books.url) as conn:
        open_rule(
            conn, RULE, schedule_lines=["0 9 * * *"], filter={"all": [
                {"field": "level", "op": "=", "value": 0}, {"field": "tag", "op": "not in", "value": ["Relance 1"]},
            ]},
        )  # fmt: skip
        activate(conn, rule=RULE, by=MARIE, now=NOW)
    books.decided()
    books.sql("DELETE FROM candidates")
    books.sql("UPDATE chunks SET invoice_ids = '{}'")
    books.do(lambda conn: tag(conn, company="NORD", invoices=["FA-6"], tags=["Relance 1"], by=MARIE))
    assert books.found() == [("missing", ("FA-1", "FA-2", "FA-6"))]


HELD: dict[str, Callable[[Connection], object]] = {
    "all mail is stopped": lambda conn: holds.stop(conn, because="prices", by=MARIE),
    "is held": lambda conn: holds.hold(conn, rule=RULE, because="text", by=MARIE),
}


@pytest.mark.parametrize("words", HELD)
def test_what_is_held_visibly_is_noted_and_no_difference(books: Books, words: str) -> None:
    books.do(HELD[words])
    books.do(lambda conn: settings.set_clock(conn, LATER))
    looked = books.audit()
    assert looked.findings == ()
    assert any(words in note for note in looked.notes)


def test_a_rule_that_is_off_owes_nothing(books: Books) -> None:
    books.do(lambda conn: deactivate(conn, rule=RULE, by=MARIE, now=NOW))
    books.do(lambda conn: settings.set_clock(conn, LATER))
    assert (books.audit().rules, books.found()) == (0, [])


@pytest.mark.parametrize(
    "act",
    [
        lambda conn: holds.hold(conn, rule=RULE, because="text", by=MARIE),
        lambda conn: deactivate(conn, rule=RULE, by=MARIE, now=NOW),
    ],
    ids=["held", "deactivated"],
)
def test_what_a_rule_missed_before_it_was_held_or_deactivated_is_found(
    books: Books, act: Callable[[Connection], object]
) -> None:
    test_an_invoice_that_a_run_did_not_look_at_is_missing(books)
    books.do(act)
    books.do(lambda conn: settings.set_clock(conn, LATER + timedelta(days=1)))
    assert books.found() == [("missing", ("FA-2",))], "and no run is missed that was not to be made"


def test_a_balance_is_checked_where_no_rule_is_active(books: Books) -> None:
    books.do(lambda conn: deactivate(conn, rule=RULE, by=MARIE, now=NOW))
    books.sql("UPDATE invoices SET balance = 50.40 WHERE number = 'FA-2'")
    looked = books.audit()
    assert [(each.kind, each.company, each.invoices) for each in looked.findings] == [("balance", "NORD", ("FA-2",))]


def test_an_audit_may_reckon_for_longer_than_other_transactions_may_rest(books: Books) -> None:
    with connect(books.url) as conn:
        conn.execute("SET idle_in_transaction_session_timeout = '50ms'")
        conn.commit()
        audits.one_snapshot(conn)
        time.sleep(0.3)
        assert audits.tag_titles(conn) is not None
        conn.rollback()
        limit = one(conn, "SHOW idle_in_transaction_session_timeout")
        assert limit == "50ms", "the next transaction on this connection may not"


# ---------------------------------------------------------------- once a day, and for a person


class Given(list[tuple[str, object]]):
    def waiting(self, queue: str) -> int:
        del queue
        return 0

    def give(self, actor: str, *ids: object) -> None:
        self.append((actor, ids[0]))


@pytest.fixture
def connections(books: Books) -> Iterator[Office]:
    with pool(books.url, actor="test", size=3) as opened:
        yield Office(pool=opened, settings=Settings())


def test_a_day_has_one_audit_however_many_schedulers_and_hints(books: Books, connections: Office) -> None:
    books.sent()
    books.do(lambda conn: settings.set_clock(conn, LATER + timedelta(hours=3)))
    given = Given()
    for _ in range(3):
        plan_audit(connections.pool)
        relay(connections.pool, given, Settings())
    hinted = [audit_id for actor, audit_id in given if actor == "audit"]
    assert len(hinted) == 1
    assert isinstance(hinted[0], int)
    make_audit(connections, hinted[0])
    make_audit(connections, hinted[0])
    with connect(books.url) as conn:
        kept = audits.last(conn)
        assert kept
        assert (kept.findings, kept.on_day.isoformat()) == (0, "2026-11-25")
        assert status(conn, "redis://127.0.0.1:1/0").audit == kept
    relay(connections.pool, given, Settings())
    assert [actor for actor, _ in given].count("audit") == 1


def test_the_next_audit_goes_on_where_the_last_one_ended(books: Books, connections: Office) -> None:
    books.do(lambda conn: settings.set_clock(conn, LATER))
    plan_audit(connections.pool)
    with connect(books.url) as conn:
        (audit_id,) = (row[0] for row in conn.execute("SELECT id FROM audits"))
    make_audit(connections, audit_id)
    with connect(books.url) as conn:
        first = audits.last(conn)
        settings.set_clock(conn, LATER + timedelta(days=1))
    plan_audit(connections.pool)
    with connect(books.url) as conn:
        audit_id = one(conn, "SELECT max(id) FROM audits")
    make_audit(connections, int(str(audit_id)))
    with connect(books.url) as conn:
        second = audits.last(conn)
    assert first
    assert second
    assert second.since == first.until == LATER - timedelta(hours=1)


def daily(books: Books, connections: Office, at: datetime) -> dict[str, Any]:
    """The day's runs are made, and its audit, which is read as it is kept."""
    books.do(lambda conn: settings.set_clock(conn, at))
    books.do(fire)
    plan_audit(connections.pool)
    with connect(books.url) as conn:
        audit_id = int(str(one(conn, "SELECT max(id) FROM audits")))
    make_audit(connections, audit_id, margin=timedelta(0))
    with connect(books.url) as conn:
        result = one(conn, "SELECT result FROM audits WHERE id = %s", audit_id)
    assert isinstance(result, dict)
    return result


def forget(books: Books, number: str) -> None:
    """A fault: a candidate that no verdict will be about."""
    books.sql(
        "UPDATE chunks SET invoice_ids ="
        f" array_remove(invoice_ids, (SELECT id FROM invoices WHERE number = '{number}'))"
    )


def kinds(result: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(each["kind"], each["invoices"]) for each in result["findings"]]


def test_a_run_that_was_held_is_looked_at_again_once_it_has_ended(books: Books, connections: Office) -> None:
    run_id = books.fired()
    books.do(lambda conn: holds.hold(conn, run=run_id, because="large", by=MARIE))
    first = daily(books, connections, LATER)
    assert (kinds(first), first["became"]) == ([], {})
    assert any("is held: large" in note for note in first["notes"])
    second = daily(books, connections, LATER + timedelta(days=1))
    assert kinds(second) == [], "its rule makes no other run meanwhile"
    books.do(lambda conn: holds.release(conn, run=run_id, by=MARIE))
    open_run(connections, run_id)
    forget(books, "FA-2")
    decide_run(books.url, run_id)
    send_all(books.url, run_id)
    close_run(connections, run_id)
    third = daily(books, connections, LATER + timedelta(days=2))
    assert kinds(third) == [("missing", ["FA-2"])]
    books.sql("UPDATE runs SET closed_at = closed_at - interval '1 hour'")
    fourth = daily(books, connections, LATER + timedelta(days=3))
    assert ("missing", ["FA-2"]) not in kinds(fourth), "it is told once"


def test_candidates_undecided_at_one_audit_are_looked_at_by_the_next(books: Books, connections: Office) -> None:
    run_id = books.fired()
    open_run(connections, run_id)
    assert daily(books, connections, LATER)["became"] == {"waiting": 3}
    forget(books, "FA-1")
    decide_run(books.url, run_id)
    second = daily(books, connections, LATER + timedelta(minutes=1, days=1))
    assert ("missing", ["FA-1"]) in kinds(second)


def test_a_person_sees_the_difference_and_the_exit_code_says_it(books: Books, redis_url: str) -> None:
    books.do(lambda conn: settings.set_clock(conn, LATER))
    servers = {"DATABASE_URL": books.url, "REDIS_URL": redis_url, "COLUMNS": "80"}
    shown = CliRunner().invoke(cli, ["audit"], env=servers)
    assert shown.exit_code == 1, shown.output
    assert "made no run" in " ".join(shown.stdout.split())
    told = json.loads(CliRunner().invoke(cli, ["audit", "--json"], env=servers).stdout)
    assert [each["kind"] for each in told["findings"]] == ["no_run"]
    books.sent()
    assert CliRunner().invoke(cli, ["audit"], env=servers).exit_code == 0
