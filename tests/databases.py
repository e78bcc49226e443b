"""Databases of tests: copies of a migrated template, and one that is emptied instead, in a thirtieth of the time."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Generator

    from store.connection import Connection

_TOO_LARGE_BYTES = 64 * 1024 * 1024
# What tests may change besides rows; statements that do are few, and cost a database.
_SHAPE = """
SELECT pg_database_size(current_database()) > %(too_large)s, md5(concat(
    (SELECT string_agg(concat(oid, relname, relnatts, relhastriggers, reloptions), ',' ORDER BY oid) FROM pg_class
      WHERE relkind IN ('r', 'i', 'v', 'S')
        AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_t')),
    (SELECT string_agg(concat(attrelid, attname, attnotnull, attisdropped, atthasdef), ',' ORDER BY attrelid, attnum)
       FROM pg_attribute WHERE attrelid >= 16384
        AND attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v'))),
    (SELECT string_agg(concat(oid, tgenabled), ',' ORDER BY oid) FROM pg_trigger),
    (SELECT string_agg(concat(oid, conname), ',' ORDER BY oid) FROM pg_constraint WHERE oid >= 16384),
    (SELECT string_agg(concat(oid, prosrc), ',' ORDER BY oid) FROM pg_proc WHERE oid >= 16384),
    (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
      WHERE d.datname = current_database())))
"""


def administering(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def copied(server: Connection, url: str, template: str, name: str) -> Generator[str]:
    create(server, template, name)
    try:
        yield of_database(url, name)
    finally:
        drop(server, name)


def create(server: Connection, template: str, name: str) -> None:
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    server.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))


def drop(server: Connection, name: str) -> None:
    with suppress(psycopg.OperationalError):  # the server has gone: so has the database
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def of_database(url: str, name: str) -> str:
    """The same server, another database."""
    return make_conninfo(url, dbname=name)


class Reused:
    """A copy of the template, as it was whenever `fresh` returns: emptied where that is enough, else made anew."""

    def __init__(self, server: Connection, url: str, template: str, name: str) -> None:
        self._server = server
        self._template = template
        self._name = name
        self.url = of_database(url, name)
        self._shape: object = None
        self._rows: dict[str, bytes] = {}
        self._sequences: list[tuple[str, int | None]] = []

    def fresh(self) -> str:
        if self._shape is None or not self._emptied():
            drop(self._server, self._name)
            create(self._server, self._template, self._name)
            self._remember()
        return self.url

    def _remember(self) -> None:
        with administering(self.url) as conn:
            self._shape = conn.execute(_SHAPE, {"too_large": _TOO_LARGE_BYTES}).fetchone()
            for (table,) in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
                with conn.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as rows:
                    self._rows[table] = b"".join(bytes(part) for part in rows)
            self._sequences = conn.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall()

    def _emptied(self) -> bool:
        """Whether rows were all that had changed. A role that may not leave triggers out has a new one each time."""
        try:
            self._leave_alone()
            with administering(self.url) as conn:
                if conn.execute(_SHAPE, {"too_large": _TOO_LARGE_BYTES}).fetchone() != self._shape:
                    return False
                with conn.transaction():
                    conn.execute("SET LOCAL session_replication_role = replica")
                    for table in self._rows:
                        conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                    for table, rows in self._rows.items():
                        if rows:
                            with conn.cursor().copy(
                                sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
                            ) as copy:
                                copy.write(rows)
                    for name, last in self._sequences:
                        conn.execute("SELECT setval(%s::text::regclass, %s, %s)", (name, last or 1, last is not None))
        except psycopg.Error:
            return False
        return True

    def _leave_alone(self) -> None:
        """End whatever a test left connected."""
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        for _ in range(100):
            if not self._server.execute(others, (self._name,)).fetchall():
                return
            time.sleep(0.02)
