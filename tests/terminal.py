"""A command in a real terminal: its size, what is typed there and what is written."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PATIENCE_S = 30


class Terminal:
    """A command in a terminal of some size, and all that it has written there."""

    def __init__(self, leader: int, process: subprocess.Popen[bytes]) -> None:
        self.written = b""
        self.process = process
        self._leader = leader

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def until(self, seen: Callable[[bytes], object]) -> None:
        """Read on until what is written since now shows it."""
        before, give_up_at = len(self.written), time.monotonic() + PATIENCE_S
        while not seen(self.written[before:]):
            assert time.monotonic() < give_up_at, self.written[before:].decode()
            if select.select([self._leader], [], [], 0.1)[0]:
                try:
                    self.written += os.read(self._leader, 65536)
                except OSError:  # the other side has closed it
                    self.process.wait(PATIENCE_S)
                    assert seen(self.written[before:]), self.written.decode()
                    return


def environment(database_url: str, redis_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    return {**kept, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-P", "-m", "scripts.main", *map(str, words)]


@contextmanager
def terminal(words: list[str], named: dict[str, str], *, stderr_apart: bool = True) -> Generator[Terminal]:
    leader, follower = os.openpty()
    stderr = subprocess.PIPE if stderr_apart else follower
    process = subprocess.Popen(words, stdin=follower, stdout=follower, stderr=stderr, env=named, start_new_session=True)
    os.close(follower)
    try:
        shown = Terminal(leader, process)
        shown.size(40, 80)
        yield shown
    finally:
        process.kill()
        process.communicate()
        os.close(leader)
