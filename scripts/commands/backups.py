"""Backup and restore of the private database; servers of one's own have pg_dump."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, private_folder, servers
from scripts.printing import json_option, yes_option
from scripts.progress import advancing
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Generator

    from operations.backup import Manifest
    from workers.settings import Settings

# What a person asks first; --json tells all.
_MAIN_TABLES = ("users", "companies", "customers", "invoices", "payments", "rules", "runs", "reminders", "journal")

_file = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")


class ServersNamed(RelanceError):  # noqa: N818 - a state of the environment
    """The database is not ours to dump: DATABASE_URL names it."""

    def __init__(self, advice: str) -> None:
        """Say which tool does it."""
        super().__init__(f"this is for the private database, and DATABASE_URL names another: {advice}")


@click.command()
@_file
@json_option
@calling
def backup(caller: Caller, *, file: Path, as_json: bool) -> None:
    """Write all data of the private database to a new file, while everything goes on.

    The file is read back before it counts. It holds personal data and password hashes, and is yours alone to read.
    """
    from operations.backup import backup as write  # noqa: PLC0415 - loaded when asked for
    from store import tables  # noqa: PLC0415
    from store.connection import connect  # noqa: PLC0415

    advice = 'pg_dump --format=custom --file=FILE "$DATABASE_URL"'
    with _private(caller, advice) as settings:
        with connect(settings.database_url, actor=caller.by) as conn:
            rows = sum(tables.counts(conn).values())
        with (
            connect(settings.database_url, actor=caller.by) as conn,
            advancing("rows", rows, as_json=as_json) as advanced,
        ):
            manifest = write(conn, file, advanced=advanced)
    if as_json:
        printing.print_json({"file": str(file), "bytes": file.stat().st_size, **printing.plain(manifest)})
    written = sum(manifest.rows.values())
    size = file.stat().st_size
    printing.message(
        f"{file}: {printing.count(written, 'row')}, {_size(size)}, as of {printing.instant(manifest.made_at)}"
    )


@click.command()
@_file
@click.option("--replace", is_flag=True, help="Replace the data that the database holds: they are lost.")
@yes_option
@json_option
@calling
def restore(caller: Caller, *, file: Path, replace: bool, yes: bool, as_json: bool) -> None:
    """Make the private database what a backup says: all of it or nothing.

    The whole file is checked first. Afterwards all mail is stopped: what left after the backup was made is not in it,
    and would leave again. Look, then: relance resume.
    """
    from operations.backup import check  # noqa: PLC0415 - loaded when asked for
    from operations.restore import WouldLose, would_lose  # noqa: PLC0415
    from operations.restore import restore as load  # noqa: PLC0415
    from store.connection import connect  # noqa: PLC0415

    advice = (
        'pg_restore --clean --if-exists --single-transaction --dbname="$DATABASE_URL" FILE, and then,'
        " before any worker starts: relance stop"
    )
    with _private(caller, advice) as settings:
        with advancing("checking", None, as_json=as_json) as advanced:
            manifest = check(file, room_bytes=_room_bytes(caller), advanced=advanced)
        with connect(settings.database_url) as conn:
            lost = would_lose(conn)
        if not as_json:
            _show(manifest, lost)
        if yes and lost and not replace:
            raise WouldLose(lost)
        done = None
        if yes:
            with (
                connect(settings.database_url, actor=caller.by) as conn,
                advancing("restoring", manifest.bytes, as_json=as_json) as advanced,
            ):
                done = load(conn, file, manifest, replace=replace, by=caller.by, advanced=advanced)
    if as_json:
        why = done.stopped_because if done else None
        printing.print_json({"backup": manifest, "lost": lost, "done": done is not None, "stopped_because": why})
    if done:
        printing.message(f"restored; ALL MAIL IS STOPPED: {done.stopped_because}")
    else:
        printing.message(f"nothing was changed; to restore it, add --yes{' --replace' if lost else ''}")


@contextlib.contextmanager
def _private(caller: Caller, advice: str) -> Generator[Settings]:
    """The private servers, or the demo's. Raises ServersNamed where the environment names others."""
    from workers.settings import read  # noqa: PLC0415 - loaded when asked for

    if not (caller.demo or read().embedded):
        raise ServersNamed(advice)
    with servers(caller) as settings:
        yield settings


def _room_bytes(caller: Caller) -> int:
    from workers.settings import read  # noqa: PLC0415 - loaded when asked for

    return shutil.disk_usage(private_folder(caller, read().folder)).free


def _show(manifest: Manifest, lost: dict[str, int]) -> None:
    out = printing.console()
    out.print(
        f"made {printing.instant(manifest.made_at)}, schema {manifest.schema}, PostgreSQL {manifest.postgres};"
        f" {printing.count(sum(manifest.rows.values()), 'row')}"
    )
    rows = [(name, manifest.rows.get(name, 0), lost.get(name, 0) if lost else None) for name in _MAIN_TABLES]
    printing.table(out, ("table", "in the file", "would be lost"), rows, right=("in the file", "would be lost"))


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e6:.1f} MB" if bytes_ >= 1e6 else f"{bytes_ / 1e3:.1f} kB"
