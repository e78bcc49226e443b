"""The instance at a glance: every number comes from the rows, and a Redis that is away is part of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from operations import runs
from operations.holds import hold, stop
from operations.lookup import Unknown
from operations.run import run_by_hand
from operations.status import hints, status
from store.connection import connect
from tests.chasing import NOW, RULE, committed_chase, decided_run, doubt, fail, one, open_chase
from tests.trade import TODAY

if TYPE_CHECKING:
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
    assert found.pace == {run_id: 0}
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


def test_hints_that_wait_are_counted_by_queue(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("dramatiq:send", "a", "b")
    assert hints(redis_url).waiting == {"effects": 0, "runs": 0, "send": 2}


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
