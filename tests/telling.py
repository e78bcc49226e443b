"""Events for tests, as an invoicing system would write them, and what becomes of them."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

from operations.events import Came, accept
from operations.intake import drain
from store.connection import connect

if TYPE_CHECKING:
    from store.connection import Connection

SOURCE = "/erp"
_numbers = count(1)

CUSTOMER = {"number": "C-7", "version": 1, "name": "Lefèvre SA", "kind": "professional", "email": "ap@lefevre.example"}
CONTACT = {"customer": "C-7", "email": "eve@lefevre.example", "version": 2, "name": "Eve", "roles": ["dunning"]}
INVOICE = {
    "company": "NORD",
    "number": "F-1",
    "version": 1,
    "customer": "C-7",
    "total": "100.00",
    "currency": "EUR",
    "issued_on": "2026-10-01",
    "due_on": "2026-10-31",
}
THIS = {"company": "NORD", "number": "F-1"}
PAYMENT = {
    "company": "NORD",
    "customer": "C-7",
    "invoice": "F-1",
    "amount": "100.00",
    "currency": "EUR",
    "received_on": "2026-11-20",
    "reference": "VIR-1",
}
REVERSAL = {"company": "NORD", "reference": "VIR-1", "reversed_on": "2026-11-21"}


def event(kind: str, data: dict[str, Any], /, **attributes: object) -> dict[str, Any]:
    """An event with an id of its own."""
    return {
        "specversion": "1.0",
        "id": f"e-{next(_numbers)}",
        "source": SOURCE,
        "type": kind,
        "data": data,
    } | attributes


def take(conn: Connection, *came: object) -> list[str]:
    """What the door says of each."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in came]
    return [one.outcome for one in accept(conn, [Came(text, f"t/{next(_numbers)}") for text in texts], door="http")]


def tell(conn: Connection, *came: object) -> None:
    """Take them in and apply whatever can be, in this order."""
    take(conn, *came)
    drain(conn)


def tell_committed(url: str, *came: object) -> None:
    with connect(url) as conn:
        with conn.transaction():
            take(conn, *came)
        drain(conn)


def outcomes(conn: Connection) -> list[str]:
    """Of all events, in the order in which they came."""
    return [outcome for (outcome,) in conn.execute("SELECT outcome FROM inbox ORDER BY id")]


def reasons(conn: Connection) -> list[str | None]:
    return [reason for (reason,) in conn.execute("SELECT reason FROM inbox ORDER BY id")]


def asked(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query.encode()).fetchall()
