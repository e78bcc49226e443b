"""What a rulebook holds, by the names that people give: accounts with their owners, tags with their categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from store.connection import Connection

_ACCOUNTS = """
SELECT a.name, c.code AS company, u.login AS "user", a.from_name, a.from_address, a.host, a.port, a.security, a.ca_file,
       a.username, a.password_ref, a.max_connections, a.per_minute, a.auth, a.doubt_policy, a.evidence, a.key_header,
       a.key_hours, a.mailbox
  FROM mail_accounts a LEFT JOIN companies c ON c.id = a.company_id LEFT JOIN users u ON u.id = a.user_id
 ORDER BY a.name LIMIT 10000
"""
_CATEGORIES = "SELECT title, collapsed, one_only FROM tag_categories ORDER BY title LIMIT 10000"
_TAGS = """
SELECT t.title, t.colour, k.title AS category
  FROM tags t LEFT JOIN tag_categories k ON k.id = t.category_id
 ORDER BY t.title LIMIT 10000
"""
_OWNERS = "SELECT r.id, u.login FROM rules r JOIN users u ON u.id = r.owner_id ORDER BY r.id LIMIT 10000"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedAccount:
    """A mail account with the code of its company or the login of its user."""

    name: str
    company: str | None
    user: str | None
    from_name: str
    from_address: str
    host: str
    port: int
    security: str
    ca_file: str | None
    username: str | None
    password_ref: str | None
    max_connections: int
    per_minute: int | None
    mailbox: dict[str, Any] | None
    auth: str
    doubt_policy: str
    evidence: dict[str, Any] | None
    key_header: str | None
    key_hours: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category of tags."""

    title: str
    collapsed: bool
    one_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag and the title of its category."""

    title: str
    colour: str
    category: str | None


def accounts(conn: Connection) -> list[OwnedAccount]:
    """Every mail account."""
    with conn.cursor(row_factory=class_row(OwnedAccount)) as cursor:
        return cursor.execute(_ACCOUNTS).fetchall()


def categories(conn: Connection) -> list[Category]:
    """Every category."""
    with conn.cursor(row_factory=class_row(Category)) as cursor:
        return cursor.execute(_CATEGORIES).fetchall()


def tags(conn: Connection) -> list[Tag]:
    """Every tag."""
    with conn.cursor(row_factory=class_row(Tag)) as cursor:
        return cursor.execute(_TAGS).fetchall()


def owners(conn: Connection) -> dict[int, str]:
    """By a rule's id: the login of whose it is."""
    return dict(conn.execute(_OWNERS).fetchall())
