"""Events by the Redis stream: kept before they are acknowledged, taken over from the dead, applied within a second."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from operations.intake import drain, intake, keep
from store.connection import connect
from tests.telling import CUSTOMER, INVOICE, PAYMENT, asked, event, outcomes
from tests.trade import open_trade
from workers.settings import Settings
from workers.stream import GROUP, STREAM, Stream

if TYPE_CHECKING:
    from collections.abc import Generator

    from store.connection import Connection

WAIT_MS = 50


@pytest.fixture
def erp(redis_url: str) -> Generator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def add(erp: redis.Redis, *events: object) -> None:
    for one in events:
        erp.xadd(STREAM, {"event": json.dumps(one)})


def test_what_is_in_the_stream_is_kept_then_deleted(conn: Connection, erp: redis.Redis, redis_url: str) -> None:
    add(erp, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
    stream = Stream(redis_url, name="one")
    assert keep(conn, stream, wait_ms=WAIT_MS) == 2
    assert keep(conn, stream, wait_ms=WAIT_MS) == 0
    assert (erp.xlen(STREAM), erp.xpending(STREAM, GROUP)["pending"]) == (0, 0)
    drain(conn)
    assert outcomes(conn) == ["applied"] * 2
    assert asked(conn, "SELECT DISTINCT door FROM inbox") == [("stream",)]
    stream.close()


def test_what_a_reader_that_died_had_taken_is_taken_over(conn: Connection, erp: redis.Redis, redis_url: str) -> None:
    add(erp, event("customer.upserted", CUSTOMER))
    dead, patient, heir = (
        Stream(redis_url, name=name, taken_over_ms=ms) for name, ms in (("a", 1), ("b", 60_000), ("c", 1))
    )
    assert len(dead.read(wait_ms=WAIT_MS)) == 1
    assert keep(conn, patient, wait_ms=WAIT_MS) == 0
    time.sleep(0.01)
    assert keep(conn, heir, wait_ms=WAIT_MS) == 1
    assert erp.xpending(STREAM, GROUP)["pending"] == 0
    for one in (dead, patient, heir):
        one.close()


def test_an_entry_that_is_kept_and_not_acknowledged_is_no_second_event(
    conn: Connection, erp: redis.Redis, redis_url: str
) -> None:
    told = event("customer.upserted", CUSTOMER)
    add(erp, told, told)
    stream = Stream(redis_url, name="one")
    assert keep(conn, stream, wait_ms=WAIT_MS) == 2
    assert asked(conn, "SELECT repeats FROM inbox") == [(1,)]
    stream.close()


def test_an_entry_that_nobody_can_read_blocks_none(conn: Connection, erp: redis.Redis, redis_url: str) -> None:
    unreadable: list[dict[Any, Any]] = [{"event": b"\xff\x00{"}, {"other": "x"}, {"event": "[1]"}, {"event": ""}]
    for fields in unreadable:
        erp.xadd(STREAM, fields)
    add(erp, event("customer.upserted", CUSTOMER))
    stream = Stream(redis_url, name="one")
    assert keep(conn, stream, wait_ms=WAIT_MS) == 5
    drain(conn)
    assert outcomes(conn) == ["rejected"] * 4 + ["applied"]
    assert erp.xlen(STREAM) == 0
    stream.close()


def test_a_redis_that_was_emptied_is_read_on(conn: Connection, erp: redis.Redis, redis_url: str) -> None:
    stream = Stream(redis_url, name="one")
    assert keep(conn, stream, wait_ms=WAIT_MS) == 0
    erp.delete(STREAM)
    add(erp, event("customer.upserted", CUSTOMER))
    assert keep(conn, stream, wait_ms=WAIT_MS) == 1
    stream.close()


def test_a_payment_in_the_stream_is_booked_within_a_second(database_url: str, erp: redis.Redis, redis_url: str) -> None:
    with connect(database_url) as conn:
        open_trade(conn)
    with intake(Settings(database_url=database_url, redis_url=redis_url)), connect(database_url) as conn:
        add(erp, event("customer.upserted", CUSTOMER), event("invoice.issued", INVOICE))
        assert booked(conn, "SELECT 1 FROM invoices WHERE number = 'F-1'", 10)
        began = time.monotonic()
        add(erp, event("payment.recorded", PAYMENT))
        assert booked(conn, "SELECT 1 FROM invoices WHERE commercial_state = 'paid'", 10)
        assert time.monotonic() - began < 1


def booked(conn: Connection, query: str, patience_s: float) -> bool:
    give_up_at = time.monotonic() + patience_s
    while time.monotonic() < give_up_at:
        with conn.transaction():
            if asked(conn, query):
                return True
        time.sleep(0.02)
    return False
