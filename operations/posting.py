"""Reminders by post: the pile of letters to print for whom no mail can reach, and the word that one went."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from operations.acting import acting, line, number
from operations.invoices import locked
from operations.preview import decided
from operations.rules import may_run, require_may_run
from store import companies, histories, invoices, journal, labels, letters_due, rules, settings
from store.invoices import Correction
from workflow.errors import InvalidInput
from workflow.machine import LAST_LEVEL, is_idle, level_of, posted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from store.companies import Company
    from store.connection import Connection
    from store.invoices import LockedInvoice
    from store.lookups import FoundInvoice
    from store.rules import SavedRule
    from store.settings import Settings
    from workflow.decision import Verdict
    from workflow.facts import Language

# Letters of one rule, and facts read at once.
MOST: Final = 100_000
STEP: Final = 5_000
_NO_REMINDERS: Final = "does not count: its mails are no reminders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One invoice on the pile. `level`: which reminder it would be, 1 to 3; `credit`: on account, in its currency.

    `refusing`: the address that refuses mail; empty where there is none at all.
    """

    company: str
    rule: str
    level: int
    customer: str
    customer_name: str
    postal_address: str
    country: str
    language: Language
    invoice: str
    issued_on: date
    due_on: date | None
    days_overdue: int | None
    balance: Decimal
    currency: str
    credit: Decimal
    refusing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A letter that went: which reminder it was, 1 to 3, and the tags that its rule put on."""

    invoice: str
    company: str
    level: int
    posted_on: date
    tags: tuple[str, ...]


def print_pile(conn: Connection, *, by: str, rule: SavedRule | None = None) -> list[Letter]:
    """What is due for a reminder today and reaches nobody by mail: by the active rules that count, or by one rule.

    By company, level, rule, customer and invoice; an invoice that several rules would remind is there once. Raises
    InvalidInput for a rule that is not shared with them, or whose mails are no reminders.
    """
    here = settings.read(conn)
    sellers = companies.companies(conn)
    if rule:
        require_may_run(conn, rule, by=by)
        if not rule.rule.counts:
            raise InvalidInput(field="rule", value=rule.title, reason=_NO_REMINDERS)
        asked = [rule]
    else:
        active = [one for one in rules.saved(conn) if one.active and one.rule.counts and not one.held_because]
        asked = [one for one in active if may_run(conn, one, by=by)]
    letters: dict[tuple[str, str], Letter] = {}
    for one in sorted(asked, key=lambda each: (sellers[each.company_id].code, each.rule.level or 0, each.id)):
        if one.rule.on_test_instance or not here.test_instance:
            for letter in _of_rule(conn, one, sellers[one.company_id], here):
                letters.setdefault((letter.company, letter.invoice), letter)
    return list(letters.values())


def _of_rule(conn: Connection, saved: SavedRule, company: Company, here: Settings) -> Iterator[Letter]:
    today = company.day(here.business_now)
    ids = letters_due.unreachable(conn, saved.pinned, today, limit=MOST)
    # A step may part a customer: what the customer's other invoices say changes nothing where no mail reaches it.
    for start in range(0, len(ids), STEP):
        verdicts = [
            one for group in decided(conn, saved.pinned, company, today, ids[start : start + STEP]) for one in group
        ]
        due = [one for one in verdicts if one.reason in {"no_recipient", "suppressed"}]
        addresses = letters_due.addresses(conn, {one.invoice.customer.id for one in due})
        for one in due:
            yield _letter(one, saved, company, today, addresses[one.invoice.customer.id])


def _letter(
    verdict: Verdict, saved: SavedRule, company: Company, today: date, home: letters_due.PostalAddress
) -> Letter:
    invoice, customer = verdict.invoice, verdict.invoice.customer
    return Letter(
        company=company.code,
        rule=saved.title,
        level=invoice.level + 1,
        customer=customer.number,
        customer_name=customer.name,
        postal_address=home.postal_address,
        country=home.country,
        language=customer.language or company.language,
        invoice=invoice.number,
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        days_overdue=(today - invoice.due_on).days if invoice.due_on else None,
        balance=invoice.balance,
        currency=invoice.currency,
        credit=customer.unallocated.get(invoice.currency, Decimal(0)),
        refusing=verdict.recipient.contact.email if verdict.recipient else "",
    )


def confirm_posted(
    conn: Connection,
    found: Sequence[FoundInvoice],
    *,
    posted_on: date,
    level: int | None = None,
    rule: SavedRule | None = None,
    because: str,
    by: str,
) -> list[Posted]:
    """Move invoices as an accepted mail would: one level up, last reminded on that day, tagged as the rule says.

    All of them or none. `level`, or the rule's, says which reminder it was, 1 to 3; only the first may go without: a
    letter told of twice is one letter. Raises InvalidInput for another level than the next, for a day to come or not
    after the last reminder, while a mail is out, for a credit note.
    """
    because = line(because, field="because")
    number(level, range(1, LAST_LEVEL + 1), field="level")
    if rule:
        require_may_run(conn, rule, by=by)
    now = settings.read(conn).business_now
    sellers = companies.companies(conn)
    done = []
    with conn.transaction():
        for one in sorted({each.id: each for each in found}.values(), key=lambda each: each.id):
            today = sellers[one.company_id].day(now)
            if posted_on > today:
                raise InvalidInput(field="on", value=posted_on.isoformat(), reason="is in the future")
            with acting(conn, by=by, because=because, today=today):
                done.append(_confirmed(conn, one, posted_on, level, rule))
    return done


def _confirmed(
    conn: Connection, one: FoundInvoice, posted_on: date, level: int | None, rule: SavedRule | None
) -> Posted:
    invoice = locked(conn, one.company, one.number)
    if histories.kind(conn, invoice.id) != "invoice":
        raise InvalidInput(field="invoice", value=one.number, reason="is a credit note: nobody is reminded of it")
    if level is None and rule and rule.rule.level is not None:
        level = rule.rule.level + 1
    reached = _next_level(invoice, posted_on, level)
    if rule:
        _check_rule(rule, invoice)
    invoices.correct(conn, {invoice.id: Correction(posted(invoice.position), invoice.cycle, posted_on)})
    journal.write(conn, "invoice", invoice.id, {"posted": [None, posted_on.isoformat()]})
    tags = _tag(conn, invoice.id, rule) if rule else ()
    return Posted(invoice=one.number, company=one.company, level=reached, posted_on=posted_on, tags=tags)


def _next_level(invoice: LockedInvoice, posted_on: date, asked: int | None) -> int:
    """Which reminder the letter was. Raises InvalidInput where it cannot have been that one."""
    behind, last = invoice.position.behind, invoice.last_reminded_on
    if not is_idle(behind):
        what = "is in doubt: resolve it first" if behind.endswith("_in_doubt") else "is on its way"
        raise InvalidInput(field="invoice", value=invoice.number, reason=f"a mail about it {what}")
    level = level_of(behind)
    if asked is not None and asked <= level:
        when = f" (the last one on {last.isoformat()})" if last else ""
        raise InvalidInput(
            field="level", value=asked, reason=f"{invoice.number} has had reminder {asked} already{when}"
        )
    if level == LAST_LEVEL:
        raise InvalidInput(field="invoice", value=invoice.number, reason="has had all three reminders")
    if asked is not None and asked > level + 1:
        raise InvalidInput(field="level", value=asked, reason=f"reminder {level + 1} of {invoice.number} comes first")
    if asked is None and level > 0:
        when = f" on {last.isoformat()}" if last else ""
        reason = f"{invoice.number} has had reminder {level}{when}: say that this one was reminder {level + 1}"
        raise InvalidInput(field="level", value=None, reason=reason)
    if last is not None and posted_on <= last:
        reason = f"{invoice.number} was reminded on {last.isoformat()}: the next reminder is of a later day"
        raise InvalidInput(field="on", value=posted_on.isoformat(), reason=reason)
    if posted_on < invoice.issued_on:
        reason = f"{invoice.number} was issued on {invoice.issued_on.isoformat()} only"
        raise InvalidInput(field="on", value=posted_on.isoformat(), reason=reason)
    return level + 1


def _check_rule(rule: SavedRule, invoice: LockedInvoice) -> None:
    if rule.company_id != invoice.company_id:
        raise InvalidInput(field="rule", value=rule.title, reason=f"chases for another company than {invoice.number}'s")
    if not rule.rule.counts:
        raise InvalidInput(field="rule", value=rule.title, reason=_NO_REMINDERS)
    if rule.rule.level not in {None, level_of(invoice.position.behind)}:
        reason = f"sends another reminder than the next of {invoice.number}"
        raise InvalidInput(field="rule", value=rule.title, reason=reason)


def _tag(conn: Connection, invoice_id: int, rule: SavedRule) -> tuple[str, ...]:
    known = labels.tag_ids(conn, rule.rule.tags)
    ids = list(known.values())
    labels.untag(conn, [invoice_id], labels.rivals(conn, ids))
    labels.tag(conn, [invoice_id], ids)
    return tuple(known)
