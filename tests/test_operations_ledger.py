"""Payments, credit notes and reversals, and the balance that follows."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.customers import save_customer
from operations.invoices import cancel, dispute, update
from operations.ledger import credit_note, record_payment, reverse
from tests.trade import TODAY, but, invoice, journal, open_trade, row, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def pay(conn: Connection, amount: object = "100.00", reference: str = "VIR-1", **changes: object) -> int:
    values: dict[str, Any] = {
        "company": "NORD", "customer": "C-1", "invoice": "FA-1", "currency": "EUR", "received_on": TODAY,
        "by": "user:marie", "today": TODAY,
    }  # fmt: skip
    values.update(amount=amount, reference=reference)
    values.update(changes)
    return record_payment(conn, **values)


def take_back(conn: Connection, reference: str = "VIR-1", reversal: str | None = None) -> int:
    return reverse(conn, company="NORD", reference=reference, reversal=reversal, reversed_on=TODAY, by="user:marie")


def test_a_full_payment_settles_the_invoice(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn)
    after = row(conn, "invoices", invoice_id)
    assert (after["balance"], after["commercial_state"]) == (Decimal(0), "paid")
    assert (after["state"], after["before_settled"], after["cycle"]) == ("settled", "level_0", 1)
    assert not after["open"]


def test_a_part_payment_leaves_the_rest_to_chase(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn, "99.99")
    after = row(conn, "invoices", invoice_id)
    assert (after["balance"], after["commercial_state"], after["state"]) == (Decimal("0.01"), "open", "level_0")


def test_a_payment_is_booked_once_whoever_tells_of_it_twice(conn: Connection) -> None:
    invoice_id = invoice(conn)
    first = pay(conn, "40.00")
    before = row(conn, "invoices", invoice_id), written(conn)
    assert pay(conn, "40.00") == first
    assert (row(conn, "invoices", invoice_id), written(conn)) == before


@pytest.mark.parametrize(
    "other",
    [{"amount": "41.00"}, {"received_on": date(2026, 11, 1)}, {"invoice": None}, {"invoice": "FA-2"}],
)
def test_a_reference_with_other_content_is_refused(conn: Connection, other: dict[str, Any]) -> None:
    invoice_id = invoice(conn)
    invoice(conn, "FA-2")
    pay(conn, "40.00")
    with pytest.raises(InvalidInput, match=r"reference: is booked already, with other content \(got 'VIR-1'\)"):
        pay(conn, **but({"amount": "40.00"}, other))
    assert row(conn, "invoices", invoice_id)["balance"] == Decimal("60.00")


def test_more_than_the_balance_may_be_paid(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn, "150.00")
    after = row(conn, "invoices", invoice_id)
    assert (after["balance"], after["commercial_state"]) == (Decimal("-50.00"), "paid")


def test_a_payment_that_covers_a_disputed_invoice_ends_the_matter(conn: Connection) -> None:
    invoice_id = invoice(conn)
    dispute(conn, company="NORD", number="FA-1", by="user:marie")
    pay(conn)
    assert row(conn, "invoices", invoice_id)["commercial_state"] == "paid"


def test_money_for_a_cancelled_invoice_is_booked_and_it_stays_cancelled(conn: Connection) -> None:
    invoice_id = invoice(conn)
    cancel(conn, company="NORD", number="FA-1", by="user:marie")
    pay(conn)
    after = row(conn, "invoices", invoice_id)
    assert (after["commercial_state"], after["balance"]) == ("cancelled", Decimal(0))


def test_a_payment_while_the_mail_is_out_remembers_that_it_is(conn: Connection) -> None:
    invoice_id = invoice(conn)
    send(conn, invoice_id)
    pay(conn)
    assert row(conn, "invoices", invoice_id)["before_settled"] == "level_0_sending"


def test_a_reversed_payment_reopens_the_invoice_in_a_new_cycle(conn: Connection) -> None:
    invoice_id = invoice(conn)
    send(conn, invoice_id, last_state="level_2")
    pay(conn)
    take_back(conn)
    after = row(conn, "invoices", invoice_id)
    assert (after["state"], after["level"], after["cycle"]) == ("level_2", 2, 2)
    assert (after["commercial_state"], after["balance"]) == ("open", Decimal("100.00"))


def test_a_payment_is_reversed_once(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn)
    first = take_back(conn)
    assert take_back(conn) == first
    with pytest.raises(InvalidInput, match="reversed under another reference"):
        take_back(conn, reversal="REJ-9")
    assert row(conn, "invoices", invoice_id)["balance"] == Decimal("100.00")


def test_a_reversal_is_not_reversed(conn: Connection) -> None:
    invoice(conn)
    pay(conn)
    take_back(conn, reversal="REJ-1")
    with pytest.raises(InvalidInput, match="reference: is a reversal itself"):
        take_back(conn, "REJ-1")


def test_what_was_never_booked_is_not_reversed(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="reference: is booked nowhere"):
        take_back(conn, "VIR-404")


def test_without_an_invoice_a_payment_is_credit_on_account_of_the_customer(conn: Connection) -> None:
    invoice_id = invoice(conn)
    before = conn.execute("SELECT row_version FROM customers").fetchone()
    payment = pay(conn, invoice=None)
    assert row(conn, "payments", payment)["invoice_id"] is None
    assert row(conn, "invoices", invoice_id)["balance"] == Decimal("100.00")
    assert conn.execute("SELECT row_version FROM customers").fetchone() != before


def test_credit_on_account_can_be_reversed_too(conn: Connection) -> None:
    pay(conn, invoice=None)
    take_back(conn)
    assert conn.execute("SELECT sum(amount) FROM payments").fetchone() == (Decimal(0),)


def test_a_credit_note_lowers_the_balance_as_a_payment_does(conn: Connection) -> None:
    invoice_id = invoice(conn)
    note = credit_note(
        conn, company="NORD", customer="C-1", invoice="FA-1", amount="30.00", currency="EUR", issued_on=TODAY,
        reference="AV-1", by="user:marie",
    )  # fmt: skip
    assert row(conn, "payments", note)["kind"] == "credit_note"
    assert row(conn, "invoices", invoice_id)["balance"] == Decimal("70.00")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount": "0.00"}, "amount: must be more than nothing"),
        ({"amount": "-5.00"}, "amount: must be more than nothing"),
        ({"amount": 12.5}, "amount: must be text"),
        ({"amount": "12.345"}, "amount: has more than the 2 decimals of EUR"),
        ({"amount": "NaN"}, "amount: must be a plain number"),
        ({"currency": "CHF"}, "currency: the invoice is in EUR"),
        ({"currency": "XXX"}, "currency: is no ISO 4217 currency"),
        ({"customer": "C-2"}, "customer: the invoice is C-1's"),
        ({"customer": "C-9", "invoice": None}, "customer: does not exist"),
        ({"company": "SUD"}, "invoice: does not exist in company SUD"),
        ({"company": "SUD", "invoice": None}, "company: does not exist"),
        ({"invoice": "FA-9"}, "invoice: does not exist in company NORD"),
        ({"reference": ""}, "reference: is missing"),
        ({"reference": "VIR\n1"}, r"reference: the character U\+000A"),
        ({"by": "Marie Curie"}, "by: must be system"),
    ],
)
def test_a_payment_that_cannot_be_is_refused_and_leaves_nothing(
    conn: Connection, changes: dict[str, Any], message: str
) -> None:
    invoice(conn)
    save_customer(conn, number="C-2", name="Durand", by="system")
    before = written(conn)
    with pytest.raises(InvalidInput, match=message):
        pay(conn, **changes)
    assert written(conn) == before


def test_the_ledger_only_grows(conn: Connection) -> None:
    invoice(conn)
    pay(conn)
    with pytest.raises(psycopg.errors.RaiseException, match="payments is append-only"):
        conn.execute("UPDATE payments SET amount = 1")


def test_a_payment_is_journaled_with_who_and_which_day(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn, by="user:paul")
    said = conn.execute("SELECT actor, today, change FROM journal WHERE subject = 'invoice'").fetchall()
    assert [(actor, today) for actor, today, _ in said] == [("user:paul", TODAY)]
    assert journal(conn, "invoice", invoice_id)[0]["balance"] == ["100.00", "0.00"]


def test_a_lower_total_that_is_covered_settles_and_a_higher_one_reopens(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn, "60.00")
    update(conn, company="NORD", number="FA-1", total="60.00", by="user:marie")
    assert row(conn, "invoices", invoice_id)["commercial_state"] == "paid"
    update(conn, company="NORD", number="FA-1", total="80.00", by="user:marie")
    after = row(conn, "invoices", invoice_id)
    assert (after["commercial_state"], after["balance"], after["cycle"]) == ("open", Decimal("20.00"), 2)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("pay"), st.integers(1, 15_000)),
            st.tuples(st.just("reverse"), st.integers(0, 9)),
            st.tuples(st.just("total"), st.integers(0, 20_000)),
        ),
        max_size=10,
    )
)
def test_the_balance_is_always_the_total_less_the_ledger(conn: Connection, moves: list[tuple[str, int]]) -> None:
    with conn.transaction(force_rollback=True):
        invoice_id = invoice(conn)
        for step, (what, cents) in enumerate(moves):
            if what == "pay":
                pay(conn, Decimal(cents).scaleb(-2), f"VIR-{step}")
            elif what == "total":
                update(conn, company="NORD", number="FA-1", total=Decimal(cents).scaleb(-2), by="system")
            elif conn.execute("SELECT FROM payments WHERE reference = %s", [f"VIR-{cents}"]).fetchone():
                take_back(conn, f"VIR-{cents}")
            summed = conn.execute("SELECT coalesce(sum(amount), 0) FROM payments").fetchone()
            after = row(conn, "invoices", invoice_id)
            assert summed == (after["total"] - after["balance"],)
            assert (after["commercial_state"] == "paid") == (after["balance"] <= 0)
