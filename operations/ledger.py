"""Payments, credit notes and their reversals: the ledger grows, and each invoice's balance follows at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from operations.acting import acting, existing, line, sensible_day
from operations.customers import customer_id_of
from operations.invoices import locked, rebalanced
from store import invoices, payments
from store.payments import Entry
from store.people import COMPANIES
from store.saving import id_of
from workflow.errors import InvalidInput
from workflow.money import amount as money

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from store.connection import Connection
    from store.invoices import LockedInvoice
    from store.payments import Booked, Kind


def record_payment(
    conn: Connection,
    *,
    company: str,
    customer: str,
    invoice: str | None = None,
    amount: object,
    currency: str,
    received_on: date,
    reference: str,
    by: str,
    today: date | None = None,
) -> int:
    """Book a payment once, whoever tells of it twice. Returns its id. Raises InvalidInput.

    Without an invoice it is credit on account of the customer. More than the balance may be paid: the balance is then
    negative. What is covered is paid and settled, disputed or not.
    """
    return _record(
        conn, "payment", company=company, customer=customer, invoice=invoice, amount=amount, currency=currency,
        on=received_on, reference=reference, by=by, today=today,
    )  # fmt: skip


def credit_note(
    conn: Connection,
    *,
    company: str,
    customer: str,
    invoice: str | None = None,
    amount: object,
    currency: str,
    issued_on: date,
    reference: str,
    by: str,
    today: date | None = None,
) -> int:
    """Book a credit note as a payment is booked; `amount` is positive."""
    return _record(
        conn, "credit_note", company=company, customer=customer, invoice=invoice, amount=amount, currency=currency,
        on=issued_on, reference=reference, by=by, today=today,
    )  # fmt: skip


def reverse(
    conn: Connection,
    *,
    company: str,
    reference: str,
    reversal: str | None = None,
    reversed_on: date,
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Take back a payment or credit note whole, once. Returns the reversal's id. Raises InvalidInput.

    `reversal` is its own reference. An invoice that is no longer covered is open again, in a new cycle.
    """
    with acting(conn, by=by, because=because, today=today):
        company_id = existing(id_of(conn, COMPANIES, {"code": company}), company, field="company")
        booked = payments.by_reference(conn, company_id, reference)
        if booked is None:
            raise InvalidInput(field="reference", value=reference, reason="is booked nowhere")
        if booked.kind == "reversal":
            raise InvalidInput(field="reference", value=reference, reason="is a reversal itself")
        entry = Entry(
            company_id=company_id,
            customer_id=booked.customer_id,
            invoice_id=booked.invoice_id,
            kind="reversal",
            reference=line(reversal or f"{reference} reversed", field="reversal"),
            currency=booked.currency,
            amount=-booked.amount,
            received_on=sensible_day(reversed_on, field="reversed_on"),
            reverses_id=booked.id,
        )
        return _book(conn, entry, locked(conn, company, booked.invoice) if booked.invoice else None, "reversal")


def checked_amount(amount: object, currency: str) -> Decimal:
    """Return what is paid or credited. Raises InvalidInput for nothing, or less."""
    exact = money(amount, currency, field="amount")
    if exact <= 0:
        raise InvalidInput(field="amount", value=amount, reason="must be more than nothing; reverse what was booked")
    return exact


def check_subject(invoice: LockedInvoice, *, customer: str, currency: str) -> None:
    """Raise InvalidInput for money that cannot be this invoice's."""
    if invoice.customer != customer:
        raise InvalidInput(field="customer", value=customer, reason=f"the invoice is {invoice.customer}'s")
    if invoice.currency != currency:
        raise InvalidInput(field="currency", value=currency, reason=f"the invoice is in {invoice.currency}")


def check_same(booked: Booked, entry: Entry, *, field: str = "reference") -> None:
    """Raise InvalidInput where a reference is booked already and says something else."""
    if any(getattr(booked, name) != value for name, value in asdict(entry).items()):
        raise InvalidInput(field=field, value=entry.reference, reason="is booked already, with other content")


def _record(
    conn: Connection,
    kind: Kind,
    *,
    company: str,
    customer: str,
    invoice: str | None,
    amount: object,
    currency: str,
    on: date,
    reference: str,
    by: str,
    today: date | None,
) -> int:
    exact = checked_amount(amount, currency)
    reference = line(reference, field="reference")
    with acting(conn, by=by, today=today):
        subject = None
        if invoice is not None:
            subject = locked(conn, company, invoice)
            check_subject(subject, customer=customer, currency=currency)
        entry = Entry(
            company_id=subject.company_id
            if subject
            else existing(id_of(conn, COMPANIES, {"code": company}), company, field="company"),
            customer_id=subject.customer_id if subject else customer_id_of(conn, customer),
            invoice_id=subject.id if subject else None,
            kind=kind,
            reference=reference,
            currency=currency,
            amount=exact,
            received_on=sensible_day(on, field="issued_on" if kind == "credit_note" else "received_on"),
        )
        return _book(conn, entry, subject, "reference")


def _book(conn: Connection, entry: Entry, invoice: LockedInvoice | None, field: str) -> int:
    """Add the entry and move the balance of its locked invoice; the same entry again changes nothing."""
    entry_id = payments.book(conn, entry)
    if entry_id is None:
        known = payments.by_reference(conn, entry.company_id, entry.reference)
        if known is None:
            raise InvalidInput(field="reference", value=entry.reference, reason="was reversed under another reference")
        check_same(known, entry, field=field)
        return known.id
    if invoice:
        invoices.place(conn, {invoice.id: rebalanced(conn, invoice, invoice.balance - entry.amount)})
    return entry_id
