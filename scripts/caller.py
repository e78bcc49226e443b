"""Who calls, and on which servers: those of the environment, or private ones for the time of a command."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import click

from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

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


def made(folder: Path) -> Path:
    """The demo's folder, once there is a demo. Raises NoDemo: looking at the demo makes none."""
    if not folder.exists():
        raise NoDemo
    return folder


@contextlib.contextmanager
def servers(caller: Caller) -> Generator[Settings]:
    """The settings with both addresses. Private servers are attached until the end, a fresh database migrated.

    Raises InvalidInput, EmbeddedUnavailable, NoDemo, SchemaMismatch.
    """
    from workers.settings import read  # noqa: PLC0415 - loaded by commands that need it

    settings = read()
    if not (caller.demo or settings.embedded):
        yield settings
        return
    from scripts.embedded import attached, default_folder  # noqa: PLC0415 - never touched where servers are named

    with attached(made(demo_folder()) if caller.demo else default_folder()) as private:
        migrate_fresh(private.database_url)
        yield replace(settings, database_url=private.database_url, redis_url=private.redis_url)


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


def migrate_fresh(url: str) -> None:
    """Make the tables where there are none yet; an older schema stays as it is."""
    from store.connection import connect  # noqa: PLC0415 - see above
    from store.migrations import migrate, version  # noqa: PLC0415

    with connect(url) as conn:
        if version(conn) == 0:
            migrate(conn)
