"""The instance at a glance: every number comes from the rows, and a Redis that is away is part of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from operations import runs
from operations.holds import hold, stop
from operations.lookup import Unknown
from operations.pace import Pace
from operations.rules import activate
from operations.run import run_by_hand
from operations.status import hints, status
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import NOW, RULE, committed_chase, decided_run, doubt, fail, one, open_chase, open_rule, send_all
from tests.telling import CONTACT, CUSTOMER, event, tell
from tests.trade import TODAY, invoice

if TYPE_CHECKING:
    from pathlib import Path

    from store.connection import Connection


def test_an_empty_instance_is_at_rest(database: Connection, redis_url: str) -> None:
    found = status(database, redis_url)
    assert set(found.reminders.values()) == {0}
    assert (found.open_runs, found.last_runs, found.held, found.days) == ((), (), (), {})
    assert found.redis.reachable
    assert found.queues.oldest_due_at is None


def test_what_waits_is_counted_from_the_rows(database_url: str, redis_url: str) -> None:
    rule = committed_chase(database_url)
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        waiting = run_by_hand(conn, rule, by="user:marie")
        found = status(conn, redis_url)
    assert found.reminders["due"] == 1
    assert found.queues.due_runs == 1
    assert found.queues.oldest_due_at is not None
    assert [(line.run.id, line.progress.waiting) for line in found.open_runs] == [(run_id, 1)]
    assert found.pace == {run_id: Pace(done=0, mails=1, per_s=0.0, left_s=None)}
    assert [line.run.id for line in found.last_runs] == [waiting.run_id, run_id]
    assert (found.days, found.instance.clock_is_set) == ({"NORD": TODAY}, True)


def test_what_failed_or_is_in_doubt_is_shown(database_url: str, redis_url: str) -> None:
    rule = committed_chase(database_url)
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        reminder_id = one(conn, "SELECT id FROM reminders")
        assert isinstance(reminder_id, int)
        doubt(conn, reminder_id)
        assert status(conn, redis_url).reminders["in_doubt"] == 1
        conn.rollback()
        fail(conn, reminder_id)
        assert status(conn, redis_url).reminders["failed"] == 1
        story = runs.story(conn, run_id)
    assert story.progress.failed == 1
    assert story.reasons == {"reminded": 2, "disputed": 1, "no_recipient": 1}
    problems = {problem.kind: problem.invoices for problem in story.summary.problems}
    assert problems == {"refused": ("FA-1", "FA-2"), "no_recipient": ("FA-6",)}


def test_what_a_person_holds_is_shown_with_the_reason(database: Connection, redis_url: str) -> None:
    open_chase(database)
    hold(database, rule=RULE, because="new prices", by="user:marie")
    hold(database, customer="C-1", because="talks", by="user:marie")
    hold(database, company="NORD", invoice="FA-1", because="lost", by="user:marie")
    hold(database, account="sortie", because="moving", by="user:marie")
    stop(database, because="audit", by="user:marie")
    found = status(database, redis_url)
    assert {(one.kind, one.name, one.because) for one in found.held} == {
        ("rule", RULE, "new prices"),
        ("customer", "C-1", "talks"),
        ("invoice", "FA-1", "lost"),
        ("account", "sortie", "moving"),
    }
    assert found.instance.stopped_because == "audit"


def test_what_was_sent_today_is_counted_by_account(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        run_id = decided_run(database_url, rule)
        send_all(database_url, run_id)
    with connect(database_url) as conn:
        found = status(conn, redis_url, ever=False)
        assert [(one.name, one.sent_today, one.last_error) for one in found.accounts] == [
            ("sortie", 1, None), ("comptabilité", 0, None),
        ]  # fmt: skip
        assert (found.sent_today, found.pace[run_id].done) == (1, 1)
        assert 0 < found.per_s <= 1
        assert "sent" not in found.reminders, "what ended is not counted again and again"
        conn.execute("UPDATE reminders SET ended_on = ended_on - 1, ended_at = ended_at - interval '1 day'")
        found = status(conn, redis_url)
    assert (found.sent_today, found.per_s, found.reminders["sent"]) == (0, 0.0, 1)


def test_an_account_whose_server_defers_says_why_and_until_when(database_url: str, redis_url: str) -> None:
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        conn.execute(
            "UPDATE reminders SET waits_for = 'server', not_before = '2026-11-24 15:00+00', last_error = '451 busy',"
            " deferrals = 1, deferred_at = now()"
        )
        (account, _) = status(conn, redis_url).accounts
    assert (account.name, account.waiting_for_server, account.last_error) == ("sortie", 1, "451 busy")
    assert account.next_try_at is not None
    assert account.next_try_at.hour == 15


def test_a_failed_mail_that_a_run_decided_about_again_is_failed_no_more(database_url: str, redis_url: str) -> None:
    run_id = decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        reminder_id = one(conn, "SELECT id FROM reminders")
        assert isinstance(reminder_id, int)
        fail(conn, reminder_id)
        for ever in (True, False):
            assert status(conn, redis_url, ever=ever).reminders["failed"] == 1
        conn.execute("UPDATE reminders SET replayed_in = %s", [run_id])
        for ever in (True, False):
            assert status(conn, redis_url, ever=ever).reminders["failed"] == 0


def test_active_rules_say_when_they_are_due_next(database: Connection, redis_url: str) -> None:
    open_chase(database)
    for title, lines in (("Relance 2", ["0 9 * * *"]), ("Relance 3", ["0 8 * * *", "0 18 * * *"]), ("Hand", [])):
        open_rule(database, title, 1, schedule_lines=lines)
        activate(database, rule=title, by="user:marie", now=NOW)
    coming = [(one.rule, f"{one.due_at:%d %H:%M}") for one in status(database, redis_url).next_instants]
    assert coming == [("Relance 3", "24 17:00"), ("Relance 2", "25 08:00")], "on Paris' clock, told in UTC"
    hold(database, rule="Relance 3", because="new prices", by="user:marie")
    assert [one.rule for one in status(database, redis_url).next_instants] == ["Relance 2"]


@pytest.mark.parametrize(
    "broken",
    [
        "jsonb_set(definition, '{colour}', '1')",
        "jsonb_set(definition, '{schedule_lines}', '[\"every now and then\"]')",
    ],
)
def test_a_rule_that_cannot_be_read_is_named_and_hides_no_other(
    database: Connection, redis_url: str, broken: str
) -> None:
    open_chase(database)
    broke = open_rule(database, "Relance 2", 1)
    for title in (RULE, "Relance 2"):
        activate(database, rule=title, by="user:marie", now=NOW)
    database.execute(f"UPDATE rule_versions SET definition = {broken} WHERE rule_id = %s".encode(), [broke.id])
    found = status(database, redis_url)
    assert list(found.unreadable) == ["Relance 2"]


def test_invoices_without_a_due_date_are_counted_by_company(database: Connection, redis_url: str) -> None:
    open_chase(database)
    assert status(database, redis_url).undated == {}
    for number in ("SD-1", "SD-2", "SD-3"):
        invoice(database, number, due_on=None)
    database.execute("UPDATE invoices SET state = 'level_3' WHERE number = 'SD-3'")
    assert status(database, redis_url).undated == {"NORD": 2}, "of SD-3 all three reminders have gone"


def test_events_that_are_parked_or_rejected_are_counted(database: Connection, redis_url: str) -> None:
    assert status(database, redis_url).events == {}
    tell(database, event("customer.upserted", CUSTOMER), event("customer.upserted", {}), event("nothing", {}))
    tell(database, event("contact.upserted", CONTACT | {"customer": "C-8"}))
    assert status(database, redis_url).events == {"parked": 1, "rejected": 2}


def test_hints_that_wait_are_counted_by_queue(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("dramatiq:send", "a", "b")
        now_ms = client.time()[0] * 1000
        client.zadd("dramatiq:__heartbeats__", {"alive": now_ms, "dead": now_ms - 90_000})
        client.sadd("dramatiq:__acks__.alive.send", "c")
        client.sadd("dramatiq:__acks__.dead.send", "d", "e")
    found = hints(redis_url)
    assert found.waiting == {"effects": 0, "runs": 0, "send": 2}
    assert found.in_work == {"effects": 0, "runs": 0, "send": 1}


def test_a_redis_that_is_away_is_said() -> None:
    found = hints("unix:///nowhere/valkey.sock")
    assert (found.reachable, found.waiting, found.error) == (False, {}, "ConnectionError")


def test_a_run_by_hand_needs_no_active_rule_and_a_double_click_makes_one(database: Connection) -> None:
    rule = open_chase(database)
    assert not rule.active
    first = run_by_hand(database, rule, by="user:marie", request_key="click-1")
    second = run_by_hand(database, rule, by="user:marie", request_key="click-1")
    assert (first.made, second.made, first.run_id) == (True, False, second.run_id)
    run = runs.latest(database)[0].run
    assert (run.started_by, run.due_at, run.state) == ("user:marie", NOW, "due")


def test_an_unknown_run_is_said(database: Connection) -> None:
    with pytest.raises(Unknown, match="no run '7'"):
        runs.story(database, 7)
