"""Which electronic invoices are chased: by type, amount and means of payment."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.trade import but
from workflow.einvoices import CLAIMS, CREDITS, EInvoice, Party, chased

INVOICE: dict[str, Any] = {
    "format": "cii",
    "number": "FA-1",
    "type_code": "380",
    "issued_on": date(2026, 10, 1),
    "due_dates": (),
    "terms": "",
    "seller": Party(name="Nord SAS"),
    "buyer": Party(name="Dupont SARL"),
    "currency": "EUR",
    "total": Decimal("120.00"),
    "prepaid": Decimal("20.00"),
    "payable": Decimal("100.00"),
    "iban": None,
}


def verdict(**changes: object) -> tuple[str, str]:
    return chased(EInvoice(**but(INVOICE, changes)))


def test_a_payable_amount_is_chased() -> None:
    assert verdict() == ("yes", "")
    assert verdict(means=("30", "48")) == ("yes", ""), "who may also pay by card may not have done so"


@pytest.mark.parametrize("code", sorted(CREDITS))
def test_a_credit_note_is_never_chased(code: str) -> None:
    assert verdict(type_code=code) == ("never", f"is a credit note (type {code})")


def test_a_credit_note_by_its_form_is_never_chased_whatever_its_type_says() -> None:
    assert verdict(format="ubl-credit-note")[0] == "never"


@pytest.mark.parametrize("amount", ["-0.01", "0.00"])
def test_nothing_and_less_than_nothing_is_never_chased(amount: str) -> None:
    assert verdict(payable=Decimal(amount))[0] == "never"


@pytest.mark.parametrize("code", ["325", "751", "130", "999", ""])
def test_what_asks_for_no_payment_is_never_chased(code: str) -> None:
    assert verdict(type_code=code)[0] == "never"


@pytest.mark.parametrize("means", [("49",), ("59",), ("30", "59"), ("48",), ("54", "55")], ids="-".join)
def test_a_direct_debit_and_a_card_wait_for_their_rejection(means: tuple[str, ...]) -> None:
    assert verdict(means=means)[0] == "held"


def test_no_type_is_both_a_claim_and_a_credit() -> None:
    assert not CLAIMS & CREDITS


@pytest.mark.parametrize(("code", "factored"), [("393", True), ("472", True), ("380", False)])
def test_a_factored_invoice_says_so(code: str, *, factored: bool) -> None:
    assert EInvoice(**but(INVOICE, {"type_code": code})).factored is factored
