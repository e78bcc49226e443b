"""Invoices, as the invoicing system or a person tells of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, get_args

from letters.headers import file_name
from operations.acting import acting, existing, line, one_of, optional_line, sensible_day
from operations.customers import customer_id_of
from store import inbox, invoices
from store.people import COMPANIES
from store.saving import id_of
from workflow.errors import InvalidInput
from workflow.event_types import invoice_of
from workflow.facts import CommercialState, Role
from workflow.ledger import Standing, as_commercial, as_listed, with_balance
from workflow.machine import Position
from workflow.money import amount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from store.connection import Connection
    from store.invoices import LockedInvoice

LARGEST_PDF: Final = 10 * 1024 * 1024

_DETAILS = ("total", "issued_on", "due_on", "payment_method", "factored", "dunning_contact_id", "billing_contact_id")


class Changes(TypedDict, total=False):
    """What may be corrected; what is not given stays. `interlocutors`: addresses of its own contacts, by role."""

    total: object
    issued_on: date
    due_on: date | None
    payment_method: str | None
    factored: bool
    interlocutors: Mapping[Role, str]


def issue(
    conn: Connection,
    *,
    company: str,
    customer: str,
    number: str,
    total: object,
    currency: str,
    issued_on: date,
    due_on: date | None = None,
    payment_method: str | None = None,
    factored: bool = False,
    interlocutors: Mapping[Role, str] | None = None,
    source_version: int | None = None,
    by: str,
    today: date | None = None,
) -> int:
    """Issue an invoice, or correct the one that the company has under this number. Returns its id.

    `interlocutors` are addresses of the customer's contacts, by role. `source_version` is the invoicing system's: what
    is older than what is known changes nothing; None is a person, who is always right. Raises InvalidInput.
    """
    changes = Changes(
        total=total,
        issued_on=issued_on,
        due_on=due_on,
        payment_method=payment_method,
        factored=factored,
        interlocutors=interlocutors or {},
    )
    values = checked(changes, currency)
    identity = {"company": company, "customer": customer, "number": line(number, field="number"), "currency": currency}
    addresses = values.pop("interlocutors")
    standing = new_standing(values["total"])
    with acting(conn, by=by, today=today):
        asked: dict[str, Any] = {role: addresses.get(role) for role in get_args(Role)}
        asked |= {"source_version": source_version}
        issued = invoices.issue(conn, identity | values | asked, standing)
        if issued:
            found = {"dunning": issued.dunning_contact_id, "billing": issued.billing_contact_id}
            for role, email in addresses.items():
                existing(found[role], email, field=f"interlocutors.{role}")
            return issued.id
        existing(id_of(conn, COMPANIES, {"code": company}), company, field="company")
        customer_id_of(conn, customer)
        (invoice,) = invoices.lock(conn, company, [identity["number"]])
        check_same(invoice, customer=customer, currency=currency)
        if source_version is None or source_version > invoice.source_version:
            _change(conn, invoice, values | {"interlocutors": addresses}, source_version)
        return invoice.id


def update(
    conn: Connection,
    *,
    company: str,
    number: str,
    source_version: int = 0,
    by: str,
    today: date | None = None,
    **changes: Unpack[Changes],
) -> bool:
    """Correct what is given of an invoice. False when it was so already. Raises InvalidInput.

    A total that the payments cover settles the invoice, one that they no longer cover reopens it in a new cycle.
    `source_version` is kept where it is newer than what is known.
    """
    with acting(conn, by=by, today=today):
        invoice = locked(conn, company, number)
        newest = max(source_version, invoice.source_version)
        return _change(conn, invoice, checked(changes, invoice.currency), newest)


def say(
    conn: Connection,
    *,
    company: str,
    number: str,
    state: CommercialState,
    because: str = "",
    by: str,
    today: date | None = None,
) -> bool:
    """Take the invoicing system's last word on it, whatever it said before. False when that changes nothing now.

    What the ledger covers stays paid, whether or not it is contested. `state` is never paid: payments say that.
    """
    with acting(conn, by=by, because=because, today=today):
        invoice = locked(conn, company, number)
        told = as_listed(invoice.standing, state)
        if told == invoice.standing:
            return False
        invoices.place(conn, {invoice.id: told})
        return True


def dispute(
    conn: Connection, *, company: str, number: str, because: str = "", by: str, today: date | None = None
) -> bool:
    """The customer contests it: no reminder until the dispute ends. False when it was disputed."""
    with acting(conn, by=by, because=because, today=today):
        return _say(conn, locked(conn, company, number), "disputed", instead_of=("open", "refused"))


def end_dispute(
    conn: Connection, *, company: str, number: str, because: str = "", by: str, today: date | None = None
) -> bool:
    """The customer contests it no longer. False when it was open."""
    with acting(conn, by=by, because=because, today=today):
        return _say(conn, locked(conn, company, number), "open", instead_of=("disputed",))


def refuse(
    conn: Connection, *, company: str, number: str, because: str = "", by: str, today: date | None = None
) -> bool:
    """The customer refuses it. False when it was refused."""
    with acting(conn, by=by, because=because, today=today):
        return _say(conn, locked(conn, company, number), "refused", instead_of=("open", "disputed"))


def cancel(
    conn: Connection, *, company: str, number: str, because: str = "", by: str, today: date | None = None
) -> bool:
    """The invoice no longer stands: it is settled where it is. False when it was cancelled."""
    with acting(conn, by=by, because=because, today=today):
        return _say(
            conn, locked(conn, company, number), "cancelled", instead_of=("open", "disputed", "refused", "paid")
        )


def reinstate(
    conn: Connection, *, company: str, number: str, because: str = "", by: str, today: date | None = None
) -> bool:
    """A cancelled or refused invoice stands after all, a cancelled one in a new cycle. False when it was open."""
    with acting(conn, by=by, because=because, today=today):
        return _say(conn, locked(conn, company, number), "open", instead_of=("cancelled", "refused"))


def attach_original(
    conn: Connection, *, company: str, number: str, content: bytes, name: str, by: str, today: date | None = None
) -> str:
    """Archive an invoice's PDF, sent later byte for byte. Returns the sha256 of its bytes, in hex. Raises InvalidInput.

    The bytes are not parsed; the name is made safe to show and to save.
    """
    if not content.startswith(b"%PDF-"):
        raise InvalidInput(field="content", value=content[:8], reason="is no PDF")
    if len(content) > LARGEST_PDF:
        raise InvalidInput(field="content", value=f"{len(content)} bytes", reason="is larger than 10 MiB")
    safe = file_name(name)
    digest = hashlib.sha256(content)
    with acting(conn, by=by, today=today):
        invoice = locked(conn, company, number)
        safe = safe if safe.lower().endswith(".pdf") else f"{safe}.pdf"
        invoices.attach(conn, invoice.id, sha256=digest.digest(), content=content, name=safe)
    return digest.hexdigest()


def locked(conn: Connection, company: str, number: str) -> LockedInvoice:
    """One invoice, locked until the transaction ends. Raises InvalidInput when there is none."""
    found = invoices.lock(conn, company, [number])
    if not found:
        raise InvalidInput(field="invoice", value=number, reason=f"does not exist in company {company}")
    return found[0]


def locked_all(conn: Connection, company: str, numbers: Sequence[str]) -> list[LockedInvoice]:
    """These invoices, locked in id order until the transaction ends. Raises InvalidInput naming unknown ones."""
    found = invoices.lock(conn, company, numbers)
    known = {invoice.number for invoice in found}
    missing = [number for number in numbers if number not in known]
    if missing:
        raise InvalidInput(
            field="invoices", value=missing, reason=f"{len(missing)} of them do not exist in company {company}"
        )
    return found


def new_standing(total: Decimal) -> Standing:
    """Where an invoice stands when it is issued: nothing to pay is paid."""
    return with_balance(Standing(commercial_state="open", balance=total, position=Position("level_0"), cycle=1), total)


def check_same(invoice: LockedInvoice, *, customer: str, currency: str) -> None:
    """Raise InvalidInput where an invoice would change what it never does."""
    for field, was, now in (("customer", invoice.customer, customer), ("currency", invoice.currency, currency)):
        if was != now:
            raise InvalidInput(field=field, value=now, reason=f"was {was}: cancel the invoice and issue another")


def checked(changes: Changes, currency: str) -> dict[str, Any]:
    """Return what was given, as it is kept. Raises InvalidInput."""
    values: dict[str, Any] = dict(changes)
    if "total" in changes:
        values["total"] = amount(changes["total"], currency, field="total")
        if values["total"] < 0:
            raise InvalidInput(field="total", value=changes["total"], reason="is a credit: record a credit note")
    for field in ("issued_on", "due_on"):
        if values.get(field) is not None:
            sensible_day(values[field], field=field)
    if "payment_method" in changes:
        method = optional_line(changes["payment_method"] or "", field="payment_method")
        values["payment_method"] = method or None
    for role in changes.get("interlocutors", {}):
        one_of(role, get_args(Role), field="interlocutors")
    return values


def details(invoice: LockedInvoice) -> dict[str, Any]:
    """What may be corrected of an invoice, as it is."""
    return {name: getattr(invoice, name) for name in _DETAILS}


def corrected(conn: Connection, invoice: LockedInvoice, changes: Mapping[str, Any]) -> tuple[dict[str, Any], Standing]:
    """The details of an invoice once it is corrected, and where it then stands: a new total meets what was paid."""
    after = {name: changes.get(name, was) for name, was in details(invoice).items()}
    paid = invoice.total - invoice.balance
    return after, rebalanced(conn, invoice, after["total"] - paid)


def rebalanced(conn: Connection, invoice: LockedInvoice, balance: Decimal) -> Standing:
    """Where a locked invoice stands with this balance. One that is no longer paid is contested as events said last.

    A person's later word counts over theirs.
    """
    said = None
    if invoice.commercial_state == "paid" and balance > 0:
        said = inbox.word(conn, invoice_of(invoice.company, invoice.number), "state")
    return with_balance(invoice.standing, balance, said=said)


def _change(conn: Connection, invoice: LockedInvoice, changes: Mapping[str, Any], source_version: int | None) -> bool:
    """Write what differs, and what follows from a new total. False when nothing does."""
    given = dict(changes)
    if "interlocutors" in changes:
        given |= _interlocutors(conn, invoice, changes["interlocutors"])
    after, standing = corrected(conn, invoice, given)
    before = details(invoice)
    if after == before and source_version in (None, invoice.source_version):
        return False
    invoices.change(conn, invoice.id, after | {"source_version": source_version}, standing)
    return after != before


def _interlocutors(conn: Connection, invoice: LockedInvoice, addresses: Mapping[Role, str]) -> dict[str, int | None]:
    return {
        f"{role}_contact_id": existing(
            invoices.contact_id(conn, invoice.customer_id, addresses[role]),
            addresses[role],
            field=f"interlocutors.{role}",
        )
        if role in addresses
        else None
        for role in get_args(Role)
    }


def _say(
    conn: Connection, invoice: LockedInvoice, state: CommercialState, *, instead_of: tuple[CommercialState, ...]
) -> bool:
    if invoice.commercial_state == state:
        return False
    if invoice.commercial_state not in instead_of:
        raise InvalidInput(field="invoice", value=invoice.number, reason=f"is {invoice.commercial_state}, not {state}")
    standing = as_commercial(invoice.standing, state)
    inbox.set_words(conn, "state", {invoice_of(invoice.company, invoice.number): state})
    invoices.place(conn, {invoice.id: with_balance(standing, standing.balance) if state == "open" else standing})
    return True
