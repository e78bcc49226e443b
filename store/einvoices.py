"""Electronic invoices: whose they may be, and what is kept of them beside their invoices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.connection import Connection

DueFrom = Literal["invoice", "customer"]

_BUYER = """
SELECT cu.number, cu.name, cu.payment_terms_days,
       cu.email IS NOT NULL OR EXISTS (SELECT FROM contacts c WHERE c.customer_id = cu.id) AS reachable
  FROM customers cu
"""
_BY_NUMBER = f"{_BUYER} WHERE cu.number = ANY(%(numbers)s::text[]) ORDER BY cu.id LIMIT 3"
_BY_NAME = f"{_BUYER} WHERE lower(cu.name) = lower(%(name)s::text) ORDER BY cu.id LIMIT 3"
_ORIGINAL = "SELECT sha256 FROM invoice_attachments WHERE invoice_id = %(invoice_id)s::bigint"
_SAVE = """
INSERT INTO einvoices (invoice_id, format, type_code, terms, due_from)
VALUES (%(invoice_id)s::bigint, %(format)s::text, %(type_code)s::text, %(terms)s::text, %(due_from)s::text)
ON CONFLICT (invoice_id) DO NOTHING
"""
_NOTE = "SELECT format, type_code, terms, due_from FROM einvoices WHERE invoice_id = %(invoice_id)s::bigint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """A customer as an electronic invoice may mean it. `reachable`: some mail address of it is known."""

    number: str
    name: str
    payment_terms_days: int | None
    reachable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What an electronic invoice said: its terms as it words them, and where the invoice's due date comes from."""

    format: str
    type_code: str
    terms: str
    due_from: DueFrom | None


def buyers_by_number(conn: Connection, numbers: Sequence[str]) -> list[Buyer]:
    """The customers of these numbers, three at most."""
    with conn.cursor(row_factory=class_row(Buyer)) as cursor:
        return cursor.execute(_BY_NUMBER, {"numbers": list(numbers)}).fetchall()


def buyers_by_name(conn: Connection, name: str) -> list[Buyer]:
    """The customers of this name, but for capitals, three at most."""
    with conn.cursor(row_factory=class_row(Buyer)) as cursor:
        return cursor.execute(_BY_NAME, {"name": name}).fetchall()


def original(conn: Connection, invoice_id: int) -> bytes | None:
    """The sha256 of an invoice's original, where it has one."""
    row = conn.execute(_ORIGINAL, {"invoice_id": invoice_id}).fetchone()
    return bytes(row[0]) if row else None


def save(conn: Connection, invoice_id: int, note: Note) -> bool:
    """Keep what an electronic invoice said; what was kept first stays. False where something was."""
    values = {"format": note.format, "type_code": note.type_code, "terms": note.terms, "due_from": note.due_from}
    return conn.execute(_SAVE, {"invoice_id": invoice_id, **values}).rowcount == 1


def note(conn: Connection, invoice_id: int) -> Note | None:
    """What the electronic invoice of an invoice said, where there was one."""
    with conn.cursor(row_factory=class_row(Note)) as cursor:
        return cursor.execute(_NOTE, {"invoice_id": invoice_id}).fetchone()
