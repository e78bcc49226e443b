"""Failed mails go again through the decision: fresh day, fresh address, and never a level twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

import pytest

from operations.customers import save_contact
from operations.replay import replay
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import committed_chase, decide_run, decided_run, fail, one, open_rule, pay, send_all
from tests.trade import TODAY, invoice
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from operations.replay import Replay
    from store.connection import Connection


class Asked(TypedDict, total=False):
    because: str
    maximum: int
    dry_run: bool
    run_id: int
    rule_id: int
    since: date
    error: str


def replayed(conn: Connection, **asked: Unpack[Asked]) -> Replay:
    values: Asked = {"because": "server mended", "maximum": 10, "dry_run": False}
    return replay(conn, **(values | asked), by="user:marie")


def failed_run(url: str, *, port: int = 2525) -> int:
    """A run by hand of which every mail failed."""
    rule = committed_chase(url, port=port)
    run_id = decided_run(url, rule)
    with connect(url) as conn:
        for (reminder_id,) in conn.execute("SELECT id FROM reminders WHERE run_id = %s", [run_id]).fetchall():
            fail(conn, reminder_id)
    return run_id


def test_a_failed_mail_is_decided_again_and_leaves_to_today_s_address(database_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        failed_run(database_url, port=sink.port)
        with connect(database_url) as conn:
            save_contact(
                conn, customer="C-1", name="Bea", email="bea@dupont.example", roles=["dunning"], by="user:marie"
            )
            found = replayed(conn)
        assert [(again.invoice, again.recipient) for again in found.again] == [
            ("FA-1", "bea@dupont.example"),
            ("FA-2", "bea@dupont.example"),
        ]
        (run_id,) = found.runs
        decide_run(database_url, run_id)
        send_all(database_url, run_id)
        (accepted,) = sink.mails()
    assert accepted.to == ("bea@dupont.example",)
    with connect(database_url) as conn:
        assert one(conn, "SELECT level FROM invoices WHERE number = 'FA-1'") == 1
        assert one(conn, "SELECT started_by FROM runs WHERE id = %s", run_id) == "user:marie"
        why = one(conn, "SELECT because FROM journal WHERE subject = 'run' AND change -> 'replays' IS NOT NULL")
        assert why == "server mended"


def test_a_dry_run_makes_no_run(database_url: str) -> None:
    run_id = failed_run(database_url)
    with connect(database_url) as conn:
        found = replayed(conn, dry_run=True)
        assert (len(found.mails), len(found.again), found.runs, found.done) == (1, 2, (), False)
        assert one(conn, "SELECT max(id) FROM runs") == run_id


def test_a_replay_run_twice_sends_nothing_twice(database_url: str) -> None:
    failed_run(database_url)
    with connect(database_url) as conn:
        (run_id,) = replayed(conn).runs
    decide_run(database_url, run_id)
    with connect(database_url) as conn:
        again = replayed(conn)
        assert (again.mails, again.runs) == ((), ())
        assert {(one.invoice, one.reason) for one in again.skipped} == {("FA-1", "moved_on"), ("FA-2", "moved_on")}


def test_two_replays_before_either_is_decided_remind_once(database_url: str) -> None:
    failed_run(database_url)
    runs: list[int] = []
    for _ in range(2):
        with connect(database_url) as conn:
            runs += replayed(conn).runs
    for run_id in runs:
        decide_run(database_url, run_id)
    with connect(database_url) as conn:
        assert one(conn, "SELECT count(*) FROM reminders WHERE state = 'due'") == 1


def test_what_is_no_longer_due_is_skipped_with_its_reason(database_url: str) -> None:
    failed_run(database_url)
    with connect(database_url) as conn:
        pay(conn, "FA-1")
        conn.execute("UPDATE invoices SET factored = true WHERE number = 'FA-2'")
        found = replayed(conn)
    assert (found.again, found.runs) == ((), ())
    assert {one.invoice: one.reason for one in found.skipped} == {"FA-1": "moved_on", "FA-2": "factored"}


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        ({}, True),
        ({"error": "NOT WANTED"}, True),
        ({"error": "refused"}, True),
        ({"error": "451"}, False),
        ({"since": TODAY}, True),
        ({"since": TODAY.replace(day=25)}, False),
        ({"run_id": 999}, False),
        ({"rule_id": 999}, False),
    ],
)
def test_only_what_is_asked_for_is_replayed(database_url: str, asked: Asked, *, matches: bool) -> None:
    failed_run(database_url)
    with connect(database_url) as conn:
        assert bool(replayed(conn, **asked).mails) == matches


def test_no_more_than_the_maximum_and_the_oldest_first(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        invoice(conn, "FA-7", customer="C-2")
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        ids = [row[0] for row in conn.execute("SELECT id FROM reminders WHERE run_id = %s ORDER BY id", [run_id])]
        for reminder_id in ids:
            fail(conn, reminder_id)
        found = replayed(conn, maximum=1)
        assert (found.mails, found.left) == ((ids[0],), 1)


def test_a_test_instance_replays_only_rules_that_may_run_there(database_url: str) -> None:
    failed_run(database_url)
    with connect(database_url) as conn:
        conn.execute(
            "UPDATE rule_versions SET definition = jsonb_set(definition, '{on_test_instance}', 'false')"
        )  # fmt: skip
        found = replayed(conn)
    assert found.runs == ()
    assert {one.reason for one in found.skipped} == {"test_instance"}


def test_a_mass_mailing_that_failed_is_replayed_too(database_url: str) -> None:
    committed_chase(database_url)
    with connect(database_url) as conn:
        rule = open_rule(conn, "Envoi", counts=False, minimum_gap_days=30)
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        reminder_id = one(conn, "SELECT id FROM reminders WHERE run_id = %s", run_id)
        assert isinstance(reminder_id, int)
        fail(conn, reminder_id)
        (again,) = replayed(conn).runs
    decide_run(database_url, again)
    with connect(database_url) as conn:
        assert one(conn, "SELECT count(*) FROM reminders WHERE run_id = %s AND state = 'due'", again) == 1
        assert replayed(conn).runs == ()


def test_a_reason_and_a_maximum_are_needed(database: Connection) -> None:
    with pytest.raises(InvalidInput, match="because"):
        replayed(database, because="")
    with pytest.raises(InvalidInput, match="max"):
        replayed(database, maximum=0)
