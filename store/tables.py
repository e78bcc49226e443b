"""Whole tables as text, out of the database and in again: what a backup carries, whatever the tables are.

The catalogue says which tables there are, so that none is forgotten. Generated columns are left out and made again;
`migrations` belongs to the schema, not to the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from store.connection import Connection

_BLOCK_BYTES = 64 * 1024

# The same value is the same text on every server: what a hash is taken of.
_FORMATS: tuple[LiteralString, ...] = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL enable_seqscan = on",
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL intervalstyle = 'postgres'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
)
_TABLES = """
SELECT c.relname,
       array(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum),
       array(SELECT a.attname::text FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum ORDER BY k.place),
       array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attcollation <> 0)
  FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
 ORDER BY c.relname
"""
_SEQUENCES = """
SELECT sequencename::text, coalesce(last_value, start_value), last_value IS NOT NULL
  FROM pg_sequences WHERE schemaname = 'public' ORDER BY sequencename
"""
_SET_SEQUENCE = "SELECT setval(%(name)s::text::regclass, %(last)s::bigint, %(called)s::bool)"
_REFERENCES = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE k.connamespace = 'public'::regnamespace AND k.contype = 'f' ORDER BY k.oid
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: its columns that are not generated, its primary key, and which columns have a collation."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    collated: frozenset[str]


def freeze(conn: Connection) -> None:
    """Begin a look at all tables as they are at one instant, while others go on writing.

    The first statement of a transaction. Raises psycopg.errors.ActiveSqlTransaction where it is not.
    """
    conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    in_one_format(conn)


def in_one_format(conn: Connection) -> None:
    """Until the transaction ends: values are written in one format, and no statement is too long."""
    for statement in _FORMATS:
        conn.execute(statement)


def tables(conn: Connection) -> list[Table]:
    """Every table of the schema, by name. Raises LookupError for one without a primary key, which has no order."""
    found = [
        Table(name=row[0], columns=tuple(row[1]), key=tuple(row[2]), collated=frozenset(row[3]))
        for row in conn.execute(_TABLES)
    ]
    for table in found:
        if not table.key:
            raise LookupError(f"the table {table.name} has no primary key")
    return found


def counts(conn: Connection) -> dict[str, int]:
    """How many rows each table has."""
    found: dict[str, int] = {}
    for table in tables(conn):
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))).fetchone()
        found[table.name] = row[0] if row else 0
    return found


def sequences(conn: Connection) -> dict[str, tuple[int, bool]]:
    """Where each sequence stands: its last value, and whether that was given out."""
    return {row[0]: (row[1], row[2]) for row in conn.execute(_SEQUENCES)}


def server_version(conn: Connection) -> str:
    """PostgreSQL's own version, such as 18.6."""
    return conn.info.parameter_status("server_version") or "unknown"


def others(conn: Connection) -> int:
    """How many other connections to this database there are."""
    row = conn.execute(_OTHERS).fetchone()
    return row[0] if row else 0


def rows_of(conn: Connection, table: Table) -> Iterator[bytes]:
    """The rows in the order of the key, as COPY's text, a line each, in blocks of whole lines."""
    order = [
        sql.SQL('{} COLLATE "C"' if name in table.collated else "{}").format(sql.Identifier(name)) for name in table.key
    ]
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(
        _names(table.columns), sql.Identifier(table.name), sql.SQL(", ").join(order)
    )
    block = bytearray()
    with conn.cursor().copy(query) as copy:
        for row in copy:
            block += row
            if len(block) >= _BLOCK_BYTES:
                yield bytes(block)
                block.clear()
    yield bytes(block)


def begin_anew(conn: Connection) -> None:
    """Drop the schema with all that is in it, and make an empty one."""
    conn.execute("DROP SCHEMA public CASCADE")
    conn.execute("CREATE SCHEMA public")


def open_for_loading(conn: Connection, found: Sequence[Table]) -> list[tuple[str, str, str]]:
    """Empty the tables, silence their triggers and take their references away. Returns these, for `close_again`."""
    references = conn.execute(_REFERENCES).fetchall()
    for table, name, _ in references:
        conn.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table), sql.Identifier(name)))
    for table in found:
        conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(table.name)))
        conn.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table.name)))
    return references


def load(conn: Connection, table: Table, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
    """Append rows from COPY's text. Raises psycopg.DataError or IntegrityError for what does not fit."""
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), _names(columns))
    with conn.cursor().copy(query) as copy:
        for block in blocks:
            copy.write(block)


def close_again(
    conn: Connection,
    found: Sequence[Table],
    references: Iterable[tuple[str, str, str]],
    stand: Mapping[str, tuple[int, bool]],
) -> None:
    """Put references and triggers back, sequences where they stood. Raises psycopg.IntegrityError for a loose end."""
    for table, name, definition in references:
        conn.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                sql.Identifier(table),
                sql.Identifier(name),
                sql.SQL(definition),  # ty: ignore[invalid-argument-type] - the catalogue's own words
            )
        )
    for table_ in found:
        conn.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(sql.Identifier(table_.name)))
    for name, (last, called) in stand.items():
        conn.execute(_SET_SEQUENCE, {"name": name, "last": last, "called": called})


def analyze(conn: Connection) -> None:
    """Let the planner know what the tables hold."""
    conn.execute("ANALYZE")


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
