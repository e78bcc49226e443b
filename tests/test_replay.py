"""Failed mails go again through the decision: fresh day, fresh address, and never a level twice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, get_args

import pytest

from operations.customers import save_contact
from operations.replay import replay
from operations.run import run_by_hand
from scripts.sink import Sink
from store.connection import connect
from store.replays import ErrorClass, Which, failed
from tests.chasing import committed_chase, decide_run, decided_run, fail, one, open_chase, open_rule, pay, send_all
from tests.trade import TODAY, invoice
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from operations.replay import Replay
    from store.connection import Connection


EVERY = Which()


def replayed(
    conn: Connection,
    which: Which = EVERY,
    *,
    because: str = "server mended",
    maximum: int = 10,
    dry_run: bool = False,
    commit: Callable[[], object] = lambda: None,
) -> Replay:
    return replay(
        conn, which, because=because, maximum=maximum, dry_run=dry_run, by="user:marie", commit=commit
    )  # fmt: skip


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
        said = conn.execute("SELECT actor, because, today, change FROM journal WHERE subject = 'reminder'").fetchall()
        assert said == [("user:marie", "server mended", TODAY, {"replayed_in": [None, run_id]})]


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
        assert {one.reason for one in again.skipped} == {"being_replayed"}
        conn.execute("UPDATE runs SET state = 'closed', closed_at = now()")
        again = replayed(conn)
        assert (again.mails, again.runs) == ((), ())
        assert {(one.invoice, one.reason) for one in again.skipped} == {("FA-1", "moved_on"), ("FA-2", "moved_on")}


def test_two_replays_before_either_is_decided_remind_once(database_url: str) -> None:
    failed_run(database_url)
    runs: list[int] = []
    for _ in range(2):
        with connect(database_url) as conn:
            runs += replayed(conn).runs
    assert len(runs) == 1
    with connect(database_url) as conn:
        again = replayed(conn, dry_run=True)
    assert [(one.invoice, one.reason, one.detail) for one in again.skipped] == [
        ("FA-1", "being_replayed", f"run {runs[0]}"),
        ("FA-2", "being_replayed", f"run {runs[0]}"),
    ]
    decide_run(database_url, runs[0])
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
        (EVERY, True),
        (Which(error="NOT WANTED"), True),
        (Which(error="refused"), True),
        (Which(error="451"), False),
        (Which(since=TODAY), True),
        (Which(since=TODAY.replace(day=25)), False),
        (Which(until=TODAY), True),
        (Which(until=TODAY.replace(day=23)), False),
        (Which(since=TODAY, until=TODAY), True),
        (Which(run_id=999), False),
        (Which(rule_id=999), False),
        (Which(account_id=999), False),
        (Which(error_class="5xx"), True),
        (Which(error_class="4xx"), False),
    ],
)
def test_only_what_is_asked_for_is_replayed(database_url: str, asked: Which, *, matches: bool) -> None:
    failed_run(database_url)
    with connect(database_url) as conn:
        assert bool(replayed(conn, asked).mails) == matches


def test_what_left_by_one_account_is_replayed_alone(database_url: str) -> None:
    failed_run(database_url)
    with connect(database_url) as conn:
        ids = dict(conn.execute("SELECT name, id FROM mail_accounts").fetchall())
        assert replayed(conn, Which(account_id=ids["comptabilité"]), dry_run=True).mails == ()
        assert replayed(conn, Which(account_id=ids["sortie"]), dry_run=True).mails != ()


@pytest.mark.parametrize(
    ("problem", "error", "error_class"),
    [
        ("refused", "rcpt: 550 5.7.1 policy", "5xx"),
        ("refused", "554 not wanted", "5xx"),
        ("expired", "connect: 421 4.3.2 try later", "4xx"),
        ("expired", "data: 451 4.7.1 behind us: 550 no", "4xx"),
        ("expired", "auth: 535 no", "5xx"),
        ("expired", "Connection refused", "unreachable"),
        ("expired", "no answer in 60 s: 550", "unreachable"),
        ("not_rendered", "attachment: the invoice's original is not archived (got 'FA-1')", "attachment"),
        ("not_rendered", "texts.fr.header: unknown variable", "template"),
        ("not_rendered", None, "template"),
        ("no_recipient", None, "no_address"),
        ("suppressed", None, "no_address"),
        ("lost", "it did not arrive", "lost"),
        ("strange", "550", "other"),
    ],
)
def test_failures_are_told_apart(database: Connection, problem: str, error: str | None, error_class: str) -> None:
    failing(database, problem, error)
    found = {each: bool(failed(database, Which(error_class=each), after=0, limit=10)) for each in get_args(ErrorClass)}
    assert [each for each, holds in found.items() if holds] == [error_class]


def failing(conn: Connection, problem: str, error: str | None) -> None:
    """A mail that failed so, about nothing."""
    rule = open_chase(conn)
    run_id = run_by_hand(conn, rule, by="user:marie").run_id
    conn.execute(
        "INSERT INTO reminders (run_id, rule_id, rule_version, company_id, customer_id, currency, recipient,"
        "                       message_id, state, ended_at, ended_on, problem, last_error)"
        " SELECT %s, %s, 1, %s, min(id), 'EUR', 'a@b.example', '<1@x>', 'failed', now(), %s, %s, %s FROM customers",
        [run_id, rule.id, rule.company_id, TODAY, problem, error],
    )


def many_failed(url: str, monkeypatch: pytest.MonkeyPatch, count: int = 5) -> list[int]:
    """So many failed mails, one an invoice; a replay takes two of them a step."""
    monkeypatch.setattr("operations.replay.STEP", 2)
    committed_chase(url)
    with connect(url) as conn:
        rule = open_rule(conn, "Relance 1 seule", grouping="invoice", level=0)
        for number in range(10, 10 + count - 2):
            invoice(conn, f"FA-{number}")
    run_id = decided_run(url, rule)
    with connect(url) as conn:
        ids = [row[0] for row in conn.execute("SELECT id FROM reminders WHERE run_id = %s ORDER BY id", [run_id])]
        for reminder_id in ids:
            fail(conn, reminder_id)
    assert len(ids) == count
    return ids


class Interrupted(Exception):  # noqa: N818 - what happened
    """A person lost patience, or the machine was switched off."""


def test_an_interrupted_replay_goes_on_where_it_was(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = many_failed(database_url, monkeypatch)
    with pytest.raises(Interrupted), connect(database_url) as conn:
        replayed(conn, commit=interrupted_after(conn.commit))
    with connect(database_url) as conn:
        first = one(conn, "SELECT array_agg(id ORDER BY id) FROM reminders WHERE replayed_in IS NOT NULL")
        assert first == ids[:2], "the first step is done, the others are not"
        assert replayed(conn, maximum=100).mails == tuple(ids[2:])
    with connect(database_url) as conn:
        assert replayed(conn, maximum=100).mails == ()
        runs = [row[0] for row in conn.execute("SELECT id FROM runs WHERE request_key LIKE 'replay:%' ORDER BY id")]
    for run_id in runs:
        decide_run(database_url, run_id)
    with connect(database_url) as conn:
        per_invoice = "SELECT max(n) FROM (SELECT count(*) AS n FROM reminder_invoices GROUP BY invoice_id) AS x"
        assert one(conn, "SELECT count(*) FROM reminders WHERE state = 'due'") == 5
        assert one(conn, per_invoice) == 2, "once failed, once more"


def interrupted_after(commit: Callable[[], object]) -> Callable[[], None]:
    def done() -> None:
        commit()
        raise Interrupted

    return done


def test_the_maximum_holds_over_all_steps_and_the_rest_is_counted(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = many_failed(database_url, monkeypatch)
    with connect(database_url) as conn:
        found = replayed(conn, maximum=3)
        assert (found.mails, found.left) == (tuple(ids[:3]), 2)
        assert one(conn, "SELECT count(*) FROM journal WHERE change ? 'replayed_in'") == 3


def test_two_replays_at_once_take_turns(database_url: str) -> None:
    failed_run(database_url)
    with connect(database_url) as first, ThreadPoolExecutor(1) as threads:
        first.execute("SELECT 1")  # so that it is committed below
        assert len(replayed(first).mails) == 1

        def second() -> Replay:
            with connect(database_url) as conn:
                return replayed(conn)

        waiting = threads.submit(second)
        with connect(database_url) as watching:
            watching.autocommit = True
            while not one(watching, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                time.sleep(0.02)
        first.commit()
        assert waiting.result(15).mails == ()


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


def test_a_period_that_ends_before_it_begins_is_refused(database: Connection) -> None:
    with pytest.raises(InvalidInput, match="until: is before 2026-11-24"):
        replayed(database, Which(since=TODAY, until=TODAY.replace(day=23)))
    with pytest.raises(InvalidInput, match=r"error: the character U\+0000"):
        replayed(database, Which(error="a\x00"))


def test_a_reason_and_a_maximum_are_needed(database: Connection) -> None:
    with pytest.raises(InvalidInput, match="because"):
        replayed(database, because="")
    with pytest.raises(InvalidInput, match="max"):
        replayed(database, maximum=0)
