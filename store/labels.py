"""Tags, their categories, and what carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.saving import Kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.connection import Connection

CATEGORIES: Final = Kept(
    table="tag_categories",
    key=("title",),
    columns=("collapsed", "one_only"),
    conflict="title",
    found="title = %(title)s::text",
)
TAGS: Final = Kept(
    table="tags",
    key=("title",),
    columns=("colour", "category_id"),
    conflict="title",
    found="title = %(title)s::text",
)

_TAG_IDS = "SELECT title, id FROM tags WHERE title = ANY(%(titles)s::text[]) ORDER BY id LIMIT 10000"
# The category of each tag that must be alone in it.
_ONE_ONLY = """
SELECT t.title, k.title
  FROM tags t JOIN tag_categories k ON k.id = t.category_id AND k.one_only
 WHERE t.title = ANY(%(titles)s::text[]) ORDER BY t.id LIMIT 10000
"""
# The others of a category that allows one tag.
_RIVALS = """
SELECT other.id
  FROM tags t JOIN tag_categories k ON k.id = t.category_id AND k.one_only
  JOIN tags other ON other.category_id = k.id AND other.id <> ALL(%(tag_ids)s::bigint[])
 WHERE t.id = ANY(%(tag_ids)s::bigint[])
"""
_TAG = """
INSERT INTO taggings (invoice_id, tag_id)
SELECT invoice_id, tag_id FROM unnest(%(ids)s::bigint[]) AS i (invoice_id), unnest(%(tag_ids)s::bigint[]) AS t (tag_id)
ON CONFLICT DO NOTHING
"""
_UNTAG = """
DELETE FROM taggings WHERE invoice_id = ANY(%(ids)s::bigint[]) AND tag_id = ANY(%(tag_ids)s::bigint[])
"""
_TAG_CUSTOMERS = """
INSERT INTO customer_taggings (customer_id, tag_id)
SELECT customer_id, tag_id
  FROM unnest(%(ids)s::bigint[]) AS c (customer_id), unnest(%(tag_ids)s::bigint[]) AS t (tag_id)
ON CONFLICT DO NOTHING
"""
_UNTAG_CUSTOMER = """
DELETE FROM customer_taggings WHERE customer_id = %(id)s::bigint AND tag_id = ANY(%(tag_ids)s::bigint[])
"""


def tag_ids(conn: Connection, titles: Sequence[str]) -> dict[str, int]:
    """The ids of tags by title; an unknown title is absent from the answer."""
    return dict(conn.execute(_TAG_IDS, {"titles": list(titles)}).fetchall())


def one_only(conn: Connection, titles: Sequence[str]) -> dict[str, str]:
    """The category of each of these tags that allows one tag only."""
    return dict(conn.execute(_ONE_ONLY, {"titles": list(titles)}).fetchall())


def rivals(conn: Connection, ids: Sequence[int]) -> list[int]:
    """The tags that these ones replace, by their categories."""
    return [row[0] for row in conn.execute(_RIVALS, {"tag_ids": list(ids)})]


def tag(conn: Connection, invoice_ids: Sequence[int], ids: Sequence[int]) -> int:
    """Put tags on locked invoices. Returns how many were not there yet."""
    return conn.execute(_TAG, {"ids": list(invoice_ids), "tag_ids": list(ids)}).rowcount


def untag(conn: Connection, invoice_ids: Sequence[int], ids: Sequence[int]) -> int:
    """Take tags off locked invoices. Returns how many were there."""
    return conn.execute(_UNTAG, {"ids": list(invoice_ids), "tag_ids": list(ids)}).rowcount


def tag_customers(conn: Connection, customer_ids: Sequence[int], ids: Sequence[int]) -> int:
    """Put tags on customers. Returns how many were not there yet."""
    return conn.execute(_TAG_CUSTOMERS, {"ids": list(customer_ids), "tag_ids": list(ids)}).rowcount


def untag_customer(conn: Connection, customer_id: int, ids: Sequence[int]) -> int:
    """Take tags off a customer. Returns how many were there."""
    return conn.execute(_UNTAG_CUSTOMER, {"id": customer_id, "tag_ids": list(ids)}).rowcount
