"""A backup: all rows as they were at one instant, in one file that can be checked before it is believed.

The file is a ZIP archive with `manifest.json` and one `tables/NAME.copy` a table, PostgreSQL's COPY text by key. It
holds data alone, no statement: the schema is made by the program that restores it. Made while everything goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import zipfile
import zlib
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from store import migrations, settings, tables
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from store.connection import Connection

FORMAT: Final = "relance backup 1"

_MANIFEST: Final = "manifest.json"
_LARGEST_MANIFEST_BYTES: Final = 1024 * 1024
_BLOCK_BYTES: Final = 256 * 1024
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BackupUnusable(RelanceError):  # noqa: N818 - a fact about a file
    """A file that cannot be written, or restored from: `path` and why. Nothing was changed."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the file."""
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """One table in a backup: `bytes` and `sha256` are those of its text, uncompressed."""

    name: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself. `sequences`: the last value of each, and whether it was given out."""

    format: str
    made_at: datetime
    postgres: str
    schema: int
    tables: tuple[TableEntry, ...]
    sequences: dict[str, tuple[int, bool]]

    @property
    def rows(self) -> dict[str, int]:
        """By table."""
        return {table.name: table.rows for table in self.tables}

    @property
    def bytes(self) -> int:
        """Of all tables, uncompressed."""
        return sum(table.bytes for table in self.tables)


def backup(conn: Connection, path: Path, *, advanced: Callable[[int], None] = lambda _: None) -> Manifest:
    """Write a new file, readable by its owner alone; it appears whole, once it has been read back, or not at all.

    `conn` has no transaction yet; `advanced` is told rows as they are written. Raises BackupUnusable.
    """
    _check_name(path)
    unfinished = path.with_name(f"{path.name}.part")
    with _file_errors(path):
        if path.exists():
            raise BackupUnusable(path, "is there already; choose another name")
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
        try:
            unfinished.touch(0o600, exist_ok=False)
            with unfinished.open("r+b") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, conn.transaction():
                    manifest = _write(conn, archive, advanced)
                os.fsync(file.fileno())
            check(unfinished, room_bytes=manifest.bytes)
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    return manifest


def _write(conn: Connection, archive: zipfile.ZipFile, advanced: Callable[[int], None]) -> Manifest:
    tables.freeze(conn)
    entries = []
    for table in tables.tables(conn):
        rows = size = 0
        digest = sha256()
        with archive.open(_member(table.name), "w", force_zip64=True) as text:
            for block in tables.rows_of(conn, table):
                text.write(block)
                digest.update(block)
                size += len(block)
                rows += block.count(b"\n")
                advanced(block.count(b"\n"))
        entries.append(
            TableEntry(name=table.name, columns=table.columns, rows=rows, bytes=size, sha256=digest.hexdigest())
        )
    manifest = Manifest(
        format=FORMAT,
        made_at=settings.database_now(conn),
        postgres=tables.server_version(conn),
        schema=migrations.version(conn),
        tables=tuple(entries),
        sequences=tables.sequences(conn),  # after the rows: never behind the ids in them
    )
    values = asdict(manifest) | {"made_at": manifest.made_at.isoformat()}
    archive.writestr(_MANIFEST, json.dumps(values, indent=1))
    return manifest


def check(path: Path, *, room_bytes: int, advanced: Callable[[int], None] = lambda _: None) -> Manifest:
    """Read the whole file and return what it says of itself, every hash having been found true.

    `room_bytes`: how much its tables may be, uncompressed; `advanced` is told bytes as they are read. Raises
    BackupUnusable for a file that is none of ours, cut short, damaged, or grown beyond the room.
    """
    with _opened(path) as archive:
        manifest = _manifest(path, archive)
        _check_members(path, archive, manifest, room_bytes)
        for table in manifest.tables:
            rows, digest = 0, sha256()
            for block in _blocks(archive, table):
                rows += block.count(b"\n")
                digest.update(block)
                advanced(len(block))
            if (rows, digest.hexdigest()) != (table.rows, table.sha256):
                raise BackupUnusable(path, f"is damaged: the table {table.name} is not what was written")
    return manifest


def blocks(path: Path, table: TableEntry) -> Iterator[bytes]:
    """One table's text, block by block. Raises BackupUnusable."""
    with _opened(path) as archive:
        yield from _blocks(archive, table)


@contextlib.contextmanager
def _file_errors(path: Path) -> Generator[None]:
    """What files do to us, as BackupUnusable."""
    try:
        yield
    except OSError as error:
        raise BackupUnusable(path, error.strerror or type(error).__name__) from error


def _check_name(path: Path) -> None:
    try:
        possible = path.name != "" and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise BackupUnusable(path, "is no name of a file")


@contextlib.contextmanager
def _opened(path: Path) -> Generator[zipfile.ZipFile]:
    _check_name(path)
    try:
        with _file_errors(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise BackupUnusable(path, "is no backup of relance, or was cut short") from error
    # What zipfile says of bytes that are no archive, or of one that somebody has changed.
    except (zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BackupUnusable(path, f"is damaged ({type(error).__name__})") from error


def _blocks(archive: zipfile.ZipFile, table: TableEntry) -> Iterator[bytes]:
    with archive.open(_member(table.name)) as text:
        while block := text.read(_BLOCK_BYTES):
            yield block


def _check_members(path: Path, archive: zipfile.ZipFile, manifest: Manifest, room_bytes: int) -> None:
    """Before anything is unpacked: exactly the tables of the manifest, in the size that it says, and room for them."""
    found = {member.filename: member for member in archive.infolist()}
    wanted = {_member(table.name): table.bytes for table in manifest.tables}
    if not len(archive.infolist()) == len(manifest.tables) + 1 == len(found) or found.keys() != {_MANIFEST, *wanted}:
        raise BackupUnusable(path, "is damaged: it holds other files than its manifest says")
    for name, size in wanted.items():
        member = found[name]
        if member.file_size != size or member.compress_type != zipfile.ZIP_DEFLATED or member.flag_bits & 1:
            raise BackupUnusable(path, f"is damaged: {name} is not as its manifest says")
    if manifest.bytes > room_bytes:
        sizes = f"{manifest.bytes / 1e9:.1f} GB, and there is room for {room_bytes / 1e9:.1f} GB"
        raise BackupUnusable(path, f"unpacks to {sizes}")


def _member(table: str) -> str:
    return f"tables/{table}.copy"


def _manifest(path: Path, archive: zipfile.ZipFile) -> Manifest:
    try:
        member = archive.getinfo(_MANIFEST)
    except KeyError:
        raise BackupUnusable(path, "is no backup of relance: it has no manifest") from None
    if member.file_size > _LARGEST_MANIFEST_BYTES or member.compress_type != zipfile.ZIP_DEFLATED:
        raise BackupUnusable(path, "is no backup of relance: its manifest is too large")
    raw = archive.read(member)
    try:
        values = json.loads(raw)
        if values["format"] != FORMAT:
            raise BackupUnusable(path, f"is of another format than {FORMAT!r}: upgrade relance on this machine")
        return _manifest_of(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BackupUnusable(path, "is no backup of relance: its manifest cannot be read") from error


def _manifest_of(values: dict[str, Any]) -> Manifest:
    """Raises ValueError, KeyError, TypeError or AttributeError for what no backup says."""
    manifest = Manifest(
        format=values["format"],
        made_at=datetime.fromisoformat(values["made_at"]),
        postgres=_text(values["postgres"]),
        schema=_number(values["schema"]),
        tables=tuple(
            TableEntry(
                name=_text(table["name"], _TABLE),
                columns=tuple(_text(column, _TABLE) for column in table["columns"]),
                rows=_number(table["rows"]),
                bytes=_number(table["bytes"]),
                sha256=_text(table["sha256"], _SHA256),
            )
            for table in values["tables"]
        ),
        sequences={
            _text(name, _TABLE): (_number(last), bool(called)) for name, (last, called) in values["sequences"].items()
        },
    )
    if manifest.made_at.tzinfo is None:
        raise ValueError(manifest.made_at)
    return manifest


def _text(value: object, pattern: re.Pattern[str] = re.compile(r"[ -~]{0,100}")) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(value)
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(value)
    return value
