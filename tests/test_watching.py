"""Watching: a screen of its own in a terminal, blocks in a pipe, lines of JSON; and a database that goes away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.conninfo
import pytest

from scripts.watching import watch
from store.connection import connect
from tests.chasing import RULE, committed_chase, decided_run
from tests.terminal import PATIENCE_S, command, environment, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.printing import Out

ON, OFF = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture
def run_id(database_url: str) -> int:
    return decided_run(database_url, committed_chase(database_url))


def widths(screen: bytes) -> set[int]:
    """Of the lines of the last whole screen."""
    last = screen.split(b"\x1b[H")[-2]
    return {len(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip("\r")) for line in last.decode().split("\n")}


def test_in_a_terminal_it_has_a_screen_of_its_own_that_follows_the_window(
    database_url: str, redis_url: str, run_id: int
) -> None:
    with terminal(command("status", "--watch", "--every", 0.3), environment(database_url, redis_url)) as shown:
        shown.until(lambda seen: ON in seen and seen.count(b"\x1b[H") > 3 and RULE.encode() in seen)
        assert widths(shown.written) == {80}
        shown.size(40, 60)
        shown.until(lambda seen: seen.count(b"\x1b[H") > 4)
        assert widths(shown.written) == {60}
        os.killpg(shown.process.pid, signal.SIGINT)
        shown.until(lambda seen: OFF in seen)
        assert shown.process.wait(PATIENCE_S) == 0
        assert shown.process.stderr is not None
        assert shown.process.stderr.read() == b""


def test_a_database_that_goes_away_is_said_on_the_screen_and_comes_back(
    database_url: str, redis_url: str, run_id: int, servers: tuple[str, str]
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with (
        psycopg.connect(servers[0], autocommit=True) as server,
        terminal(command("status", "--watch", "--every", 0.2), environment(database_url, redis_url)) as shown,
    ):
        shown.until(lambda seen: RULE.encode() in seen)
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        shown.until(lambda seen: b"the database does not answer" in seen and RULE.encode() in seen)
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        shown.until(lambda seen: b"does not answer" not in seen.split(b"\x1b[H")[-1] and seen.count(b"\x1b[H") > 12)
        shown.process.terminate()
        shown.until(lambda seen: OFF in seen)
        assert shown.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_in_a_pipe_each_look_is_a_block_and_the_end_is_quiet(
    database_url: str, redis_url: str, run_id: int, how: signal.Signals
) -> None:
    watching = subprocess.Popen(
        command("status", "--watch", "--every", 0.2),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(database_url, redis_url), text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    blocks = 0
    for line in watching.stdout:
        blocks += bool(re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d]\n", line))
        if blocks == 3:
            break
    watching.send_signal(how)
    rest, said = watching.communicate(timeout=PATIENCE_S)
    assert (watching.returncode, said) == (0, "")
    assert "\x1b" not in rest


def test_a_run_is_followed_until_it_closes_and_then_told(database_url: str, redis_url: str, run_id: int) -> None:
    watching = subprocess.Popen(
        command("runs", run_id, "--watch", "--every", 0.2),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(database_url, redis_url), text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    assert any("0 of 1" in line for line in watching.stdout)
    with connect(database_url) as conn:
        conn.execute("UPDATE reminders SET state = 'sent', ended_at = now(), ended_on = '2026-11-24'")
        conn.execute("UPDATE runs SET state = 'closed', closed_at = now()")
    rest, said = watching.communicate(timeout=PATIENCE_S)
    assert (watching.returncode, said) == (0, "")
    assert "1 of 1" in rest
    assert "Verdicts" in rest.split("1 of 1")[-1], "the whole story follows"


def test_a_run_as_json_is_a_line_a_look(database_url: str, redis_url: str, run_id: int) -> None:
    with connect(database_url) as conn:
        conn.execute("UPDATE runs SET state = 'closed', closed_at = now()")
    done = subprocess.run(
        command("runs", run_id, "--watch", "--json"),
        capture_output=True, env=environment(database_url, redis_url), text=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["state"], found["progress"]["waiting"], found["pace"]["mails"]) == ("closed", 1, 1)


def test_only_a_run_can_be_watched_to_its_end(database_url: str, redis_url: str) -> None:
    for words, code in (
        (["runs", "--watch"], 2),
        (["runs", 7, "--watch"], 1),
        (["status", "--watch", "--every", 0], 2),
    ):
        done = subprocess.run(
            command(*words), capture_output=True, env=environment(database_url, redis_url), text=True, check=False,
            timeout=PATIENCE_S,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (code, "")


def told(found: Iterator[object]) -> Callable[[], Any]:
    def look() -> Any:  # noqa: ANN401 - whatever comes next
        one = next(found)
        if isinstance(one, Exception):
            raise one
        return one

    return look


def show(out: Out, found: int) -> None:
    out.print(f"found {found}")


def test_a_look_that_fails_is_said_and_the_next_one_shown(capsys: pytest.CaptureFixture[str]) -> None:
    looks = told(iter([1, psycopg.OperationalError("gone\nfor good"), 3]))
    assert watch(looks, show, every_s=0.01, ended=lambda found: found == 3) == 3
    shown = capsys.readouterr()
    assert shown.out.count("found") == 2
    assert shown.err == "the database does not answer: gone\n"


def test_the_first_look_must_succeed() -> None:
    with pytest.raises(psycopg.OperationalError):
        watch(told(iter([psycopg.OperationalError("gone")])), show, every_s=0.01)


def test_a_fault_of_ours_is_no_trouble_of_the_databases() -> None:
    with pytest.raises(ZeroDivisionError):
        watch(told(iter([1, ZeroDivisionError()])), show, every_s=0.01)
