"""A ledger replayed on servers of the test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledgers.replaying import AUDITED_DAYS, PATIENT, bring_whole, open_companies, opening_day, replay
from tests.ledgers.tables import compare
from tests.stories.staging import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.ledgers.bills import Ledger
    from tests.ledgers.tables import Compared


@pytest.fixture
def replayed(database_url: str, redis_url: str, tmp_path: Path) -> Callable[..., Compared]:
    """What came of the ledger, beside what was to be expected; the story's own promises are checked too."""

    def live(ledger: Ledger, *, eves: bool = False) -> Compared:
        settings = replace(PATIENT, database_url=database_url, redis_url=redis_url)
        with staged(settings, tmp_path, opened_on=opening_day(ledger), audited_days=AUDITED_DAYS) as story:
            replay_ = replay(story, ledger, tmp_path, eves=eves)
        return compare(ledger, replay_)

    return live


@pytest.fixture
def imported(database_url: str) -> Callable[[Ledger, str], dict[str, Any]]:
    """What the importer says of a ledger's whole file, imported as this kind."""

    def bring(ledger: Ledger, kind: str) -> dict[str, Any]:
        open_companies(database_url, ledger)
        return bring_whole(database_url, ledger, kind)

    return bring
