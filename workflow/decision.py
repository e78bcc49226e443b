"""The decision: is this invoice to be reminded by this rule today, and why, or why not.

Run, claim, preview, explanation and forecast all come here; SQL only narrows what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from workflow.filters import matches
from workflow.machine import LAST_LEVEL, is_idle, level_of
from workflow.recipients import Recipient, recipient

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from workflow.facts import InvoiceFacts
    from workflow.rules import Grouping, Rule

REMINDED = "reminded"

# Every reason that a verdict can carry, as a person reads it.
REASONS: dict[str, dict[str, str]] = {
    REMINDED: {"en": "to be reminded", "fr": "à relancer"},
    "filter": {"en": "not selected by the rule's filter", "fr": "non retenue par le filtre de la règle"},
    "paid": {"en": "paid", "fr": "payée"},
    "cancelled": {"en": "cancelled", "fr": "annulée"},
    "disputed": {"en": "disputed by the customer", "fr": "contestée par le client"},
    "refused": {"en": "refused by the customer", "fr": "refusée par le client"},
    "no_balance": {"en": "nothing left to pay", "fr": "plus rien à payer"},
    "all_sent": {"en": "all three reminders have gone", "fr": "les trois relances sont parties"},
    "other_level": {"en": "at another level than the rule's", "fr": "à un autre niveau que celui de la règle"},
    "on_its_way": {"en": "a reminder is on its way", "fr": "une relance est en cours d'envoi"},
    "in_doubt": {"en": "a reminder is to be checked", "fr": "une relance est à vérifier"},
    "no_due_date": {"en": "no due date", "fr": "sans date d'échéance"},
    "not_due": {"en": "not past its due date", "fr": "pas encore échue"},
    "today": {"en": "already reminded today", "fr": "déjà relancée aujourd'hui"},
    "paused": {"en": "paused", "fr": "en pause"},
    "promised": {"en": "payment promised", "fr": "paiement promis"},
    "customer_paused": {"en": "customer paused", "fr": "client en pause"},
    "excluded": {"en": "customer excluded from reminders", "fr": "client exclu des relances"},
    "held": {"en": "held by a person", "fr": "retenue par une personne"},
    "factored": {"en": "assigned to a factor", "fr": "cédée à un affactureur"},
    "unallocated_credit": {"en": "unallocated credit covers it", "fr": "un avoir ou acompte non imputé la couvre"},
    "stale_payments": {"en": "waits for newer payment data", "fr": "attend des encaissements à jour"},
    "gap": {"en": "the customer had a mail too recently", "fr": "le client a reçu un courriel trop récemment"},
    "sent_before": {"en": "mailed by this rule too recently", "fr": "envoyée par cette règle trop récemment"},
    "no_recipient": {"en": "no address to write to", "fr": "aucune adresse où écrire"},
    "other_recipient": {"en": "now for another recipient", "fr": "désormais pour un autre destinataire"},
    "run_refused": {"en": "its run was refused by a person", "fr": "exécution refusée par une personne"},
    "undelivered": {
        "en": "the last one reached nobody at this address",
        "fr": "la précédente n'a atteint personne à cette adresse",
    },
    "error": {"en": "could not be decided: see the log", "fr": "n'a pas pu être décidée : voir le journal"},
    "suppressed": {"en": "the address refuses mail", "fr": "l'adresse refuse le courrier"},
}


@dataclass(frozen=True, slots=True)
class Check:
    """One guard's answer. `reason` is a key of REASONS and says why not, empty where the guard agrees."""

    guard: str
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All guards' answers about one invoice; the first that says no is the reason."""

    invoice: InvoiceFacts
    checks: tuple[Check, ...]
    recipient: Recipient | None

    @property
    def reason(self) -> str:
        """`reminded`, or the first refusing guard's reason."""
        return next((check.reason for check in self.checks if check.reason), REMINDED)

    @property
    def detail(self) -> str:
        """What the refusing guard saw."""
        return next((check.detail for check in self.checks if check.reason), "")


@dataclass(frozen=True, slots=True)
class Mail:
    """What one mail is about: one customer, one recipient, one currency."""

    recipient: Recipient
    currency: str
    verdicts: tuple[Verdict, ...]

    @property
    def amount(self) -> Decimal:
        """What it claims, in units of its currency."""
        return sum((verdict.invoice.balance for verdict in self.verdicts), Decimal(0))


def _commercial_state(facts: InvoiceFacts, _rule: Rule, _today: date) -> Check:
    if facts.commercial_state == "open":
        return Check("commercial_state")
    return Check("commercial_state", facts.commercial_state)


def _balance(facts: InvoiceFacts, _rule: Rule, _today: date) -> Check:
    return Check("balance", "" if facts.balance > 0 else "no_balance", f"{facts.balance} {facts.currency}")


def _state(facts: InvoiceFacts, rule: Rule, _today: date) -> Check:
    if facts.state.endswith("_sending"):
        return Check("state", "on_its_way", facts.state)
    if facts.state.endswith("_in_doubt"):
        return Check("state", "in_doubt", facts.state)
    if facts.level == LAST_LEVEL:
        return Check("state", "all_sent", facts.state)
    if rule.level is not None and facts.level != rule.level:
        return Check("state", "other_level", facts.state)
    return Check("state", "", facts.state)


def _due(facts: InvoiceFacts, _rule: Rule, today: date) -> Check:
    if facts.due_on is None:
        return Check("due_date", "no_due_date")
    return Check("due_date", "" if facts.due_on < today else "not_due", facts.due_on.isoformat())


def _today(facts: InvoiceFacts, _rule: Rule, today: date) -> Check:
    last = facts.last_reminded_on
    return Check("once_a_day", "today" if last and last >= today else "", last.isoformat() if last else "")


def _pause(facts: InvoiceFacts, _rule: Rule, today: date) -> Check:
    for pause, reason in ((facts.pause, "paused"), (facts.customer.pause, "customer_paused")):
        if pause and pause.until_on >= today:
            return Check(
                "pause", "promised" if pause.promise else reason, f"{pause.reason}, until {pause.until_on.isoformat()}"
            )
    return Check("pause")


def _excluded(facts: InvoiceFacts, _rule: Rule, _today: date) -> Check:
    return Check("excluded", "excluded" if facts.customer.excluded else "")


def _held(facts: InvoiceFacts, _rule: Rule, _today: date) -> Check:
    because = facts.held_because or facts.customer.held_because
    return Check("held", "held" if because else "", because or "")


def _factored(facts: InvoiceFacts, _rule: Rule, _today: date) -> Check:
    return Check("factored", "factored" if facts.factored else "")


def _gap(facts: InvoiceFacts, _rule: Rule, today: date) -> Check:
    last, days = facts.customer.last_mail_on, facts.customer.min_days_between_mails
    too_soon = last is not None and days is not None and (today - last).days < days
    return Check("gap", "gap" if too_soon else "", last.isoformat() if last else "")


def _fresh(facts: InvoiceFacts, rule: Rule, _today: date) -> Check:
    stale = facts.stale_payments if rule.needs_fresh else None
    return Check("fresh_payments", "stale_payments" if stale else "", stale or "")


def _sent_before(facts: InvoiceFacts, rule: Rule, today: date) -> Check:
    if facts.rule_live:
        return Check("sent_before", "on_its_way")
    last, days = facts.rule_mailed_on, rule.minimum_gap_days
    too_soon = last is not None and days is not None and (today - last).days < days
    return Check("sent_before", "sent_before" if too_soon else "", last.isoformat() if last else "")


def _delivered(facts: InvoiceFacts, rule: Rule, _today: date) -> Check:
    found = recipient(facts, rule) if facts.undelivered else None
    task = facts.undelivered.get(found.contact.email.lower()) if found else None
    return Check("delivered", "undelivered" if task else "", f"task {task}" if task else "")


_COUNTING = (
    _commercial_state, _balance, _state, _due, _today, _pause, _excluded, _held, _factored, _gap, _fresh, _delivered,
)  # fmt: skip
_NOT_COUNTING = (_commercial_state, _balance, _pause, _excluded, _held, _gap, _fresh, _sent_before)


def decide(facts: InvoiceFacts, rule: Rule, today: date) -> Verdict:
    """Ask the filter and every guard about one invoice. What the customer's other invoices say is decide_customer's."""
    checks = [Check("filter", "" if matches(rule.filter, facts, today) else "filter")]
    checks += [guard(facts, rule, today) for guard in (_COUNTING if rule.counts else _NOT_COUNTING)]
    found = recipient(facts, rule)
    if found is None:
        checks.append(Check("recipient", "no_recipient"))
    else:
        checks.append(Check("recipient", "suppressed" if found.contact.suppressed else "", found.link))
    return Verdict(facts, tuple(checks), found)


def decide_customer(invoices: Iterable[InvoiceFacts], rule: Rule, today: date) -> list[Verdict]:
    """Decide all of one customer's candidates together: credit on account holds the mail of which it covers the claim.

    By mail, not by customer: the run that plans a mail and the worker that sends it then see the same sum.
    """
    verdicts = [decide(facts, rule, today) for facts in invoices]
    if not rule.counts or not any(verdict.invoice.customer.unallocated for verdict in verdicts):
        return verdicts
    claimed = {verdict.invoice.id: mail.amount for mail in mails(verdicts, rule) for verdict in mail.verdicts}
    return [_with_credit(verdict, claimed.get(verdict.invoice.id)) for verdict in verdicts]


def _with_credit(verdict: Verdict, claimed: Decimal | None) -> Verdict:
    currency = verdict.invoice.currency
    credit = verdict.invoice.customer.unallocated.get(currency, Decimal(0))
    covered = claimed is not None and credit >= claimed
    check = Check("credit", "unallocated_credit" if covered else "", f"{credit} {currency}" if credit else "")
    return replace(verdict, checks=(*verdict.checks, check))


def mails(verdicts: Sequence[Verdict], rule: Rule) -> list[Mail]:
    """Group one customer's reminded invoices: a mail a recipient and currency, or one an invoice if the rule says so.

    The same address in other capitals is the same recipient, as the first invoice names it.
    """
    return _grouped(verdicts, rule.grouping)


def _grouped(verdicts: Sequence[Verdict], grouping: Grouping) -> list[Mail]:
    groups: dict[tuple[str, str, int | None], tuple[Recipient, list[Verdict]]] = {}
    for verdict in verdicts:
        if verdict.reason == REMINDED and verdict.recipient:
            alone = verdict.invoice.id if grouping == "invoice" else None
            key = verdict.recipient.contact.email.lower(), verdict.invoice.currency, alone
            groups.setdefault(key, (verdict.recipient, []))[1].append(verdict)
    return [Mail(to, currency, tuple(group)) for (_, currency, _), (to, group) in groups.items()]


@dataclass(frozen=True, slots=True)
class StillDue:
    """What a reminder may still be about when its turn comes, and why not the rest (the first reason)."""

    kept: tuple[Verdict, ...]
    dropped: tuple[int, ...]
    reason: str


def still_due(invoices: Sequence[InvoiceFacts], rule: Rule, today: date) -> StillDue:
    """Decide a claimed mail's invoices again. One whose recipient is another by now is for another mail."""
    verdicts = decide_customer(invoices, rule, today)
    kept: tuple[Verdict, ...] = ()
    if found := _grouped(verdicts, "customer"):
        kept = found[0].verdicts
    ids = {verdict.invoice.id for verdict in kept}
    gone = [verdict for verdict in verdicts if verdict.invoice.id not in ids]
    reason = next((verdict.reason for verdict in gone if verdict.reason != REMINDED), "other_recipient" if gone else "")
    return StillDue(kept, tuple(verdict.invoice.id for verdict in gone), reason)


def as_released(facts: InvoiceFacts) -> InvoiceFacts:
    """The facts as they would be had the reminder that holds the invoice never been: what a claim decides on again."""
    idle = f"level_{level_of(facts.state)}" if facts.state != "settled" and not is_idle(facts.state) else facts.state
    return replace(facts, state=idle, rule_live=False)
