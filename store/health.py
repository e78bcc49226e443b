"""What the database says of itself: for whoever looks an installation over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection
    from workflow.facts import Language

PARAMETERS: Final = (
    "default_transaction_isolation",
    "fsync",
    "full_page_writes",
    "max_connections",
    "server_encoding",
    "server_version",
    "server_version_num",
    "superuser_reserved_connections",
    "synchronous_commit",
)

_BE_BRIEF = "SET statement_timeout = '5s'"
_PARAMETERS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s::text[])"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
_SIZE = "SELECT pg_database_size(current_database())"
_ZONES = "SELECT code, zone FROM companies ORDER BY code LIMIT 10000"
_ACCOUNTS = """
SELECT a.id, a.held_at, coalesce(c.language, u.language) AS language
  FROM mail_accounts a LEFT JOIN companies c ON c.id = a.company_id LEFT JOIN users u ON u.id = a.user_id
 ORDER BY a.id LIMIT 10000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNote:
    """Beside an account: since when it is held, and the language of its company, or of its user."""

    id: int
    held_at: datetime | None
    language: Language


def be_brief(conn: Connection) -> None:
    """From here on no statement takes longer than five seconds, and each stands alone."""
    conn.autocommit = True
    conn.execute(_BE_BRIEF)


def parameters(conn: Connection) -> dict[str, str]:
    """The server's settings of PARAMETERS as they hold for us."""
    return dict(conn.execute(_PARAMETERS, {"names": list(PARAMETERS)}).fetchall())


def connections(conn: Connection) -> int:
    """How many clients are connected to the server, ourselves included."""
    row = conn.execute(_CONNECTIONS).fetchone()
    return row[0] if row else 0


def size_bytes(conn: Connection) -> int:
    """How much room the database takes on its disk."""
    row = conn.execute(_SIZE).fetchone()
    return row[0] if row else 0


def zones(conn: Connection) -> dict[str, str]:
    """Each company's time zone, by its code."""
    return dict(conn.execute(_ZONES).fetchall())


def account_notes(conn: Connection) -> dict[int, AccountNote]:
    """By account."""
    with conn.cursor(row_factory=class_row(AccountNote)) as cursor:
        return {note.id: note for note in cursor.execute(_ACCOUNTS)}
