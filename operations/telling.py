"""What each type of event does, through the operations that everybody uses: one transaction an event.

Whatever the order in which events come, the same set of them ends in the same state. Details, words and pauses go by
the version at which each field was told of; money goes by the reference under which it is booked; and what tells of
something that nobody has told of yet is parked until somebody does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from operations import customers, heartbeat, invoices, ledger, pauses
from operations.acting import existing
from store import inbox, payments
from store import invoices as invoice_rows
from store import settings as stored
from store.companies import companies
from store.people import CONTACTS, CUSTOMERS
from store.saving import id_of
from workflow import events
from workflow.errors import InvalidInput
from workflow.event_types import HEARTBEAT, MONEY, contact_of, customer_of, entry_of, invoice_of
from workflow.events import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from store.companies import Company
    from store.connection import Connection
    from store.inbox import Kept, Outcome
    from store.invoices import LockedInvoice
    from workflow.events import Event
    from workflow.facts import CommercialState

_WHOLE: Final = ("whole",)
_DETAILS: Final[tuple[str, ...]] = ("total", "issued_on", "due_on", "payment_method", "factored", "interlocutors")
# What an invoice is that was issued without a word of it.
_DEFAULTS: Final[dict[str, Any]] = {"due_on": None, "payment_method": None, "factored": False, "interlocutors": {}}
_DAYS: Final = frozenset({"issued_on", "due_on", "received_on", "reversed_on", "until_on"})
_WORDS: Final[dict[str, CommercialState]] = {
    "invoice.cancelled": "cancelled",
    "invoice.disputed": "disputed",
    "invoice.dispute_resolved": "open",
    "invoice.refused": "refused",
}


class _Awaits(Exception):  # noqa: N818 - not an error: it waits
    """Nobody has told of this subject yet."""

    def __init__(self, subject: str, reason: str = "") -> None:
        self.subject = subject
        super().__init__(reason or f"no {subject} yet")


class _Later(Exception):  # noqa: N818 - the same
    """Something that came before it must be applied first."""


class _Known(Exception):  # noqa: N818 - the same
    """This version is known already, or a newer one."""

    def __init__(self, outcome: Outcome, newest: int) -> None:
        self.outcome = outcome
        self.newest = newest
        super().__init__(outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The business clock, and the companies, as they were read for a page of events."""

    now: datetime
    by_code: Mapping[str, Company]

    def company(self, code: str) -> Company:
        """The company of that code. Raises InvalidInput."""
        existing(self.by_code[code].id if code in self.by_code else None, code, field="company")
        return self.by_code[code]

    def day(self, code: str | None) -> date:
        """The business day of a company; without one, by UTC."""
        return self.company(code).day(self.now) if code else self.now.date()


@dataclass(slots=True)
class _Told:
    """An event that is being applied, and what became of it: the subjects that it made known."""

    conn: Connection
    event: Event
    moment: Moment
    kept: Kept
    made: list[str] = field(default_factory=list)
    outcome: Outcome = "applied"

    @property
    def data(self) -> dict[str, Any]:
        """The event's data, with days as days."""
        return {
            name: date.fromisoformat(one) if name in _DAYS and one is not None else one
            for name, one in self.event.data.items()
        }

    def signed(self, company: str | None = None) -> dict[str, Any]:
        """Who acts, and on which day, as every operation asks it."""
        return {"by": f"events:{self.event.source}", "today": self.moment.day(company)}


def moment(conn: Connection) -> Moment:
    """The business clock and the companies now."""
    by_code = {one.code: one for one in companies(conn).values()}
    return Moment(now=stored.read(conn).business_now, by_code=by_code)


def apply(conn: Connection, kept: Kept, at: Moment) -> Outcome:
    """Apply an event of the inbox and write down what became of it, in one transaction of its own.

    An event that must wait for an earlier one stays as it is, and is `waiting`.
    """
    with conn.transaction():
        inbox.unhurried(conn)
        try:
            with conn.transaction():  # what is refused half-way leaves no trace
                told = _Told(conn, events.read(events.parse(kept.payload)), at, kept)
                _TELLING[told.event.type](told)
        except (Malformed, InvalidInput) as error:
            inbox.end(conn, kept.id, "rejected", reason=str(error)[:1000])
            return "rejected"
        except _Awaits as error:
            inbox.end(conn, kept.id, "parked", reason=str(error), waits_for=error.subject)
            return "parked"
        except _Known as error:
            inbox.end(conn, kept.id, error.outcome, reason=f"version {error.newest} is known")
            return error.outcome
        except _Later:
            return "waiting"
        reason = "is booked already" if told.outcome == "duplicate" else None
        inbox.end(conn, kept.id, told.outcome, reason=reason)
        if told.made:
            inbox.wake(conn, told.made)
        return told.outcome


def _customer(told: _Told) -> None:
    subject = told.event.subject
    _newer(told, subject, _WHOLE)
    customers.save_customer(told.conn, **told.data, **told.signed())
    told.made.append(subject)


def _contact(told: _Told) -> None:
    data = told.data
    customer, email, roles = data["customer"], data["email"], data.pop("roles", [])
    _need_customer(told.conn, customer)
    version = told.event.version or 0
    whole = inbox.tell(told.conn, told.event.subject, _WHOLE, version)
    new = inbox.tell(told.conn, customer_of(customer), [f"contact for {role}" for role in roles], version)
    claimed = [role for role in dict.fromkeys(roles) if f"contact for {role}" in new]
    if whole:
        customers.save_contact(told.conn, **data, roles=claimed, **told.signed())
        told.made.append(told.event.subject)
        return
    if not claimed:
        raise _known(told, told.event.subject, _WHOLE)
    for role in claimed:
        customers.assign_role(told.conn, customer=customer, role=role, email=email, **told.signed())


def _issued(told: _Told) -> None:
    data = told.data
    company = told.moment.company(data["company"]).code
    _need_customer(told.conn, data["customer"])
    _need_contacts(told.conn, data["customer"], data)
    found = invoice_rows.lock(told.conn, company, [data["number"]])
    if found:
        invoices.check_same(found[0], customer=data["customer"], currency=data["currency"])
        _correct(told, {**_DEFAULTS, **{name: data[name] for name in _DETAILS if name in data}})
        return
    _newer(told, told.event.subject, _DETAILS)
    invoices.issue(told.conn, **data, source_version=told.event.version, **told.signed(company))
    told.made.append(told.event.subject)


def _updated(told: _Told) -> None:
    data = told.data
    found = _need_invoice(told, data["company"], data["number"])
    _need_contacts(told.conn, found.customer, data)
    given = {name: data[name] for name in _DETAILS if name in data}
    if not given:
        raise InvalidInput(field="data", value=None, reason="names nothing that has changed")
    _correct(told, given)


def _correct(told: _Told, given: Mapping[str, Any]) -> None:
    """Write those details that are told of at a newer version."""
    data = told.event.data
    new = _newer(told, told.event.subject, given)
    invoices.update(
        told.conn,
        company=data["company"],
        number=data["number"],
        source_version=told.event.version or 0,
        **{name: given[name] for name in new},
        **told.signed(data["company"]),
    )


def _word(told: _Told) -> None:
    data, subject = told.data, told.event.subject
    _need_invoice(told, data["company"], data["number"])
    _newer(told, subject, ("state",))
    state = _WORDS[told.event.type]
    inbox.set_words(told.conn, "state", {subject: state})
    invoices.say(told.conn, **data, state=state, **told.signed(data["company"]))


def _payment(told: _Told) -> None:
    _book(told, ledger.record_payment)


def _credit_note(told: _Told) -> None:
    _book(told, ledger.credit_note)


def _book(told: _Told, book: Callable[..., int]) -> None:
    data = told.data
    company = told.moment.company(data["company"])
    if "invoice" in data:
        _need_invoice(told, data["company"], data["invoice"])
    else:
        _need_customer(told.conn, data["customer"])
    known = payments.by_reference(told.conn, company.id, data["reference"])
    book(told.conn, **data, **told.signed(company.code))
    told.outcome = "duplicate" if known else "applied"
    told.made.append(told.event.subject)


def _reversal(told: _Told) -> None:
    data = told.data
    company = told.moment.company(data["company"])
    booked = payments.by_reference(told.conn, company.id, data["reference"])
    if booked is None:
        raise _Awaits(entry_of(company.code, data["reference"]))
    own = data.get("reversal") or f"{data['reference']} reversed"
    known = payments.by_reference(told.conn, company.id, own)
    ledger.reverse(told.conn, **data, **told.signed(company.code))
    told.outcome = "duplicate" if known else "applied"


def _paused(told: _Told) -> None:
    data = told.data
    _pause(told, until_on=data["until_on"], reason=data["because"], promise=data.get("promise", False))


def _resumed(told: _Told) -> None:
    _pause(told, until_on=None, reason=told.data.get("because", ""))


def _pause(told: _Told, *, until_on: date | None, reason: str, promise: bool = False) -> None:
    """Let the pause that events made before give way to this one; one that is over already is none."""
    data, subject = told.data, told.event.subject
    company = data.get("company")
    if "invoice" in data:
        _need_invoice(told, data["company"], data["invoice"])
    else:
        _need_customer(told.conn, data["customer"])
    _newer(told, subject, ("pause",))
    before = inbox.word(told.conn, subject, "pause")
    made = pauses.replace(
        told.conn,
        int(before) if before else None,
        company=company,
        invoice=data.get("invoice"),
        customer=data.get("customer"),
        until_on=None if until_on is None or until_on < told.moment.day(company) else until_on,
        reason=reason,
        promise=promise,
        **told.signed(company),
    )
    inbox.set_words(told.conn, "pause", {subject: str(made) if made else None})


def _heartbeat(told: _Told) -> None:
    """Payments that came before it are booked before it; it does not answer for one that could not be."""
    if inbox.waits_before(told.conn, told.kept.id):
        raise _Later
    company = told.moment.company(told.data["company"])
    found = inbox.unbooked(told.conn, told.kept, MONEY, company_id=company.id, prefix=entry_of(company.code, ""))
    if found:
        number, subject, outcome = found
        subject = subject or "a payment"
        raise _Awaits(subject, f"{subject}, told of before, is {outcome}: event {number}")
    # What came after it was not known to whoever sent it, whatever his clock says.
    at = min(told.event.time or told.kept.received_at, told.kept.received_at)
    heartbeat.heartbeat(told.conn, company=company.code, at=at, by=told.signed()["by"])


_TELLING: Final[dict[str, Callable[[_Told], None]]] = {
    "customer.upserted": _customer,
    "contact.upserted": _contact,
    "invoice.issued": _issued,
    "invoice.updated": _updated,
    **dict.fromkeys(_WORDS, _word),
    "payment.recorded": _payment,
    "payment.reversed": _reversal,
    "credit_note.issued": _credit_note,
    "dunning.paused": _paused,
    "dunning.resumed": _resumed,
    HEARTBEAT: _heartbeat,
}


def _newer(told: _Told, subject: str, fields: Collection[str]) -> set[str]:
    """Those of the fields that nobody has told of at this version, or at a newer one. Raises _Known for none."""
    new = inbox.tell(told.conn, subject, fields, told.event.version or 0)
    if not new:
        raise _known(told, subject, fields)
    return new


def _known(told: _Told, subject: str, fields: Sequence[str] | Collection[str]) -> _Known:
    newest = inbox.newest(told.conn, subject, fields)
    return _Known("duplicate" if newest == told.event.version else "stale", newest)


def _need_customer(conn: Connection, number: str) -> int:
    found = id_of(conn, CUSTOMERS, {"number": number})
    if found is None:
        raise _Awaits(customer_of(number))
    return found


def _need_contacts(conn: Connection, customer: str, data: Mapping[str, Any]) -> None:
    customer_id = _need_customer(conn, customer)
    for email in data.get("interlocutors", {}).values():
        if id_of(conn, CONTACTS, {"customer_id": customer_id, "email": email}) is None:
            raise _Awaits(contact_of(customer, email))


def _need_invoice(told: _Told, company: str, number: str) -> LockedInvoice:
    found = invoice_rows.lock(told.conn, told.moment.company(company).code, [number])
    if not found:
        raise _Awaits(invoice_of(company, number))
    return found[0]
