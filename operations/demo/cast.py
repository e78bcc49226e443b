"""Who in the demo quarrels, promises, bounces a cheque or is paused: chosen among the invoices that will be late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from operations.demo.trade import FIRST_DAY, LAST_DAY, Event, Invoice

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

_QUARRELS: Final = ("wrong price", "goods damaged", "not delivered in full", "order not found")


def happenings(dice: random.Random, invoices: Sequence[Invoice], apart: set[str]) -> tuple[list[Invoice], list[Event]]:
    """Change some invoices and let things happen to others; customers `apart`, by number, have parts of their own."""
    stock = _late(dice, invoices, apart)
    size = max(1, len(invoices) // 250)
    undated = [_changed(one, due_on=None) for one in _some(stock, size)]
    factored = [_changed(one, factored=True) for one in _some(stock, 1)]
    bounced = [_changed(one, persuasion=None) for one in _some(stock, max(1, size // 2))]
    told: tuple[tuple[Callable[[random.Random, int, Invoice], Iterator[Event]], list[Invoice]], ...] = (
        (_quarrel, _some(stock, 4 * size)),
        (_promise, _some(stock, 2 * size)),
        (_pause, _some(stock, size)),
        (_hold, _some(stock, 1)),
        (_cancel, _some(stock, max(1, size // 2))),
        (_bounce, bounced),
    )
    events = [event for tell, chosen in told for place, one in enumerate(chosen) for event in tell(dice, place, one)]
    changed = {one.number: one for one in (*undated, *factored, *bounced)}
    return [changed.get(one.number, one) for one in invoices], events


def _late(dice: random.Random, invoices: Sequence[Invoice], apart: set[str]) -> Iterator[Invoice]:
    late = [
        one
        for one in invoices
        if one.customer not in apart
        and one.persuasion != 0
        and one.part is None
        and one.due_on is not None
        and FIRST_DAY - timedelta(days=30) <= one.due_on <= LAST_DAY - timedelta(days=12)
    ]
    dice.shuffle(late)
    return iter(late)


def _some(stock: Iterator[Invoice], count: int) -> list[Invoice]:
    return [one for _, one in zip(range(count), stock, strict=False)]


def _changed(invoice: Invoice, **changes: object) -> Invoice:
    return replace(invoice, imported_level=0, imported_reminded_on=None, **changes)  # type: ignore[arg-type]


def _quarrel(dice: random.Random, place: int, invoice: Invoice) -> Iterator[Event]:
    """Every second dispute ends while the demo lasts."""
    opened = _day(dice, invoice, 3)
    yield Event(on=opened, what="dispute", invoice=invoice.number, why=dice.choice(_QUARRELS))
    ends = _weekday(opened + timedelta(days=dice.randint(6, 12)))
    if place % 2 and ends < LAST_DAY - timedelta(days=3):
        yield Event(on=ends, what="end_dispute", invoice=invoice.number, why="agreed after all")


def _promise(dice: random.Random, place: int, invoice: Invoice) -> Iterator[Event]:
    """Every third promise is broken."""
    asked = _day(dice, invoice, 4)
    promised = _weekday(min(asked + timedelta(days=dice.randint(4, 9)), LAST_DAY - timedelta(days=4)))
    yield Event(on=asked, what="promise", invoice=invoice.number, until_on=promised, why="promised by phone")
    if place % 3:
        yield Event(on=promised, what="pay", invoice=invoice.number)


def _pause(dice: random.Random, _place: int, invoice: Invoice) -> Iterator[Event]:
    until_on = LAST_DAY + timedelta(days=10)
    on = _day(dice, invoice, 2)
    yield Event(on=on, what="pause", invoice=invoice.number, why="works not finished", until_on=until_on)


def _hold(dice: random.Random, _place: int, invoice: Invoice) -> Iterator[Event]:
    yield Event(on=_day(dice, invoice, 2), what="hold", invoice=invoice.number, why="being negotiated")


def _cancel(dice: random.Random, _place: int, invoice: Invoice) -> Iterator[Event]:
    yield Event(on=_day(dice, invoice, 8), what="cancel", invoice=invoice.number, why="invoiced twice")


def _bounce(dice: random.Random, _place: int, invoice: Invoice) -> Iterator[Event]:
    paid = _day(dice, invoice, 7)
    returned = _weekday(min(paid + timedelta(days=5), LAST_DAY - timedelta(days=5)))
    yield Event(on=paid, what="pay", invoice=invoice.number)
    yield Event(on=max(paid, returned), what="reverse", invoice=invoice.number, why="cheque returned unpaid")


def _day(dice: random.Random, invoice: Invoice, after_due_days: int) -> date:
    """A day of the demo, as soon as the invoice is so many days late."""
    late = (invoice.due_on or FIRST_DAY) + timedelta(days=after_due_days)
    soonest = max(late, FIRST_DAY, invoice.issued_on)
    return _weekday(min(soonest + timedelta(days=dice.randint(0, 6)), LAST_DAY - timedelta(days=9)))


def _weekday(day: date) -> date:
    """The day itself, or the Monday after it."""
    return day + timedelta(days=max(0, 8 - day.isoweekday())) if day.isoweekday() > 5 else day
