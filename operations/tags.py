"""Tags and their categories, on invoices and on customers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from operations.acting import acting, all_existing, existing, line
from operations.customers import customer_id_of
from operations.invoices import locked_all
from store import labels
from store.labels import CATEGORIES, TAGS
from store.saving import id_of, save
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from store.connection import Connection

GREY: Final = "#6b7280"
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def save_category(
    conn: Connection,
    *,
    title: str,
    collapsed: bool = False,
    one_only: bool = False,
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Save a category by title. `one_only`: a tag of it replaces the others; what is tagged now stays."""
    values = {"title": line(title, field="title"), "collapsed": collapsed, "one_only": one_only}
    with acting(conn, by=by, because=because, today=today):
        return save(conn, CATEGORIES, values)


def save_tag(
    conn: Connection,
    *,
    title: str,
    colour: str = GREY,
    category: str | None = None,
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Save a tag by title. Returns the id. Raises InvalidInput."""
    colour = colour.lower()
    if not _COLOUR.fullmatch(colour):
        raise InvalidInput(field="colour", value=colour, reason="must be six hex digits, such as #6b7280")
    values: dict[str, object] = {"title": line(title, field="title"), "colour": colour, "category_id": None}
    with acting(conn, by=by, because=because, today=today):
        if category is not None:
            values["category_id"] = existing(id_of(conn, CATEGORIES, {"title": category}), category, field="category")
        return save(conn, TAGS, values)


def tag(
    conn: Connection,
    *,
    company: str,
    invoices: Sequence[str],
    tags: Sequence[str],
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Put tags on invoices; in a category that allows one, the other goes. Returns how many were not there yet."""
    with acting(conn, by=by, because=because, today=today):
        tag_ids = ids_to_put(conn, tags)
        ids = [invoice.id for invoice in locked_all(conn, company, invoices)]
        labels.untag(conn, ids, labels.rivals(conn, tag_ids))
        return labels.tag(conn, ids, tag_ids)


def untag(
    conn: Connection,
    *,
    company: str,
    invoices: Sequence[str],
    tags: Sequence[str],
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Take tags off invoices. Returns how many were there."""
    with acting(conn, by=by, because=because, today=today):
        tag_ids = existing_ids(conn, tags)
        return labels.untag(conn, [invoice.id for invoice in locked_all(conn, company, invoices)], tag_ids)


def tag_customer(conn: Connection, *, customer: str, tags: Sequence[str], by: str, today: date | None = None) -> int:
    """Put tags on a customer. Returns how many were not there yet."""
    with acting(conn, by=by, today=today):
        return labels.tag_customers(conn, [customer_id_of(conn, customer)], existing_ids(conn, tags))


def untag_customer(conn: Connection, *, customer: str, tags: Sequence[str], by: str, today: date | None = None) -> int:
    """Take tags off a customer. Returns how many were there."""
    with acting(conn, by=by, today=today):
        return labels.untag_customer(conn, customer_id_of(conn, customer), existing_ids(conn, tags))


def ids_to_put(conn: Connection, titles: Sequence[str]) -> list[int]:
    """The ids of tags that may stand on one invoice together. Raises InvalidInput."""
    found = existing_ids(conn, titles)
    categories = list(labels.one_only(conn, titles).values())
    twice = next((category for category in categories if categories.count(category) > 1), None)
    if twice is not None:
        raise InvalidInput(field="tags", value=list(titles), reason=f"the category {twice} allows one tag only")
    return found


def existing_ids(conn: Connection, titles: Sequence[str]) -> list[int]:
    """The ids of these tags. Raises InvalidInput naming those that do not exist."""
    titles = [line(title, field="tags") for title in titles]
    known = labels.tag_ids(conn, titles)
    all_existing(titles, known, field="tags")
    return list(known.values())
