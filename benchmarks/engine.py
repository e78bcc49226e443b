"""Reserve and send through the real processes: scheduler, workers, PostgreSQL, Valkey and a mail sink of their own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

from benchmarks.data import analyze, fill
from benchmarks.meter import Meter, Reading, postmaster_of
from operations.preview import preview
from scripts.embedded import throwaway
from store import rules, runs
from store.connection import Connection, connect
from store.migrations import migrate
from workers.process import schedule
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator

_WORK = (
    "import sys; from workers.process import work; from workers.settings import read;"
    " work(read(), threads=int(sys.argv[1]))"
)
_HOLD = "UPDATE rules SET held_because = 'benchmark', held_at = now()"
_RELEASE = "UPDATE rules SET held_because = NULL, held_at = NULL"
_UNDECIDED = "SELECT count(*) FROM chunks WHERE open"
_SENT = "SELECT count(*) FROM reminders WHERE state = 'sent'"


@contextlib.contextmanager
def _child(*arguments: str, environment: dict[str, str] | None = None) -> Generator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def _scheduling(settings: Settings) -> Generator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=schedule, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _count(conn: Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    conn.commit()
    return int(row[0]) if row else 0


def measure(*, invoices: int, seconds: float, processes: int, connections: int, threads: int) -> dict[str, Any]:
    """Reserve every invoice with the rule held, then let mails leave for `seconds`: rates, CPU and memory."""
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(throwaway())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sink = stack.enter_context(_child("-m", "scripts.sink", "--port", "0", "--folder", str(folder), "--no-keep"))
        port = json.loads(sink.stdout.readline())["port"] if sink.stdout else 0
        conn = stack.enter_context(contextlib.closing(connect(servers.database_url)))
        migrate(conn)
        fill(conn, invoices=invoices, customers=invoices // 3, port=port)
        conn.execute(_HOLD)
        conn.commit()
        conn.autocommit = True
        analyze(conn)
        conn.autocommit = False
        saved = rules.saved(conn)[0]
        previewed = _preview(conn, saved)
        settings = Settings(database_url=servers.database_url, redis_url=servers.redis_url, connections=connections)
        environment = {
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "RELANCE_CONNECTIONS": str(connections),
            "PATH": "",
        }
        workers = [
            stack.enter_context(_child("-c", _WORK, str(threads), environment=environment)) for _ in range(processes)
        ]
        meter = Meter(
            {
                "workers": [worker.pid for worker in workers],
                "postgres": [postmaster_of(servers.folder)],
                "sink": [sink.pid],
            }
        )
        stack.enter_context(_scheduling(settings))
        time.sleep(2)
        before = meter.read()
        run_id = runs.insert(conn, saved.pinned, due_at=datetime.now(UTC), request_key="benchmark")
        conn.commit()
        while _is_due(conn, run_id) or _count(conn, _UNDECIDED):
            conn.commit()
            time.sleep(0.05)
        reserved = meter.read()
        conn.execute(_RELEASE)
        conn.commit()
        while _count(conn, _SENT) < 200:
            time.sleep(0.05)
        mails, start, commits = _count(conn, _SENT), meter.read(), _commits(conn)
        time.sleep(seconds)
        sent, end, committed = _count(conn, _SENT) - mails, meter.read(), _commits(conn) - commits
        return {
            "preview": previewed,
            "reserve": _report(before, reserved, invoices, "invoices"),
            "send": _report(start, end, sent, "mails") | {"commits_per_mail": round(committed / max(1, sent), 2)},
            "duplicates": _duplicates(folder),
        }


def _is_due(conn: Connection, run_id: int | None) -> bool:
    run = runs.read(conn, run_id or 0)
    return run is None or run.state == "due"


def _preview(conn: Connection, saved: rules.SavedRule) -> dict[str, float]:
    """What a person waits for before a run by hand."""
    wall, cpu = time.monotonic(), time.process_time()
    preview(conn, saved, by="system")
    conn.commit()
    return {"wall_s": round(time.monotonic() - wall, 2), "cpu_s": round(time.process_time() - cpu, 2)}


def _commits(conn: Connection) -> int:
    return _count(conn, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")


def _report(start: Reading, end: Reading, count: int, what: str) -> dict[str, Any]:
    cpu = {name: end.cpu_s[name] - start.cpu_s[name] for name in start.cpu_s}
    wall = end.wall - start.wall
    return {
        what: count,
        "wall_s": round(wall, 2),
        f"{what}_per_s": round(count / wall, 1),
        "cpu_ms_each": {name: round(1000 * used / max(1, count), 3) for name, used in cpu.items()},
        "cpu_ms_each_in_all": round(1000 * sum(cpu.values()) / max(1, count), 3),
        "peak_mib": {name: round(peak) for name, peak in end.peak_mib.items()},
    }


def _duplicates(folder: Path) -> int:
    seen: dict[str, int] = {}
    for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        message_id = json.loads(line)["message_id"]
        seen[message_id] = seen.get(message_id, 0) + 1
    return sum(count - 1 for count in seen.values())
