"""PostgreSQL and Valkey of the run's own: stopped in every ugly way, and started again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import redis

from benchmarks.meter import postmaster_of
from scripts.embedded import attached

if TYPE_CHECKING:
    from scripts.embedded import Servers

Loss = Literal[
    "postgres stopped at once", "postgres killed", "redis flushed", "redis killed", "redis restarted empty",
    "redis out of memory", "redis frozen",
]  # fmt: skip


class Services:
    """`lose` one of them: it is back when the call returns."""

    def __init__(self, servers: Servers, *, seed: str, away_s: float) -> None:
        """`away_s`: the longest time for which one is away."""
        self._servers = servers
        self._chance = random.Random(seed)  # noqa: S311 - chaos, not secrets
        self._away_s = away_s
        self.losses: Counter[str] = Counter()

    def lose(self, loss: Loss) -> None:
        self.losses[loss] += 1
        away_s = self._chance.random() * self._away_s
        match loss:
            case "postgres stopped at once":
                self._end(postmaster_of(self._servers.folder), signal.SIGQUIT, away_s)
            case "postgres killed":
                self._end(postmaster_of(self._servers.folder), signal.SIGKILL, away_s)
            case "redis flushed":
                with self._redis() as client:
                    client.flushall()
            case "redis killed":
                self._end(self._valkey(), signal.SIGKILL, away_s)
            case "redis restarted empty":
                pid = self._valkey()
                os.kill(pid, signal.SIGKILL)
                _wait_for_end(pid)
                shutil.rmtree(self._servers.folder / "valkey-data", ignore_errors=True)
                self._bring_up(away_s)
            case "redis out of memory":
                with self._redis() as client:
                    client.config_set("maxmemory", "1")
                    time.sleep(away_s)
                    client.config_set("maxmemory", "0")
            case "redis frozen":
                pid = self._valkey()
                os.kill(pid, signal.SIGSTOP)
                time.sleep(away_s)
                os.kill(pid, signal.SIGCONT)

    def _end(self, pid: int, how: signal.Signals, away_s: float) -> None:
        os.kill(pid, how)
        _wait_for_end(pid)
        self._bring_up(away_s)

    def _bring_up(self, away_s: float) -> None:
        time.sleep(away_s)
        with attached(self._servers.folder):
            pass  # on leaving, the run is still attached: they stay

    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(self._servers.redis_url)

    def _valkey(self) -> int:
        with self._redis() as client:
            return int(client.info("server")["process_id"])


def _wait_for_end(pid: int) -> None:
    """Until it is gone, or a zombie that nobody buries."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
