"""Days as files write them: ISO, day first, month first, with a month's name, as digits; the order is one a column."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

from operations.acting import YEARS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

# What comes first where a day is written in figures and the year is not first.
Order = Literal["dmy", "mdy", "ymd"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)

# A two-digit year is of 1969 to 2068, as POSIX reads it.
_PIVOT: Final = 69

_TIME = re.compile(
    r"[ T](?P<hour>[0-9]{1,2})[:h](?P<minute>[0-9]{2})(:[0-9]{2}([.,][0-9]{1,9})?)?( ?(?P<half>[AaPp])[Mm])?"
    r"( ?(?P<zone>Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?\Z"
)
_COMPACT = re.compile(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})(\.0+)?\Z")
_FIGURES = re.compile(r"(?P<first>[0-9]{1,4})(?P<sign>[-/. ])(?P<second>[0-9]{1,2})(?P=sign)(?P<third>[0-9]{1,4})\Z")
_DAY_NAMED = re.compile(
    r"(?P<day>[0-9]{1,2})(?:er|st|nd|rd|th)?[-/ ,.]+(?P<month>[^\W\d_]{3,9})[-/ ,.]+(?P<year>[0-9]{4}|[0-9]{2})\Z"
)
_NAMED_DAY = re.compile(
    r"(?P<month>[^\W\d_]{3,9})[-/ .]+(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?[-/ ,]+(?P<year>[0-9]{4}|[0-9]{2})\Z"
)

_MONTHS: Final[dict[str, int]] = {
    name: number
    for number, names in enumerate(
        (
            "jan janv january janvier", "feb fev fevr february fevrier", "mar mars march", "apr avr april avril",
            "may mai", "jun juin june", "jul juil july juillet", "aug aou aout august", "sep sept september septembre",
            "oct october octobre", "nov november novembre", "dec december decembre",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant whose day depends on whose clock is asked; `later`: the days after that day which are meant."""

    at: datetime
    later: int = 0

    def __str__(self) -> str:
        """As a person reads it before the clock is known."""
        days = f" + {self.later} days" if self.later else ""
        return f"{self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC{days}, on the company's clock"

    def on(self, clock: ZoneInfo | timezone) -> date:
        """The day that is meant, on this clock."""
        return self.at.astimezone(clock).date() + timedelta(days=self.later)


def day(text: str, order: Order | None) -> date | Moment | None:
    """Return the day, None where the text is none. A time of day behind it is left out, unless it names its zone.

    `order` decides where nothing in the text does: 3/4/2026, 03-04-26. None: a text that may be two days is none.
    """
    found = _read(text)
    if isinstance(found, dict):
        either = set(found.values())
        found = found.get(order) if order else either.pop() if len(either) == 1 else None  # 3/3/2026 is one day
    time_of_day = _TIME.search(text.strip())
    return _moment(found, time_of_day) if found and time_of_day and time_of_day["zone"] else found


def _moment(day_there: date, told: re.Match[str]) -> Moment | None:
    """That time of that day in the zone it names; None where there is no such time or zone."""
    hour, zone = int(told["hour"]), told["zone"].replace(":", "")
    if told["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if told["half"] in "pP" else 0)
    try:
        east = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:])) if zone[0] in "+-" else timedelta()
        clock = timezone(-east if zone[0] == "-" else east)
        return Moment(at=datetime.combine(day_there, time(hour, int(told["minute"])), clock))
    except ValueError:
        return None


def order_of(texts: Iterable[str]) -> Order | Literal["ambiguous"] | None:
    """The one order in which all these texts are days; None where none of them needs one.

    What is no day in any order does not count. Ambiguous: nothing tells day from month, or one text says this order
    and another that. A two-digit year is taken to be first only where it cannot be last.
    """
    possible: set[Order] = set(ORDERS)
    needed = False
    for text in texts:
        found = _read(text)
        if isinstance(found, dict) and found and (len(found) == 1 or len(set(found.values())) > 1):
            needed = True
            possible &= found.keys()
    if not needed:
        return None
    likely = possible - {"ymd"} or possible
    return likely.pop() if len(likely) == 1 else "ambiguous"


@lru_cache(maxsize=65536)
def _read(text: str) -> date | dict[Order, date] | None:
    """A day, or the days that it may be by order, or none."""
    text = _TIME.sub("", text.strip())
    compact = _COMPACT.match(text)
    if compact:
        return _date(int(compact["year"]), int(compact["month"]), int(compact["day"]))
    figures = _FIGURES.match(text)
    if figures:
        return _figures(figures["first"], figures["second"], figures["third"])
    named = _DAY_NAMED.match(text) or _NAMED_DAY.match(text)
    if named:
        month = _MONTHS.get(_plain(named["month"]), 0)
        return _date(_year(named["year"]), month, int(named["day"]))
    return None


def _figures(first: str, second: str, third: str) -> date | dict[Order, date] | None:
    if len(first) == 4:
        return _date(int(first), int(second), int(third)) if len(third) <= 2 else None
    if len(first) > 2 or len(third) not in (2, 4):
        return None
    one, two, year = int(first), int(second), _year(third)
    read: dict[Order, date | None] = {"dmy": _date(year, two, one), "mdy": _date(year, one, two)}
    if len(third) == 2:
        read["ymd"] = _date(_year(first), two, int(third)) if len(first) == 2 else None
    return {order: found for order, found in read.items() if found}


def _date(year: int, month: int, day_of_month: int) -> date | None:
    try:
        return date(year, month, day_of_month) if year in YEARS else None
    except ValueError:
        return None


def _year(text: str) -> int:
    number = int(text)
    return number if len(text) == 4 else number + (1900 if number >= _PIVOT else 2000)


def _plain(name: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFD", name.lower()) if letter.isascii())
