"""Invoices as they are issued, corrected, settled and reopened: found by company and number, changed under a lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg.rows import class_row

from workflow.ledger import Standing
from workflow.machine import Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from store.connection import Connection
    from workflow.facts import CommercialState, Role

_ISSUE = """
INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on, payment_method,
                      factored, dunning_contact_id, billing_contact_id, commercial_state, state, before_settled,
                      source_version)
SELECT co.id, cu.id, %(number)s::text, %(currency)s::text, %(total)s::numeric, %(total)s::numeric, %(issued_on)s::date,
       %(due_on)s::date, %(payment_method)s::text, %(factored)s::bool,
       (SELECT id FROM contacts WHERE customer_id = cu.id AND lower(email) = lower(%(dunning)s::text)),
       (SELECT id FROM contacts WHERE customer_id = cu.id AND lower(email) = lower(%(billing)s::text)),
       %(commercial_state)s::text, %(state)s::text, %(before_settled)s::text, coalesce(%(source_version)s::bigint, 0)
  FROM companies co, customers cu
 WHERE co.code = %(company)s::text AND cu.number = %(customer)s::text
ON CONFLICT (company_id, number) DO NOTHING
RETURNING id, dunning_contact_id, billing_contact_id
"""
# What a LockedInvoice says.
SELECT = """
SELECT i.id, i.company_id, co.code AS company, i.customer_id, cu.number AS customer, i.number, i.currency, i.total,
       i.balance, i.issued_on, i.due_on, i.payment_method, i.factored, i.dunning_contact_id, i.billing_contact_id,
       i.commercial_state, i.source_version, i.state, i.before_settled, i.level, i.cycle, i.last_reminded_on
  FROM invoices i JOIN companies co ON co.id = i.company_id JOIN customers cu ON cu.id = i.customer_id
"""
_LOCK = (
    SELECT
    + """
 WHERE co.code = %(company)s::text AND i.number = ANY(%(numbers)s::text[])
 ORDER BY i.id
   FOR NO KEY UPDATE OF i
"""
)
_DETAILS = """
UPDATE invoices
   SET total = %(total)s::numeric, issued_on = %(issued_on)s::date, due_on = %(due_on)s::date,
       payment_method = %(payment_method)s::text, factored = %(factored)s::bool,
       dunning_contact_id = %(dunning_contact_id)s::bigint, billing_contact_id = %(billing_contact_id)s::bigint,
       source_version = coalesce(%(source_version)s::bigint, source_version), balance = %(balance)s::numeric,
       commercial_state = %(commercial_state)s::text, state = %(state)s::text,
       before_settled = %(before_settled)s::text, cycle = %(cycle)s::int
 WHERE id = %(id)s::bigint
"""
_PLACE = """
UPDATE invoices i
   SET balance = n.balance, commercial_state = n.commercial_state, state = n.state, before_settled = n.before_settled,
       cycle = n.cycle
  FROM unnest(%(ids)s::bigint[], %(balances)s::numeric[], %(commercial)s::text[], %(states)s::text[],
              %(before)s::text[], %(cycles)s::int[]) AS n (id, balance, commercial_state, state, before_settled, cycle)
 WHERE i.id = n.id
"""
_CORRECT = """
UPDATE invoices i
   SET state = n.state, before_settled = n.before_settled, cycle = n.cycle, last_reminded_on = n.last_reminded_on
  FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(before)s::text[], %(cycles)s::int[], %(days)s::date[])
       AS n (id, state, before_settled, cycle, last_reminded_on)
 WHERE i.id = n.id
"""
_ASSIGN: Final[dict[Role, LiteralString]] = {
    "dunning": """
        UPDATE invoices i SET dunning_contact_id = n.contact_id
          FROM unnest(%(ids)s::bigint[], %(contact_ids)s::bigint[]) AS n (id, contact_id) WHERE i.id = n.id
    """,
    "billing": """
        UPDATE invoices i SET billing_contact_id = n.contact_id
          FROM unnest(%(ids)s::bigint[], %(contact_ids)s::bigint[]) AS n (id, contact_id) WHERE i.id = n.id
    """,
}
_CONTACT = """
SELECT id FROM contacts WHERE customer_id = %(customer_id)s::bigint AND lower(email) = lower(%(email)s::text)
"""
_KEEP_BYTES = """
INSERT INTO attachments (sha256, media_type, content)
VALUES (%(sha256)s::bytea, %(media_type)s::text, %(content)s::bytea)
ON CONFLICT (sha256) DO NOTHING
"""
_ATTACH = """
INSERT INTO invoice_attachments AS kept (invoice_id, sha256, name)
VALUES (%(invoice_id)s::bigint, %(sha256)s::bytea, %(name)s::text)
ON CONFLICT (invoice_id) DO UPDATE SET sha256 = excluded.sha256, name = excluded.name
 WHERE (kept.sha256, kept.name) IS DISTINCT FROM (excluded.sha256, excluded.name)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedInvoice:
    """An invoice, locked until the transaction ends; amounts in units of its currency."""

    id: int
    company_id: int
    company: str
    customer_id: int
    customer: str
    number: str
    currency: str
    total: Decimal
    balance: Decimal
    issued_on: date
    due_on: date | None
    payment_method: str | None
    factored: bool
    dunning_contact_id: int | None
    billing_contact_id: int | None
    commercial_state: CommercialState
    source_version: int
    state: str
    before_settled: str | None
    level: int
    cycle: int
    last_reminded_on: date | None

    @property
    def position(self) -> Position:
        """Where it stands on the machine."""
        return Position(self.state, self.before_settled)

    @property
    def standing(self) -> Standing:
        """What a payment or a word of the invoicing system changes."""
        return Standing(
            commercial_state=self.commercial_state, balance=self.balance, position=self.position, cycle=self.cycle
        )


@dataclass(frozen=True, slots=True)
class Correction:
    """Where a person puts an idle invoice: its position, its cycle, the day of its last reminder."""

    position: Position
    cycle: int
    last_reminded_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new invoice's id, and its own interlocutors as they were found."""

    id: int
    dunning_contact_id: int | None
    billing_contact_id: int | None


def issue(conn: Connection, values: Mapping[str, object], standing: Standing) -> Issued | None:
    """Make an invoice; None when the company has one of this number, or when company or customer is unknown."""
    parameters = dict(values) | placed(standing)
    with conn.cursor(row_factory=class_row(Issued)) as cursor:
        return cursor.execute(_ISSUE, parameters).fetchone()


def lock(conn: Connection, company: str, numbers: Sequence[str]) -> list[LockedInvoice]:
    """Lock a company's invoices in id order; an unknown number is absent from the answer."""
    with conn.cursor(row_factory=class_row(LockedInvoice)) as cursor:
        return cursor.execute(_LOCK, {"company": company, "numbers": list(numbers)}).fetchall()


def change(conn: Connection, invoice_id: int, details: Mapping[str, object], standing: Standing) -> None:
    """Write the details of a locked invoice, and where it then stands."""
    conn.execute(_DETAILS, dict(details) | placed(standing) | {"id": invoice_id})


def place(conn: Connection, standings: Mapping[int, Standing]) -> None:
    """Write where locked invoices stand now."""
    if standings:
        parameters: dict[str, Any] = {
            "ids": list(standings),
            "balances": [standing.balance for standing in standings.values()],
            "commercial": [standing.commercial_state for standing in standings.values()],
            "states": [standing.position.state for standing in standings.values()],
            "before": [standing.position.before_settled for standing in standings.values()],
            "cycles": [standing.cycle for standing in standings.values()],
        }
        conn.execute(_PLACE, parameters)


def correct(conn: Connection, corrections: Mapping[int, Correction]) -> None:
    """Write where a person put locked invoices."""
    if corrections:
        parameters: dict[str, Any] = {
            "ids": list(corrections),
            "states": [one.position.state for one in corrections.values()],
            "before": [one.position.before_settled for one in corrections.values()],
            "cycles": [one.cycle for one in corrections.values()],
            "days": [one.last_reminded_on for one in corrections.values()],
        }
        conn.execute(_CORRECT, parameters)


def assign(conn: Connection, role: Role, contacts: Mapping[int, int | None]) -> None:
    """Make contacts, by invoice, the interlocutors of locked invoices for this role; None: nobody."""
    if contacts:
        conn.execute(_ASSIGN[role], {"ids": list(contacts), "contact_ids": list(contacts.values())})


def contact_id(conn: Connection, customer_id: int, email: str) -> int | None:
    """The customer's contact with this address."""
    row = conn.execute(_CONTACT, {"customer_id": customer_id, "email": email}).fetchone()
    return row[0] if row else None


def attach(
    conn: Connection,
    invoice_id: int,
    *,
    sha256: bytes,
    content: bytes,
    name: str,
    media_type: str = "application/pdf",
) -> bool:
    """Keep a document's bytes once and make it the invoice's original. False when it was."""
    conn.execute(_KEEP_BYTES, {"sha256": sha256, "media_type": media_type, "content": content})
    return conn.execute(_ATTACH, {"invoice_id": invoice_id, "sha256": sha256, "name": name}).rowcount == 1


def placed(standing: Standing) -> dict[str, object]:
    """Where an invoice stands, by column."""
    return {
        "balance": standing.balance,
        "commercial_state": standing.commercial_state,
        "state": standing.position.state,
        "before_settled": standing.position.before_settled,
        "cycle": standing.cycle,
    }
