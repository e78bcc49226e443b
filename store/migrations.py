"""Bring a database to the schema this version works with, one numbered step at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from store.shipped import shipped
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from pathlib import Path

    from store.connection import Connection

# Any number of processes may start at once: one of them migrates.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('relance.migrations'))"
_HAS_TABLE = "SELECT to_regclass('migrations') IS NOT NULL"
_VERSION = "SELECT coalesce(max(number), 0) FROM migrations"
_RECORD = "INSERT INTO migrations (number, name) VALUES (%(number)s, %(name)s)"


class SchemaMismatch(RelanceError):  # noqa: N818 - a state of the database
    """The database is older or newer than this version."""

    def __init__(self, *, found: int, wanted: int) -> None:
        """Name both versions."""
        self.found = found
        self.wanted = wanted
        advice = "run: relance migrate" if found < wanted else "upgrade relance on this machine"
        super().__init__(f"the database is at schema {found}, this version works with {wanted}; {advice}")


def steps() -> list[tuple[int, Path]]:
    """The steps that travel with this version, in order."""
    found = [
        (int(match[1]), path)
        for path in shipped("migrations").iterdir()
        if (match := re.match(r"(\d{4})_\w+\.sql$", path.name))
    ]
    return sorted(found)


def version(conn: Connection) -> int:
    """The number of the last step applied; 0 for an empty database."""
    row = conn.execute(_HAS_TABLE).fetchone()
    if not (row and row[0]):
        return 0
    row = conn.execute(_VERSION).fetchone()
    return row[0] if row else 0


def migrate(conn: Connection, *, until: int | None = None) -> list[str]:
    """Apply what is missing, up to step `until` where one is named, each step with its record in one transaction.

    Returns the names applied; none the second time.
    """
    applied = []
    for number, path in steps():
        with conn.transaction():
            conn.execute(_LOCK)
            if version(conn) < number and (until is None or number <= until):
                conn.execute("SET LOCAL statement_timeout = 0")
                conn.execute(path.read_bytes())  # our own file
                conn.execute(_RECORD, {"number": number, "name": path.stem})
                applied.append(path.stem)
    return applied


def require_current(conn: Connection) -> None:
    """Raise SchemaMismatch unless the database is exactly at this version's schema."""
    wanted = steps()[-1][0]
    found = version(conn)
    if found != wanted:
        raise SchemaMismatch(found=found, wanted=wanted)
