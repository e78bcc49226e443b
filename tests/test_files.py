"""A command writes where it is told to, and over nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from scripts.files import write

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_there_stays_as_it_is_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "letters.csv"
    write(file, b"first", overwrite=False)
    with pytest.raises(click.UsageError, match=r"letters\.csv exists already: add --overwrite"):
        write(file, b"second", overwrite=False)
    assert file.read_bytes() == b"first"
    write(file, b"second", overwrite=True)
    assert file.read_bytes() == b"second"


def test_a_place_where_no_file_can_be_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no"):
        write(tmp_path / "no" / "file", b"", overwrite=False)
