"""IBM's sample: too clean, disputed for a quarter, settled whole; late by a month at most."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledgers.bills import ibm
from tests.ledgers.checks import DOCUMENT, check_documented, check_explained
from tests.ledgers.tables import by_level, import_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledgers.bills import Ledger
    from tests.ledgers.tables import Compared


def test_every_row_is_taken_once(imported: Callable[[Ledger, str], dict[str, Any]]) -> None:
    ledger = ibm()
    for kind in ledger.kinds:
        assert import_line(ledger, kind, imported(ledger, kind)) in DOCUMENT
    for kind in ledger.kinds:
        again = imported(ledger, kind)
        assert (again["added"], again["changed"]) == (0, 0)


def test_what_is_not_read_is_told(imported: Callable[[Ledger, str], dict[str, Any]]) -> None:
    ledger = ibm()
    imported(ledger, "customers")
    unused = imported(ledger, "invoices")["unused"]
    assert unused == ["countryCode", "PaperlessDate", "SettledDate", "PaperlessBill", "DaysToSettle", "DaysLate"]


@pytest.mark.timeout(400)
def test_a_quarter_is_reminded_as_its_dates_say_but_for_named_causes(replayed: Callable[..., Compared]) -> None:
    compared = replayed(ibm().only(lambda bill: bill.known_on < date(2012, 4, 1)), eves=True)
    check_explained(compared)
    named = {step.cause for step in compared.steps if step.added or step.taken}
    assert named == {"disputed", "no address", "paid that day", "weekend, holiday"}
    disputed = {bill.number for bill in compared.ledger.bills if bill.disputed}
    assert disputed.isdisjoint(one.number for one in compared.replay.reminders)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_years_are_reminded_as_their_dates_say(replayed: Callable[..., Compared]) -> None:
    compared = replayed(ibm())
    check_explained(compared)
    check_documented(compared)
    assert by_level(compared.replay.reminders) == [123, 14, 0]
