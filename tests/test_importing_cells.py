"""Days and amounts as files write them; one order and one decimal sign a column."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.importing.amounts import DECIMALS, Decimals, NoAmount, amount, currency_of, decimals_of
from operations.importing.days import ORDERS, Moment, Order, day, order_of


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-03",
        "2026/04/03",
        "2026-04-03 11:50",
        "20260403",
        "20260403.0",
        "3-Apr-26",
        "03-Apr-2026",
        "3 avril 2026",
        "3 avr. 2026",
        "April 3, 2026",
    ],
)
@pytest.mark.parametrize("order", [None, *ORDERS])
def test_a_day_that_says_itself_needs_no_order(text: str, order: Order | None) -> None:
    assert day(text, order) == date(2026, 4, 3)
    assert order_of([text]) is None


@pytest.mark.parametrize(
    ("text", "in_paris"),
    [
        ("2026-03-01T22:00:00Z", date(2026, 3, 1)),
        ("2026-03-01T23:30:00Z", date(2026, 3, 2)),
        ("2026-07-01 22:30 UTC", date(2026, 7, 2)),
        ("2026-03-02T00:30:00.000+02:00", date(2026, 3, 1)),
        ("03/02/2026 11:30 PM -0500", date(2026, 2, 4)),
        ("2026-03-01 12:10 AM +0000", date(2026, 3, 1)),
    ],
)
def test_a_time_with_its_zone_is_the_day_that_it_is_on_the_company_s_clock(text: str, in_paris: date) -> None:
    found = day(text, "dmy")
    assert isinstance(found, Moment)
    assert found.on(ZoneInfo("Europe/Paris")) == in_paris


@pytest.mark.parametrize(
    "text", ["2026-03-01 24:00Z", "2026-03-01 13:00 PM Z", "2026-03-01 10:61Z", "2026-03-01 10:00+24:00"]
)
def test_a_time_with_a_zone_that_no_clock_shows_is_no_day(text: str) -> None:
    assert day(text, None) is None


@given(st.datetimes(datetime(1950, 1, 1), datetime(2100, 12, 31)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_whatever_zone_a_moment_is_written_in_its_day_is_the_same(naive: datetime, minutes: int) -> None:
    east = timedelta(minutes=minutes)
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    written = f"{naive:%Y-%m-%d %H:%M}{sign}{hours:02}:{rest:02}"
    found = day(written, None)
    assert isinstance(found, Moment)
    assert found.on(UTC) == (naive - east).date()


def test_a_first_of_the_month_may_be_written_in_french() -> None:
    assert day("1er février 2026", None) == date(2026, 2, 1)


@pytest.mark.parametrize(
    ("text", "order", "meant"),
    [
        ("3/4/2026", "dmy", date(2026, 4, 3)),
        ("3/4/2026", "mdy", date(2026, 3, 4)),
        ("03.04.26", "dmy", date(2026, 4, 3)),
        ("26-04-03", "ymd", date(2026, 4, 3)),
        ("26-04-2011 11:50", "dmy", date(2011, 4, 26)),
        ("01-02-69", "dmy", date(1969, 2, 1)),
        ("01-02-68", "dmy", date(2068, 2, 1)),
        ("3/4/2026", None, None),
        ("31/4/2026", "dmy", None),
        ("4/31/2026", "mdy", None),
        ("13/4/2026", "mdy", None),
        ("44000", "dmy", None),
        ("3/4-2026", "dmy", None),
        ("3/4/0026", "dmy", None),
        ("3 brumaire 2026", "dmy", None),
        ("", "dmy", None),
    ],
)
def test_the_order_decides_what_figures_mean(text: str, order: Order | None, meant: date | None) -> None:
    assert day(text, order) == meant


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["3/4/2026", "15/4/2026"], "dmy"),
        (["3/4/2026", "4/15/2026"], "mdy"),
        (["3/4/2026", "4/5/2026"], "ambiguous"),
        (["15/4/2026", "4/15/2026"], "ambiguous"),
        (["4/4/2026", "5/5/2026"], None),
        (["4/4/2026", "15/4/2026"], "dmy"),
        (["03-04-26", "15-04-26"], "dmy"),
        (["32-04-26"], "ymd"),
        (["2026-04-03", "3/4/2026", "31/31/2026", "demain"], "ambiguous"),
        ([], None),
    ],
)
def test_the_whole_column_tells_the_order_or_nothing_does(texts: list[str], order: str | None) -> None:
    assert order_of(texts) == order


@given(st.lists(st.dates(date(1970, 1, 1), date(2068, 12, 31)), min_size=1), st.sampled_from(["%d/%m/%Y", "%m-%d-%y"]))
def test_days_that_were_written_are_read_back(days: list[date], form: str) -> None:
    written: Order = "dmy" if form.startswith("%d") else "mdy"
    texts = [one.strftime(form) for one in days]
    assert [day(text, written) for text in texts] == days
    assert order_of(texts) in (written, None, "ambiguous")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("100", "100"),
        ("1 234,56 €", "1234.56"),
        ("1\N{NARROW NO-BREAK SPACE}234,56\N{NO-BREAK SPACE}€", "1234.56"),
        ("1.234,56", "1234.56"),
        ("1,234.56", "1234.56"),
        ("1'234.56", "1234.56"),
        ("1,234,567", "1234567"),
        ("1.234.567", "1234567"),
        ("-12,5", "-12.5"),
        ("\N{MINUS SIGN}12,5", "-12.5"),
        ("12.50-", "-12.50"),
        ("(12.50)", "-12.50"),
        ("$ 12.50", "12.50"),
        ("EUR 12.50", "12.50"),
        ("12.50EUR", "12.50"),
        ("0,123", "0.123"),
    ],
)
def test_an_amount_that_says_itself_needs_no_decimal_sign(text: str, plain: str) -> None:
    assert amount(text, None) == plain


@pytest.mark.parametrize(
    "text", ["", "abc", "1e5", "1.23.4", "1 2 3", "1,2,3", "12 34", "1.", "NaN", "0x1F", "12 EURO", "--1", "٣"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(NoAmount):
        amount(text, "point")


def test_one_sign_before_three_figures_may_part_either() -> None:
    assert (amount("1,234", "comma"), amount("1,234", "point")) == ("1.234", "1234")
    with pytest.raises(NoAmount, match="decimal comma or a decimal point"):
        amount("1,234", None)
    with pytest.raises(NoAmount, match="no amount with a decimal comma"):
        amount("12.5", "comma")


@pytest.mark.parametrize(
    ("texts", "decimals"),
    [
        (["1,234", "12,5"], "comma"),
        (["1,234", "12.5"], "point"),
        (["1.234", "1.234.567"], "comma"),
        (["1,234"], "ambiguous"),
        (["1,5", "1.5"], "ambiguous"),
        (["12", "13"], None),
        (["1.5", "abc"], "point"),
    ],
)
def test_the_whole_column_tells_the_decimal_sign_or_nothing_does(texts: list[str], decimals: str | None) -> None:
    assert decimals_of(texts) == decimals


def test_the_sign_beside_amounts_may_say_the_currency() -> None:
    assert currency_of(["1,50 €", "2 €"]) == "EUR"
    assert currency_of(["CHF 1.50"]) == "CHF"
    assert currency_of(["$1"]) is None
    assert currency_of(["1 €", "2 $"]) is None
    assert currency_of(["1", "2"]) is None


@given(
    st.decimals(Decimal("-1e9"), Decimal("1e9"), places=2),
    st.sampled_from(DECIMALS),
    st.sampled_from(["", " ", "\N{NARROW NO-BREAK SPACE}", "'"]),
)
def test_amounts_that_were_written_are_read_back(value: Decimal, decimals: Decimals, thousands: str) -> None:
    text = f"{value:,.2f}".replace(",", thousands)
    assert Decimal(amount(text.replace(".", "," if decimals == "comma" else "."), decimals)) == value


def test_what_is_the_same_either_way_needs_no_decision() -> None:
    assert order_of(["03/03/2026"]) is None
    assert day("03/03/2026", None) == date(2026, 3, 3)
    assert day("03/04/2026", None) is None
    assert decimals_of(["1 200", "500"]) is None
    assert amount("1 200", None) == "1200"
