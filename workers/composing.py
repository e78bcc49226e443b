"""From a decided reminder to its mail: the values of its letter, its bytes, who receives it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letters.headers import Mailbox, check_address
from letters.letter import Letter
from letters.mime import Attachment
from letters.variables import Company as LetterCompany
from letters.variables import Contact as LetterContact
from letters.variables import Customer as LetterCustomer
from letters.variables import LetterValues, StatementLine
from store.tick import Uploaded
from workers.deliveries import Ready
from workers.smtp import stuffed
from workflow.doubt import idempotency_key
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from letters.mail import Stationery
    from store.claims import Claimed
    from store.companies import Account, Company
    from store.rules import PinnedRule
    from workflow.decision import Verdict
    from workflow.facts import InvoiceFacts, Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A claimed reminder with what its mail is to say."""

    claimed: Claimed
    pinned: PinnedRule
    company: Company
    account: Account
    password: str | None
    verdicts: tuple[Verdict, ...]
    originals: dict[int, tuple[str, str, bytes, bytes]]
    thread: tuple[str, ...]
    now: datetime
    redirect_to: str | None


def compose(stationery: Stationery, one: Wanted) -> Ready:
    """Make the mail. Raises InvalidInput or TemplateError for what no mail can say, LookupError."""
    rule, company, account = one.pinned.rule, one.company, one.account
    invoices = [verdict.invoice for verdict in one.verdicts]
    customer = invoices[0].customer
    found = one.verdicts[0].recipient
    if found is None:
        raise LookupError("a decided mail has a recipient")
    contact = found.contact
    wished: tuple[Language | None, ...] = (contact.language, customer.language, company.language, *rule.texts)
    language = next(each for each in wished if each is not None and each in rule.texts)
    values = _values(
        company,
        invoices,
        contact_name=contact.name,
        level=one.claimed.level,
        now=one.now,
        language=language,
        rule_title=rule.title,
    )
    parts = stationery.compose(rule.texts[language], values)
    attachments = []
    for invoice in invoices if rule.attach_invoices else ():
        if invoice.id not in one.originals:
            raise InvalidInput(
                field="attachment", value=invoice.number, reason="the invoice's original is not archived"
            )
        name, media_type, _, content = one.originals[invoice.id]
        attachments.append(Attachment(name=name, media_type=media_type, content=content))
    letter = Letter(
        parts=parts,
        message_id=one.claimed.message_id,
        date=one.now.astimezone(company.clock),
        sender=Mailbox(name=account.from_name, address=account.from_address),
        recipient=Mailbox(name=contact.name, address=contact.email),
        language=language,
        reminder_id=one.claimed.id,
        reply_to=Mailbox(address=rule.reply_to) if rule.reply_to else None,
        cc=tuple(Mailbox(address=address) for address in rule.cc),
        references=one.thread,
        attachments=tuple(attachments),
        key=(account.key_header, idempotency_key(one.claimed.message_id)) if account.key_header else None,
    )
    recipients = _envelope(contact.email, *rule.cc, *rule.bcc)
    if one.redirect_to:
        letter = letter.redirected(one.redirect_to, besides=rule.bcc)
        recipients = (one.redirect_to,)
    content = letter.content()
    return Ready(
        mail=Uploaded(
            reminder_id=one.claimed.id,
            fence=one.claimed.fence,
            company_id=company.id,
            customer_id=customer.id,
            customer_version=customer.row_version,
            versions={invoice.id: invoice.row_version for invoice in invoices},
            recipient=letter.recipient.address,
            subject=letter.parts.subject,
            letter=letter.stored(),
            sha256=hashlib.sha256(content).digest(),
            redirect_to=one.redirect_to,
        ),
        account=account,
        password=one.password,
        company=company,
        recipients=recipients,
        stuffed=stuffed(content),
        deferrals=one.claimed.deferrals,
    )


def _envelope(*addresses: str) -> tuple[str, ...]:
    """Each address once, the recipient's first."""
    return tuple({each.lower(): each for each in (check_address(one, field="recipient") for one in addresses)}.values())


def _values(
    company: Company,
    invoices: Sequence[InvoiceFacts],
    *,
    contact_name: str,
    level: int | None,
    now: datetime,
    language: Language,
    rule_title: str,
) -> LetterValues:
    customer = invoices[0].customer
    return LetterValues(
        company=LetterCompany(
            name=company.name,
            legal_line=company.legal_line,
            siren=company.siren or "",
            address=company.address,
            iban=company.iban or "",
            bic=company.bic or "",
            email=company.email,
            phone=company.phone,
            web=company.web,
        ),
        customer=LetterCustomer(number=customer.number, name=customer.name, kind=customer.kind),
        contact=LetterContact(name=contact_name),
        invoices=[
            StatementLine(
                number=one.number, issued_on=one.issued_on, due_on=one.due_on, total=one.total, balance=one.balance
            )
            for one in sorted(invoices, key=lambda each: (each.due_on or each.issued_on, each.number))
        ],
        level=0 if level is None else level + 1,
        today=company.day(now),
        language=language,
        currency=invoices[0].currency,
        rule_title=rule_title,
    )
