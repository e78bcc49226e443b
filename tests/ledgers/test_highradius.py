"""Open items of five companies, all unpaid: large customers, mails seven days apart, names in many spellings."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledgers.bills import highradius
from tests.ledgers.checks import DOCUMENT, check_documented, check_explained
from tests.ledgers.tables import by_level, import_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledgers.bills import Ledger
    from tests.ledgers.tables import Compared


def test_of_many_spellings_the_first_is_kept_and_the_others_are_told(
    imported: Callable[[Ledger, str], dict[str, Any]],
) -> None:
    ledger = highradius()
    said = imported(ledger, "customers")
    assert import_line(ledger, "customers", said) in DOCUMENT
    zeros, *names = said["notices"]
    assert (zeros["oddity"], zeros["rows"]) == ("alike but for zeros", 37)
    assert {(one["oddity"], one["field"]) for one in names} == {("said otherwise", "name")}
    assert len(names) == 183
    winc = next(one for one in names if one["about"] == "customer 0200706844")
    assert (winc["kept"], len(winc["others"]), winc["rows"]) == ("WINC co", 10, 83)


def test_numbers_lose_their_decimals_and_predictions_are_not_read(
    imported: Callable[[Ledger, str], dict[str, Any]],
) -> None:
    ledger = highradius()
    imported(ledger, "customers")
    said = imported(ledger, "invoices")
    assert import_line(ledger, "invoices", said) in DOCUMENT
    samples = next(one["samples"] for one in said["columns"] if one["field"] == "number")
    assert samples[0] == ["1930571429.0", "1930571429"]
    assert [(one["oddity"], one["rows"]) for one in said["notices"]] == [("due before issued", 9)]
    assert {"Day_due", "Delay_predict", "Payment_date_predict", "Aging_bucket"} <= set(said["unused"])


@pytest.mark.timeout(400)
def test_a_week_is_reminded_as_its_dates_say_but_for_named_causes(replayed: Callable[..., Compared]) -> None:
    week = highradius().only(lambda bill: bill.known_on < date(2020, 3, 5) and bill.company in {"CA02", "U002"})
    compared = replayed(week, eves=True)
    check_explained(compared)
    assert {step.cause for step in compared.steps if step.moved} == {"weekend, holiday", "minimum gap"}
    assert by_level(compared.replay.reminders) == [len(week.bills)] * 3


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_quarter_is_reminded_as_its_dates_say(replayed: Callable[..., Compared]) -> None:
    compared = replayed(highradius())
    check_explained(compared)
    check_documented(compared)
