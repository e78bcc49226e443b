"""Send windows: the business days and hours, on a company's own clock, in which its mails may leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

import holidays

from workflow.errors import InvalidInput

MONDAY_TO_FRIDAY: Final = frozenset({1, 2, 3, 4, 5})
EVERY_DAY: Final = frozenset({1, 2, 3, 4, 5, 6, 7})

# A past year that the library knows for every country whose calendar it keeps: empty there means no data at all.
_KNOWN_YEAR: Final = 2020


@dataclass(frozen=True, slots=True, kw_only=True)
class SendWindow:
    """When mails may leave: on these ISO weekdays (1 is Monday), from opens until just before closes.

    Times are whole minutes on the clock of zone. closes is None for midnight, the end of the day; country (ISO 3166-1
    alpha-2) is None where public holidays do not count. So a window that never closes is
    SendWindow(zone=zone, country=None, weekdays=EVERY_DAY, opens=time(0), closes=None).
    Raises InvalidInput, naming the field.
    """

    zone: ZoneInfo
    country: str | None
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY
    opens: time = time(8)
    closes: time | None = time(19)

    def __post_init__(self) -> None:
        if not self.weekdays or not self.weekdays <= EVERY_DAY:
            raise InvalidInput(
                field="weekdays", value=sorted(self.weekdays), reason="must be one or more of 1 (Monday) to 7 (Sunday)"
            )
        for field, at in (("opens", self.opens), ("closes", self.closes)):
            if at is not None and at != time(at.hour, at.minute):
                raise InvalidInput(
                    field=field, value=at.isoformat(), reason="must be a whole minute, without a time zone"
                )
        if self.closes is not None and self.closes <= self.opens:
            raise InvalidInput(
                field="closes", value=self.closes.isoformat(), reason=f"must be after opens, {self.opens.isoformat()}"
            )
        if self.country is not None and not _has_calendar(self.country):
            raise InvalidInput(
                field="country", value=self.country, reason="is no ISO 3166-1 code with a known holiday calendar"
            )


def is_business_day(window: SendWindow, day: date) -> bool:
    """Tell whether mails may leave at all on that day of the company's calendar."""
    if day.isoweekday() not in window.weekdays:
        return False
    return window.country is None or day not in _public_holidays(window.country, day.year)


def is_open(window: SendWindow, now: datetime) -> bool:
    """Tell whether a mail may leave at this instant (aware; any zone)."""
    local = _aware(now).astimezone(window.zone)
    at = local.time()
    if at < window.opens or (window.closes is not None and at >= window.closes):
        return False
    return is_business_day(window, local.date())


def next_open(window: SendWindow, now: datetime) -> datetime:
    """Return the first instant, now or later, at which a mail may leave, in UTC; now itself while open.

    now is aware, in any zone. An opening hour that a clock change removes is the moment of the change.
    """
    now = _aware(now).astimezone(UTC)
    if is_open(window, now):
        return now
    today = now.astimezone(window.zone).date()
    # No calendar makes holidays of all days of one weekday, so that this ends.
    days = (day for offset in count() if is_business_day(window, day := today + timedelta(days=offset)))
    return next(at for day in days for at in _openings(window, day) if at >= now)


def _openings(window: SendWindow, day: date) -> Iterator[datetime]:
    """Yield instants of the day, in order, that are open and hold the first open one after any closed one."""
    starts = datetime.combine(day, time.min, window.zone)
    ends = datetime.combine(day + timedelta(days=1), time.min, window.zone)
    if starts.utcoffset() == ends.utcoffset():
        yield datetime.combine(day, window.opens, window.zone).astimezone(UTC)
        return
    # The clock changes on this day: its opening hour may be missing, or come twice. Windows and changes fall on
    # whole minutes, so that walking them misses nothing.
    at, end = starts.astimezone(UTC), ends.astimezone(UTC)
    while at < end:
        if is_open(window, at):
            yield at
        at += timedelta(minutes=1)


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError("an instant must be aware of its time zone")
    return now


def _has_calendar(country: str) -> bool:
    return country in _countries() and bool(_public_holidays(country, _KNOWN_YEAR))


@cache
def _countries() -> frozenset[str]:
    return frozenset(holidays.list_supported_countries(include_aliases=False))


@cache
def _public_holidays(country: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, years=year, expand=False))
