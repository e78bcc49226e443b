"""Rows by the thousand, as files bring them: found by their natural keys, locked by id, written set by set.

Locks are taken in the order that store.outcomes names, invoices by id before customers by id. What is new is inserted
where nobody was quicker: the caller compares the count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row, dict_row

from store.invoices import SELECT as SELECT_INVOICES
from store.invoices import LockedInvoice
from store.payments import SELECT as SELECT_PAYMENTS
from store.payments import Booked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from store.connection import Connection
    from store.payments import Entry

Row = dict[str, Any]

# One import at a time: two files of the same invoices would wait for each other in the middle.
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('relance.import'))"

_CUSTOMERS = """
SELECT id, number, name, kind, language, email, postal_address, country, payment_terms_days, payment_method, excluded,
       dunning_contact_id, billing_contact_id
  FROM customers
"""
_CUSTOMERS_BY_NUMBER = _CUSTOMERS + " WHERE number = ANY(%(numbers)s::text[])"
_LOCK_CUSTOMERS = _CUSTOMERS + " WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE"
_ADD_CUSTOMERS = """
INSERT INTO customers (number, name, kind, language, email, postal_address, country, payment_terms_days,
                       payment_method, excluded)
SELECT * FROM unnest(%(number)s::text[], %(name)s::text[], %(kind)s::text[], %(language)s::text[], %(email)s::text[],
                     %(postal_address)s::text[], %(country)s::text[], %(payment_terms_days)s::int[],
                     %(payment_method)s::text[], %(excluded)s::bool[])
ON CONFLICT (number) DO NOTHING
"""
_CHANGE_CUSTOMERS = """
UPDATE customers c
   SET name = n.name, kind = n.kind, language = n.language, email = n.email, postal_address = n.postal_address,
       country = n.country, payment_terms_days = n.payment_terms_days, payment_method = n.payment_method,
       excluded = n.excluded
  FROM unnest(%(id)s::bigint[], %(name)s::text[], %(kind)s::text[], %(language)s::text[], %(email)s::text[],
              %(postal_address)s::text[], %(country)s::text[], %(payment_terms_days)s::int[],
              %(payment_method)s::text[], %(excluded)s::bool[])
       AS n (id, name, kind, language, email, postal_address, country, payment_terms_days, payment_method, excluded)
 WHERE c.id = n.id
"""

_CONTACTS = """
SELECT k.id, k.customer_id, c.number AS customer, k.name, k.email, k.language
  FROM contacts k JOIN customers c ON c.id = k.customer_id
 WHERE c.number = ANY(%(numbers)s::text[])
"""
_ADD_CONTACTS = """
INSERT INTO contacts (customer_id, name, email, language)
SELECT * FROM unnest(%(customer_id)s::bigint[], %(name)s::text[], %(email)s::text[], %(language)s::text[])
ON CONFLICT DO NOTHING
"""
_CHANGE_CONTACTS = """
UPDATE contacts k SET name = n.name, email = n.email, language = n.language
  FROM unnest(%(id)s::bigint[], %(name)s::text[], %(email)s::text[], %(language)s::text[])
       AS n (id, name, email, language)
 WHERE k.id = n.id
"""
_GIVE_ROLES = """
UPDATE customers c SET dunning_contact_id = n.dunning, billing_contact_id = n.billing
  FROM unnest(%(id)s::bigint[], %(dunning_contact_id)s::bigint[], %(billing_contact_id)s::bigint[])
       AS n (id, dunning, billing)
 WHERE c.id = n.id
"""

_INVOICES_BY_NUMBER = SELECT_INVOICES + " WHERE co.code = %(company)s::text AND i.number = ANY(%(numbers)s::text[])"
_LOCK_INVOICES = SELECT_INVOICES + " WHERE i.id = ANY(%(ids)s::bigint[]) ORDER BY i.id FOR NO KEY UPDATE OF i"
_ADD_INVOICES = """
INSERT INTO invoices (company_id, customer_id, number, currency, total, issued_on, due_on, payment_method, factored,
                      dunning_contact_id, billing_contact_id, balance, commercial_state, state, before_settled, cycle)
SELECT * FROM unnest(%(company_id)s::bigint[], %(customer_id)s::bigint[], %(number)s::text[], %(currency)s::text[],
                     %(total)s::numeric[], %(issued_on)s::date[], %(due_on)s::date[], %(payment_method)s::text[],
                     %(factored)s::bool[], %(dunning_contact_id)s::bigint[], %(billing_contact_id)s::bigint[],
                     %(balance)s::numeric[], %(commercial_state)s::text[], %(state)s::text[],
                     %(before_settled)s::text[], %(cycle)s::int[])
ON CONFLICT (company_id, number) DO NOTHING
"""
_CHANGE_INVOICES = """
UPDATE invoices i
   SET total = n.total, issued_on = n.issued_on, due_on = n.due_on, payment_method = n.payment_method,
       factored = n.factored, dunning_contact_id = n.dunning_contact_id, billing_contact_id = n.billing_contact_id,
       balance = n.balance, commercial_state = n.commercial_state, state = n.state, before_settled = n.before_settled,
       cycle = n.cycle
  FROM unnest(%(id)s::bigint[], %(total)s::numeric[], %(issued_on)s::date[], %(due_on)s::date[],
              %(payment_method)s::text[], %(factored)s::bool[], %(dunning_contact_id)s::bigint[],
              %(billing_contact_id)s::bigint[], %(balance)s::numeric[], %(commercial_state)s::text[],
              %(state)s::text[], %(before_settled)s::text[], %(cycle)s::int[])
       AS n (id, total, issued_on, due_on, payment_method, factored, dunning_contact_id, billing_contact_id, balance,
             commercial_state, state, before_settled, cycle)
 WHERE i.id = n.id
"""

_BOOKED = SELECT_PAYMENTS + " WHERE p.company_id = %(company_id)s::bigint AND p.reference = ANY(%(references)s::text[])"
_BOOK = """
INSERT INTO payments (company_id, customer_id, invoice_id, kind, reference, currency, amount, received_on)
SELECT * FROM unnest(%(company_id)s::bigint[], %(customer_id)s::bigint[], %(invoice_id)s::bigint[], %(kind)s::text[],
                     %(reference)s::text[], %(currency)s::text[], %(amount)s::numeric[], %(received_on)s::date[])
ON CONFLICT (company_id, reference) DO NOTHING
"""
_BOOKED_COLUMNS: Final = (
    "company_id", "customer_id", "invoice_id", "kind", "reference", "currency", "amount", "received_on",
)  # fmt: skip

_CUSTOMER_TAGGINGS = """
SELECT customer_id, tag_id FROM customer_taggings
 WHERE customer_id = ANY(%(ids)s::bigint[]) AND tag_id = ANY(%(tag_ids)s::bigint[])
"""


def alone(conn: Connection) -> bool:
    """Be the only import until the transaction ends. False while another one is at work."""
    row = conn.execute(_ALONE).fetchone()
    return bool(row and row[0])


def customers(conn: Connection, numbers: Iterable[str]) -> dict[str, Row]:
    """What is kept of these customers, by number."""
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_CUSTOMERS_BY_NUMBER, {"numbers": list(numbers)})
        return {row["number"]: row for row in found}


def lock_customers(conn: Connection, ids: Iterable[int]) -> dict[str, Row]:
    """The same, locked until the transaction ends, by number."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return {row["number"]: row for row in cursor.execute(_LOCK_CUSTOMERS, {"ids": list(ids)})}


def add_customers(conn: Connection, rows: Sequence[Row]) -> int:
    """Make customers. Returns how many were not there."""
    return conn.execute(_ADD_CUSTOMERS, _by_column(rows)).rowcount


def change_customers(conn: Connection, rows: Sequence[Row]) -> int:
    """Write locked customers, whole."""
    return conn.execute(_CHANGE_CUSTOMERS, _by_column(rows)).rowcount


def contacts(conn: Connection, numbers: Iterable[str]) -> dict[tuple[str, str], Row]:
    """These customers' contacts, by customer's number and address in small letters."""
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_CONTACTS, {"numbers": list(numbers)})
        return {(row["customer"], row["email"].lower()): row for row in found}


def add_contacts(conn: Connection, rows: Sequence[Row]) -> int:
    """Make contacts of locked customers. Returns how many were not there."""
    return conn.execute(_ADD_CONTACTS, _by_column(rows)).rowcount


def change_contacts(conn: Connection, rows: Sequence[Row]) -> int:
    """Write contacts of locked customers, whole."""
    return conn.execute(_CHANGE_CONTACTS, _by_column(rows)).rowcount


def give_roles(conn: Connection, rows: Sequence[Row]) -> int:
    """Write which contacts are locked customers' own for which role."""
    return conn.execute(_GIVE_ROLES, _by_column(rows)).rowcount


def invoices(conn: Connection, company: str, numbers: Iterable[str]) -> list[LockedInvoice]:
    """A company's invoices of these numbers as they are, and not locked."""
    with conn.cursor(row_factory=class_row(LockedInvoice)) as cursor:
        parameters = {"company": company, "numbers": list(numbers)}
        return cursor.execute(_INVOICES_BY_NUMBER, parameters).fetchall()


def lock_invoices(conn: Connection, ids: Iterable[int]) -> list[LockedInvoice]:
    """These invoices, locked in id order until the transaction ends."""
    with conn.cursor(row_factory=class_row(LockedInvoice)) as cursor:
        return cursor.execute(_LOCK_INVOICES, {"ids": list(ids)}).fetchall()


def add_invoices(conn: Connection, rows: Sequence[Row]) -> int:
    """Make invoices. Returns how many were not there."""
    return conn.execute(_ADD_INVOICES, _by_column(rows)).rowcount


def change_invoices(conn: Connection, rows: Sequence[Row]) -> int:
    """Write locked invoices: details and standing."""
    return conn.execute(_CHANGE_INVOICES, _by_column(rows)).rowcount


def booked(conn: Connection, company_id: int, references: Iterable[str]) -> dict[str, Booked]:
    """What a company has booked under these references."""
    with conn.cursor(row_factory=class_row(Booked)) as cursor:
        found = cursor.execute(_BOOKED, {"company_id": company_id, "references": list(references)})
        return {one.reference: one for one in found}


def book(conn: Connection, entries: Sequence[Entry]) -> int:
    """Add rows to the ledger. Returns how many were not booked."""
    columns = {name: [getattr(entry, name) for entry in entries] for name in _BOOKED_COLUMNS}
    return conn.execute(_BOOK, columns).rowcount


def customer_taggings(conn: Connection, ids: Iterable[int], tag_ids: Iterable[int]) -> set[tuple[int, int]]:
    """Which of these customers carry which of these tags."""
    return set(conn.execute(_CUSTOMER_TAGGINGS, {"ids": list(ids), "tag_ids": list(tag_ids)}).fetchall())


def _by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
