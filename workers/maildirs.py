"""A maildir: each mail a file in new/ or cur/, whose name before the colon stays the same while its flags change."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workers.imap import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS: Final = ("new", "cur")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A mail's file; `name` is the sha256 of what it is called."""

    name: bytes
    path: str
    received_at: datetime


def filed(maildir: str) -> list[Filed]:
    """Every mail, the oldest first. Raises Unreadable for what is no maildir."""
    try:
        found = [one for folder in _FOLDERS for one in _in(Path(maildir) / folder)]
    except OSError as error:
        raise Unreadable(f"maildir: {error.strerror or type(error).__name__}") from None
    return sorted(found, key=lambda one: (one.received_at, one.name))


def beginning(mail: Filed, *, most_bytes: int) -> bytes | None:
    """Its first bytes; None where it has gone, to be found under another flag. Raises OSError where it refuses."""
    try:
        with Path(mail.path).open("rb") as stream:
            return stream.read(most_bytes)
    except FileNotFoundError:
        return None


def _in(folder: Path) -> Iterator[Filed]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                received = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
            except (OSError, ValueError, OverflowError):
                continue  # moved to another flag in this very moment, or of no day
            name = hashlib.sha256(os.fsencode(entry.name.partition(":")[0])).digest()
            yield Filed(name=name, path=entry.path, received_at=received)
