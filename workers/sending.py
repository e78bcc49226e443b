"""From a hint to a mail on its way: claim, decide again, render, hand over to the sender.

And what follows a refusal.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from store import claims, companies, facts, holds, outcomes, runs, settings
from store.connection import on_day
from workers.composing import Wanted, compose
from workers.log import log
from workers.settings import secret
from workers.steps import reached
from workers.troubles import Servers, note_answers, note_success, note_trouble
from workflow.answers import after_refusal, wait_s
from workflow.decision import as_released, still_due
from workflow.errors import InvalidInput, RelanceError
from workflow.windows import is_open, next_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from store.claims import Claimed
    from store.companies import Account, Company
    from store.connection import Connection
    from store.rules import PinnedRule
    from store.settings import Settings
    from workers.deliveries import Delivery, Ready
    from workers.office import Office
    from workers.sender import Sender
    from workers.smtp import Reply
    from workflow.decision import StillDue, Verdict
    from workflow.facts import InvoiceFacts
    from workflow.rules import Rule

_ROUNDS = 3
_NO_SECRET_S = 60


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
        if not ids or not office.is_ours():  # it may be another instance's by now
            return


def prepare(office: Office, reminder_ids: Sequence[int]) -> list[Ready]:
    """Claim what is due of these, decide again, and render. What cannot leave now is put back, let go or failed."""
    wanted = _claim(office, reminder_ids)
    if wanted:
        reached("claimed")
    return _render(office, wanted)


def _claim(office: Office, ids: Sequence[int]) -> list[Wanted]:
    """One transaction: obey the windows, claim, decide again on today's facts, let go of what is no longer due."""
    with office.pool.connection() as conn:
        settings.keep_clock(conn)
        here = settings.read(conn)
        sellers = companies.companies(conn)
        _mind_windows(conn, here, sellers, ids)
        claimed = claims.claim(conn, ids, lease_s=office.settings.lease_s, quarantine_s=office.settings.quarantine_s)
        if not claimed:
            return []
        servers = Servers(conn, lease_s=office.settings.lease_s)
        held = claims.invoices(conn, [one.id for one in claimed])
        wanted: list[Wanted] = []
        for group in _by_run(_in_time(conn, claimed, sellers, here)):
            first = group[0]
            try:
                pinned = office.pinned(conn, first.rule_id, first.rule_version)
            except RelanceError as error:
                _keep_back(conn, group, str(error))
                continue
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
            due, gone = _still_due(group, held, found, pinned.rule, today)
            # By domain: their buckets are locked until the commit, by every claim in the same order.
            for one, verdicts in sorted(due, key=lambda each: _domain(here, each[1])):
                if account.password_ref and password is None:
                    outcomes.give_back(conn, one.id, one.fence, wait_s=_NO_SECRET_S, error="no password on this host")
                    continue
                pause_s = servers.pause_s(company, account, _domain(here, verdicts))
                if pause_s is not None:
                    outcomes.give_back(conn, one.id, one.fence, wait_s=pause_s)
                    continue
                listed = [verdict.invoice.id for verdict in verdicts]
                wanted.append(
                    Wanted(
                        claimed=one,
                        pinned=pinned,
                        company=company,
                        account=account,
                        password=password,
                        verdicts=verdicts,
                        originals=claims.originals(conn, listed) if pinned.rule.attach_invoices else {},
                        thread=tuple(claims.thread(conn, listed)) if one.level else (),
                        now=here.business_now,
                        redirect_to=here.redirect_to,
                    )
                )
            _let_go(conn, gone, today)
        reached("claiming")
        return wanted


def _in_time(
    conn: Connection, claimed: Sequence[Claimed], sellers: Mapping[int, Company], here: Settings
) -> list[Claimed]:
    """Those that may leave: one sent again whose provider may have forgotten its key by now goes back into doubt."""
    late = [one for one in claimed if one.too_late]
    outcomes.lock_invoices_of(conn, [one.id for one in late])
    for one in late:
        day = sellers[one.company_id].day(here.business_now)
        on_day(conn, day)
        error = "its provider may have forgotten its idempotency key"
        outcomes.end(conn, one.id, one.fence, state="cancelled", problem="key_expired", error=error, day=day)
    return [one for one in claimed if not one.too_late]


def _keep_back(conn: Connection, group: Sequence[Claimed], because: str) -> None:
    """Give back the mails of a run whose rule cannot be read; the run waits for a person."""
    for one in group:
        outcomes.give_back(conn, one.id, one.fence, error=because)
    runs.keep_back(conn, group[0].run_id, because)
    log("run_kept_back", level="error", run=group[0].run_id)


def _mind_windows(conn: Connection, here: Settings, sellers: Mapping[int, Company], ids: Sequence[int]) -> None:
    """Let those wait whose company does not mail now."""
    for company_id in claims.companies_of(conn, ids):
        window = sellers[company_id].window
        if not is_open(window, here.business_now):
            pause = (next_open(window, here.business_now) - here.business_now).total_seconds()
            claims.wait_for_window(conn, ids, company_id, 3600 if here.clock_is_set else pause)


def _still_due(
    group: Sequence[Claimed],
    held: Mapping[int, Iterable[int]],
    found: Mapping[int, InvoiceFacts],
    rule: Rule,
    today: date,
) -> tuple[list[tuple[Claimed, tuple[Verdict, ...]]], list[tuple[Claimed, StillDue]]]:
    """Decide again: the mails that are still due, with their invoices; and those that are not, in whole or in part."""
    due: list[tuple[Claimed, tuple[Verdict, ...]]] = []
    gone: list[tuple[Claimed, StillDue]] = []
    for one in group:
        again = still_due([found[invoice_id] for invoice_id in held[one.id]], rule, today)
        if again.dropped or not again.kept:
            gone.append((one, again))
        # Nothing is dropped from a mail that was ever in doubt: it may have arrived as it was.
        if again.kept and not (again.dropped and one.ever_in_doubt):
            due.append((one, again.kept))
    return due, gone


def _domain(here: Settings, verdicts: Sequence[Verdict]) -> str:
    """Whose server a mail goes to in the end."""
    found = verdicts[0].recipient
    address = here.redirect_to or (found.contact.email if found else "")
    return address.rpartition("@")[2].lower()


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


def _render(office: Office, wanted: Sequence[Wanted]) -> list[Ready]:
    """Compose each mail. One whose text, attachment or account is wrong fails alone."""
    ready = []
    for one in wanted:
        try:
            ready.append(compose(office.stationery, one))
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


def settle(conn: Connection, ready: Ready, delivery: Delivery, *, breaker_s: float = 60) -> bool:
    """Write down what became of a mail that its actor does not hear of. Called with an old fence, it changes nothing.

    Returns whether its account's server is to be left alone for now, `breaker_s` at first.
    """
    reminder_id, fence = ready.mail.reminder_id, ready.mail.fence
    match delivery.fate:
        case "sent":
            note_success(conn, [ready.account.id])
        case "unknown":
            log("unanswered", level="warning", reminder=reminder_id, error=delivery.error)
        case "withdrawn":
            outcomes.give_back(conn, reminder_id, fence, step="withdrawn")
        case "not_started":
            outcomes.give_back(conn, reminder_id, fence, wait_s=5)
        case "disarmed":
            outcomes.give_back(conn, reminder_id, fence, wait_s=1, error=delivery.error, step="disarmed")
        case "unfit":  # nobody tries it in a loop: a person sees it
            log("not_armed", level="error", reminder=reminder_id, error=delivery.error)
            _fail(conn, ready, "not_armed", delivery.error)
        case "unreachable":
            _defer(conn, ready, delivery.error)
        case "refused" if delivery.reply:
            _refused(conn, ready, delivery.reply, delivery.step)
        case _:
            raise AssertionError(delivery)
    return note_trouble(conn, ready, delivery, breaker_s=breaker_s)


def _refused(conn: Connection, ready: Ready, reply: Reply, step: str) -> None:
    words = f"{step}: {reply}"
    refusal = after_refusal(step, reply.code, reply.text, by_token=ready.account.auth == "xoauth2")
    match refusal.then:
        case "later":
            _defer(conn, ready, words)
        case "failed":
            if refusal.suppresses and not ready.mail.redirect_to:  # a test's mailbox is nobody's customer
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
