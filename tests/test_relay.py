"""The relay gives hints for what waits: bounded, in turn, and only once their rows are free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from operations.holds import hold, release
from operations.rules import activate, deactivate
from operations.run import run_by_hand
from store import hints
from store.connection import connect, pool
from tests.chasing import NOW, RULE, committed_chase, decide_run, decided_run, one, open_rule
from workers.broker import QUEUES, RedisHints
from workers.relay import IDS_A_HINT, relay
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from store.connection import Connection, Pool


class Given:
    """A Redis that fetches nothing: every hint given is kept, and looked at by what stands in `at_once`."""

    def __init__(self, waiting: int = 0, at_once: Callable[[str], None] = lambda _actor: None) -> None:
        self.hints: list[tuple[str, tuple[object, ...]]] = []
        self._waiting = waiting
        self._at_once = at_once

    def waiting(self, queue: str) -> int:
        assert queue in QUEUES.values()
        return self._waiting

    def give(self, actor: str, *ids: object) -> None:
        self.hints.append((actor, ids))
        self._at_once(actor)

    def actors(self) -> set[str]:
        return {actor for actor, _ in self.hints}


@pytest.fixture
def connections(database_url: str) -> Iterator[Pool]:
    with pool(database_url, actor="scheduler:test:1", size=2) as opened:
        yield opened


def many_mails(conn: Connection, run_id: int, count: int) -> None:
    """Reminders by the thousand, as a large run leaves them: due, with nothing but themselves."""
    conn.execute(
        "INSERT INTO reminders (run_id, rule_id, rule_version, company_id, customer_id, currency, level, recipient,"
        " message_id) SELECT run_id, rule_id, rule_version, company_id, customer_id, currency, level, recipient,"
        " '<' || n || '@many>' FROM reminders CROSS JOIN generate_series(1, %s) AS n WHERE run_id = %s",
        [count, run_id],
    )


def test_a_hint_is_given_only_once_its_row_is_free(database_url: str, connections: Pool) -> None:
    """A worker is faster than a commit: it would skip the locked row, and the hint would be lost for a minute."""
    run_id = decided_run(database_url, committed_chase(database_url))
    seen: dict[str, list[int]] = {}

    with connect(database_url) as worker:

        def look(actor: str) -> None:
            free = worker.execute("SELECT id FROM reminders WHERE run_id = %s FOR UPDATE SKIP LOCKED", [run_id])
            seen[actor] = [row[0] for row in free]
            worker.rollback()

        given = Given(at_once=look)
        relay(connections, given, Settings())
    assert given.hints == [("send_reminders", (seen["send_reminders"],))]
    assert len(seen["send_reminders"]) == 1


def test_a_hint_that_is_alive_is_not_given_again(database_url: str, connections: Pool) -> None:
    decided_run(database_url, committed_chase(database_url))
    assert relay(connections, Given(), Settings(hint_s=60)) == 1
    assert relay(connections, Given(), Settings(hint_s=60)) == 0
    with connect(database_url) as conn:
        conn.execute("UPDATE reminders SET hinted_until = clock_timestamp() - interval '1 s'")
    again = Given()
    assert relay(connections, again, Settings(hint_s=60)) == 1
    assert again.actors() == {"send_reminders"}


def test_a_round_is_bounded_however_much_is_due(database_url: str, connections: Pool) -> None:
    run_id = decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        many_mails(conn, run_id, 2000)
    first = Given()
    relay(connections, first, Settings())
    sizes = [len(ids[0]) for _, ids in first.hints if isinstance(ids[0], list)]
    assert max(sizes) == IDS_A_HINT
    assert 0 < sum(sizes) <= 16 * IDS_A_HINT
    assert relay(connections, Given(waiting=16), Settings()) == 0


def test_a_small_run_does_not_wait_behind_a_large_one(database_url: str, connections: Pool) -> None:
    rule = committed_chase(database_url)
    large = decided_run(database_url, rule)
    with connect(database_url) as conn:
        many_mails(conn, large, 2000)
        conn.execute("UPDATE invoices SET due_on = '2026-10-15' WHERE number = 'FA-3'")
        small = run_by_hand(conn, open_rule(conn, "Toutes", level=0), by="user:marie").run_id
    decide_run(database_url, small)
    given = Given()
    relay(connections, given, Settings())
    with connect(database_url) as conn:
        mine = one(conn, "SELECT id FROM reminders WHERE run_id = %s", small)
    assert ("send_reminders", ([mine],)) in given.hints


@pytest.mark.parametrize("gate", ["rule", "account"])
def test_held_mail_is_not_hinted(database_url: str, connections: Pool, gate: str) -> None:
    decided_run(database_url, committed_chase(database_url))
    what: dict[str, Any] = {"rule": RULE} if gate == "rule" else {"account": "sortie"}
    with connect(database_url) as conn:
        hold(conn, **what, because="wrong price list", by="user:marie")
    assert relay(connections, Given(), Settings()) == 0
    with connect(database_url) as conn:
        release(conn, **what, by="user:marie")
    assert relay(connections, Given(), Settings()) == 1


def test_an_inactive_rule_holds_what_its_schedule_queued_and_not_what_a_person_asked_for(
    database_url: str, connections: Pool
) -> None:
    run_id = decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        assert one(conn, "SELECT active FROM rules") is False
    by_hand = Given()
    relay(connections, by_hand, Settings())
    assert by_hand.actors() == {"send_reminders"}
    with connect(database_url) as conn:
        conn.execute("UPDATE runs SET request_key = NULL WHERE id = %s", [run_id])
        conn.execute("UPDATE reminders SET hinted_until = '-infinity'")
    assert relay(connections, Given(), Settings()) == 0
    with connect(database_url) as conn:
        activate(conn, rule=RULE, by="user:marie", now=NOW)
    assert relay(connections, Given(), Settings()) == 1
    with connect(database_url) as conn:
        deactivate(conn, rule=RULE, by="user:marie", now=NOW)
        conn.execute("UPDATE reminders SET hinted_until = '-infinity'")
    assert relay(connections, Given(), Settings()) == 0


def test_rules_of_one_instant_are_decided_the_highest_level_first(database_url: str, connections: Pool) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        low = run_by_hand(conn, rule, by="user:marie").run_id
        high = run_by_hand(conn, open_rule(conn, "Relance 2", level=1), by="user:marie").run_id
    first = Given()
    relay(connections, first, Settings())
    assert first.hints == [("rule_due", (high,))]
    decide_run(database_url, high)
    second = Given()
    relay(connections, second, Settings())
    assert ("rule_due", (low,)) in second.hints


def test_hints_arrive_in_redis_by_queue(database_url: str, redis_url: str, connections: Pool) -> None:
    decided_run(database_url, committed_chase(database_url))
    to = RedisHints(redis_url)
    assert to.waiting("send") == 0
    assert relay(connections, to, Settings()) == 1
    assert (to.waiting("send"), to.waiting("runs"), to.waiting("effects")) == (1, 0, 0)


def test_losing_every_hint_loses_time_and_no_mail(database_url: str, connections: Pool) -> None:
    decided_run(database_url, committed_chase(database_url))
    relay(connections, Given(), Settings(hint_s=0.05))
    with connections.connection() as conn:
        conn.execute("SELECT pg_sleep(0.1)")
        found = hints.due_reminders(conn, alive_s=60, limit=100)
    assert sum(map(len, found.values())) == 1
