"""Who can only be written to by post: a rule's candidates whom no mail reaches, and where they live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from store.runs import selected

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from store.connection import Connection
    from store.rules import PinnedRule

# The recipient chain without a link, or whose first one has refused mail: it narrows only, the decision is asked after.
_UNREACHABLE = """
SELECT i.id
  FROM invoices i
  JOIN customers c ON c.id = i.customer_id
  LEFT JOIN contacts k ON k.id = coalesce(c.{preferred}, i.{interlocutor}, c.{interlocutor})
  CROSS JOIN LATERAL (SELECT coalesce(k.email, nullif(c.email, '')) AS email) r
 WHERE {selected} AND (r.email IS NULL OR EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(r.email)))
 ORDER BY i.customer_id, i.id LIMIT %(limit)s::bigint
"""
_ADDRESSES = "SELECT id, postal_address, country FROM customers WHERE id = ANY(%(ids)s::bigint[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostalAddress:
    """Where a customer lives: several lines, empty where nobody knows; the country as two letters."""

    id: int
    postal_address: str
    country: str


def unreachable(conn: Connection, pinned: PinnedRule, today: date, *, limit: int) -> list[int]:
    """The ids of the rule's candidates whom no mail can reach, by customer."""
    where, parameters = selected(pinned.rule.filter, pinned.company_id, today)
    query = sql.SQL(_UNREACHABLE).format(
        selected=where,
        preferred=sql.Identifier(f"{pinned.rule.preferred_contact}_contact_id"),
        interlocutor=sql.Identifier(f"{pinned.rule.interlocutor}_contact_id"),
    )
    return [row[0] for row in conn.execute(query, parameters | {"limit": limit})]


def addresses(conn: Connection, customer_ids: Collection[int]) -> dict[int, PostalAddress]:
    """By customer: the address."""
    with conn.cursor(row_factory=class_row(PostalAddress)) as cursor:
        return {one.id: one for one in cursor.execute(_ADDRESSES, {"ids": sorted(customer_ids)})}
