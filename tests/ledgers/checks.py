"""What every replay must show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ledgers.bills import ROOT
from tests.ledgers.expected import CAUSES, expected
from tests.ledgers.tables import lines, one_by_one

if TYPE_CHECKING:
    from tests.ledgers.tables import Compared

DOCUMENT = (ROOT / "docs" / "ledgers.md").read_text(encoding="utf-8")


def check_documented(compared: Compared) -> None:
    """A whole ledger's tables are those of the documentation."""
    assert "\n".join(lines(compared)) in DOCUMENT


def check_explained(compared: Compared) -> None:
    """Nothing is left unexplained, by invoice, level and day, nor by mail; and no cause is named for nothing."""
    assert compared.unexplained == frozenset(), sorted(compared.unexplained)[:9]
    assert compared.last.mails == compared.replay.mails, sorted(compared.last.mails ^ compared.replay.mails)[:9]
    assert [one for one in one_by_one(compared) if not one["because"]] == []
    for step in compared.steps:
        if step.added or step.taken:
            others = CAUSES.keys() - {step.cause}
            assert expected(compared.ledger, others).reminders != compared.replay.reminders
