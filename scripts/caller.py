"""Who calls, and on which servers: those of the environment, or private ones for the time of a command."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from store.connection import Connection
    from workers.settings import Settings


class NoDemo(RelanceError):  # noqa: N818 - a state of this machine
    """The demo's database was asked for before there was a demo."""

    def __init__(self) -> None:
        """Say how to make one."""
        super().__init__("there is no demo yet; make one: relance demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What stands before the command's name: the demo's servers or not, and who acts."""

    demo: bool = False
    login: str | None = None

    @property
    def by(self) -> str:
        """As the journal writes it."""
        return f"user:{self.login}" if self.login else "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A command's connection, its settings with the servers' addresses, and who acts."""

    conn: Connection
    settings: Settings
    by: str


calling = click.make_pass_decorator(Caller, ensure=True)


def demo_folder() -> Path:
    """Where the demo's own servers live: beside the default folder, never in it."""
    from scripts.embedded import default_folder  # noqa: PLC0415 - loads the servers' launcher

    folder = default_folder()
    return folder.with_name(f"{folder.name}-demo")


def private_folder(caller: Caller, named: str) -> Path:
    """Where the private servers of this command live; `named`: what RELANCE_FOLDER says. The demo has its own.

    Raises NoDemo: looking at the demo makes none.
    """
    from scripts.embedded import default_folder  # noqa: PLC0415 - loads the servers' launcher

    if not caller.demo:
        return Path(named) if named else default_folder()
    if not demo_folder().exists():
        raise NoDemo
    return demo_folder()


@contextlib.contextmanager
def servers(caller: Caller) -> Generator[Settings]:
    """The settings with both addresses. Private servers are attached until the end, a fresh database migrated.

    Raises InvalidInput, EmbeddedUnavailable, NoDemo, SchemaMismatch.
    """
    from workers.settings import read  # noqa: PLC0415 - loaded by commands that need it

    settings = read()
    if not (caller.demo or settings.embedded):
        yield with_instance(settings, None)
        return
    from scripts.embedded import attached  # noqa: PLC0415 - never touched where servers are named

    with attached(private_folder(caller, settings.folder)) as private:
        settings = replace(settings, database_url=private.database_url, redis_url=private.redis_url)
        settings = with_instance(settings, private.folder)
        migrate_fresh(settings)
        yield settings


@contextlib.contextmanager
def desk(caller: Caller) -> Generator[Desk]:
    """A connection in one transaction, committed at the end, signed by who acts. Raises SchemaMismatch, Unknown."""
    with desks(caller) as one_desk, one_desk() as at:
        yield at


@contextlib.contextmanager
def desks(caller: Caller) -> Generator[Callable[[], AbstractContextManager[Desk]]]:
    """One desk after the other, on servers that stay until the end: for who looks again and again."""
    with servers(caller) as settings:
        yield partial(_desk, caller, settings)


@contextlib.contextmanager
def _desk(caller: Caller, settings: Settings) -> Generator[Desk]:
    from operations.lookup import require_login  # noqa: PLC0415 - loaded by commands that need it
    from store.connection import connect  # noqa: PLC0415
    from store.migrations import require_current  # noqa: PLC0415

    with connect(settings.database_url, actor=caller.by) as conn:
        require_current(conn)
        if caller.login:
            require_login(conn, caller.login)
        yield Desk(conn=conn, settings=settings, by=caller.by)


def with_instance(settings: Settings, folder: Path | None) -> Settings:
    """The settings with where this host keeps to which instance it belongs, unless the environment says that.

    A private server's is beside its data, in `folder`. Of named servers each database has a file of its own.
    """
    if settings.instance:
        return settings
    from workers.identity import IN_A_FILE  # noqa: PLC0415 - loaded by commands that need it

    path = folder / "instance" if folder else _instances_folder() / _name_of(settings.database_url)
    return replace(settings, instance=f"{IN_A_FILE}{path}")


def _instances_folder() -> Path:
    """Beside the default folder of private servers, which holds nothing else."""
    from scripts.embedded import default_folder  # noqa: PLC0415 - loads the servers' launcher

    folder = default_folder()
    return folder.with_name(f"{folder.name}-instances")


def _name_of(url: str) -> str:
    """A file name for a database, the same however its address is written. Raises InvalidInput for what is none."""
    from hashlib import sha256  # noqa: PLC0415 - loaded when asked for

    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        named = conninfo_to_dict(url)
    except ProgrammingError as error:
        reason = f"is no address of a database: {str(error).strip()}"
        raise InvalidInput(field="DATABASE_URL", value="(not shown)", reason=reason) from None
    place = (named.get("host"), named.get("port") or 5432, named.get("dbname") or named.get("user"))
    return sha256("\n".join(map(str, place)).encode()).hexdigest()[:24]


def migrate_fresh(settings: Settings) -> None:
    """Make the tables where there are none yet, this host's; an older schema stays as it is."""
    from store.connection import connect  # noqa: PLC0415 - see above
    from store.migrations import version  # noqa: PLC0415

    with connect(settings.database_url) as conn:
        if version(conn) == 0:
            migrate(conn, settings)


def migrate(conn: Connection, settings: Settings) -> list[str]:
    """Bring the schema up to date; a database that was empty is this host's. Returns the steps applied."""
    from operations.instance import adopt_fresh  # noqa: PLC0415 - loaded by commands that need it
    from store import migrations  # noqa: PLC0415

    fresh = migrations.version(conn) == 0
    applied = migrations.migrate(conn)
    if fresh:
        adopt_fresh(conn, settings.instance)
    return applied
