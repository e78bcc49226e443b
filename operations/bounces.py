"""Reading bounces and answers: what mails from files tell of the mails sent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.bounces import Bounce, read_bounces
from workers.incoming import MAX_BYTES
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What one file tells of one recipient; a file that tells of several comes once for each."""

    file: str
    bounce: Bounce


def classify(paths: Iterable[Path]) -> Iterator[Classified]:
    """Read files, and folders with all that is in them (a maildir too), in the order of their names.

    Nothing is written, sent or looked up. A file that cannot be read, or is larger than 25 MiB, is told as such and
    stops no other. Raises InvalidInput for what is neither a file nor a folder.
    """
    for path in paths:
        for file in _files(path):
            name = os.fsencode(file).decode("utf-8", "replace")
            for bounce in _read(file):
                yield Classified(file=name, bounce=bounce)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    if not path.is_file():
        raise InvalidInput(field="path", value=str(path), reason="is neither a file nor a folder")
    return [path]


def _read(file: Path) -> list[Bounce]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError:
        return [_unread("not_readable")]
    try:
        return read_bounces(content)
    except InvalidInput:
        return [_unread("too_large_to_read")]


def _unread(reason: str) -> Bounce:
    return Bounce(kind="none", status="", reply="", address="", reminder=None, message_id="", reason=reason, said="")
