"""What a rule would send on a day, mail by mail, and whom it would leave out, without sending anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from operations.acting import sensible_day
from operations.rules import require_may_run
from store import companies, facts, freshness, previews, runs, settings
from workflow.decision import REMINDED, decide_customer, mails
from workflow.windows import is_open, next_open

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from store.companies import Account, Company
    from store.connection import Connection
    from store.rules import PinnedRule, SavedRule
    from store.runs import Undated
    from store.settings import Settings
    from workflow.decision import Mail, Verdict
    from workflow.facts import InvoiceFacts
    from workflow.rules import Rule

DECIDED_FIRST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedInvoice:
    """An invoice in a mail; `level` is what it has reached so far."""

    number: str
    balance: Decimal
    level: int
    due_on: date | None
    days_overdue: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedMail:
    """One mail that would be queued. `link`: by which link of the chain its recipient was found."""

    customer: str
    customer_name: str
    recipient: str
    recipient_name: str
    link: str
    currency: str
    amount: Decimal
    invoices: tuple[PreviewedInvoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A candidate that the filter selects and a guard refuses. `reason` is a key of workflow.decision.REASONS."""

    customer: str
    customer_name: str
    invoice: str
    currency: str
    balance: Decimal
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A rule on a day. `candidates` and `balances` are the filter's over everything, counted by SQL; mails and left_out
    are the decision's over the first `decided` of them, whole customers by key. `undated`: what it would take, had it a
    due date. `notes`: what else would keep it back.
    """  # noqa: D205 - one sentence

    rule_id: int
    rule: str
    version: int
    company: str
    today: date
    candidates: int
    balances: dict[str, Decimal]
    undated: Undated
    decided: int
    mails: tuple[PreviewedMail, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How many of the decided are reminded and how many were left out by each reason, most frequent first."""
        counts = {REMINDED: sum(len(mail.invoices) for mail in self.mails)}
        for one in self.left_out:
            counts[one.reason] = counts.get(one.reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (item[0] != REMINDED, -item[1], item[0])))


def preview(
    conn: Connection, saved: SavedRule, *, by: str, on: date | None = None, first: int = DECIDED_FIRST
) -> Preview:
    """Decide the rule's first candidates as a run on that day would; without a day, on the company's today.

    Raises InvalidInput for a rule that is not shared with who asks.
    """
    require_may_run(conn, saved, by=by)
    here = settings.read(conn)
    company = companies.companies(conn)[saved.company_id]
    today = sensible_day(on, field="on") if on else company.day(here.business_now)
    counted, ids = previews.candidates(conn, saved.pinned, today, first=first)
    verdicts = decided(conn, saved.pinned, company, today, ids)
    return Preview(
        rule_id=saved.id,
        rule=saved.title,
        version=saved.version,
        company=company.code,
        today=today,
        candidates=sum(count for count, _ in counted.values()),
        balances={currency: balance for currency, (_, balance) in counted.items()},
        undated=runs.undated(conn, saved.pinned, today),
        decided=len(ids),
        mails=tuple(
            _mail(mail, today) for group in verdicts for mail in mails(group, saved.rule)
        ),
        left_out=tuple(
            _left_out(verdict) for group in verdicts for verdict in group if verdict.reason != REMINDED
        ),
        notes=(
            *_stale(conn, saved),
            *_size(conn, saved, company, sum(count for count, _ in counted.values())),
            *notes(saved, here, company, companies.accounts(conn)[saved.account_id]),
        ),
    )  # fmt: skip


def decided(conn: Connection, pinned: PinnedRule, company: Company, today: date, ids: list[int]) -> list[list[Verdict]]:
    """The verdicts about these candidates, customer by customer, as a run's own chunk would give them."""
    asking = facts.Asking(
        company_id=company.id,
        today=today,
        min_days_between_mails=company.min_days_between_mails,
        rule_id=None if pinned.rule.counts else pinned.id,
        stale_payments=freshness.stale(conn, company.id),
    )
    return by_customer(facts.load(conn, ids, asking), pinned.rule, today)


def by_customer(found: list[InvoiceFacts], rule: Rule, today: date) -> list[list[Verdict]]:
    """Decide customer by customer; the facts are in the order of their customers."""
    return [decide_customer(group, rule, today) for _, group in groupby(found, key=lambda one: one.customer.id)]


def notes(saved: SavedRule, here: Settings, company: Company, account: Account) -> tuple[str, ...]:
    """What keeps the rule's mails back whatever the verdicts say, in words."""
    said = []
    if here.test_instance and not saved.rule.on_test_instance:
        said.append("this is a test instance and the rule may not run on one: a run is refused")
    if here.stopped_because:
        said.append(f"all mail is stopped: {here.stopped_because}")
    if saved.held_because:
        said.append(f"the rule is held: {saved.held_because}")
    if account.held_because:
        said.append(f"the mail account {account.name} is held: {account.held_because}")
    if not saved.active:
        said.append("the rule is not active: it runs by hand only")
    if not is_open(company.window, here.business_now):
        opens = next_open(company.window, here.business_now).astimezone(company.clock)
        said.append(f"outside the send window: mails leave from {opens:%Y-%m-%d %H:%M} on")
    return tuple(said)


def _stale(conn: Connection, saved: SavedRule) -> tuple[str, ...]:
    stale = freshness.stale(conn, saved.company_id) if saved.rule.needs_fresh else None
    return (f"a run and its mails wait for newer payment data: {stale}",) if stale else ()


def _size(conn: Connection, saved: SavedRule, company: Company, count: int) -> tuple[str, ...]:
    problem = previews.size_problem(conn, saved.pinned, company, count)
    return (f"a run would be held until somebody lets it go: {problem.words('en')}",) if problem else ()


def _mail(mail: Mail, today: date) -> PreviewedMail:
    customer = mail.verdicts[0].invoice.customer
    return PreviewedMail(
        customer=customer.number,
        customer_name=customer.name,
        recipient=mail.recipient.contact.email,
        recipient_name=mail.recipient.contact.name,
        link=mail.recipient.link,
        currency=mail.currency,
        amount=mail.amount,
        invoices=tuple(
            PreviewedInvoice(
                number=one.number,
                balance=one.balance,
                level=one.level,
                due_on=one.due_on,
                days_overdue=(today - one.due_on).days if one.due_on else None,
            )
            for one in (verdict.invoice for verdict in mail.verdicts)
        ),
    )


def _left_out(verdict: Verdict) -> LeftOut:
    one = verdict.invoice
    return LeftOut(
        customer=one.customer.number,
        customer_name=one.customer.name,
        invoice=one.number,
        currency=one.currency,
        balance=one.balance,
        reason=verdict.reason,
        detail=verdict.detail,
    )
