from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow.errors import InvalidInput
from workflow.windows import EVERY_DAY, SendWindow, is_business_day, is_open, next_open

PARIS = ZoneInfo("Europe/Paris")
OFFICE = SendWindow(zone=PARIS, country="FR")
NEVER_CLOSED = SendWindow(zone=PARIS, country=None, weekdays=EVERY_DAY, opens=time(0), closes=None)


def paris(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        ("2026-11-24 07:59:59", False),
        ("2026-11-24 08:00", True),
        ("2026-11-24 18:59:59.999", True),
        ("2026-11-24 19:00", False),
        ("2026-11-28 10:00", False),
        ("2026-11-29 10:00", False),
    ],
)
def test_mails_leave_in_office_hours_from_monday_to_friday(at: str, verdict: object) -> None:
    assert is_open(OFFICE, paris(at)) is verdict
    assert is_open(OFFICE, paris(at).astimezone(PARIS)) is verdict


@pytest.mark.parametrize(
    "holiday", ["2026-01-01", "2026-04-06", "2026-05-01", "2026-05-08", "2026-05-14", "2026-07-14", "2026-12-25"]
)
def test_no_mail_leaves_on_a_public_holiday(holiday: str) -> None:
    assert not is_business_day(OFFICE, date.fromisoformat(holiday))
    assert not is_open(OFFICE, paris(f"{holiday} 10:00"))


def test_the_holidays_are_those_of_the_company_s_country() -> None:
    in_germany = SendWindow(zone=ZoneInfo("Europe/Berlin"), country="DE")
    bastille_day = date(2026, 7, 14)
    assert not is_business_day(OFFICE, bastille_day)
    assert is_business_day(in_germany, bastille_day)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-24 06:00", "2026-11-24 08:00"),
        ("2026-11-24 19:00", "2026-11-25 08:00"),
        ("2026-11-27 23:59", "2026-11-30 08:00"),
        ("2026-12-24 20:00", "2026-12-28 08:00"),
        ("2026-04-30 19:30", "2026-05-04 08:00"),
        ("2026-12-31 19:30", "2027-01-04 08:00"),
    ],
)
def test_a_mail_out_of_hours_waits_for_the_next_business_morning(now: str, opens: str) -> None:
    assert next_open(OFFICE, paris(now)) == paris(opens)


def test_a_mail_in_office_hours_leaves_now() -> None:
    now = paris("2026-11-24 10:00:00.123456")
    assert next_open(OFFICE, now) == now
    assert next_open(OFFICE, now).tzinfo is UTC


def test_eight_o_clock_stays_eight_o_clock_across_the_clock_changes() -> None:
    assert next_open(OFFICE, paris("2026-03-27 20:00")) == datetime(2026, 3, 30, 6, tzinfo=UTC)
    assert next_open(OFFICE, paris("2026-10-23 20:00")) == datetime(2026, 10, 26, 7, tzinfo=UTC)


def test_an_opening_hour_that_does_not_exist_is_the_moment_of_the_change() -> None:
    by_night = SendWindow(zone=PARIS, country=None, weekdays=EVERY_DAY, opens=time(2, 30), closes=time(4))
    assert next_open(by_night, paris("2026-03-29 00:00")) == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_a_window_whose_hours_do_not_exist_stays_closed_that_day() -> None:
    in_the_gap = SendWindow(zone=PARIS, country=None, weekdays=EVERY_DAY, opens=time(2), closes=time(3))
    assert next_open(in_the_gap, paris("2026-03-29 00:00")) == paris("2026-03-30 02:00")


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    by_night = SendWindow(zone=PARIS, country=None, weekdays=EVERY_DAY, opens=time(1), closes=time(2, 30))
    closed_between = paris("2026-10-25 02:45", fold=0)
    assert not is_open(by_night, closed_between)
    assert next_open(by_night, closed_between) == paris("2026-10-25 02:00", fold=1)


def test_a_window_may_never_close() -> None:
    for at in ("2026-01-01 00:00", "2026-03-29 23:59:59.999999", "2026-10-25 02:30"):
        assert is_open(NEVER_CLOSED, paris(at))
        assert next_open(NEVER_CLOSED, paris(at)) == paris(at)


CLOCK_CHANGES = {
    "Europe/Paris": ("2026-03-29", "2026-10-25"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "America/Santiago": ("2026-04-05", "2026-09-06"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
}


@settings(deadline=None)  # minutes are walked one by one; a busy machine is no failure
@given(
    change=st.sampled_from([(zone, day) for zone, days in CLOCK_CHANGES.items() for day in days]),
    minutes=st.integers(-3000, 3000),
    weekdays=st.frozensets(st.integers(1, 7), min_size=4),
    hours=st.tuples(st.integers(0, 300) | st.integers(1300, 1380), st.integers(1, 59)),
)
def test_the_next_opening_is_open_and_nothing_before_it_is(
    change: tuple[str, str], minutes: int, weekdays: frozenset[int], hours: tuple[int, int]
) -> None:
    opens, closes = (time(*divmod(at, 60)) for at in (hours[0], hours[0] + hours[1]))
    window = SendWindow(zone=ZoneInfo(change[0]), country="FR", weekdays=weekdays, opens=opens, closes=closes)
    start = datetime.fromisoformat(f"{change[1]}T00:00Z") + timedelta(minutes=minutes)
    first = next_open(window, start)
    assert is_open(window, first)
    assert first >= start
    whole_minutes = (
        first - timedelta(minutes=back) for back in range(1, int((first - start) / timedelta(minutes=1)) + 1)
    )
    assert not any(is_open(window, at) for at in whole_minutes)


@pytest.mark.parametrize(
    ("field", "value", "changed"),
    [
        ("weekdays", [], {"weekdays": frozenset[int]()}),
        ("weekdays", [0, 1], {"weekdays": frozenset({0, 1})}),
        ("closes", "08:00:00", {"closes": time(8)}),
        ("closes", "07:00:00", {"closes": time(7)}),
        ("opens", "08:00:30", {"opens": time(8, 0, 30)}),
        ("closes", "23:59:59.999999", {"closes": time.max}),
        ("opens", "08:00:00+00:00", {"opens": time(8, tzinfo=UTC)}),
        ("country", "France", {"country": "France"}),
        ("country", "fr", {"country": "fr"}),
        ("country", "", {"country": ""}),
        ("country", "ZZ", {"country": "ZZ"}),
        ("country", "BV", {"country": "BV"}),
    ],
    ids=str,
)
def test_a_window_that_makes_no_sense_is_refused_by_name(field: str, value: object, changed: dict[str, Any]) -> None:
    office: dict[str, Any] = {"zone": PARIS, "country": "FR"}
    with pytest.raises(InvalidInput) as refused:
        SendWindow(**(office | changed))
    assert (refused.value.field, refused.value.value) == (field, value)


@pytest.mark.parametrize("question", [is_open, next_open])
def test_an_instant_without_a_zone_is_no_instant(question: Callable[[SendWindow, datetime], object]) -> None:
    with pytest.raises(ValueError, match="aware"):
        question(OFFICE, datetime(2026, 11, 24, 10))  # noqa: DTZ001 - what must be refused
