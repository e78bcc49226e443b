"""The level of invoices set by a person: a migration from another system, or a correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import acting, line, number
from operations.invoices import locked_all
from store import invoices as rows
from workflow.errors import InvalidInput
from workflow.machine import LAST_LEVEL, ImpossibleTransition, corrected

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
    number(level, range(LAST_LEVEL + 1), field="level")
    line(because, field="because")
    if last_reminded_on is not None and last_reminded_on > today:
        raise InvalidInput(field="last_reminded_on", value=last_reminded_on.isoformat(), reason="is in the future")
    busy, unchanged, changed = [], [], {}
    with acting(conn, by=by, because=because, today=today):
        found = locked_all(conn, company, invoices)
        for invoice in found:
            try:
                position = corrected(invoice.position, level)
            except ImpossibleTransition:
                busy.append(invoice.number)
                continue
            if (position, last_reminded_on) == (invoice.position, invoice.last_reminded_on):
                unchanged.append(invoice.number)
            else:
                changed[invoice.id] = (position, invoice.cycle + (level < invoice.level))
        rows.correct(conn, changed, last_reminded_on)
    return Corrected(
        changed=tuple(invoice.number for invoice in found if invoice.id in changed),
        unchanged=tuple(unchanged),
        busy=tuple(busy),
    )
