"""The ledgers' mapping files are read as they stand, with or without the ledgers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from operations.importing.fields import FIELDS
from operations.importing.mappings import parse
from tests.ledgers.bills import LEDGERS, MAPPINGS
from tests.ledgers.checks import DOCUMENT

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(MAPPINGS.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_mapping_is_read_and_says_all_that_its_kind_needs(file: Path) -> None:
    mapping = parse(file.read_text(encoding="utf-8"))
    ledger, kind = file.stem.split("-")
    assert ledger in LEDGERS
    assert mapping.kind == kind
    assert {name for name, field in FIELDS[mapping.kind].items() if field.required} <= mapping.sources.keys()


def test_every_mapping_is_documented_and_no_other() -> None:
    assert set(re.findall(r"ledgers/([a-z-]+\.yaml)", DOCUMENT)) == {file.name for file in FILES}
