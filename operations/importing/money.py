"""Payments and credit notes as a file lists them: each booked once, however often the file is imported."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from operations.acting import existing, line
from operations.importing.plans import Companies, Notice, Plan, expect, in_steps
from operations.importing.records import digest
from operations.ledger import check_same, check_subject, checked_amount
from store import imports, invoices
from store.payments import Entry
from workflow.errors import InvalidInput
from workflow.ledger import with_balance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from operations.importing.plans import Key, Progress
    from operations.importing.records import Record
    from store.connection import Connection
    from store.imports import Row
    from store.invoices import LockedInvoice
    from store.payments import Booked

Reference = tuple[int, str]  # the company's id and the reference


def plan_payments(conn: Connection, records: Sequence[Record]) -> Plan:
    """Each payment once, by its reference.

    One without a reference gets one made of what it says, so that the same row in a later export is the same payment;
    rows that say exactly the same are told apart by their order.
    """
    plan, companies = Plan(), Companies(conn, records)
    subjects = companies.invoices(conn, [(companies.said(record), _invoice(record)) for record in records])
    customers = imports.customers(conn, {record.values.get("customer", "") for record in records})
    wanted: dict[Reference, Entry] = {}
    rows: dict[Reference, Record] = {}
    alike: Counter[str] = Counter()
    made_up = 0
    for record in records:
        with plan.refusing(record):
            entry = _entry(record, companies, subjects, customers, alike)
            key = (entry.company_id, entry.reference)
            first = rows.setdefault(key, record)
            if wanted.setdefault(key, entry) != entry:
                reason = f"is on line {first.line} already, and says something else: make it of more columns"
                raise InvalidInput(field="reference", value=entry.reference, reason=reason)
            plan.repeated += first is not record
    new: list[Entry] = []
    booked = _booked(conn, wanted)
    for key, entry in wanted.items():
        with plan.refusing(rows[key]):
            if key not in booked:
                new.append(entry)
            else:
                check_same(booked[key], entry)
                plan.unchanged += 1
                made_up += not rows[key].values.get("reference")
    plan.added = len(new)
    if made_up:
        plan.notices.append(
            Notice(oddity="taken for another", about="payments", field="reference", kept="", rows=made_up)
        )
    plan.write = partial(_write, new=new)
    return plan


def _write(conn: Connection, progress: Progress, *, new: list[Entry]) -> None:
    paid: defaultdict[int, Decimal] = defaultdict(Decimal)
    for entry in new:
        if entry.invoice_id is not None:
            paid[entry.invoice_id] += entry.amount
    locked = imports.lock_invoices(conn, paid)
    imports.lock_customers(conn, {entry.customer_id for entry in new if entry.invoice_id is None})
    total = len(new) + len(locked)
    for step in in_steps(new, 0, total, progress):
        expect(imports.book(conn, step), step)
    for some in in_steps(locked, len(new), total, progress):
        invoices.place(conn, {one.id: with_balance(one.standing, one.balance - paid[one.id]) for one in some})


def _booked(conn: Connection, keys: Iterable[Reference]) -> dict[Reference, Booked]:
    """What is booked under these references already."""
    references: defaultdict[int, list[str]] = defaultdict(list)
    for company_id, reference in keys:
        references[company_id].append(reference)
    return {
        (company_id, reference): found
        for company_id, asked in references.items()
        for reference, found in imports.booked(conn, company_id, asked).items()
    }


def _invoice(record: Record) -> str:
    number: str = record.values.get("invoice", "")
    return number


def _entry(
    record: Record,
    companies: Companies,
    subjects: dict[Key, LockedInvoice],
    customers: dict[str, Row],
    alike: Counter[str],
) -> Entry:
    values = record.values
    company, number, currency = companies.of(record), _invoice(record), values.get("currency", "")
    amount = checked_amount(values["amount"], currency)
    subject = subjects.get((company, number)) if number else None
    customer = values.get("customer") or (subject.customer if subject else "")
    if subject:
        check_subject(subject, customer=customer, currency=currency)
        customer_id = subject.customer_id
    elif number:
        raise InvalidInput(field="invoice", value=number, reason=f"does not exist in company {company}")
    else:
        found = customers.get(line(customer, field="customer"))
        customer_id = existing(found["id"] if found else None, customer, field="customer")
    kind = values.get("kind", "payment")
    reference = line(values["reference"], field="reference") if values.get("reference") else ""
    if not reference:
        content = digest((company, customer, number, kind, amount, currency, values["received_on"]))
        alike[content] += 1
        reference = f"csv-{content}-{alike[content]}"
    return Entry(
        company_id=companies.ids[company],
        customer_id=customer_id,
        invoice_id=subject.id if subject else None,
        kind=kind,
        reference=reference,
        currency=currency,
        amount=amount,
        received_on=values["received_on"],
    )
