"""Holds and the stop: what a person keeps back, and that nothing is armed once it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from operations.holds import hold, release, resume, stop
from operations.rules import activate, deactivate, save_rule
from store import settings
from store.connection import connect
from tests.test_operations_rules import definition
from tests.trade import TODAY, invoice, open_trade, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.connection import Connection

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
WHO: dict[str, Any] = {"by": "user:marie", "today": TODAY}
SUBJECTS: list[dict[str, Any]] = [
    {"rule": "Relance 1"},
    {"account": "comptabilité"},
    {"customer": "C-1"},
    {"company": "NORD", "invoice": "FA-1"},
]


HELD = """
SELECT held_because FROM rules UNION ALL SELECT held_because FROM mail_accounts
 UNION ALL SELECT held_because FROM customers UNION ALL SELECT held_because FROM invoices
"""


def prepare(conn: Connection) -> None:
    open_trade(conn)
    invoice(conn)
    save_rule(conn, definition(tags=[]), company="NORD", account="comptabilité", by="user:marie", now=NOW)


@pytest.fixture
def conn(database: Connection) -> Connection:
    prepare(database)
    return database


def held(conn: Connection) -> list[str | None]:
    return [reason for (reason,) in conn.execute(HELD)]


@pytest.mark.parametrize("place", range(4))
def test_one_thing_is_held_and_released(conn: Connection, place: int) -> None:
    assert hold(conn, **SUBJECTS[place], because="litige", **WHO) is True
    assert held(conn) == ["litige" if at == place else None for at in range(4)]
    before = written(conn)
    assert hold(conn, **SUBJECTS[place], because="litige", **WHO) is False
    assert written(conn) == before
    assert release(conn, **SUBJECTS[place], **WHO) is True
    assert release(conn, **SUBJECTS[place], **WHO) is False
    assert held(conn) == [None] * 4


def test_a_hold_for_another_reason_keeps_its_hour(conn: Connection) -> None:
    hold(conn, customer="C-1", because="litige", **WHO)
    before = conn.execute("SELECT held_at FROM customers").fetchone()
    assert hold(conn, customer="C-1", because="en procédure", **WHO) is True
    assert conn.execute("SELECT held_at FROM customers").fetchone() == before
    said = conn.execute("SELECT change -> 'held_because' FROM journal ORDER BY id DESC LIMIT 1").fetchone()
    assert said == (["litige", "en procédure"],)


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        ({}, "rule"),
        ({"rule": "Relance 1", "customer": "C-1"}, "rule"),
        ({"invoice": "FA-1"}, "rule"),
        ({"rule": "Relance 9"}, "rule"),
        ({"account": "autre"}, "account"),
        ({"customer": "C-404"}, "customer"),
        ({"company": "NORD", "invoice": "FA-404"}, "invoice"),
    ],
)
def test_what_is_held_must_exist_and_be_one(conn: Connection, subject: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        hold(conn, **subject, because="litige", **WHO)
    assert refused.value.field == field


def test_a_hold_has_a_reason(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="because: is missing"):
        hold(conn, customer="C-1", because="", **WHO)
    with pytest.raises(InvalidInput, match="because: is missing"):
        stop(conn, because="", **WHO)


def test_all_mail_is_stopped_and_resumed(conn: Connection) -> None:
    assert stop(conn, because="essai", **WHO) is True
    assert stop(conn, because="encore", **WHO) is False
    assert settings.read(conn).stopped_because == "essai"
    assert resume(conn, **WHO) is True
    assert resume(conn, **WHO) is False
    assert settings.read(conn).stopped_because is None


GATES: dict[str, Callable[[Connection], bool]] = {
    "stop": lambda conn: stop(conn, because="essai", **WHO),
    "hold of a rule": lambda conn: hold(conn, rule="Relance 1", because="essai", **WHO),
    "hold of an account": lambda conn: hold(conn, account="comptabilité", because="essai", **WHO),
    "deactivation": lambda conn: deactivate(conn, rule="Relance 1", by="user:marie", now=NOW),
}


@pytest.mark.parametrize("gate", GATES)
def test_closing_a_gate_waits_for_the_tick_that_is_arming(database_url: str, gate: str) -> None:
    with connect(database_url) as conn, connect(database_url) as tick:
        prepare(conn)
        activate(conn, rule="Relance 1", by="user:marie", now=NOW)
        conn.commit()
        tick.execute(f"SELECT pg_advisory_xact_lock_shared({settings.GATES_LOCK})")
        conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            GATES[gate](conn)
        conn.rollback()
        tick.rollback()
        assert GATES[gate](conn) is True


def test_opening_a_gate_waits_for_nobody(database_url: str) -> None:
    with connect(database_url) as conn, connect(database_url) as tick:
        prepare(conn)
        stop(conn, because="essai", **WHO)
        hold(conn, rule="Relance 1", because="essai", **WHO)
        conn.commit()
        tick.execute(f"SELECT pg_advisory_xact_lock_shared({settings.GATES_LOCK})")
        conn.execute("SET lock_timeout = '50ms'")
        assert release(conn, rule="Relance 1", **WHO) is True
        assert resume(conn, **WHO) is True
        assert activate(conn, rule="Relance 1", by="user:marie", now=NOW) is True
