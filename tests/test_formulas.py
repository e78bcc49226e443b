"""No cell that comes from outside is run by a spreadsheet; a number keeps its sign where it is read again."""

from __future__ import annotations

import pytest

from operations.formulas import as_text, harmless, may_be_formula


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|x", "-2+3", "\t=1", "\r=1", "-", "+33 x"])
def test_what_a_spreadsheet_runs_becomes_text(text: str) -> None:
    assert may_be_formula(text)
    assert harmless(text) == as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-12,50", "+33 1 23", "- 1 234.50 €", "+5%"])
def test_a_signed_number_is_none_but_no_text_either(text: str) -> None:
    assert harmless(text) == text
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "FA-1", "a=b", "12,50", "Dupont @ Cie"])
def test_anything_else_stays(text: str) -> None:
    assert (harmless(text), as_text(text)) == (text, text)
