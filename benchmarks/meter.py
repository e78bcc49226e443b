"""CPU, memory and wall of the processes of a stage, read from /proc.

Hundredths of a second, good enough over seconds.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Seconds of CPU and MiB of memory (peak) of each group of processes."""

    wall: float
    cpu_s: Mapping[str, float]
    peak_mib: Mapping[str, float]


class Meter:
    """Reads groups of processes; a group named postgres is a postmaster with its children, the dead ones included."""

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        """Process ids by group."""
        self._groups = groups

    def read(self) -> Reading:
        """The totals since each process began."""
        return Reading(
            wall=time.monotonic(),
            cpu_s={name: sum(self._cpu(pid, name) for pid in pids) for name, pids in self._groups.items()},
            peak_mib={name: max((_peak(pid) for pid in pids), default=0.0) for name, pids in self._groups.items()},
        )

    @staticmethod
    def _cpu(pid: int, name: str) -> float:
        if name != "postgres":
            return _own(pid)
        return _own(pid) + _reaped(pid) + sum(_own(child) for child in _children(pid))


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


def _own(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _reaped(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS


def _children(pid: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if _stat(child)[1] == str(pid)]


def _peak(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def postmaster_of(folder: Path) -> int:
    """The embedded PostgreSQL's first process: its pid stands in the data folder."""
    found = sorted(folder.glob("**/postmaster.pid"))
    return int(found[0].read_text(encoding="utf-8").splitlines()[0])
