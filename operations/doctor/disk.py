"""Room on the disks that relance writes to on this machine."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from operations.doctor.finding import Finding, either, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from workflow.facts import Language

_LITTLE_GB: Final = 2.0
_HARDLY_ANY_GB: Final = 0.5


def disk(folders: Mapping[str, Path], language: Language = "en") -> Iterator[Finding]:
    """Free room in each folder, by what it is for."""
    for purpose, folder in folders.items():
        free_gb = shutil.disk_usage(folder).free / 1e9
        writable = os.access(folder, os.W_OK | os.X_OK)
        if not writable:
            advice = either(
                language,
                en="give the folder to the user that relance runs as, or name another in TMPDIR",
                fr="donner le dossier à l'utilisateur sous lequel tourne relance, ou en nommer un autre dans TMPDIR",
            )
        elif free_gb < _LITTLE_GB:
            advice = either(
                language,
                en="make room: a full disk stops the database in the middle of its work",
                fr="faire de la place : un disque plein arrête la base de données en plein travail",
            )
        else:
            advice = ""
        yield Finding(
            check="disk",
            subject=purpose,
            verdict=verdict(error=free_gb < _HARDLY_ANY_GB or not writable, warning=free_gb < _LITTLE_GB),
            found=either(
                language,
                en=f"{free_gb:.1f} GB free in {folder}{'' if writable else ', where we may not write'}",
                fr=f"{free_gb:.1f} Go libres dans {folder}{'' if writable else ', sans droit de les écrire'}",
            ),
            advice=advice,
            figures={"free_gb": round(free_gb, 1)},
        )
