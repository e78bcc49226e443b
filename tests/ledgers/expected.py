"""Who was to be reminded when: from the dates of a ledger alone, then with each cause of a difference added in turn.

Plain loops over days and bills that share nothing with the product. With all causes the outcome must be what was sent,
reminder for reminder; what each cause takes away, adds or moves is what it explains.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING

import holidays

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.ledgers.bills import Bill, Ledger

# In the order in which they are added; what two of them would explain is counted with the first.
CAUSES = {
    "disputed": "a disputed invoice is not reminded",
    "no address": "nobody to mail to: on the print pile",
    "part paid": "what is left after a part payment is reminded further",
    "recorded late": "nobody knew of the invoice on the day",
    "paid that day": "a payment is in the books the morning after",
    "weekend, holiday": "mails leave on business days; paid meanwhile, they do not",
    "minimum gap": "the customer had a mail less than seven days before",
}
LEVELS = (1, 2, 3)


@dataclass(frozen=True, slots=True, order=True)
class Reminder:
    """This invoice's reminder of this level left on that day."""

    number: str
    level: int
    on: date


@dataclass(frozen=True, slots=True, order=True)
class Mailed:
    """This customer had a mail of this level about these invoices on that day."""

    on: date
    level: int
    customer: str
    numbers: frozenset[str]


@dataclass(slots=True)
class Outcome:
    """`mails`: one a run, company, customer and currency, of what is still owed. `busy`: days on which to look."""

    reminders: set[Reminder] = field(default_factory=set)
    mails: set[Mailed] = field(default_factory=set)
    busy: set[date] = field(default_factory=set)


def expected(ledger: Ledger, causes: Collection[str]) -> Outcome:
    """Every morning: what waited for a business day leaves, then each company's rules fire, the firmest first."""
    return _Expected(ledger, causes).outcome


class _Expected:
    def __init__(self, ledger: Ledger, causes: Collection[str]) -> None:
        self.outcome = Outcome()
        self._ledger = ledger
        self._causes = causes
        self._level: dict[str, int] = defaultdict(int)
        self._last: dict[str, date] = {}
        self._mailed: dict[tuple[str, str], date] = {}
        self._waiting: dict[str, tuple[Bill, int, date]] = {}
        coming = sorted((bill for bill in ledger.bills if not self._never(bill)), key=self._first_on, reverse=True)
        today = self._first_on(coming[-1])
        chased: list[Bill] = []
        while coming or chased:
            while coming and self._first_on(coming[-1]) <= today:
                chased.append(coming.pop())
            chased = [bill for bill in chased if self._level[bill.number] < LEVELS[-1] and not self._paid(bill, today)]
            self._leave(today)
            for level in reversed(LEVELS):
                self._fire(level, [bill for bill in chased if self._asked(bill, level, today)], today)
            today += timedelta(1)

    def _first_on(self, bill: Bill) -> date:
        first = bill.due_on + timedelta(self._ledger.first_days)
        return max(first, bill.known_on + timedelta(1)) if "recorded late" in self._causes else first

    def _never(self, bill: Bill) -> bool:
        return ("disputed" in self._causes and bill.disputed) or (
            "no address" in self._causes and bill.customer in self._ledger.no_address
        )

    def _paid(self, bill: Bill, today: date) -> bool:
        paid_on = bill.paid_on(whole="part paid" in self._causes)
        if paid_on is None:
            return False
        return paid_on < today if "paid that day" in self._causes else paid_on <= today

    def _asked(self, bill: Bill, level: int, today: date) -> bool:
        if self._level[bill.number] != level - 1 or bill.number in self._waiting:
            return False
        return level == 1 or (today - self._last[bill.number]).days >= self._ledger.then_days

    def _fire(self, level: int, bills: list[Bill], today: date) -> None:
        if bills:
            self.outcome.busy.add(today)
        mailed = {bill.number: bill for bill in bills if not self._too_soon(bill, today)}
        for bill in mailed.values():
            self._waiting[bill.number] = (bill, level, today)
        self._leave(today)

    def _too_soon(self, bill: Bill, today: date) -> bool:
        if "minimum gap" not in self._causes or self._ledger.gap_days is None:
            return False
        about = (bill.company, bill.customer)
        waits = any((other.company, other.customer) == about for other, _, _ in self._waiting.values())
        mailed_on = self._mailed.get(about)
        return waits or (mailed_on is not None and (today - mailed_on).days < self._ledger.gap_days)

    def _leave(self, today: date) -> None:
        """What waits leaves where today is a business day; what was paid meanwhile does not."""
        mails: dict[tuple[int, str, str, str, date], set[str]] = defaultdict(set)
        for bill, level, since in list(self._waiting.values()):
            if "weekend, holiday" in self._causes and not business_day(self._ledger.countries[bill.company], today):
                continue
            del self._waiting[bill.number]
            self.outcome.busy.add(today)
            if not self._paid(bill, today):
                self._level[bill.number] = level
                self._last[bill.number] = self._mailed[bill.company, bill.customer] = today
                self.outcome.reminders.add(Reminder(bill.number, level, today))
                mails[level, bill.company, bill.customer, bill.currency, since].add(bill.number)
        for (level, _, customer, _, _), numbers in mails.items():
            self.outcome.mails.add(Mailed(today, level, customer, frozenset(numbers)))


def business_day(country: str, day: date) -> bool:
    return day.isoweekday() <= 5 and day not in _holidays(country)


@cache
def _holidays(country: str) -> holidays.HolidayBase:
    return holidays.country_holidays(country)


def in_turn() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each cause with those that are added up to it."""
    names = tuple(CAUSES)
    return ((name, names[: place + 1]) for place, name in enumerate(names))
