"""What the demo is made of: its calendar, its customers with their habits, what happens to their invoices."""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from workflow.facts import CustomerKind, Language, Role

# Six weeks with a clock change (25 October) and a public holiday on which no mail leaves (11 November). Fixed, so that
# the same seed tells the same story in any year.
FIRST_DAY: Final = date(2026, 10, 12)
LAST_DAY: Final = date(2026, 11, 20)

Happening = Literal["dispute", "end_dispute", "promise", "pause", "hold", "cancel", "pay", "reverse"]

_REST_AFTER_DAYS: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A contact and its roles."""

    name: str
    email: str
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer with its terms: so many days, counted to the end of the month where that is agreed."""

    number: str
    name: str
    kind: CustomerKind
    language: Language
    country: str
    currency: str
    postal_address: str
    email: str | None
    people: tuple[Person, ...]
    terms_days: int
    end_of_month: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice and its payer's habit.

    `persuasion`: paid `after_days` after so many reminders, after the due date (before: negative) where it is 0; None:
    not paid. `part`: paid then instead of the whole; the rest follows two weeks later.
    """

    number: str
    customer: str
    total: Decimal
    currency: str
    issued_on: date
    due_on: date | None
    persuasion: int | None
    after_days: int
    part: Decimal | None = None
    factored: bool = False
    imported_level: int = 0
    imported_reminded_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens to an invoice on a day; `until_on` where it lasts until one."""

    on: date
    what: Happening
    invoice: str
    why: str = ""
    until_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of it, invoices in the order of their numbers.

    By customer number: one is excluded, one paused for weeks, one `credited` with all it owes on account. The mail
    server of `gone` knows that address no longer.
    """

    seed: int
    customers: tuple[Customer, ...]
    invoices: tuple[Invoice, ...]
    excluded: str
    paused: str
    credited: str
    gone: str
    events: Mapping[date, Sequence[Event]] = field(default_factory=dict)

    def issued(self, after: date | None, until: date) -> list[Invoice]:
        """Invoices issued after a day (None: from the beginning) and until another."""
        return [one for one in self.invoices if (after is None or one.issued_on > after) and one.issued_on <= until]


def weekdays(first: date = FIRST_DAY, last: date = LAST_DAY) -> list[date]:
    """The days from Monday to Friday between two days, both included."""
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in days if day.isoweekday() <= 5]


def due_day(issued_on: date, days: int, *, end_of_month: bool) -> date:
    """The due date of a term; `45 jours fin de mois` counts the days first, then goes to the month's end."""
    due = issued_on + timedelta(days=days)
    return due.replace(day=calendar.monthrange(due.year, due.month)[1]) if end_of_month else due


def payment(
    invoice: Invoice, *, balance: Decimal, level: int, last_reminded_on: date | None, today: date
) -> tuple[Decimal, date] | None:
    """What the customer has paid by this day and since when, as it owes and was reminded; None: nothing more."""
    if invoice.persuasion is None or balance <= 0 or level < invoice.persuasion:
        return None
    since = invoice.due_on if invoice.persuasion == 0 else last_reminded_on
    if since is None:
        return None
    pays_on = since + timedelta(days=invoice.after_days)
    if invoice.part is not None:
        if balance == invoice.total:
            return (invoice.part, pays_on) if today >= pays_on else None
        pays_on += timedelta(days=_REST_AFTER_DAYS)
    return (balance, pays_on) if today >= pays_on else None
