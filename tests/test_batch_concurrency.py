"""A batch beside payments, workers and other batches: nothing is overwritten, nothing waits in a ring."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operations.batch import Chosen, batch
from operations.batch_plan import Asked
from operations.batch_undo import undo
from operations.ledger import record_payment
from operations.run import run_by_hand
from store.connection import connect, pool
from tests.chasing import committed_chase, decide_run, one, pay
from tests.trade import TODAY
from workers.advance import advance, open_run
from workers.office import Office
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

    from operations.batch import Batch
    from store.connection import Connection

OVERDUE = Chosen(filter="days_overdue >= 15")
LATER = TODAY + timedelta(days=30)
WHOLE = Asked(level=2, add_tags=("Relance 1",), exclude=True)


def batched(conn: Connection, asked: Asked = WHOLE, chosen: Chosen = OVERDUE) -> Batch:
    return batch(conn, chosen, asked, because="x", by="user:marie", dry_run=False)


@contextmanager
def beside(url: str, action: Callable[[Connection], Any]) -> Generator[Future[Any]]:
    """Do it on another connection, beside what this test does."""

    def done() -> Any:  # noqa: ANN401 - whatever the action returns
        with connect(url) as conn:
            return action(conn)

    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(done)


def wait_until_somebody_waits(url: str) -> None:
    give_up_at = time.monotonic() + 10
    with connect(url) as watching:
        watching.autocommit = True
        while not one(watching, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert time.monotonic() < give_up_at, "nobody waits"
            time.sleep(0.02)


def pay_part(conn: Connection, number: str, part: int) -> None:
    record_payment(
        conn, company="NORD", customer="C-1", invoice=number, amount="1.00", currency="EUR", received_on=TODAY,
        reference=f"{number}/{part}", by="user:marie", today=TODAY,
    )  # fmt: skip


def state(conn: Connection, number: str) -> tuple[Any, ...]:
    row = conn.execute(
        "SELECT state, before_settled, level, balance::text FROM invoices WHERE number = %s", [number]
    ).fetchone()
    assert row is not None
    return row


def test_a_payment_under_way_is_waited_for_and_what_it_settles_is_no_longer_selected(database_url: str) -> None:
    committed_chase(database_url)
    with connect(database_url) as conn:
        conn.execute("SELECT 1")  # so that the payment is committed below
        pay(conn, "FA-1")
        with beside(database_url, batched) as waiting:
            wait_until_somebody_waits(database_url)
            conn.commit()
            made = waiting.result(15)
        assert (made.selected, made.changed) == (3, 3)
        assert state(conn, "FA-1") == ("settled", "level_0", 0, "0.00")
        assert state(conn, "FA-2")[2] == 2


def test_a_payment_waits_for_a_batch_and_both_are_there(database_url: str) -> None:
    committed_chase(database_url)
    with connect(database_url) as conn:
        batched(conn)
        with beside(database_url, lambda other: pay(other, "FA-1")) as waiting:
            wait_until_somebody_waits(database_url)
            conn.commit()
            waiting.result(15)
        assert state(conn, "FA-1") == ("settled", "level_2", 2, "0.00")


def test_a_worker_passes_by_what_a_batch_holds_and_decides_later(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        run_id = run_by_hand(conn, rule, by="user:marie").run_id
    with pool(database_url, actor="test", size=2) as connections:
        office = Office(pool=connections, settings=Settings())
        open_run(office, run_id)
        with connect(database_url) as conn:
            batched(conn, Asked(level=2))
            assert advance(office, run_id, 0) == 4, "all wait"
    decide_run(database_url, run_id)
    with connect(database_url) as conn:
        assert one(conn, "SELECT count(*) FROM reminders") == 0
        assert dict(conn.execute("SELECT reason, count(*) FROM candidates GROUP BY reason").fetchall()) == {"filter": 4}


def test_a_reservation_under_way_is_waited_for_and_its_invoices_are_busy(database_url: str) -> None:
    committed_chase(database_url)
    with connect(database_url) as conn:
        conn.execute("UPDATE invoices SET state = 'level_0_sending' WHERE number = 'FA-1'")
        with beside(database_url, batched) as waiting:
            wait_until_somebody_waits(database_url)
            conn.commit()
            made = waiting.result(15)
        assert made.refused == {"busy": ("FA-1",)}
        assert state(conn, "FA-1")[0] == "level_0_sending"


def test_two_batches_over_the_same_invoices_come_one_after_the_other(database_url: str) -> None:
    committed_chase(database_url)
    first, second = Chosen(numbers=("FA-1", "FA-2", "FA-6")), Chosen(numbers=("FA-6", "FA-2", "FA-1"))
    with connect(database_url) as conn:
        batched(conn, Asked(level=2), first)
        with beside(database_url, lambda other: batched(other, Asked(level=1), second)) as waiting:
            wait_until_somebody_waits(database_url)
            conn.commit()
            assert waiting.result(15).samples[0].change["level"] == (2, 1)


@pytest.mark.parametrize("turn", range(3))
def test_batches_payments_and_undoing_never_wait_in_a_ring(database_url: str, turn: int) -> None:
    committed_chase(database_url)

    def back_and_forth(conn: Connection, asked: Asked, chosen: Chosen) -> None:
        for _ in range(10):
            made = batched(conn, asked, chosen)
            conn.commit()
            if made.id and turn == 0:
                undo(conn, made.id, because="x", by="user:marie", dry_run=False)
            conn.commit()

    def pays(conn: Connection, number: str) -> None:
        for part in range(10):
            pay_part(conn, number, part)
            conn.commit()

    jobs: list[Callable[[Connection], None]] = [
        lambda conn: back_and_forth(conn, Asked(pause_until=LATER, exclude=True), OVERDUE),
        lambda conn: pays(conn, "FA-1"),
        lambda conn: pays(conn, "FA-2"),
    ]
    if turn:
        jobs.append(lambda conn: back_and_forth(conn, Asked(level=turn), Chosen(numbers=("FA-2", "FA-1"))))

    def alone(job: Callable[[Connection], None]) -> None:
        with connect(database_url) as conn:
            job(conn)

    with ThreadPoolExecutor(len(jobs)) as threads:
        for done in [threads.submit(alone, job) for job in jobs]:
            done.result(60)
    with connect(database_url) as conn:
        assert (state(conn, "FA-1")[3], state(conn, "FA-2")[3]) == ("90.00", "40.50")
