"""Restore a backup: all of it or nothing, and no mail afterwards until a person says so.

Mails that left after the backup was made are unknown to it: it would send them again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from typing import TYPE_CHECKING

import psycopg

from letters.headers import file_name
from operations.acting import acting
from operations.backup import BackupUnusable, blocks
from operations.lookup import require_login
from store import migrations, settings, tables
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from operations.backup import Manifest
    from store.connection import Connection
    from store.tables import Table

# What every database has, also one in which nobody has done anything yet.
_ALWAYS_THERE = frozenset({"settings", "journal"})


class DatabaseInUse(RelanceError):  # noqa: N818 - a state of the database
    """Others are connected: they would go on working on what is replaced under them."""

    def __init__(self, connections: int) -> None:
        """Say what to do."""
        self.connections = connections
        super().__init__(
            f"the database is in use ({connections} other connections): stop relance up, workers and schedulers first"
        )


class WouldLose(RelanceError):  # noqa: N818 - a fact about the database
    """The database holds data, and nobody said that it may be replaced. `rows`: by table."""

    def __init__(self, rows: dict[str, int]) -> None:
        """Say how to go on."""
        self.rows = rows
        super().__init__(
            "the database holds data that would be lost: make a backup of it, then restore with --replace --yes"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored, and what is in the database now because of it: why all mail is stopped."""

    manifest: Manifest
    migrated: tuple[str, ...]
    stopped_because: str


def would_lose(conn: Connection) -> dict[str, int]:
    """The rows, by table, that a restore would replace; empty for a database in which nobody has done anything."""
    found = {name: rows for name, rows in tables.counts(conn).items() if rows}
    return found if found.keys() - _ALWAYS_THERE else {}


def restore(
    conn: Connection,
    path: Path,
    manifest: Manifest,
    *,
    replace: bool,
    by: str,
    advanced: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Make the database what the backup says, in one transaction; then all mail is stopped.

    `manifest` is what `operations.backup.check` found in the file. An older schema is brought to this version's. Every
    row is read back and compared with the manifest before anything is committed; `advanced` is told bytes as they are
    loaded. Raises BackupUnusable, DatabaseInUse, WouldLose, Unknown (nobody of the login in `by` is in the backup).
    """
    if manifest.schema not in {number for number, _ in migrations.steps()}:
        raise BackupUnusable(path, f"is of schema {manifest.schema}, which this version does not know: upgrade relance")
    try:
        with conn.transaction():
            tables.in_one_format(conn)
            if others := tables.others(conn):
                raise DatabaseInUse(others)
            if not replace and (lost := would_lose(conn)):
                raise WouldLose(lost)
            tables.begin_anew(conn)
            migrations.migrate(conn, until=manifest.schema)
            _load(conn, path, manifest, advanced)
            migrated = migrations.migrate(conn)
            tables.analyze(conn)
            because = _stop(conn, path, manifest, by)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BackupUnusable(path, f"does not fit together, so nothing was changed: {reason}") from error
    return Restored(manifest=manifest, migrated=tuple(migrated), stopped_because=because)


def _load(conn: Connection, path: Path, manifest: Manifest, advanced: Callable[[int], None]) -> None:
    entries = {entry.name: entry for entry in manifest.tables}
    found = tables.tables(conn)
    _require_same(path, manifest, found, tables.sequences(conn).keys())
    references = tables.open_for_loading(conn, found)
    for table in found:
        entry = entries[table.name]
        tables.load(conn, table, entry.columns, _told(blocks(path, entry), advanced))
    tables.close_again(conn, found, references, manifest.sequences)
    for table in found:
        entry, rows, digest = entries[table.name], 0, sha256()
        for block in tables.rows_of(conn, dataclasses.replace(table, columns=entry.columns)):
            rows += block.count(b"\n")
            digest.update(block)
        if (rows, digest.hexdigest()) != (entry.rows, entry.sha256):
            raise BackupUnusable(path, f"came out otherwise than it went in ({table.name}), so nothing was changed")


def _told(texts: Iterable[bytes], advanced: Callable[[int], None]) -> Iterator[bytes]:
    for text in texts:
        yield text
        advanced(len(text))


def _require_same(path: Path, manifest: Manifest, found: Iterable[Table], sequences: Collection[str]) -> None:
    """The file's tables are those of its schema: nothing of it is left out, and nothing is made up."""
    wanted = {table.name: set(table.columns) for table in found}
    listed = {entry.name: set(entry.columns) for entry in manifest.tables}
    if listed != wanted or any(len(entry.columns) != len(set(entry.columns)) for entry in manifest.tables):
        odd = sorted(name for name in wanted.keys() | listed.keys() if wanted.get(name) != listed.get(name))
        raise BackupUnusable(path, f"has other tables than schema {manifest.schema}: {', '.join(odd)}")
    if set(manifest.sequences) != set(sequences):
        raise BackupUnusable(path, f"has other sequences than schema {manifest.schema}")


def _stop(conn: Connection, path: Path, manifest: Manifest, by: str) -> str:
    """Stop all mail, whether or not it was stopped when the backup was made. Returns why."""
    kind, _, login = by.partition(":")
    if kind == "user":
        require_login(conn, login)
    because = (
        f"restored from {file_name(path.name)[:60]} made at {manifest.made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC:"
        " check what left since, then relance resume"
    )
    with acting(conn, by=by, because=because):
        settings.take_place(conn)
        settings.resume(conn)
        settings.stop(conn, because=because)
    return because
