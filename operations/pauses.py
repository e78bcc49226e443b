"""Pauses and promises to pay, on an invoice or on everything of a customer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.acting import acting, line
from operations.customers import customer_id_of
from operations.invoices import locked
from store import pauses
from store.pauses import NewPause
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from store.connection import Connection


def pause(
    conn: Connection,
    *,
    company: str | None = None,
    invoice: str | None = None,
    customer: str | None = None,
    until_on: date,
    reason: str,
    today: date,
    by: str,
) -> int:
    """Remind of an invoice (with its company) or a customer of nothing until the end of a day. Returns the pause's id.

    The same pause twice is one. Raises InvalidInput.
    """
    return _save(
        conn, (company, invoice, customer), until_on=until_on, reason=reason, promise=False, today=today, by=by
    )


def promise(
    conn: Connection,
    *,
    company: str | None = None,
    invoice: str | None = None,
    customer: str | None = None,
    paid_on: date,
    reason: str = "payment promised",
    today: date,
    by: str,
) -> int:
    """Wait for a payment that is promised for a day. It is broken the day after, and reminders resume by themselves."""
    return _save(conn, (company, invoice, customer), until_on=paid_on, reason=reason, promise=True, today=today, by=by)


def lift(
    conn: Connection,
    *,
    company: str | None = None,
    invoice: str | None = None,
    customer: str | None = None,
    because: str = "",
    today: date,
    by: str,
) -> int:
    """End what pauses this invoice, or this customer. Returns how many pauses and promises were lifted."""
    with acting(conn, by=by, because=because, today=today):
        invoice_id, customer_id = _subject(conn, company, invoice, customer)
        return pauses.lift(conn, invoice_id=invoice_id, customer_id=customer_id, today=today)


def replace(
    conn: Connection,
    pause_id: int | None,
    *,
    company: str | None = None,
    invoice: str | None = None,
    customer: str | None = None,
    until_on: date | None,
    reason: str = "",
    promise: bool = False,
    today: date,
    by: str,
) -> int | None:
    """Let one pause, if there is one, give way to another, or to none without `until_on`. Returns the new one's id.

    It is one of its own, even where another says the same: lifting it leaves that one.
    """
    with acting(conn, by=by, because=reason, today=today):
        _subject(conn, company, invoice, customer)
        if pause_id is not None:
            pauses.lift_these(conn, [pause_id])
        if until_on is None:
            return None
        subject = (company, invoice, customer)
        return _save(
            conn, subject, until_on=until_on, reason=reason, promise=promise, today=today, by=by, save=pauses.add
        )


def _save(
    conn: Connection,
    subject: tuple[str | None, str | None, str | None],
    *,
    until_on: date,
    reason: str,
    promise: bool,
    today: date,
    by: str,
    save: Callable[[Connection, NewPause], int] = pauses.save,
) -> int:
    check_until(until_on, today, field="paid_on" if promise else "until_on")
    reason = line(reason, field="reason")
    with acting(conn, by=by, today=today):
        invoice_id, customer_id = _subject(conn, *subject)
        return save(
            conn,
            NewPause(invoice_id=invoice_id, customer_id=customer_id, promise=promise, reason=reason, until_on=until_on),
        )


def check_until(until_on: date, today: date, *, field: str) -> None:
    """Raise InvalidInput for a wait that is over already."""
    if until_on < today:
        raise InvalidInput(field=field, value=until_on.isoformat(), reason="is in the past")


def _subject(
    conn: Connection, company: str | None, invoice: str | None, customer: str | None
) -> tuple[int | None, int | None]:
    if invoice is not None and company is not None and customer is None:
        return locked(conn, company, invoice).id, None
    if customer is not None and invoice is None:
        return None, customer_id_of(conn, customer)
    raise InvalidInput(field="invoice", value=invoice, reason="name an invoice with its company, or a customer")
