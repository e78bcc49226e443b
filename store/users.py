"""Users as they are listed, and what only users have: a password's hash, and whether they are active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection
    from store.people import UserRole
    from workflow.facts import Language

_LISTED = """
SELECT id, login, name, email, language, role, inactive_since, password_hash IS NOT NULL AS has_password FROM users
"""
_ALL = f"{_LISTED} ORDER BY login LIMIT 10000"
_LOCKED = f"{_LISTED} WHERE login = %(login)s::text FOR NO KEY UPDATE"
_PASSWORD = "UPDATE users SET password_hash = %(password_hash)s::text WHERE id = %(id)s::bigint"  # noqa: S105 - SQL
_ACTIVATE = """
UPDATE users SET inactive_since = CASE WHEN %(active)s THEN NULL ELSE now() END
 WHERE id = %(id)s::bigint AND active <> %(active)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUser:
    """A user as others may see them: whether there is a password, never its hash."""

    id: int
    login: str
    name: str
    email: str
    language: Language
    role: UserRole
    inactive_since: datetime | None
    has_password: bool


def users(conn: Connection) -> list[ListedUser]:
    """Every user, by login."""
    with conn.cursor(row_factory=class_row(ListedUser)) as cursor:
        return cursor.execute(_ALL).fetchall()


def locked(conn: Connection, login: str) -> ListedUser | None:
    """The user of this login, locked until the transaction ends."""
    with conn.cursor(row_factory=class_row(ListedUser)) as cursor:
        return cursor.execute(_LOCKED, {"login": login}).fetchone()


def set_password_hash(conn: Connection, user_id: int, password_hash: str) -> None:
    """Keep the hash; the journal does not."""
    conn.execute(_PASSWORD, {"id": user_id, "password_hash": password_hash})


def set_active(conn: Connection, user_id: int, *, active: bool) -> bool:
    """Let the user act and be told of runs, or no longer. False when nothing changed."""
    return conn.execute(_ACTIVATE, {"id": user_id, "active": active}).rowcount == 1
