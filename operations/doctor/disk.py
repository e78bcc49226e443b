"""Room on the disks that relance writes to on this machine."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from operations.doctor.finding import Finding, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LITTLE_GB: Final = 2.0
_HARDLY_ANY_GB: Final = 0.5


def disk(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Free room in each folder, by what it is for."""
    for purpose, folder in folders.items():
        free_gb = shutil.disk_usage(folder).free / 1e9
        writable = os.access(folder, os.W_OK | os.X_OK)
        if not writable:
            advice = "give the folder to the user that relance runs as, or name another in TMPDIR"
        elif free_gb < _LITTLE_GB:
            advice = "make room: a full disk stops the database in the middle of its work"
        else:
            advice = ""
        yield Finding(
            check="disk",
            subject=purpose,
            verdict=verdict(error=free_gb < _HARDLY_ANY_GB or not writable, warning=free_gb < _LITTLE_GB),
            found=f"{free_gb:.1f} GB free in {folder}" + ("" if writable else ", where we may not write"),
            advice=advice,
            figures={"free_gb": round(free_gb, 1)},
        )
