"""Save by natural key: a row is made or changed, and one that would stay the same is not touched at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A table whose rows are saved by a key: `conflict` names it as its unique index does, `found` selects by it.

    `key` and `columns` are written from parameters of the same names; `columns` may change, `key` stays as it was made.
    """

    table: LiteralString
    key: tuple[LiteralString, ...]
    columns: tuple[LiteralString, ...]
    conflict: LiteralString
    found: LiteralString

    @cached_property
    def upsert(self) -> sql.Composed:
        """An update that changes nothing would still raise versions and wait for locks: it is left out."""

        def listed(template: LiteralString, names: tuple[LiteralString, ...]) -> sql.Composed:
            return sql.SQL(", ").join(sql.SQL(template).format(sql.Identifier(name)) for name in names)

        names = self.key + self.columns
        return sql.SQL(
            "INSERT INTO {table} AS kept ({names}) VALUES ({values}) ON CONFLICT ({conflict}) DO UPDATE SET {changes}"
            " WHERE ({old}) IS DISTINCT FROM ({new}) RETURNING id"
        ).format(
            table=sql.Identifier(self.table),
            names=listed("{}", names),
            values=sql.SQL(", ").join(map(sql.Placeholder, names)),
            conflict=sql.SQL(self.conflict),
            changes=sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in self.columns
            ),
            old=listed("kept.{}", self.columns),
            new=listed("excluded.{}", self.columns),
        )

    @cached_property
    def id_of(self) -> sql.Composed:
        """Finds the id by the key."""
        return sql.SQL("SELECT id FROM {} WHERE {}").format(sql.Identifier(self.table), sql.SQL(self.found))


def save(conn: Connection, kept: Kept, values: Mapping[str, object]) -> int:
    """Make the row or change it. Returns its id; saving the same twice changes nothing."""
    row = conn.execute(kept.upsert, values).fetchone() or conn.execute(kept.id_of, values).fetchone()
    if row is None:
        raise LookupError(f"a row of {kept.table} went away while it was saved")
    return int(row[0])


def id_of(conn: Connection, kept: Kept, values: Mapping[str, object]) -> int | None:
    """The id of the row with this key."""
    row = conn.execute(kept.id_of, values).fetchone()
    return row[0] if row else None
