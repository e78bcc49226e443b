"""From a hint to a mail on its way: claim, decide again, render, hand over to the sender.

And what follows a refusal.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from letters.headers import Mailbox, check_address
from letters.letter import Letter
from letters.mime import Attachment
from letters.variables import Company as LetterCompany
from letters.variables import Contact as LetterContact
from letters.variables import Customer as LetterCustomer
from letters.variables import LetterValues, StatementLine
from store import claims, companies, facts, holds, outcomes, settings
from store.connection import on_day
from store.tick import Uploaded
from workers.deliveries import Ready
from workers.log import log
from workers.settings import secret
from workers.smtp import stuffed
from workers.steps import reached
from workers.troubles import Servers, note_answers, note_trouble
from workflow.answers import after_refusal, wait_s
from workflow.decision import as_released, still_due
from workflow.errors import InvalidInput, RelanceError
from workflow.windows import is_open, next_open

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from store.claims import Claimed
    from store.companies import Account, Company
    from store.connection import Connection
    from store.rules import PinnedRule
    from store.settings import Settings
    from workers.deliveries import Delivery
    from workers.office import Office
    from workers.sender import Sender
    from workers.smtp import Reply
    from workflow.decision import StillDue, Verdict
    from workflow.facts import InvoiceFacts, Language

_ROUNDS = 3
_NO_SECRET_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
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


def send_reminders(office: Office, sender: Sender, reminder_ids: Sequence[int]) -> None:
    """Send what is still to be sent of these.

    A mail withdrawn because its facts changed is claimed and rendered again.
    """
    ids = list(reminder_ids)
    for _ in range(_ROUNDS):
        ready = prepare(office, ids)
        if not ready:
            return
        reached("rendered")
        fates = sender.deliver(ready)
        note_answers(office.pool, ready, fates)
        ids = [
            one.mail.reminder_id
            for one, delivery in zip(ready, fates, strict=True)
            if delivery and delivery.fate == "withdrawn"
        ]
        if not ids:
            return


def prepare(office: Office, reminder_ids: Sequence[int]) -> list[Ready]:
    """Claim what is due of these, decide again, and render. What cannot leave now is put back, let go or failed."""
    wanted = _claim(office, reminder_ids)
    if wanted:
        reached("claimed")
    return _render(office, wanted)


def _claim(office: Office, ids: Sequence[int]) -> list[_Wanted]:
    """One transaction: obey the windows, claim, decide again on today's facts, let go of what is no longer due."""
    with office.pool.connection() as conn:
        here = settings.read(conn)
        sellers = companies.companies(conn)
        _mind_windows(conn, here, sellers, ids)
        claimed = claims.claim(conn, ids, lease_s=office.settings.lease_s)
        if not claimed:
            return []
        servers = Servers(conn, lease_s=office.settings.lease_s)
        held = claims.invoices(conn, [one.id for one in claimed])
        wanted: list[_Wanted] = []
        for group in _by_run(claimed):
            first = group[0]
            pinned = office.pinned(conn, first.rule_id, first.rule_version)
            company, account = sellers[first.company_id], servers.accounts[pinned.account_id]
            today = company.day(here.business_now)
            found = _facts(
                conn,
                group,
                pinned,
                company,
                today=today,
                invoice_ids=[one for each in group for one in held[each.id]],
            )
            password = _password(account)
            gone: list[tuple[Claimed, StillDue]] = []
            for one in group:
                if account.password_ref and password is None:
                    outcomes.give_back(conn, one.id, one.fence, wait_s=_NO_SECRET_S, error="no password on this host")
                    continue
                if (pause_s := servers.pause_s(account)) is not None:
                    outcomes.give_back(conn, one.id, one.fence, wait_s=pause_s)
                    continue
                due = still_due([found[invoice_id] for invoice_id in held[one.id]], pinned.rule, today)
                if due.dropped or not due.kept:
                    gone.append((one, due))
                # Nothing is dropped from a mail that was ever in doubt: it may have arrived as it was.
                if not due.kept or (due.dropped and one.ever_in_doubt):
                    continue
                pause_s = servers.domain_pause_s(company, account, here.redirect_to or _address(due))
                if pause_s is not None:
                    outcomes.give_back(conn, one.id, one.fence, wait_s=pause_s)
                    continue
                listed = [verdict.invoice.id for verdict in due.kept]
                wanted.append(
                    _Wanted(
                        claimed=one,
                        pinned=pinned,
                        company=company,
                        account=account,
                        password=password,
                        verdicts=due.kept,
                        originals=claims.originals(conn, listed) if pinned.rule.attach_invoices else {},
                        thread=tuple(claims.thread(conn, listed)) if one.level else (),
                        now=here.business_now,
                        redirect_to=here.redirect_to,
                    )
                )
            _let_go(conn, gone, today)
        reached("claiming")
        return wanted


def _mind_windows(conn: Connection, here: Settings, sellers: Mapping[int, Company], ids: Sequence[int]) -> None:
    """Let those wait whose company does not mail now."""
    for company_id in claims.companies_of(conn, ids):
        window = sellers[company_id].window
        if not is_open(window, here.business_now):
            pause = (next_open(window, here.business_now) - here.business_now).total_seconds()
            claims.wait_for_window(conn, ids, company_id, 3600 if here.clock_is_set else pause)


def _address(due: StillDue) -> str:
    """Where a mail that is still due goes."""
    found = due.kept[0].recipient
    return found.contact.email if found else ""


def _password(account: Account) -> str | None:
    """The account's password, None where it has none or this host does not know it."""
    try:
        return secret(account.password_ref) if account.password_ref else None
    except InvalidInput:
        log("no_password", level="error", account=account.id)
        return None


def _let_go(conn: Connection, gone: Sequence[tuple[Claimed, StillDue]], today: date) -> None:
    """Give back what is no longer due: some invoices of a mail, or all of it, and then the reminder ends."""
    if not gone:
        return
    on_day(conn, today)
    outcomes.lock_invoices_of(conn, [one.id for one, _ in gone])
    for one, due in gone:
        if due.kept and not one.ever_in_doubt:
            outcomes.settle_invoices(conn, [one.id], "release", "dropped", only=due.dropped)
        else:
            unreachable = due.reason in {"no_recipient", "suppressed"}
            state: Literal["failed", "cancelled"] = "failed" if unreachable else "cancelled"
            outcomes.end(conn, one.id, one.fence, state=state, problem=due.reason or "paid", error=None, day=today)


def _by_run(claimed: Sequence[Claimed]) -> list[list[Claimed]]:
    """Reminders of one run and company: an invoice is in one of them at most, and their facts are read together."""
    groups: dict[tuple[int, int], list[Claimed]] = defaultdict(list)
    for one in claimed:
        groups[one.run_id, one.company_id].append(one)
    return list(groups.values())


def _facts(
    conn: Connection,
    group: Sequence[Claimed],
    pinned: PinnedRule,
    company: Company,
    *,
    today: date,
    invoice_ids: Sequence[int],
) -> dict[int, InvoiceFacts]:
    """Each invoice as if the reminder that holds it had never been."""
    asking = facts.Asking(
        company_id=company.id,
        today=today,
        min_days_between_mails=company.min_days_between_mails,
        run_id=group[0].run_id,
        rule_id=None if pinned.rule.counts else pinned.id,
        besides=tuple(one.id for one in group),
    )
    return {one.id: as_released(one) for one in facts.load(conn, invoice_ids, asking)}


def _render(office: Office, wanted: Sequence[_Wanted]) -> list[Ready]:
    """Compose each mail. One whose text, attachment or account is wrong fails alone."""
    ready = []
    for one in wanted:
        try:
            ready.append(_compose(office, one))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one mail, its neighbours leave
            with office.pool.connection() as conn:
                outcomes.end(
                    conn,
                    one.claimed.id,
                    one.claimed.fence,
                    state="failed",
                    problem="not_rendered",
                    error=(str(error) if isinstance(error, RelanceError) else type(error).__name__)[:500],
                    day=one.company.day(one.now),
                )
            log("not_rendered", level="error", reminder=one.claimed.id, error=type(error).__name__)
    return ready


def _compose(office: Office, one: _Wanted) -> Ready:
    rule, company, account = one.pinned.rule, one.company, one.account
    invoices = [verdict.invoice for verdict in one.verdicts]
    customer = invoices[0].customer
    found = one.verdicts[0].recipient
    if found is None:
        raise LookupError("a decided mail has a recipient")
    contact = found.contact
    wished: tuple[Language | None, ...] = (contact.language, customer.language, company.language, *rule.texts)
    language = next(each for each in wished if each is not None and each in rule.texts)
    values = letter_values(
        company,
        invoices,
        contact_name=contact.name,
        level=one.claimed.level,
        now=one.now,
        language=language,
        rule_title=rule.title,
    )
    parts = office.stationery.compose(rule.texts[language], values)
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


def letter_values(
    company: Company,
    invoices: Sequence[InvoiceFacts],
    *,
    contact_name: str,
    level: int | None,
    now: datetime,
    language: Language,
    rule_title: str,
) -> LetterValues:
    """What a mail about these invoices of one customer says: the run, the preview and the tests ask here."""
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


def settle(conn: Connection, ready: Ready, delivery: Delivery, *, breaker_s: float = 60) -> bool:
    """Write down what became of a mail that the sender did not send. Called with an old fence, it changes nothing.

    Returns whether its account's server is to be left alone for now, `breaker_s` at first.
    """
    reminder_id, fence = ready.mail.reminder_id, ready.mail.fence
    match delivery.fate:
        case "sent":
            pass
        case "unknown":
            log("unanswered", level="warning", reminder=reminder_id, error=delivery.error)
        case "withdrawn":
            outcomes.give_back(conn, reminder_id, fence, step="withdrawn")
        case "not_started":
            outcomes.give_back(conn, reminder_id, fence, wait_s=5)
        case "disarmed":
            outcomes.give_back(conn, reminder_id, fence, wait_s=1, error=delivery.error, step="disarmed")
        case "unreachable":
            _defer(conn, ready, delivery.error)
        case "refused" if delivery.reply:
            _refused(conn, ready, delivery.reply, delivery.step)
        case _:
            raise AssertionError(delivery)
    return note_trouble(conn, ready, delivery, breaker_s=breaker_s)


def _refused(conn: Connection, ready: Ready, reply: Reply, step: str) -> None:
    words = f"{step}: {reply}"
    refusal = after_refusal(step, reply.code, reply.text)
    match refusal.then:
        case "later":
            _defer(conn, ready, words)
        case "failed":
            if refusal.suppresses:
                outcomes.suppress(conn, ready.mail.recipient, refusal.suppresses)
            _fail(conn, ready, "refused", words)
        case "account_held":
            settings.close_gates(conn)
            holds.hold(conn, "account", ready.account.id, because=f"the server refused the login: {reply.code}")
            log("account_held", level="error", account=ready.account.id, code=reply.code)
            outcomes.give_back(conn, ready.mail.reminder_id, ready.mail.fence, error=words, step="deferred")


def _defer(conn: Connection, ready: Ready, error: str) -> None:
    outcome = outcomes.give_back(
        conn,
        ready.mail.reminder_id,
        ready.mail.fence,
        error=error,
        wait_s=wait_s(ready.deferrals),
        waits_for="server",
        step="deferred",
    )
    if outcome:
        _fail(conn, ready, "expired", error)


def _fail(conn: Connection, ready: Ready, problem: str, error: str) -> None:
    day = ready.company.day(settings.read(conn).business_now)
    outcomes.end(conn, ready.mail.reminder_id, ready.mail.fence, state="failed", problem=problem, error=error, day=day)
