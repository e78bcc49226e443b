"""What a spreadsheet runs as a formula, whoever wrote it, and how it is kept from that (OWASP, CSV injection)."""

from __future__ import annotations

import re
from typing import Final

_MARKS: Final = ("=", "+", "-", "@", "\t", "\r")
_SIGNED_NUMBER: Final = re.compile(r"[+-][0-9 .,]*[0-9]\s*[€$£%]?\Z")
# Before a cell it makes text of it, in Excel as in LibreOffice.
_APOSTROPHE: Final = "'"


def may_be_formula(text: str) -> bool:
    """Whether a cell begins as a formula does. A number may begin with its sign."""
    return text.startswith(_MARKS) and not _SIGNED_NUMBER.match(text)


def harmless(text: str) -> str:
    """A cell of a file that is read again: numbers stay numbers, and no formula is one."""
    return _APOSTROPHE + text if may_be_formula(text) else text


def as_text(text: str) -> str:
    """A cell that is text and is to stay so: +33 1 23 45 67 89 is no sum."""
    return _APOSTROPHE + text if text.startswith(_MARKS) else text
