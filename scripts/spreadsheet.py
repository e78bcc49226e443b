"""CSV that a spreadsheet opens: UTF-8 with its mark, plain figures, and no cell that would be run as a formula."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from operations.formulas import as_text
from scripts.printing import plain

if TYPE_CHECKING:
    from collections.abc import Iterable


def cell(value: object) -> str:
    """A value as it stands in a cell: empty for None, days as ISO 8601, amounts with a point."""
    text = "" if value is None else str(plain(value))
    return as_text(text) if isinstance(value, str) else text


def rows_as_csv(kind: type[Any], rows: Iterable[Any]) -> bytes:
    """Rows of one dataclass with its fields' names above them; the lines of a cell stay lines."""
    written = io.StringIO()
    writer = csv.writer(written)
    names = [field.name for field in fields(kind)]
    writer.writerow(names)
    writer.writerows([cell(getattr(row, name)) for name in names] for row in rows)
    return written.getvalue().encode("utf-8-sig")
