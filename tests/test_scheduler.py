"""The scheduler: what is due becomes one run, whoever looks, however late."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from operations import holds
from operations.rules import activate, deactivate, save_rule
from operations.run import run_by_hand
from store import rules, settings
from store.connection import connect, pool
from tests.chasing import RULE, committed_chase, one, open_rule
from workers.process import schedule
from workers.scheduler import ClockWatch, fire, fire_unless_jumped
from workers.settings import Settings
from workflow.rules import rule_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.connection import Connection
    from store.rules import SavedRule

MARIE = "user:marie"
DAILY = ["0 9 * * *"]


def nine(day: int) -> datetime:
    """Nine o'clock in Paris on this day of December 2026."""
    return datetime(2026, 12, day, 8, tzinfo=UTC)


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    committed_chase(database_url)
    with connect(database_url) as opened:
        at(opened, nine(1))
        open_rule(opened, RULE, schedule_lines=DAILY)
        activate(opened, rule=RULE, by=MARIE, now=nine(1))
        opened.commit()
        yield opened


def at(conn: Connection, now: datetime) -> None:
    settings.set_clock(conn, now)
    conn.commit()


def fired(conn: Connection, now: datetime) -> list[tuple[datetime, int]]:
    """The runs made at this moment: (due instant, how many were missed before it)."""
    at(conn, now)
    made = fire(conn)
    conn.commit()
    return conn.execute("SELECT due_at, missed FROM runs WHERE id = ANY(%s) ORDER BY id", [made]).fetchall()


def test_activation_fires_nothing_at_once(conn: Connection) -> None:
    assert fired(conn, nine(1)) == []
    assert fired(conn, nine(1) + timedelta(hours=23)) == []
    assert fired(conn, nine(2)) == [(nine(2), 0)]


def test_a_machine_that_slept_over_three_instants_makes_one_run_for_the_last(conn: Connection) -> None:
    assert fired(conn, nine(4) + timedelta(minutes=5)) == [(nine(4), 2)]
    assert fired(conn, nine(4) + timedelta(minutes=6)) == []
    assert fired(conn, nine(5)) == [(nine(5), 0)]


def test_two_schedulers_make_one_run(conn: Connection, database_url: str) -> None:
    at(conn, nine(2))
    together = threading.Barrier(4)
    made: list[int] = []

    def scheduler() -> None:
        with connect(database_url) as other:
            other.execute("SELECT 1")
            together.wait()
            made.extend(fire(other))

    threads = [threading.Thread(target=scheduler) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert one(conn, "SELECT count(*) FROM runs") == 1


def test_a_rule_that_is_off_or_held_or_by_hand_fires_for_nobody(conn: Connection) -> None:
    open_rule(conn, "À la main", schedule_lines=[])
    activate(conn, rule="À la main", by=MARIE, now=nine(1))
    holds.hold(conn, rule=RULE, because="wrong text", by=MARIE)
    assert fired(conn, nine(2)) == []
    holds.release(conn, rule=RULE, by=MARIE)
    deactivate(conn, rule=RULE, by=MARIE, now=nine(2))
    assert fired(conn, nine(3)) == []


def test_a_rule_switched_on_again_does_not_catch_up(conn: Connection) -> None:
    deactivate(conn, rule=RULE, by=MARIE, now=nine(1))
    activate(conn, rule=RULE, by=MARIE, now=nine(9))
    assert fired(conn, nine(9) + timedelta(hours=1)) == []
    assert fired(conn, nine(10)) == [(nine(10), 0)]


def test_a_changed_schedule_counts_from_its_change(conn: Connection) -> None:
    """Made at noon, a line of ten o'clock has not come due today."""
    at(conn, nine(2) + timedelta(hours=3))
    save_with(conn, ["0 10 * * *"], nine(2) + timedelta(hours=3))
    assert fired(conn, nine(2) + timedelta(hours=4)) == []
    assert fired(conn, nine(3) + timedelta(hours=1)) == [(nine(3) + timedelta(hours=1), 0)]


def saved_rule(conn: Connection) -> SavedRule:
    (saved,) = (each for each in rules.saved(conn) if each.title == RULE)
    return saved


def save_with(conn: Connection, lines: list[str], now: datetime) -> None:
    definition = rule_to_json(saved_rule(conn).rule) | {"schedule_lines": lines}
    save_rule(conn, definition, company="NORD", account="sortie", by=MARIE, now=now)


def test_a_run_by_hand_takes_nothing_from_the_schedule(conn: Connection) -> None:
    at(conn, nine(2))
    run_by_hand(conn, saved_rule(conn), by=MARIE)
    assert fired(conn, nine(2)) == [(nine(2), 0)]


def test_several_lines_of_a_rule_due_at_one_instant_are_one_run(conn: Connection) -> None:
    save_with(conn, ["0 9 * * *", "0 9 * * 3"], nine(1))
    assert fired(conn, nine(2)) == [(nine(2), 0)]


def test_nine_o_clock_stays_nine_o_clock_across_a_clock_change(conn: Connection) -> None:
    assert fired(conn, datetime(2027, 3, 27, 8, tzinfo=UTC))[0][0] == datetime(2027, 3, 27, 8, tzinfo=UTC)
    assert fired(conn, datetime(2027, 3, 28, 7, tzinfo=UTC)) == [(datetime(2027, 3, 28, 7, tzinfo=UTC), 0)]


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1), timedelta(minutes=10)])
def test_a_jump_of_the_clock_stops_all_mail_until_a_person_has_looked(
    conn: Connection, database_url: str, jump: timedelta
) -> None:
    at(conn, nine(2))
    with pool(database_url, actor="scheduler:test:1", size=1) as connections:
        watch = ClockWatch(settings.database_now(conn) - jump)
        assert fire_unless_jumped(connections, watch) == []
        conn.rollback()
        assert "jumped" in str(settings.read(conn).stopped_because)
        conn.commit()
        assert fire_unless_jumped(connections, watch) == [], "it stays stopped"
        holds.resume(conn, by=MARIE)
        conn.commit()
        assert len(fire_unless_jumped(connections, watch)) == 1


def test_time_that_passes_is_no_jump(conn: Connection, database_url: str) -> None:
    watch = ClockWatch(settings.database_now(conn))
    assert abs(watch.jump_s(settings.database_now(conn))) < 60
    with pool(database_url, actor="scheduler:test:1", size=1) as connections:
        fire_unless_jumped(connections, watch)
    assert settings.read(conn).stopped_because is None


def test_a_scheduler_goes_on_while_redis_is_away(conn: Connection, database_url: str) -> None:
    at(conn, nine(2))
    stop = threading.Event()
    nowhere = Settings(database_url=database_url, redis_url="redis://127.0.0.1:1/0")
    running = threading.Thread(target=schedule, args=[nowhere, stop])
    running.start()
    try:
        for _ in range(200):
            if one(conn, "SELECT count(*) FROM runs") == 1:
                break
            conn.commit()
            stop.wait(0.05)
        assert one(conn, "SELECT count(*) FROM runs") == 1
    finally:
        stop.set()
        running.join()


def test_the_run_pins_the_version_of_its_rule(conn: Connection) -> None:
    version = one(conn, "SELECT version FROM rules")
    fired(conn, nine(2))
    assert one(conn, "SELECT rule_version FROM runs") == version
