"""The demo's days: what is invoiced, paid, disputed, promised and paused on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from operations import holds, invoices, ledger, pauses
from operations.demo.pdf import page
from operations.demo.trade import FIRST_DAY, payment
from store import companies, facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from decimal import Decimal

    from operations.demo.trade import Event, Invoice, Plan
    from store.connection import Connection
    from workflow.facts import InvoiceFacts

COMPANY: Final = "VERMEIL"
BY: Final = "user:claire"

# Who quarrels, promises or pays by the plan's own calendar does not pay by habit.
_SPOKEN_FOR: Final = frozenset({"dispute", "promise", "pay", "reverse", "hold"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A payment: `level` reminders had gone by then, the last one `days` before; None where none had gone from here."""

    invoice: str
    amount: Decimal
    currency: str
    on: date
    level: int
    days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the demo keeps of itself beside the database: ids by invoice number, its money."""

    ids: dict[str, int]
    received: list[Received]


def live(conn: Connection, plan: Plan, books: Books, day: date, *, since: date) -> None:
    """What happens during a day, after the morning's reminders: new invoices, quarrels, promises, payments.

    `since`: the last day that was lived.
    """
    issue(conn, plan, books, plan.issued(since, day))
    if day == FIRST_DAY + timedelta(days=3):
        until_on = day + timedelta(days=25)
        pauses.pause(conn, customer=plan.paused, until_on=until_on, reason="new accountant", today=day, by=BY)
    known = {one.number: one for one in plan.invoices}
    for event in plan.events.get(day, ()):
        _happen(conn, books, event, known[event.invoice], day)
    books.received.extend(pay(conn, plan, books, plan.issued(None, day), day))


def issue(conn: Connection, plan: Plan, books: Books, new: Iterable[Invoice]) -> None:
    """Issue these invoices, each with its PDF archived, and keep their ids in the books."""
    buyers = {customer.number: customer for customer in plan.customers}
    for one in new:
        books.ids[one.number] = invoices.issue(
            conn,
            company=COMPANY,
            customer=one.customer,
            number=one.number,
            total=one.total,
            currency=one.currency,
            issued_on=one.issued_on,
            due_on=one.due_on,
            payment_method="virement",
            factored=one.factored,
            by="system",
            today=one.issued_on,
        )
        lines = (
            "Atelier Vermeil",
            "",
            f"Facture {one.number}",
            f"{buyers[one.customer].name} ({one.customer})",
            f"Date : {one.issued_on:%d/%m/%Y}",
            f"Échéance : {one.due_on:%d/%m/%Y}" if one.due_on else "",
            f"Total TTC : {one.total} {one.currency}",
        )
        name, content = f"{one.number}.pdf", page(lines)
        invoices.attach_original(conn, company=COMPANY, number=one.number, content=content, name=name, by="system")


def pay(
    conn: Connection, plan: Plan, books: Books, issued: Sequence[Invoice], today: date, *, booked_late: bool = False
) -> list[Received]:
    """Book what the customers have paid by this day, each by its habit; `booked_late`: as of when it came."""
    apart = {event.invoice for events in plan.events.values() for event in events if event.what in _SPOKEN_FOR}
    payers = {one.number: one for one in issued if one.number not in apart and one.customer != plan.credited}
    received = []
    for found in _standing(conn, [books.ids[number] for number in payers], today):
        paid = payment(
            payers[found.number],
            balance=found.balance,
            level=found.level,
            last_reminded_on=found.last_reminded_on,
            today=today,
        )
        if paid is not None and found.commercial_state == "open":
            amount, came_on = paid
            received.append(_book(conn, found, amount, came_on if booked_late else today))
    return received


def _standing(conn: Connection, ids: list[int], today: date) -> list[InvoiceFacts]:
    company = next(one for one in companies.companies(conn).values() if one.code == COMPANY)
    return facts.load(conn, ids, facts.Asking(company_id=company.id, today=today))


def _book(conn: Connection, found: InvoiceFacts, amount: Decimal, today: date) -> Received:
    paid_in_part = found.balance != found.total
    ledger.record_payment(
        conn,
        company=COMPANY,
        customer=found.customer.number,
        invoice=found.number,
        amount=amount,
        currency=found.currency,
        received_on=today,
        reference=_reference(found.number, rest=paid_in_part),
        by="system",
        today=today,
    )
    last = found.last_reminded_on
    return Received(
        invoice=found.number,
        amount=amount,
        currency=found.currency,
        on=today,
        level=found.level,
        days=(today - last).days if last and last >= FIRST_DAY else None,
    )


def _reference(number: str, *, rest: bool = False) -> str:
    return f"VIR-{number}{'-SOLDE' if rest else ''}"


def _happen(conn: Connection, books: Books, event: Event, invoice: Invoice, today: date) -> None:
    (found,) = _standing(conn, [books.ids[invoice.number]], today)
    named = {"company": COMPANY, "number": invoice.number}
    match event.what:
        case "dispute" if found.commercial_state == "open":
            invoices.dispute(conn, **named, because=event.why, by=BY, today=today)
        case "end_dispute" if found.commercial_state == "disputed":
            invoices.end_dispute(conn, **named, because=event.why, by=BY, today=today)
        case "cancel" if found.commercial_state == "open":
            invoices.cancel(conn, **named, because=event.why, by=BY, today=today)
        case "hold":
            holds.hold(conn, company=COMPANY, invoice=invoice.number, because=event.why, by=BY, today=today)
        case "promise" | "pause" if event.until_on is not None:
            _wait(conn, event, until_on=event.until_on, today=today)
        case "pay" if found.commercial_state == "open":
            books.received.append(_book(conn, found, found.balance, today))
        case "reverse":
            _reverse(conn, books, found, because=event.why, today=today)
        case _:
            pass  # it was paid before it could happen


def _wait(conn: Connection, event: Event, *, until_on: date, today: date) -> None:
    if event.what == "promise":
        pauses.promise(
            conn, company=COMPANY, invoice=event.invoice, paid_on=until_on, reason=event.why, today=today, by=BY
        )
    else:
        pauses.pause(
            conn, company=COMPANY, invoice=event.invoice, until_on=until_on, reason=event.why, today=today, by=BY
        )


def _reverse(conn: Connection, books: Books, found: InvoiceFacts, *, because: str, today: date) -> None:
    ledger.reverse(
        conn,
        company=COMPANY,
        reference=_reference(found.number),
        reversed_on=today,
        because=because,
        by="system",
        today=today,
    )
    # The customer's money went back: it counts for no reminder.
    books.received[:] = [one for one in books.received if one.invoice != found.number]
