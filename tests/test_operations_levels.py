"""The level set by a person: coming from another system, or correcting."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operations.invoices import cancel
from operations.levels import Corrected, correct
from tests.trade import TODAY, but, invoice, open_trade, row, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

LAST = date(2026, 11, 2)
BATCH: dict[str, Any] = {
    "company": "NORD", "invoices": ["FA-1", "FA-2"], "level": 2, "last_reminded_on": LAST, "because": "reprise",
    "by": "user:marie", "today": TODAY,
}  # fmt: skip


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def test_invoices_of_another_system_go_on_from_where_they_were(conn: Connection) -> None:
    ids = [invoice(conn, "FA-1"), invoice(conn, "FA-2")]
    assert correct(conn, **BATCH) == Corrected(changed=("FA-1", "FA-2"), unchanged=(), busy=())
    for invoice_id in ids:
        after = row(conn, "invoices", invoice_id)
        assert (after["state"], after["level"], after["cycle"], after["last_reminded_on"]) == ("level_2", 2, 1, LAST)
    said = conn.execute("SELECT DISTINCT actor, because, today FROM journal WHERE subject = 'invoice'").fetchall()
    assert said == [("user:marie", "reprise", TODAY)]


def test_the_same_correction_twice_changes_nothing(conn: Connection) -> None:
    invoice(conn, "FA-1")
    invoice(conn, "FA-2")
    correct(conn, **BATCH)
    before = written(conn)
    assert correct(conn, **BATCH) == Corrected(changed=(), unchanged=("FA-1", "FA-2"), busy=())
    assert written(conn) == before


@pytest.mark.parametrize("state", ["level_0_sending", "level_1_in_doubt"])
def test_a_busy_invoice_stays_and_is_listed(conn: Connection, state: str) -> None:
    busy = invoice(conn, "FA-1")
    invoice(conn, "FA-2")
    send(conn, busy, last_state=state)
    assert correct(conn, **BATCH) == Corrected(changed=("FA-2",), unchanged=(), busy=("FA-1",))
    assert row(conn, "invoices", busy)["state"] == state


def test_downwards_starts_a_new_cycle(conn: Connection) -> None:
    invoice_id = invoice(conn, "FA-1")
    send(conn, invoice_id, last_state="level_3")
    correct(conn, **but(BATCH, {"invoices": ["FA-1"], "level": 0, "last_reminded_on": None}))
    after = row(conn, "invoices", invoice_id)
    assert (after["level"], after["cycle"], after["last_reminded_on"]) == (0, 2, None)


def test_a_settled_invoice_remembers_its_corrected_level(conn: Connection) -> None:
    invoice_id = invoice(conn, "FA-1")
    cancel(conn, company="NORD", number="FA-1", by="user:marie")
    correct(conn, **but(BATCH, {"invoices": ["FA-1"]}))
    after = row(conn, "invoices", invoice_id)
    assert (after["state"], after["before_settled"], after["level"]) == ("settled", "level_2", 2)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"level": -1}, "level"),
        ({"level": 4}, "level"),
        ({"last_reminded_on": TODAY + timedelta(days=1)}, "last_reminded_on"),
        ({"because": ""}, "because"),
        ({"invoices": ["FA-1", "FA-404"]}, "invoices"),
        ({"company": "SUD"}, "invoices"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_whole(conn: Connection, changes: dict[str, Any], field: str) -> None:
    invoice_id = invoice(conn, "FA-1")
    invoice(conn, "FA-2")
    with pytest.raises(InvalidInput) as refused:
        correct(conn, **but(BATCH, changes))
    assert refused.value.field == field
    assert row(conn, "invoices", invoice_id)["level"] == 0
