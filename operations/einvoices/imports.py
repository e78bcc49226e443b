"""Save electronic invoices as invoices of a company and a customer that exist, or refuse them with a reason."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import stdnum.fr.siren

from operations.acting import HASH_CHARACTERS, HELD_BY_OTHERS, LONGEST_LINE, acting, patiently
from operations.holds import hold
from operations.invoices import issue, update
from store import companies, einvoices, holds, invoices, settings
from workflow.einvoices import CORRECTIONS, EInvoice, chased
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from operations.einvoices.read import Read
    from store.companies import Company
    from store.connection import Connection
    from store.einvoices import Buyer, DueFrom
    from store.invoices import LockedInvoice
    from workflow.einvoices import Party

Matched = Literal["number", "name", "said"]
Became = Literal["new", "changed", "unchanged", "refused"]

LARGEST_IMPORT: Final = 1000
_PDF: Final = b"%PDF-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What one file became. `customer` was `matched` by number, by name, or said; `notices`: to be looked at.

    `held`: why the invoice is held, by this file or before.
    """

    file: str
    became: Became
    einvoice: EInvoice | None
    refused: str = ""
    company: str | None = None
    customer: str | None = None
    customer_name: str | None = None
    matched: Matched | None = None
    due_on: date | None = None
    due_from: DueFrom | None = None
    held: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an invoice goes: whose it is, to whom it went, and what it then is."""

    company: Company
    buyer: Buyer
    matched: Matched
    due_on: date | None
    due_from: DueFrom | None
    notices: list[str] = field(default_factory=list)


def import_files(
    conn: Connection,
    files: Iterable[Read],
    *,
    of: int,
    company: str | None = None,
    customer: str | None = None,
    dry_run: bool,
    by: str,
    waiting: Callable[[], object] = lambda: None,
) -> list[Imported]:
    """Save what can be saved, each file in a transaction of its own, as it comes; the same files again change nothing.

    `of`: how many they are. While others hold what a file changes it begins again, and calls `waiting` each time; at
    last that file is refused. A dry run reads all before it locks anything, waits once, and is taken back whole.

    `company` and `customer` say whose and to whom all of them are. Raises InvalidInput for too many.
    """
    if of > LARGEST_IMPORT:
        raise InvalidInput(field="files", value=of, reason=f"are more than {LARGEST_IMPORT}: take some at a time")
    if dry_run:  # nothing of it is kept, so their bytes are not held meanwhile: only what tells a PDF
        files = [replace(one, content=one.content[: len(_PDF)]) for one in files]
    with conn.transaction():
        sellers = list(companies.companies(conn).values())
    if company is not None:
        sellers = [one for one in sellers if one.code == company]
    do = partial(_import, conn, sellers, named=company is not None, customer=customer, by=by)
    with conn.transaction(force_rollback=True) if dry_run else nullcontext():
        return [_told(partial(do, one), one, None if dry_run else waiting) for one in files]


def _told(do: Callable[[EInvoice], Imported], read: Read, waiting: Callable[[], object] | None) -> Imported:
    """What a file became, or why it was refused."""
    said = read.einvoice
    if said is None:
        return Imported(file=read.file, became="refused", einvoice=None, refused=read.refused)
    try:
        return patiently(partial(do, said), waiting) if waiting else do(said)
    except InvalidInput as error:
        refused = error.reason if error.field == "einvoice" else str(error)
    except HELD_BY_OTHERS:
        refused = "would change what somebody else is changing, by a large batch perhaps: try again later"
    return Imported(file=read.file, became="refused", einvoice=said, refused=refused)


def _import(
    conn: Connection,
    sellers: Sequence[Company],
    read: Read,
    said: EInvoice,
    *,
    named: bool,
    customer: str | None,
    by: str,
) -> Imported:
    with conn.transaction():
        verdict, why = chased(said)
        if verdict == "never":
            raise _refused(why)
        place = _placed(conn, said, sellers, named=named, customer=customer)
        today = place.company.day(settings.read(conn).business_now)
        with acting(conn, by=by, because=f"electronic invoice {read.sha256.hex()[:HASH_CHARACTERS]}", today=today):
            became, held = _save(conn, read, said, place, why=why, by=by, today=today)
    return Imported(
        file=read.file,
        became=became,
        einvoice=said,
        company=place.company.code,
        customer=place.buyer.number,
        customer_name=place.buyer.name,
        matched=place.matched,
        due_on=place.due_on,
        due_from=place.due_from,
        held=held,
        notices=(*said.oddities, *place.notices),
    )


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(field="einvoice", value=None, reason=reason)


def _placed(
    conn: Connection, said: EInvoice, sellers: Sequence[Company], *, named: bool, customer: str | None
) -> _Place:
    company = _seller(said, sellers, named=named)
    buyer, matched = _buyer(conn, said, customer)
    notices = []
    if not (company.siren in _sirens(said) or (said.iban and said.iban == company.iban) or _same(said.seller, company)):
        notices.append(f"the seller is {said.seller.name}; no account, name or SIREN says that it is {company.name}")
    if not _same(said.buyer, buyer):
        notices.append(f"customer {buyer.number} is {buyer.name}, the invoice is to {said.buyer.name}")
    if said.buyer.email and not buyer.reachable:
        notices.append(f"customer {buyer.number} has no mail address here; the invoice gives {said.buyer.email}")
    due_on = said.due_on
    due_from: DueFrom | None = "invoice" if due_on else None
    if not said.due_dates and buyer.payment_terms_days is not None:
        due_on, due_from = said.issued_on + timedelta(days=buyer.payment_terms_days), "customer"
        notices.append(f"due by the terms agreed with customer {buyer.number}: {buyer.payment_terms_days} days")
    elif due_on is None:
        terms = f": {' '.join(said.terms.split())}" if said.terms else ""
        which = "several due dates" if said.due_dates else "no due date"
        notices.append(f"has {which}, so it is never chased until it is given one{terms}")
    return _Place(company=company, buyer=buyer, matched=matched, due_on=due_on, due_from=due_from, notices=notices)


def _seller(said: EInvoice, sellers: Sequence[Company], *, named: bool) -> Company:
    """The company that issued it: by its SIREN, else by its account or name where no SIREN says another thing."""
    numbers = _sirens(said)
    others = f"{said.seller.name}{f' (SIREN {min(numbers)})' if numbers else ''}"
    found = [one for one in sellers if one.siren in numbers]
    if not found:
        free = [one for one in sellers if not (one.siren and numbers)]
        found = (
            free
            if named
            else [one for one in free if one.iban and one.iban == said.iban]
            or [one for one in free if _same(said.seller, one)]
        )
    if len(found) == 1:
        return found[0]
    if named:
        raise _refused(f"was issued by {others}, not by that company")
    if found:
        codes = ", ".join(one.code for one in found)
        raise _refused(f"was issued by {others}, which may be any of {codes}: say which, --company")
    raise _refused(f"was issued by {others}, none of the companies here: give its SIREN, or say --company")


def _sirens(said: EInvoice) -> set[str]:
    """The SIREN among the seller's numbers: by itself, within a SIRET, or behind a French VAT number's key."""
    found = set()
    for number in (*said.seller.ids, said.seller.vat or ""):
        plain = "".join(number.split())
        shaped = re.fullmatch(r"(?:FR[0-9A-Z]{2})?([0-9]{9})(?:[0-9]{5})?", plain)
        if shaped and stdnum.fr.siren.is_valid(shaped[1]):
            found.add(shaped[1])
    return found


def _buyer(conn: Connection, said: EInvoice, customer: str | None) -> tuple[Buyer, Matched]:
    """The customer it went to: as said, else by any number that it gives, else by the name alone."""
    matched: Matched
    if customer is not None:
        found, matched = einvoices.buyers_by_number(conn, [customer]), "said"
    else:
        numbers = [*said.buyer.ids, *([said.buyer.vat] if said.buyer.vat else [])]
        found, matched = einvoices.buyers_by_number(conn, numbers), "number"
        if not found:
            found, matched = einvoices.buyers_by_name(conn, said.buyer.name), "name"
    if not found:
        numbered = f" ({', '.join(said.buyer.ids[:3])})" if said.buyer.ids else ""
        raise _refused(
            f"is to {said.buyer.name}{numbered}, no customer here: import that customer first, or say --customer"
        )
    if len(found) > 1:
        several = ", ".join(one.number for one in found)
        raise _refused(f"is to {said.buyer.name}, which may be any of {several}: say which, --customer")
    (buyer,) = found
    if matched == "number" and not _same(said.buyer, buyer):
        raise _refused(
            f"is to {said.buyer.name}, and customer {buyer.number} is {buyer.name}: "
            f"where they are the same, say --customer {buyer.number}"
        )
    return buyer, matched


def _save(
    conn: Connection, read: Read, said: EInvoice, place: _Place, *, why: str, by: str, today: date
) -> tuple[Became, str]:
    """Save it, and say why the invoice is then held. Its document holds it once: a person may have let go of it since.

    A person's reason stays behind the document's.
    """
    code = place.company.code
    if said.type_code in CORRECTIONS:
        _check_corrected(conn, said, code)
    known = invoices.lock(conn, code, [said.number])
    if known:
        changed = _complete(conn, known[0], said, place, by=by, today=today)
        invoice_id = known[0].id
    else:
        changed = True
        invoice_id = issue(
            conn,
            company=code,
            customer=place.buyer.number,
            number=said.number,
            total=said.payable,
            currency=said.currency,
            issued_on=said.issued_on,
            due_on=place.due_on,
            factored=said.factored,
            by=by,
            today=today,
        )
    changed |= _keep(conn, invoice_id, read, place)
    note = einvoices.Note(format=said.format, type_code=said.type_code, terms=said.terms, due_from=place.due_from)
    held = holds.why_invoice_held(conn, invoice_id) or ""
    if einvoices.save(conn, invoice_id, note):
        changed = True
        if known and said.factored:
            update(conn, company=code, number=said.number, factored=True, by=by, today=today)
        if why:
            held = f"{why}; {held}"[:LONGEST_LINE].strip() if held else why
            hold(conn, company=code, invoice=said.number, because=held, by=by, today=today)
    return "changed" if known and changed else "unchanged" if known else "new", held


def _check_corrected(conn: Connection, said: EInvoice, code: str) -> None:
    """A corrected invoice stands instead of another: both are never chased, whichever comes first."""
    if not said.preceding:
        raise _refused(f"is a correction (type {said.type_code}) that does not name the invoice that it corrects")
    others = invoices.lock(conn, code, said.preceding)
    missing = set(said.preceding).difference(one.number for one in others)
    if missing:
        raise _refused(f"corrects {', '.join(sorted(missing))}, not here: import that one first, and cancel it")
    for other in others:
        if other.commercial_state != "cancelled" and other.balance > 0:
            raise _refused(f"corrects {other.number}, which is {other.commercial_state} here: cancel that one first")


def _complete(conn: Connection, known: LockedInvoice, said: EInvoice, place: _Place, *, by: str, today: date) -> bool:
    """Give an invoice that is here already the due date that it lacks. Whatever differs is refused, and for a person.

    Its total is the payable amount, or the whole sum where what was paid before is told as payments.
    """
    if (known.customer, known.currency) != (place.buyer.number, said.currency):
        raise _refused(f"is here already, for customer {known.customer} in {known.currency}")
    if known.total not in (said.payable, said.total):
        raise _refused(f"is here already with a total of {known.total}: correct one or the other")
    if known.due_on is None and place.due_on is not None:
        return update(conn, company=place.company.code, number=said.number, due_on=place.due_on, by=by, today=today)
    if place.due_from == "invoice" and known.due_on != place.due_on:
        raise _refused(f"is here already, due on {known.due_on}: correct one or the other")
    return False


def _keep(conn: Connection, invoice_id: int, read: Read, place: _Place) -> bool:
    """Keep the document as the invoice's original, unless it has another. False where nothing is new."""
    kept = einvoices.original(conn, invoice_id)
    if kept is not None:
        if kept != read.sha256:
            place.notices.append("the invoice has another original, which stays")
        return False
    pdf = read.content.startswith(_PDF)
    media_type, ending = ("application/pdf", ".pdf") if pdf else ("application/xml", ".xml")
    name = read.file if read.file.lower().endswith(ending) else f"{read.file}{ending}"
    return invoices.attach(conn, invoice_id, sha256=read.sha256, content=read.content, name=name, media_type=media_type)


def _same(party: Party, known: Buyer | Company) -> bool:
    """Whether both have one name, but for capitals and spaces."""
    return _plain(party.name) == _plain(known.name)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
