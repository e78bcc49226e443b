"""A real ledger with its disorder: recorded late, paid in parts, several rows an invoice, nobody's number anywhere."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from store.connection import connect
from tests.ledgers.bills import cassandra
from tests.ledgers.checks import DOCUMENT, check_documented, check_explained
from tests.ledgers.tables import import_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledgers.bills import Ledger
    from tests.ledgers.tables import Compared


def test_rows_that_are_payments_of_one_invoice_are_that(
    imported: Callable[[Ledger, str], dict[str, Any]], database_url: str
) -> None:
    ledger = cassandra()
    for kind in ledger.kinds:
        assert import_line(ledger, kind, imported(ledger, kind)) in DOCUMENT
    assert imported(ledger, "payments")["added"] == 0
    owed = {bill.number: bill.total - sum(payment.amount for payment in bill.payments) for bill in ledger.bills}
    with connect(database_url) as conn:
        assert dict(conn.execute("SELECT number, balance FROM invoices").fetchall()) == owed
    assert sum(len(bill.payments) > 1 for bill in ledger.bills) == 6


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_month_is_reminded_as_its_dates_say_but_for_named_causes(replayed: Callable[[Ledger], Compared]) -> None:
    month = cassandra().only(lambda bill: date(2014, 3, 1) <= bill.known_on < date(2014, 4, 1))
    compared = replayed(month)
    check_explained(compared)
    named = {step.cause for step in compared.steps if step.added or step.taken}
    assert named == {"part paid", "recorded late", "paid that day", "weekend, holiday"}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_seven_years_are_reminded_as_their_dates_say(replayed: Callable[[Ledger], Compared]) -> None:
    compared = replayed(cassandra())
    check_explained(compared)
    check_documented(compared)
