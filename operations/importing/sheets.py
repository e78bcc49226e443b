"""A CSV file as rows with the lines they stand on: which encoding and delimiter, and what is no such file at all."""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

Encoding = Literal["utf-8", "windows-1252"]
DELIMITERS: Final = (",", ";", "\t", "|")
LARGEST: Final = 64 * 1024 * 1024
MOST_COLUMNS: Final = 500

# What a person may have taken for CSV, by its first bytes.
_OTHERS: Final = (
    (b"PK\x03\x04", "is a workbook such as .xlsx, or a ZIP archive: save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old workbook (.xls): save the sheet as CSV"),
    (b"%PDF-", "is a PDF: export the list as CSV"),
    (b"\xff\xfe", "is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: save it as UTF-8"),
)
_MARK: Final = b"\xef\xbb\xbf"
_LOOKED_AT: Final = 100
_BLANK: Final = "".join(DELIMITERS) + '" \r\n'
# Excel's own first line, which says the delimiter.
_SAYS_DELIMITER = re.compile(r"(?i)sep=(?P<delimiter>[,;\t|])(?:\r\n|\r|\n|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A file that can be read as often as wanted. `header`: the columns' names, without the spaces around them."""

    name: str
    text: str
    encoding: Encoding
    delimiter: str
    header: tuple[str, ...]
    header_line: int

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row below the header with the line it begins on, from 1; blank rows are left out.

        Raises InvalidInput, naming the line, where quotes do not match or a cell is longer than 131,072 characters.
        """
        for line, cells in _records(self.text, self.delimiter):
            if line > self.header_line:
                yield line, cells


def read(content: bytes, *, name: str, encoding: Encoding | None = None, delimiter: str | None = None) -> Sheet:
    """Recognise a file by its bytes: UTF-8, else Windows-1252; what is given is not guessed. Raises InvalidInput."""
    _check_bytes(content)
    text, spoken = _decoded(content, encoding)
    said = _SAYS_DELIMITER.match(text)
    used = delimiter or (said["delimiter"] if said else _likely_delimiter(text))
    header = next(_records(text, used), None)
    if header is None or not text.strip(_BLANK):
        raise InvalidInput(field="file", value=name, reason="holds nothing")
    line, cells = header
    if len(cells) > MOST_COLUMNS:
        raise InvalidInput(field="file", value=len(cells), reason=f"has more than {MOST_COLUMNS} columns")
    return Sheet(
        name=name,
        text=text,
        encoding=spoken,
        delimiter=used,
        header=tuple(cell.strip() for cell in cells),
        header_line=line,
    )


def _check_bytes(content: bytes) -> None:
    if not content.removeprefix(_MARK).strip():
        raise InvalidInput(field="file", value="", reason="is empty")
    if len(content) > LARGEST:
        raise InvalidInput(field="file", value=f"{len(content)} bytes", reason="is larger than 64 MiB: split it")
    for beginning, reason in _OTHERS:
        if content.startswith(beginning):
            raise InvalidInput(field="file", value=content[:8], reason=reason)
    nothing = content.find(b"\x00")
    if nothing >= 0:
        line = content.count(b"\n", 0, nothing) + 1
        raise InvalidInput(field="file", value=content[:8], reason=f"has a NUL byte on line {line}: it is no text")


def _decoded(content: bytes, encoding: Encoding | None) -> tuple[str, Encoding]:
    if encoding != "windows-1252":
        try:
            return content.removeprefix(_MARK).decode("utf-8"), "utf-8"
        except UnicodeDecodeError as wrong:
            if encoding:
                raise _undecodable(content, wrong, "is not UTF-8") from None
    try:
        return content.decode("cp1252"), "windows-1252"
    except UnicodeDecodeError as wrong:
        reason = "is not Windows-1252" if encoding else "is neither UTF-8 nor Windows-1252"
        raise _undecodable(content, wrong, reason) from None


def _undecodable(content: bytes, wrong: UnicodeDecodeError, reason: str) -> InvalidInput:
    line = content.count(b"\n", 0, wrong.start) + 1
    return InvalidInput(field="file", value=content[wrong.start : wrong.end], reason=f"{reason}: see line {line}")


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield records with the line each begins on; a record of empty cells is blank."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as wrong:
            reason = f"cannot be read as CSV from line {line} on: {wrong}"
            raise InvalidInput(field="file", value=_beginning(text, line), reason=reason) from None
        if any(map(str.strip, cells)) and not (line == 1 and _SAYS_DELIMITER.match(text)):
            yield line, cells
        line = reader.line_num + 1


def _beginning(text: str, line: int) -> str:
    return next(islice(StringIO(text, newline=""), line - 1, None), "")[:40]


def _likely_delimiter(text: str) -> str:
    """The one that parts the first rows into most columns, the same number in each."""

    def columns(delimiter: str) -> tuple[bool, int]:
        widths: list[int] = []
        with suppress(InvalidInput):  # said again, with its line, when the rows are read
            widths += (len(cells) for _, cells in islice(_records(text, delimiter), _LOOKED_AT))
        header = widths[0] if widths else 0
        usual = sum(width == header for width in widths) * 10 >= len(widths) * 9
        return header > 1 and usual, header

    return max(DELIMITERS, key=columns)
