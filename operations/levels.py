"""The level of invoices set by a person: a migration from another system, or a correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import acting, line, number
from operations.invoices import locked_all
from store import invoices as rows
from store.invoices import Correction
from workflow.errors import InvalidInput
from workflow.machine import LAST_LEVEL, ImpossibleTransition, corrected, level_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from store.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """Numbers of the invoices that were changed, that were so already, and that have a mail out and stayed."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    busy: tuple[str, ...]


def correct(
    conn: Connection,
    *,
    company: str,
    invoices: Sequence[str],
    level: int,
    last_reminded_on: date | None,
    because: str,
    by: str,
    today: date,
) -> Corrected:
    """Set the level and the day of the last reminder of idle invoices, all at once; downwards a new cycle starts.

    Raises InvalidInput for a level outside 0 to 3, a day after `today`, or an invoice that does not exist.
    """
    check_level(level)
    check_last_reminded(last_reminded_on, today)
    line(because, field="because")
    busy, unchanged, changed = [], [], {}
    with acting(conn, by=by, because=because, today=today):
        found = locked_all(conn, company, invoices)
        for invoice in found:
            now = Correction(invoice.position, invoice.cycle, invoice.last_reminded_on)
            try:
                after = correction(now, level, last_reminded_on)
            except ImpossibleTransition:
                busy.append(invoice.number)
                continue
            if after == now:
                unchanged.append(invoice.number)
            else:
                changed[invoice.id] = after
        rows.correct(conn, changed)
    return Corrected(
        changed=tuple(invoice.number for invoice in found if invoice.id in changed),
        unchanged=tuple(unchanged),
        busy=tuple(busy),
    )


def correction(now: Correction, level: int, last_reminded_on: date | None) -> Correction:
    """Where an idle invoice stands once a person has set its level: downwards in a new cycle.

    Raises ImpossibleTransition while a mail is out.
    """
    downwards = level < level_of(now.position.behind)
    return Correction(corrected(now.position, level), now.cycle + downwards, last_reminded_on)


def check_level(level: int) -> None:
    """Raise InvalidInput for a level that no invoice has."""
    number(level, range(LAST_LEVEL + 1), field="level")


def check_last_reminded(day: date | None, today: date) -> None:
    """Raise InvalidInput for a last reminder that is still to come."""
    if day is not None and day > today:
        raise InvalidInput(field="last_reminded_on", value=day.isoformat(), reason="is in the future")
