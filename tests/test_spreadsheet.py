"""CSV for spreadsheets: every cell is text or a figure, never a formula, and comes back as it was."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.spreadsheet import cell, rows_as_csv


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    due_on: date | None = None
    balance: Decimal = Decimal("1234.50")


@pytest.mark.parametrize("text", ["=1+1", "+33", "-2", "@sum", "\tx", "\r=x", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Dupont = Cie", "Dupont = Cie"),
        (None, ""),
        (date(2026, 11, 24), "2026-11-24"),
        (Decimal("1E+3"), "1000"),
        (7, "7"),
    ],
)
def test_other_cells_are_what_they_are(value: object, shown: str) -> None:
    assert cell(value) == shown


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_what_is_written_is_read_back(name: str) -> None:
    content = rows_as_csv(Row, [Row(name=name)]).decode("utf-8-sig")
    (heads, values) = csv.reader(io.StringIO(content, newline=""))
    assert heads == ["name", "due_on", "balance"]
    assert values == [cell(name), "", "1234.50"]
    assert not values[0].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_it_has_the_mark_by_which_spreadsheets_know_utf_8() -> None:
    assert rows_as_csv(Row, [Row(name="Zoé")]).startswith(b"\xef\xbb\xbfname,due_on,balance\r\n")
