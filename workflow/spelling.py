"""What a name that nobody knows was meant to be."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Comparing takes the square of it.
_LONGEST: Final = 50


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is spelled most like this one; None where none is like it."""
    found = get_close_matches(name[:_LONGEST], list(known), n=1)
    return found[0] if found else None


def closest(name: str, known: Iterable[str]) -> str:
    """The same, and the least unlike one where none is like it. There must be one."""
    return get_close_matches(name[:_LONGEST], list(known), n=1, cutoff=0)[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean total?`, to end a refusal with; empty where nothing is like it."""
    found = nearest(name, known)
    return f"; did you mean {found}?" if found else ""
