"""The ledger of payments, credit notes and reversals: rows are added, never changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from store.connection import Connection

Kind = Literal["payment", "credit_note", "reversal"]

_INSERT = """
INSERT INTO payments (company_id, customer_id, invoice_id, kind, reference, currency, amount, received_on, reverses_id)
VALUES (%(company_id)s::bigint, %(customer_id)s::bigint, %(invoice_id)s::bigint, %(kind)s::text, %(reference)s::text,
        %(currency)s::text, %(amount)s::numeric, %(received_on)s::date, %(reverses_id)s::bigint)
ON CONFLICT DO NOTHING
RETURNING id
"""
# What a Booked row says.
SELECT = """
SELECT p.id, p.company_id, p.customer_id, p.invoice_id, i.number AS invoice, p.kind, p.reference, p.currency, p.amount,
       p.received_on, p.reverses_id
  FROM payments p LEFT JOIN invoices i ON i.id = p.invoice_id
"""
_BY_REFERENCE = SELECT + " WHERE p.company_id = %(company_id)s::bigint AND p.reference = %(reference)s::text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a ledger row says. No invoice: credit on account. A reversal's amount is negative."""

    company_id: int
    customer_id: int
    invoice_id: int | None
    kind: Kind
    reference: str
    currency: str
    amount: Decimal
    received_on: date
    reverses_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked(Entry):
    """A row of the ledger; `invoice` is the number of its invoice."""

    id: int
    invoice: str | None


def book(conn: Connection, entry: Entry) -> int | None:
    """Add a row. None when its reference is booked already, or what it reverses was reversed."""
    row = conn.execute(_INSERT, asdict(entry)).fetchone()
    return row[0] if row else None


def by_reference(conn: Connection, company_id: int, reference: str) -> Booked | None:
    """The row that a company booked under this reference."""
    with conn.cursor(row_factory=class_row(Booked)) as cursor:
        return cursor.execute(_BY_REFERENCE, {"company_id": company_id, "reference": reference}).fetchone()
