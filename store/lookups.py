"""What a person names, as ids: invoices by number, customers by number, accounts and rules by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from store.connection import Connection

_INVOICES = """
SELECT i.id, i.number, i.company_id, co.code AS company, i.customer_id
  FROM invoices i JOIN companies co ON co.id = i.company_id
 WHERE i.number = %(number)s::text AND i.company_id = ANY(ARRAY(
       SELECT id FROM companies WHERE %(company)s::text IS NULL OR code = %(company)s::text))
 ORDER BY i.id LIMIT 20
"""
# Neighbours by key on either side: what a mistyped number most often was meant to be.
_NEIGHBOURS = """
(SELECT number FROM invoices WHERE company_id = %(company_id)s AND number <= %(number)s::text
  ORDER BY number DESC LIMIT 100)
UNION
(SELECT number FROM invoices WHERE company_id = %(company_id)s AND number > %(number)s::text
  ORDER BY number LIMIT 100)
"""
_COMPANIES = "SELECT id, code FROM companies ORDER BY id LIMIT 10000"
_CUSTOMER = "SELECT id FROM customers WHERE number = %(number)s::text"
_CUSTOMERS = """
(SELECT number FROM customers WHERE number <= %(number)s::text ORDER BY number DESC LIMIT 100)
UNION
(SELECT number FROM customers WHERE number > %(number)s::text ORDER BY number LIMIT 100)
"""
_ACCOUNTS = "SELECT id, name FROM mail_accounts ORDER BY id LIMIT 10000"
_RULES = "SELECT id, title FROM rules ORDER BY id LIMIT 10000"
_LOGINS = "SELECT login FROM users WHERE active ORDER BY login LIMIT 10000"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInvoice:
    """An invoice by its number, with its company's code."""

    id: int
    number: str
    company_id: int
    company: str
    customer_id: int


def invoices(conn: Connection, number: str, company: str | None = None) -> list[FoundInvoice]:
    """The invoices of that number: one a company at most."""
    with conn.cursor(row_factory=class_row(FoundInvoice)) as cursor:
        return cursor.execute(_INVOICES, {"number": number, "company": company}).fetchall()


def neighbouring_invoices(conn: Connection, number: str) -> list[str]:
    """Numbers close by in their order, over all companies."""
    found: list[str] = []
    for company_id in companies(conn).values():
        found += [row[0] for row in conn.execute(_NEIGHBOURS, {"company_id": company_id, "number": number})]
    return found


def companies(conn: Connection) -> dict[str, int]:
    """Every company's id by its code."""
    return {code: company_id for company_id, code in conn.execute(_COMPANIES)}


def customer(conn: Connection, number: str) -> int | None:
    """The customer of that number."""
    row = conn.execute(_CUSTOMER, {"number": number}).fetchone()
    return row[0] if row else None


def neighbouring_customers(conn: Connection, number: str) -> list[str]:
    """Customers' numbers close by in their order."""
    return [row[0] for row in conn.execute(_CUSTOMERS, {"number": number})]


def accounts(conn: Connection) -> dict[str, int]:
    """Every mail account's id by its name."""
    return {name: account_id for account_id, name in conn.execute(_ACCOUNTS)}


def rule_titles(conn: Connection) -> dict[int, str]:
    """Every rule's title, whether or not its definition can be read."""
    return dict(conn.execute(_RULES).fetchall())


def logins(conn: Connection) -> list[str]:
    """Who may be named as acting."""
    return [row[0] for row in conn.execute(_LOGINS)]
