"""What payments and the invoicing system's words do to an invoice."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.facts import CommercialState
from workflow.ledger import SETTLING, Standing, as_commercial, as_listed, with_balance
from workflow.machine import STATES, Position

UNSETTLED: list[CommercialState] = [state for state in get_args(CommercialState) if state not in SETTLING]
BEHIND = [state for state in STATES if state != "settled"]


def standing(state: CommercialState = "open", behind: str = "level_1", balance: str = "100") -> Standing:
    position = Position("settled", behind) if state in SETTLING else Position(behind)
    return Standing(commercial_state=state, balance=Decimal(balance), position=position, cycle=3)


@pytest.mark.parametrize("state", UNSETTLED)
@pytest.mark.parametrize("balance", ["0", "-0.01"])
def test_what_is_covered_is_paid_and_settled(state: CommercialState, balance: str) -> None:
    paid = with_balance(standing(state), Decimal(balance))
    assert paid == standing("paid", balance=balance)


@pytest.mark.parametrize("state", UNSETTLED)
def test_a_part_payment_changes_the_balance_alone(state: CommercialState) -> None:
    assert with_balance(standing(state), Decimal("0.01")) == standing(state, balance="0.01")


def test_a_reversed_payment_reopens_where_the_invoice_stood_in_a_new_cycle() -> None:
    reopened = with_balance(standing("paid", "level_2_sending", "0"), Decimal(100))
    assert (reopened.commercial_state, reopened.position, reopened.cycle) == ("open", Position("level_2_sending"), 4)


def test_a_second_payment_of_what_is_paid_leaves_it_paid() -> None:
    assert with_balance(standing("paid", balance="0"), Decimal(-5)) == standing("paid", balance="-5")


@pytest.mark.parametrize("balance", ["0", "100"])
def test_a_cancelled_invoice_stays_cancelled_whatever_is_paid(balance: str) -> None:
    assert with_balance(standing("cancelled", balance="50"), Decimal(balance)) == standing("cancelled", balance=balance)


def test_cancelling_a_paid_invoice_remembers_the_same_place() -> None:
    assert as_commercial(standing("paid", balance="0"), "cancelled") == standing("cancelled", balance="0")


@pytest.mark.parametrize("state", UNSETTLED)
def test_a_list_does_not_open_what_its_payments_cover(state: CommercialState) -> None:
    assert as_listed(standing("paid", balance="0"), state) == standing("paid", balance="0")


def test_a_list_may_cancel_what_is_paid_and_let_it_stand_again() -> None:
    cancelled = as_listed(standing("paid", balance="0"), "cancelled")
    assert cancelled == standing("cancelled", balance="0")
    assert as_listed(cancelled, "disputed").commercial_state == "paid"


@pytest.mark.parametrize("state", UNSETTLED)
def test_a_list_says_whether_an_invoice_is_disputed_or_refused(state: CommercialState) -> None:
    assert as_listed(standing("open"), state) == standing(state)
    assert as_listed(standing("cancelled"), state).cycle == 4


@given(st.lists(st.sampled_from(get_args(CommercialState)), max_size=8), st.sampled_from(BEHIND))
def test_the_invoice_comes_back_to_its_place_and_each_reopening_is_a_cycle(
    states: list[CommercialState], behind: str
) -> None:
    now = standing(behind=behind)
    reopenings = 0
    for state in states:
        was = now
        now = as_commercial(was, state)
        reopenings += was.commercial_state in SETTLING and state not in SETTLING
        assert (now.position.state == "settled") == (now.commercial_state in SETTLING)
        assert now.position.behind == behind
    assert now.cycle == 3 + reopenings
