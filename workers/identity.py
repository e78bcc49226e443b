"""Whose database is this? The database says which instance it is, each host which one it belongs to.

A restored backup or a copy of the database carries its instance with it; the host that it is brought to does not agree,
or the tables are no longer where they were adopted. Then nothing is mailed until a person has said what it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from workers.log import log
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.settings import Settings

IN_A_FILE: Final = "file:"
_LONGEST: Final = 200
_LONGEST_ID: Final = 100


def check(setting: str) -> None:
    """Raise InvalidInput for what is neither an instance's id nor file:PATH."""
    if not setting or setting.startswith(f"{IN_A_FILE}/"):
        return
    try:
        UUID(setting)
    except ValueError:
        raise InvalidInput(
            field="RELANCE_INSTANCE", value=setting, reason="must be an instance's id, or file:/PATH of a file with it"
        ) from None


def of_host(setting: str) -> str | None:
    """The instance that this host belongs to; None where it belongs to none yet, or cannot tell to which.

    Read anew each time: a person may adopt a database while workers run.
    """
    return _of_host(setting)[0]


def what_is_wrong(setting: str) -> str:
    """Why this host cannot tell to which instance it belongs, in words; empty where it can, or belongs to none yet."""
    return _of_host(setting)[1]


def keep(setting: str, instance_id: str) -> None:
    """Let this host belong to the instance. Raises OSError; a setting that is no file is not written.

    The file notes its own inode: in a copy of the folder, on this host or another, it is not this file any more.
    """
    if not setting.startswith(IN_A_FILE):
        return
    path = Path(setting.removeprefix(IN_A_FILE))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(f"{instance_id}\n{_place(file.fileno())}\n")
    fresh.replace(path)


def _place(file: int) -> str:
    return f"inode {os.fstat(file).st_ino}"


def _of_host(setting: str) -> tuple[str | None, str]:
    """The instance, and what is wrong with how it is said.

    However the id is written (in capitals, in braces), it is told as the database tells its own. A file that a person
    wrote need not say where it is: that is noted in it later (is_ours).
    """
    if not setting.startswith(IN_A_FILE):
        return (str(UUID(setting)) if setting else None), ""
    path = Path(setting.removeprefix(IN_A_FILE))
    try:
        with path.open(encoding="utf-8") as file:
            said, _, place = file.read(_LONGEST).strip().partition("\n")
            own = _place(file.fileno())
    except FileNotFoundError:
        return None, ""
    except (OSError, UnicodeDecodeError):
        return None, f"{path} cannot be read"
    try:
        instance_id = str(UUID(said))
    except ValueError:
        return None, f"{path} holds no instance's id"
    if place and place.strip() != own:
        return None, f"{path} is a copy, and its folder another one's, instance {instance_id}'s"
    return instance_id, ""


def why_foreign(here: Settings, setting: str) -> str | None:
    """Why this database is not this host's instance, in words; None where it is."""
    host, wrong = _of_host(setting)
    if wrong:
        return f"this host cannot tell to which instance it belongs: {wrong}"
    if here.instance_id != host:
        if here.instance_id is None:
            return f"this host belongs to instance {host}, and the database to none"
        if host is None:
            return f"the database is instance {here.instance_id}, to which this host does not belong"
        return f"the database is instance {here.instance_id}, and this host belongs to {host}"
    if here.moved:
        return f"the database is a copy, or was restored: it is not where instance {here.instance_id} was adopted"
    return None


def is_ours(here: Settings, setting: str) -> bool:
    """Whether what this database holds may be mailed from this host. Logged when it may not: a line a process.

    Where it may, a file that does not say where it is does so from now on, if it can be written: see keep.
    """
    why = why_foreign(here, setting)
    if why is not None:
        _tell(why)
    elif setting.startswith(IN_A_FILE):
        _note_place(setting)
    return why is None


@lru_cache(maxsize=16)
def _note_place(setting: str) -> None:
    """Once a process. In the file as it is, so that what `keep` puts in its place meanwhile is not written over."""
    with contextlib.suppress(OSError), Path(setting.removeprefix(IN_A_FILE)).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several processes start at once
        said = file.read(_LONGEST_ID + 1)
        if len(said.split()) == 1 and len(said) <= _LONGEST_ID:
            file.write(f"\n{_place(file.fileno())}\n".encode())


@lru_cache(maxsize=16)
def _tell(why: str) -> None:
    log("foreign_database", level="error", why=why, advice="relance instance show")
