"""A due run becomes reminders: its candidates are fixed once, then decided chunk by chunk, each in one transaction."""

from __future__ import annotations

import secrets
from collections import defaultdict
from typing import TYPE_CHECKING

from psycopg import Rollback

from store import companies, facts, freshness, reserve, runs, settings
from store.connection import on_day
from store.previews import size_problem
from store.reserve import Decided, NewReminder, Under
from workers.log import log
from workers.steps import reached
from workflow.decision import REMINDED, decide_customer, mails
from workflow.errors import RelanceError
from workflow.machine import next_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from store.companies import Company
    from store.connection import Connection
    from store.rules import PinnedRule
    from workers.office import Office
    from workflow.facts import InvoiceFacts


def open_run(office: Office, run_id: int) -> None:
    """Fix a due run's candidates, or refuse it where this instance may not fire its rule. Twice changes nothing.

    One that would take more than is usual is held until a person lets it go.
    """
    with office.pool.connection() as conn:
        run = runs.lock_due(conn, run_id)
        if run is None:
            return
        here = settings.read(conn)
        try:
            pinned = office.pinned(conn, run.rule_id, run.rule_version)
        except RelanceError as error:
            runs.end(conn, run_id, state="failed", problem=str(error))
            return
        if here.test_instance and not pinned.rule.on_test_instance:
            runs.end(conn, run_id, state="refused", problem="the rule may not run on a test instance")
            log("run_refused", run=run_id)
            return
        company = companies.companies(conn)[pinned.company_id]
        candidates, size = 0, None
        with conn.transaction():
            candidates = runs.fix_candidates(conn, run, pinned, company.day(here.business_now))
            size = None if run.released else size_problem(conn, pinned, company, candidates, before=run_id)
            if size:
                raise Rollback
        if size:
            runs.hold(conn, run_id, size)
            log("run_held", level="warning", run=run_id, candidates=candidates)
            return
        log("run_opened", run=run_id, candidates=candidates, missed=run.missed)
        reached("run_opened")


def advance(office: Office, run_id: int, number: int) -> int:
    """Decide a chunk's candidates and reserve what is to be reminded. Returns how many candidates are left undecided.

    A customer of whom one row is held by somebody else stays whole for the next visit. Where the rows of one customer
    cannot be written, that customer's candidates carry the error and the others go on.
    """
    with office.pool.connection() as conn:
        chunk = reserve.lock_chunk(conn, run_id, number)
        if chunk is None:
            return 0
        run = runs.read(conn, run_id)
        if run is None or run.held_because:
            return 0
        try:
            pinned = office.pinned(conn, run.rule_id, run.rule_version)
        except RelanceError as error:  # mails of it may be queued: it must not end while they are
            runs.keep_back(conn, run_id, str(error))
            log("run_kept_back", level="error", run=run_id)
            return len(chunk)
        if pinned.rule.needs_fresh and freshness.stale(conn, pinned.company_id):
            return len(chunk)  # it comes again when they are fresh
        company = companies.companies(conn)[pinned.company_id]
        account = companies.accounts(conn)[pinned.account_id]
        today = company.day(settings.read(conn).business_now)
        on_day(conn, today)
        under = Under(
            run_id=run_id,
            rule_id=pinned.id,
            rule_version=pinned.version,
            company_id=company.id,
            counts=pinned.rule.counts,
            tag_ids=reserve.tag_ids(conn, pinned.rule.tags),
        )
        free, left = _lock(conn, chunk)
        found = facts.load(conn, free, _asking(company, pinned, today, run_id))
        domain = account.from_address.rpartition("@")[2]
        try:
            with conn.transaction():
                _reserve(conn, pinned, under, found, today=today, domain=domain)
        except Exception:  # noqa: BLE001 - one customer's rows may be wrong: find out whose
            _one_by_one(conn, pinned, under, found, today=today, domain=domain)
        reserve.leave(conn, run_id, number, left)
        reached("reserved")
        return len(left)


def _asking(company: Company, pinned: PinnedRule, today: date, run_id: int) -> facts.Asking:
    return facts.Asking(
        company_id=company.id,
        today=today,
        min_days_between_mails=company.min_days_between_mails,
        run_id=run_id,
        rule_id=None if pinned.rule.counts else pinned.id,
    )


def _lock(conn: Connection, chunk: list[int]) -> tuple[list[int], list[int]]:
    """Split a chunk in what is locked now, whole customers only, and what is left for another visit."""
    customer_of = reserve.customers_of(conn, chunk)
    free = facts.lock_customers(conn, set(customer_of.values()))
    locked = facts.lock_invoices(conn, [one for one, customer in customer_of.items() if customer in free])
    busy = {customer for one, customer in customer_of.items() if one not in locked}
    return (
        [one for one in chunk if one in locked and customer_of[one] not in busy],
        [one for one in chunk if one in customer_of and customer_of[one] in busy],
    )


def _by_customer(found: Sequence[InvoiceFacts]) -> list[list[InvoiceFacts]]:
    groups: dict[int, list[InvoiceFacts]] = defaultdict(list)
    for one in found:
        groups[one.customer.id].append(one)
    return list(groups.values())


def _reserve(
    conn: Connection, pinned: PinnedRule, under: Under, found: Sequence[InvoiceFacts], *, today: date, domain: str
) -> None:
    rule = pinned.rule
    decided: dict[int, Decided] = {}
    planned = []
    for group in _by_customer(found):
        verdicts = decide_customer(group, rule, today)
        for verdict in verdicts:
            if verdict.reason != REMINDED:
                invoice_id = verdict.invoice.id
                decided[invoice_id] = Decided(
                    invoice_id=invoice_id, reason=verdict.reason, detail=verdict.detail or None
                )
        planned += mails(verdicts, rule)
    new = []
    states: dict[int, str] = {}
    for reminder_id, mail in zip(reserve.new_ids(conn, len(planned)), planned, strict=True):
        invoices = [verdict.invoice for verdict in mail.verdicts]
        for one in invoices:
            decided[one.id] = Decided(invoice_id=one.id, reason=REMINDED, reminder_id=reminder_id)
            if rule.counts:
                states[one.id] = next_state(one.state, "reserve")
        new.append(
            NewReminder(
                id=reminder_id,
                customer_id=invoices[0].customer.id,
                currency=mail.currency,
                level=min(one.level for one in invoices) if rule.counts else None,
                recipient=mail.recipient.contact.email,
                message_id=f"<{reminder_id}.{secrets.token_hex(10)}@{domain}>",
                invoices=tuple((one.id, one.level, one.cycle, one.balance) for one in invoices),
            )
        )
    reserve.move_invoices(conn, states)
    reserve.write(conn, under, new, list(decided.values()))


def _one_by_one(
    conn: Connection, pinned: PinnedRule, under: Under, found: Sequence[InvoiceFacts], *, today: date, domain: str
) -> None:
    for group in _by_customer(found):
        try:
            with conn.transaction():
                _reserve(conn, pinned, under, group, today=today, domain=domain)
        except Exception as error:  # noqa: BLE001 - the others go on
            name = type(error).__name__
            log("candidates_failed", level="error", run=under.run_id, customer=group[0].customer.id, error=name)
            reserve.write(conn, under, [], [Decided(invoice_id=one.id, reason="error", detail=name) for one in group])
