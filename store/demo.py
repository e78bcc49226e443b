"""The demo's own database, and what its summary counts from the rows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Collection

    from store.connection import Connection

MARK = "made by: relance demo"

_MARK_OF = """
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %(name)s
"""
_IN_USE = "SELECT to_regclass('companies') IS NOT NULL"
_ANY_COMPANY = "SELECT EXISTS (SELECT FROM companies)"
_PROMISES = """
SELECT r.message_id, ri.invoice_id, ri.level, ri.cycle
  FROM reminders r JOIN reminder_invoices ri ON ri.reminder_id = r.id
 WHERE r.message_id = ANY(%(message_ids)s::text[]) AND ri.counts AND ri.outcome <> 'dropped'
 ORDER BY ri.reminder_id, ri.invoice_id
"""
_HELD_BACK = """
SELECT reason, count(DISTINCT invoice_id) FROM candidates WHERE reason <> 'reminded' GROUP BY reason ORDER BY 2 DESC, 1
"""


class NotTheDemos(RelanceError):  # noqa: N818 - a fact about a database
    """A database that the demo did not make: it is neither dropped nor written to."""

    def __init__(self, *, database: str) -> None:
        """Name it."""
        self.database = database
        super().__init__(f"the database {database} in the demo's folder was not made by the demo: it is left alone")


def require_demos(url: str) -> None:
    """Raise NotTheDemos for a database that holds a company and does not carry the demo's mark."""
    name = str(conninfo_to_dict(url)["dbname"])
    with psycopg.connect(url, connect_timeout=10) as conn:
        mark = conn.execute(_MARK_OF, {"name": name}).fetchone()
        if mark and mark[0] == MARK:
            return
        used = conn.execute(_IN_USE).fetchone()
        if used and used[0]:
            company = conn.execute(_ANY_COMPANY).fetchone()
            if company and company[0]:
                raise NotTheDemos(database=name)


def make_anew(url: str) -> None:
    """Drop the demo's database, whoever is connected to it, and make an empty one with its mark. Raises NotTheDemos."""
    require_demos(url)
    name = str(conninfo_to_dict(url)["dbname"])
    named = {"name": sql.Identifier(name), "mark": sql.Literal(MARK)}
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True, connect_timeout=10) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {name} WITH (FORCE)").format(**named))
        server.execute(sql.SQL("CREATE DATABASE {name}").format(**named))
        server.execute(sql.SQL("COMMENT ON DATABASE {name} IS {mark}").format(**named))


def promises(conn: Connection, message_ids: Collection[str]) -> dict[str, list[tuple[int, int, int]]]:
    """By Message-ID: what each of these mails reminded of, as (invoice, level, cycle)."""
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for message_id, *promise in conn.execute(_PROMISES, {"message_ids": list(message_ids)}):
        found[message_id].append((promise[0], promise[1], promise[2]))
    return dict(found)


def held_back(conn: Connection) -> dict[str, int]:
    """By reason: how many invoices some run selected and did not remind of, each counted once."""
    return dict(conn.execute(_HELD_BACK).fetchall())
