"""What a mail is made from, and the documented names under which a rule's texts may use it.

To add a variable: a line in VARIABLES with its words in each language, and its value in `template_variables`.
A test walks both and fails when one has what the other has not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from letters.formats import grouped_by_four, long_day, money, short_day

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from workflow.facts import CustomerKind, Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """The seller, as its letters show it. `address` may have several lines; `web` is a whole address (https://…)."""

    name: str
    legal_line: str = ""
    siren: str = ""
    address: str = ""
    iban: str = ""
    bic: str = ""
    email: str = ""
    phone: str = ""
    web: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Whom the mail is about. Unknown is treated as consumer: claims among professionals are not for them."""

    number: str
    name: str
    kind: CustomerKind = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Who reads the mail; the name may be missing."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """An invoice of the statement (a credit note has negative amounts), in units of the mail's currency.

    What has been paid or credited is total less balance. `due_on` may be missing: the line is then never late.
    """

    number: str
    issued_on: date
    due_on: date | None
    total: Decimal
    balance: Decimal

    def days_late(self, today: date) -> int:
        """Count the days past the due date; 0 when it is not past, or missing."""
        return 0 if self.due_on is None else max(0, (today - self.due_on).days)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterValues:
    """Everything one mail says. `level`: 1 to 3 for a reminder, 0 for a mail that is none.

    `reference`: what the customer should quote when paying; where empty, the invoice's number or the customer's.
    """

    company: Company
    customer: Customer
    contact: Contact
    invoices: Sequence[StatementLine]
    level: int
    today: date
    language: Language
    currency: str
    rule_title: str = ""
    reference: str = ""


class Doc(NamedTuple):
    """What a variable is, in the words of whoever writes the texts."""

    fr: str
    en: str


VARIABLES: Final[Mapping[str, Doc]] = {
    "company.name": Doc("nom de votre société", "your company's name"),
    "company.legal_line": Doc("mention légale (forme, capital, RCS)", "legal line (form, capital, register)"),
    "company.siren": Doc("numéro SIREN", "SIREN number"),
    "company.address": Doc("adresse, sur plusieurs lignes", "address, on several lines"),
    "company.iban": Doc("IBAN, par groupes de quatre", "IBAN, in groups of four"),
    "company.bic": Doc("BIC", "BIC"),
    "company.email": Doc("adresse de courriel", "e-mail address"),
    "company.phone": Doc("téléphone", "telephone"),
    "company.web": Doc("site, https://…", "web site, https://…"),
    "customer.number": Doc("numéro du client", "customer's number"),
    "customer.name": Doc("nom du client", "customer's name"),
    "customer.kind": Doc(
        "professional, public_body, consumer ou unknown", "professional, public_body, consumer or unknown"
    ),
    "contact.name": Doc("nom du destinataire, parfois vide", "recipient's name, sometimes empty"),
    "invoices": Doc(
        "les factures : {% for invoice in invoices %}…{% endfor %}", "the invoices: {% for invoice in invoices %}…"
    ),
    "invoice.number": Doc("numéro de la facture", "invoice's number"),
    "invoice.issued_on": Doc("date d'émission, 1er mars 2026", "day of issue, 1 March 2026"),
    "invoice.issued_on_short": Doc("date d'émission, 01/03/2026", "day of issue, 1 Mar 2026"),
    "invoice.due_on": Doc("échéance, 1er mars 2026, parfois vide", "due date, 1 March 2026, sometimes empty"),
    "invoice.due_on_short": Doc("échéance, 01/03/2026, parfois vide", "due date, 1 Mar 2026, sometimes empty"),
    "invoice.days_late": Doc("jours de retard (nombre)", "days late (a number)"),
    "invoice.total": Doc("montant TTC, avec la devise", "amount incl. tax, with its currency"),
    "invoice.total_amount": Doc("montant TTC, à comparer", "amount incl. tax, to compare"),
    "invoice.paid": Doc("déjà réglé ou crédité, avec la devise", "paid or credited so far, with its currency"),
    "invoice.paid_amount": Doc("déjà réglé ou crédité, à comparer", "paid or credited so far, to compare"),
    "invoice.balance": Doc("reste dû, avec la devise", "balance, with its currency"),
    "invoice.balance_amount": Doc("reste dû, à comparer", "balance, to compare"),
    "totals.due": Doc("total à régler, avec la devise", "total to pay, with its currency"),
    "totals.due_amount": Doc("total à régler, à comparer", "total to pay, to compare"),
    "totals.count": Doc("nombre de factures", "number of invoices"),
    "totals.numbers": Doc("numéros des factures : FA-1, FA-2", "the invoices' numbers: FA-1, FA-2"),
    "totals.oldest_due_on": Doc("échéance la plus ancienne, parfois vide", "oldest due date, sometimes empty"),
    "totals.days_late": Doc("jours de retard de la plus ancienne", "days late of the oldest"),
    "level": Doc("rang de la relance : 1, 2 ou 3", "which reminder this is: 1, 2 or 3"),
    "today": Doc("date du jour, 1er mars 2026", "today, 1 March 2026"),
    "language": Doc("langue du courriel : fr ou en", "language of the mail: fr or en"),
    "currency": Doc("code de la devise : EUR", "currency code: EUR"),
    "rule_title": Doc("titre de la règle", "the rule's title"),
    "reference": Doc("référence à rappeler au paiement", "reference to quote when paying"),
}

# Lists, and the name that documents one of their entries.
LISTS: Final[Mapping[str, str]] = {"invoices": "invoice"}

# Private-use characters mark where a value stands in a rendered text (see letters.markup): none may come from a value.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff\ue000\ue001]")
# Embeddings, overrides and isolates: a name could otherwise turn the text around it.
_BIDI_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def template_variables(values: LetterValues) -> dict[str, Any]:
    """Build what templates see: plain dicts, lists, texts and numbers under the names of VARIABLES, nothing else.

    Texts are ready to read (amounts with their currency, days in words); control characters in them are replaced.
    """
    language, currency, today = values.language, values.currency, values.today
    company, customer = values.company, values.customer
    invoices = [_line(line, currency, language, today) for line in values.invoices]
    due_days = [line.due_on for line in values.invoices if line.due_on is not None]
    due = sum((line.balance for line in values.invoices), Decimal(0))
    numbers = [invoice["number"] for invoice in invoices]
    fallback = numbers[0] if len(numbers) == 1 else customer.number
    return {
        "company": {
            "name": readable(company.name),
            "legal_line": readable(company.legal_line),
            "siren": readable(company.siren),
            "address": readable(company.address),
            "iban": grouped_by_four(readable(company.iban)),
            "bic": readable(company.bic),
            "email": readable(company.email),
            "phone": readable(company.phone),
            "web": readable(company.web),
        },
        "customer": {
            "number": readable(customer.number),
            "name": readable(customer.name),
            "kind": customer.kind,
        },
        "contact": {"name": readable(values.contact.name)},
        "invoices": invoices,
        "totals": {
            "due": money(due, currency, language),
            "due_amount": due,
            "count": len(invoices),
            "numbers": ", ".join(numbers),
            "oldest_due_on": long_day(min(due_days), language) if due_days else "",
            "days_late": max((invoice["days_late"] for invoice in invoices), default=0),
        },
        "level": values.level,
        "today": long_day(today, language),
        "language": language,
        "currency": currency,
        "rule_title": readable(values.rule_title),
        "reference": readable(values.reference or fallback),
    }


def readable(text: str) -> str:
    """Give a text from outside without what no reader could see: control characters, bidirectional overrides.

    Line breaks stay (as LF), a tab becomes a space; whatever else is not text shows as U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\t", " ").strip()
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", _BIDI_CONTROLS.sub("", lines))


def _line(line: StatementLine, currency: str, language: Language, today: date) -> dict[str, Any]:
    paid = line.total - line.balance
    return {
        "number": readable(line.number),
        "issued_on": long_day(line.issued_on, language),
        "issued_on_short": short_day(line.issued_on, language),
        "due_on": "" if line.due_on is None else long_day(line.due_on, language),
        "due_on_short": "" if line.due_on is None else short_day(line.due_on, language),
        "days_late": line.days_late(today),
        "total": money(line.total, currency, language),
        "total_amount": line.total,
        "paid": money(paid, currency, language),
        "paid_amount": paid,
        "balance": money(line.balance, currency, language),
        "balance_amount": line.balance,
    }
