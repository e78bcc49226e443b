from datetime import date
from decimal import Decimal

import pytest
from babel.core import get_global
from babel.numbers import get_territory_currencies
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import InvalidInput
from workflow.money import CURRENCIES, NO_DECIMALS, THREE_DECIMALS, amount, check_currency, digits

currencies = st.sampled_from(sorted(CURRENCIES))


@pytest.mark.parametrize(
    ("currency", "decimals"), [("EUR", 2), ("USD", 2), ("JPY", 0), ("KRW", 0), ("XPF", 0), ("KWD", 3), ("TND", 3)]
)
def test_a_currency_has_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert digits(currency) == decimals


@pytest.mark.parametrize("code", ["", "eur", "EURO", "FRF", "XAU", "XXX", "E R"])
def test_what_is_no_money_of_today_is_no_currency(code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_currency(code, field="invoice currency")
    assert (refused.value.field, refused.value.value) == ("invoice currency", code)


def test_an_unknown_currency_has_no_decimals_to_speak_of() -> None:
    with pytest.raises(InvalidInput, match="currency"):
        digits("ZZZ")


def test_the_tables_of_decimals_name_known_currencies_once() -> None:
    assert NO_DECIMALS | THREE_DECIMALS <= CURRENCIES
    assert not NO_DECIMALS & THREE_DECIMALS


def test_the_money_of_every_country_is_known() -> None:
    tenders = {
        code
        for territory in get_global("territory_currencies")
        for code in get_territory_currencies(territory, start_date=date(2026, 11, 24))
    }
    assert len(tenders) > 150
    # Bulgaria has had the euro since 2026-01-01, Sint Maarten and Curaçao the XCG since 2025.
    assert tenders - CURRENCIES <= {"BGN", "ANG", "ZWL", "CUC"}


@pytest.mark.parametrize(
    ("value", "currency", "exact"),
    [
        ("1234.5", "EUR", "1234.50"),
        ("0", "EUR", "0.00"),
        ("-12.00", "EUR", "-12.00"),
        ("-0.00", "EUR", "0.00"),
        (1500, "EUR", "1500.00"),
        (-1500, "JPY", "-1500"),
        (Decimal("0.001"), "KWD", "0.001"),
        ("999999999999.99", "EUR", "999999999999.99"),
    ],
)
def test_an_amount_gets_exactly_the_decimals_of_its_currency(value: object, currency: str, exact: str) -> None:
    assert str(amount(value, currency, field="balance")) == exact


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        True,
        None,
        [],
        b"12",
        "",
        " 12",
        "12 ",
        "12\n",
        "+12",
        "12.",
        ".5",
        "1,50",
        "1 000",
        "1_000",
        "1e3",
        "NaN",
        "Infinity",
        "-inf",
        "٣",
        "0x10",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        Decimal("1E+2"),
        "9" * 100_000,
    ],
)
def test_what_is_no_plain_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        amount(value, "EUR", field="amount due")
    assert refused.value.field == "amount due"
    assert refused.value.value is value


@pytest.mark.parametrize(
    ("value", "currency"), [("1.500", "EUR"), (Decimal("0.001"), "EUR"), ("10.0", "JPY"), ("1.0000", "KWD")]
)
def test_more_decimals_than_the_currency_has_are_refused(value: object, currency: str) -> None:
    with pytest.raises(InvalidInput, match=f"decimals of {currency}"):
        amount(value, currency, field="balance")


@pytest.mark.parametrize("value", ["1000000000000", "-1000000000000.00", 10**12 + 1, -(10**15), Decimal(10**12)])
def test_a_million_millions_is_a_mistake(value: object) -> None:
    with pytest.raises(InvalidInput, match="must be under 1000000000000"):
        amount(value, "EUR", field="balance")


@given(st.integers(-(10**12) + 1, 10**12 - 1), currencies)
def test_every_minor_unit_survives_the_way_in_and_back(minor_units: int, currency: str) -> None:
    exact = Decimal(minor_units).scaleb(-digits(currency))
    read = amount(format(exact, "f"), currency, field="balance")
    assert read == exact
    assert read.as_tuple().exponent == -digits(currency)
    assert amount(read, currency, field="balance") == read


@given(
    st.one_of(
        st.text(),
        st.text("0123456789.-eE"),
        st.integers(),
        st.floats(),
        st.decimals(),
        st.booleans(),
        st.binary(),
    ),
    currencies,
)
def test_whatever_comes_in_is_a_sound_amount_or_is_refused(value: object, currency: str) -> None:
    try:
        read = amount(value, currency, field="balance")
    except InvalidInput:
        return
    assert isinstance(value, str | int | Decimal)
    assert read == Decimal(value)
    assert abs(read) < 10**12
    assert read.as_tuple().exponent == -digits(currency)
