"""Invoices as a file lists them: issued where they are new, corrected where they say something else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from operations.acting import existing, line
from operations.importing.plans import Companies, Notice, Plan, expect, in_steps
from operations.invoices import Changes, check_same, checked, corrected, details, new_standing
from store import imports, inbox
from store.invoices import placed
from workflow.errors import InvalidInput
from workflow.event_types import invoice_of
from workflow.ledger import as_listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from operations.importing.plans import Key, Progress
    from operations.importing.records import Record
    from store.connection import Connection
    from store.imports import Row
    from store.invoices import LockedInvoice
    from workflow.facts import CommercialState
    from workflow.ledger import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a row says of an invoice. `changes`: what may be corrected; no `state` where no column says one."""

    record: Record
    company: str
    customer: str
    number: str
    currency: str
    changes: dict[str, Any]
    state: CommercialState | None


def plan_invoices(conn: Connection, records: Sequence[Record], *, says_states: bool) -> Plan:
    """Each invoice once; what no column says stays as it is, and what is paid stays paid.

    `says_states`: the file has a column of states.
    """
    plan, companies = Plan(), Companies(conn, records)
    customers = imports.customers(conn, {record.values["customer"] for record in records})
    contacts = _contacts(conn, records)
    wanted: dict[Key, _Said] = {}
    for record in records:
        with plan.refusing(record):
            said = _said(record, companies, customers, contacts)
            kept = wanted.setdefault((said.company, said.number), said)
            if kept is not said:
                _check_same(kept, said)
                plan.repeated += 1
    known = companies.invoices(conn, wanted)
    new: list[Row] = []
    changed: list[int] = []
    for key, said in wanted.items():
        with plan.refusing(said.record):
            if key not in known:
                new.append(_new(said, companies.ids[said.company], customers[said.customer]["id"]))
            elif _differs(conn, known[key], said):
                changed.append(known[key].id)
            else:
                plan.unchanged += 1
    plan.added, plan.changed = len(new), len(changed)
    plan.notices = [*_too_early(wanted.values()), *(_still_blocked(wanted, known) if says_states else ())]
    by_id = {(companies.ids[company], number): said for (company, number), said in wanted.items()}
    plan.write = partial(_write, new=new, changed=changed, wanted=by_id)
    return plan


def _write(
    conn: Connection, progress: Progress, *, new: list[Row], changed: list[int], wanted: dict[tuple[int, str], _Said]
) -> None:
    total = len(changed) + len(new)
    rows: list[Row] = []
    words: dict[str, str | None] = {}
    for invoice in imports.lock_invoices(conn, changed):
        said = wanted[invoice.company_id, invoice.number]
        if _differs(conn, invoice, said):
            after, standing = _after(conn, invoice, said)
            rows.append({"id": invoice.id} | after | placed(standing))
            if said.state not in {None, "paid"}:
                words[invoice_of(said.company, said.number)] = said.state
    inbox.set_words(conn, "state", words)
    for step in in_steps(rows, 0, total, progress):
        expect(imports.change_invoices(conn, step), step)
    for step in in_steps(new, len(changed), total, progress):
        expect(imports.add_invoices(conn, step), step)


def _too_early(invoices: Iterable[_Said]) -> Iterator[Notice]:
    """Told once: how many are due before their own day, and the first of them. Their due date counts all the same."""
    early = [said for said in invoices if (said.changes.get("due_on") or date.max) < said.changes["issued_on"]]
    if early:
        yield Notice(
            oddity="due before issued", about="invoices", field="due_on", kept=early[0].number, rows=len(early)
        )


def _still_blocked(wanted: dict[Key, _Said], known: dict[Key, LockedInvoice]) -> Iterator[Notice]:
    """Told once: how many have no state in the file and are disputed or refused here, and the first of them."""
    blocked = [
        said.number
        for key, said in wanted.items()
        if said.state is None and key in known and known[key].standing.commercial_state in {"disputed", "refused"}
    ]
    if blocked:
        yield Notice(
            oddity="state left empty", about="invoices", field="commercial_state", kept=blocked[0], rows=len(blocked)
        )


def _check_same(kept: _Said, said: _Said) -> None:
    same = ("customer", "currency", "changes", "state")
    if any(getattr(kept, name) != getattr(said, name) for name in same):
        reason = f"is on line {kept.record.line} already, and says something else"
        raise InvalidInput(field="number", value=said.number, reason=reason)


def _said(
    record: Record, companies: Companies, customers: dict[str, Row], contacts: dict[tuple[str, str], Row]
) -> _Said:
    values = record.values
    customer = values["customer"]
    if customer not in customers:
        existing(None, customer, field="customer")
    given = Changes(total=values["total"], issued_on=values["issued_on"])
    if "due_on" in values:
        given["due_on"] = values["due_on"]
    if "payment_method" in values:
        given["payment_method"] = values["payment_method"]
    if "factored" in values:
        given["factored"] = values["factored"]
    changes = checked(given, values.get("currency", ""))
    for role in ("dunning", "billing"):
        email = values.get(f"{role}_contact")
        if email is not None:
            contact = contacts.get((customer, email.lower()))
            found = existing(contact["id"] if contact else None, email, field=f"{role}_contact")
            changes[f"{role}_contact_id"] = found
    return _Said(
        record=record,
        company=companies.of(record),
        customer=customer,
        number=line(values["number"], field="number"),
        currency=values.get("currency", ""),
        changes=changes,
        state=values.get("commercial_state"),
    )


def _contacts(conn: Connection, records: Sequence[Record]) -> dict[tuple[str, str], Row]:
    asked = {
        record.values["customer"]
        for record in records
        if record.values.get("dunning_contact") or record.values.get("billing_contact")
    }
    return imports.contacts(conn, asked) if asked else {}


def _differs(conn: Connection, invoice: LockedInvoice, said: _Said) -> bool:
    return _after(conn, invoice, said) != (details(invoice), invoice.standing)


def _after(conn: Connection, invoice: LockedInvoice, said: _Said) -> tuple[dict[str, Any], Standing]:
    """What an invoice is once the file's word counts. Raises InvalidInput for a word that cannot."""
    check_same(invoice, customer=said.customer, currency=said.currency)
    after, standing = corrected(conn, invoice, said.changes)
    return after, _listed(standing, said)


def _new(said: _Said, company_id: int, customer_id: int) -> Row:
    standing = _listed(new_standing(said.changes["total"]), said)
    return {
        "company_id": company_id,
        "customer_id": customer_id,
        "number": said.number,
        "currency": said.currency,
        "total": said.changes["total"],
        "issued_on": said.changes["issued_on"],
        "due_on": said.changes.get("due_on"),
        "payment_method": said.changes.get("payment_method"),
        "factored": said.changes.get("factored", False),
        "dunning_contact_id": said.changes.get("dunning_contact_id"),
        "billing_contact_id": said.changes.get("billing_contact_id"),
    } | placed(standing)


def _listed(standing: Standing, said: _Said) -> Standing:
    if said.state is None:
        return standing
    if said.state == "paid" and standing.commercial_state != "paid":
        reason = "is what payments say: import them too, and give this word another meaning (words: {…: open})"
        raise InvalidInput(field="commercial_state", value="paid", reason=reason)
    return as_listed(standing, said.state)
