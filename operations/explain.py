"""Why, or why not: one invoice before every rule today, clause by clause, guard by guard, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import sensible_day
from operations.lookup import find_rule
from operations.rules import may_run, require_may_run
from store import companies, einvoices, facts, freshness, histories, rules, settings
from workflow.decision import decide_customer
from workflow.errors import InvalidInput
from workflow.filters import clauses, matches
from workflow.recipients import chain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from store.companies import Company
    from store.connection import Connection
    from store.einvoices import Note
    from store.histories import Attempt, Change, Feedback, PastReminder, PastRun, Payment
    from store.lookups import FoundInvoice
    from store.rules import SavedRule
    from workflow.decision import Check, Verdict
    from workflow.facts import Contact, InvoiceFacts, Language
    from workflow.filters import Clause
    from workflow.recipients import Link
    from workflow.rules import Rule

# What each guard asks, as it reads beside its verdict; a test walks the decision for guards without words.
GUARDS: dict[str, dict[Language, str]] = {
    "filter": {"en": "selected by the filter", "fr": "retenue par le filtre"},
    "commercial_state": {"en": "open for the invoicing system", "fr": "ouverte pour la facturation"},
    "balance": {"en": "something left to pay", "fr": "reste à payer"},
    "state": {"en": "free for the next reminder", "fr": "libre pour la relance suivante"},
    "due_date": {"en": "past its due date", "fr": "échéance dépassée"},
    "once_a_day": {"en": "not reminded today", "fr": "pas relancée aujourd'hui"},
    "pause": {"en": "not paused, no promise to pay", "fr": "ni pause ni promesse de paiement"},
    "excluded": {"en": "customer not excluded", "fr": "client non exclu"},
    "held": {"en": "not held by a person", "fr": "pas retenue par une personne"},
    "factored": {"en": "not assigned to a factor", "fr": "pas cédée à un affactureur"},
    "gap": {"en": "customer's last mail long enough ago", "fr": "dernier courriel au client assez ancien"},
    "fresh_payments": {"en": "payment data fresh enough", "fr": "encaissements à jour"},
    "delivered": {"en": "nothing came back from there", "fr": "rien n'est revenu de cette adresse"},
    "sent_before": {"en": "not mailed by this rule lately", "fr": "pas envoyée récemment par cette règle"},
    "recipient": {"en": "somebody to write to", "fr": "quelqu'un à qui écrire"},
    "credit": {"en": "no credit on account covers it", "fr": "aucun avoir ou acompte ne la couvre"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One link of the recipient chain: who stands there, and whether the mail goes there."""

    link: Link
    contact: Contact | None
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleExplanation:
    """One rule's answer. `clause`: the filter part by part; `checks`: the guards in order; `reason`: the verdict."""

    rule: SavedRule
    clause: Clause
    checks: tuple[Check, ...]
    chain: tuple[ChainLink, ...]
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything about one invoice. `credit_note`: it is one, and no rule ever looks at it.

    `einvoice`: what its electronic invoice said, where there was one.
    """

    invoice: InvoiceFacts
    today: date
    credit_note: bool
    einvoice: Note | None
    rules: tuple[RuleExplanation, ...]
    runs: tuple[PastRun, ...]
    reminders: tuple[PastReminder, ...]
    attempts: dict[int, list[Attempt]]
    feedback: dict[int, list[Feedback]]
    changes: tuple[Change, ...]
    payments: tuple[Payment, ...]


def explain(
    conn: Connection, found: FoundInvoice, *, by: str, rule: str | None = None, on: date | None = None
) -> Explanation:
    """Explain an invoice before its company's rules that who asks may see, active ones first, or before one rule.

    Raises Unknown for a rule that is none, InvalidInput for one of another company or not shared with who asks.
    """
    company = companies.companies(conn)[found.company_id]
    today = sensible_day(on, field="on") if on else company.day(settings.read(conn).business_now)
    asked = [_rule_of(conn, found, rule, by)] if rule else _rules_of(conn, found.company_id, by)
    together = sorted({found.id, *histories.open_of_customer(conn, found.customer_id, found.company_id)})
    invoice = _facts(conn, company, None, today, [found.id])[0]
    past = histories.past_reminders(conn, found.id)
    return Explanation(
        invoice=invoice,
        today=today,
        credit_note=histories.kind(conn, found.id) == "credit_note",
        einvoice=einvoices.note(conn, found.id),
        rules=tuple(_before(conn, one, company, today, invoice_id=found.id, together=together) for one in asked),
        runs=tuple(histories.past_runs(conn, found.id)),
        reminders=tuple(past),
        attempts=histories.attempts(conn, [one.id for one in past]),
        feedback=histories.feedback(conn, [one.id for one in past]),
        changes=tuple(histories.changes(conn, found.id)),
        payments=tuple(histories.payments(conn, found.id)),
    )


def _rule_of(conn: Connection, found: FoundInvoice, name: str, by: str) -> SavedRule:
    saved = find_rule(conn, name)
    require_may_run(conn, saved, by=by)
    if saved.company_id != found.company_id:
        reason = f"chases for another company than {found.company}, which issued {found.number}"
        raise InvalidInput(field="rule", value=saved.title, reason=reason)
    return saved


def _rules_of(conn: Connection, company_id: int, by: str) -> list[SavedRule]:
    found = [one for one in rules.saved(conn) if one.company_id == company_id and may_run(conn, one, by=by)]
    return sorted(found, key=lambda one: (not one.active, one.id))


def _facts(
    conn: Connection, company: Company, rule_id: int | None, today: date, ids: Sequence[int]
) -> list[InvoiceFacts]:
    asking = facts.Asking(
        company_id=company.id,
        today=today,
        min_days_between_mails=company.min_days_between_mails,
        rule_id=rule_id,
        stale_payments=freshness.stale(conn, company.id),
    )
    return facts.load(conn, ids, asking)


def _before(
    conn: Connection, saved: SavedRule, company: Company, today: date, *, invoice_id: int, together: Sequence[int]
) -> RuleExplanation:
    """Decide the invoice among what the same rule selects of its customer, as a run would."""
    found = _facts(conn, company, None if saved.rule.counts else saved.id, today, together)
    selected = [one for one in found if one.id == invoice_id or matches(saved.rule.filter, one, today)]
    verdict = next(one for one in decide_customer(selected, saved.rule, today) if one.invoice.id == invoice_id)
    return RuleExplanation(
        rule=saved,
        clause=clauses(saved.rule.filter, verdict.invoice, today),
        checks=verdict.checks,
        chain=_chain(verdict, saved.rule),
        reason=verdict.reason,
        detail=verdict.detail,
    )


def _chain(verdict: Verdict, rule: Rule) -> tuple[ChainLink, ...]:
    chosen = verdict.recipient.link if verdict.recipient else None
    return tuple(
        ChainLink(link=link, contact=contact, chosen=link == chosen) for link, contact in chain(verdict.invoice, rule)
    )
