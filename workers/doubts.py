"""The policies at work: each mail in doubt is looked at, decided about and settled, or left to a person and told.

They have a thread of their own beside scheduler, relay and sweep: a mailbox may take its time. What is known of a mail
is read before its evidence is: what left since then proves nothing about a look that had begun.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from letters.letter import key_of, read_stored
from store import companies, doubts, resolutions
from store import settings as stored
from store.connection import act
from workers import evidence
from workers.identity import is_ours
from workers.imap import Unreadable
from workers.log import log
from workers.steps import reached
from workflow.doubt import ALERT_AFTER, REASONS, Doubt, Evidence, Key, decide, idempotency_key

if TYPE_CHECKING:
    from datetime import datetime

    from store.companies import Account
    from store.connection import Connection, Pool
    from store.doubts import InDoubt, Witness
    from workers.evidence.traces import Trace
    from workers.settings import Settings
    from workflow.doubt import Decision

_MOST = 200
# Longer than a look may take: meanwhile no other scheduler looks.
_LOOKING_S = 90.0
_AT_ONCE = 4
_SELDOM_S = 900.0
# The mails just before and after each dot, all of which must be shown: a log that lost lines may have lost its own.
_NEIGHBOURS = 5
_NEAR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A mail in doubt with what its account's policy asks about; `quote`: the words of the trace that it left.

    `before`, `beside` and `after`: mails that left before its dots, within the quarantine of one, and after it;
    `reaches_back` and `reaches_on`: where there are none before or beside it, there never were.
    """

    one: InDoubt
    account: Account
    doubt: Doubt
    before: tuple[Witness, ...] = ()
    beside: tuple[Witness, ...] = ()
    after: tuple[Witness, ...] = ()
    reaches_back: bool = True
    reaches_on: bool = True
    evidence: Evidence | None = None
    key: Key | None = None
    quote: str = ""


def settle_doubts(pool: Pool, settings: Settings) -> int:
    """Look once at each mail in doubt whose policy's time has come. Returns how many were settled or are due again.

    None where the database is another instance's.
    """
    with pool.connection() as conn:
        if not is_ours(stored.read(conn), settings.instance):
            return 0
        now = stored.database_now(conn)
        taken = doubts.to_look_at(conn, again_s=min(_LOOKING_S, settings.quarantine_s), limit=_MOST)
        accounts = companies.accounts(conn)
    cases: dict[int, list[_Case]] = defaultdict(list)
    for one in taken:
        try:
            with pool.connection() as conn:
                cases[one.account_id].append(_case(conn, one, accounts[one.account_id], settings))
        except Exception as error:  # noqa: BLE001 - one mail's rows keep no other from being looked at
            _log_trouble(one, error)
    if not cases:
        return 0
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(cases)), thread_name_prefix="doubts") as threads:
        return sum(threads.map(partial(_settle_account, pool, settings, now), cases.values()))


def _case(conn: Connection, one: InDoubt, account: Account, settings: Settings) -> _Case:
    changed_at, quarantine = one.account_changed_at, timedelta(seconds=settings.quarantine_s)
    case = _Case(
        one=one,
        account=account,
        doubt=Doubt(
            armed_at=one.armed_at,
            first_armed_at=one.first_armed_at,
            sent_again=one.sent_again,
            came_back=one.came_back,
            # A mail that was claimed before the change left by the account as it was then.
            account_changed=changed_at is not None and changed_at >= one.first_armed_at - quarantine,
            heard_of=one.heard_of,
        ),
    )
    match account.doubt_policy:
        case "evidence":
            after = doubts.witnesses_after(conn, account.id, one.armed_at + quarantine, limit=_NEIGHBOURS)
            case = replace(case, after=tuple(after))
            for dot in one.dots or [one.armed_at]:
                before, all_before = doubts.witnesses_before(conn, account.id, dot, since=changed_at, limit=_NEIGHBOURS)
                near = [each for each in before if dot - each.armed_at <= _NEAR] or before[:1]
                beside, all_beside = doubts.witnesses_within(conn, account.id, dot, dot + quarantine, limit=_NEIGHBOURS)
                case = replace(
                    case,
                    before=(*case.before, *near),
                    beside=(*case.beside, *beside),
                    reaches_back=case.reaches_back and (bool(near) or all_before),
                    reaches_on=case.reaches_on and (bool(beside) or all_beside),
                )
            return case
        case "provider_key":
            wanted = (account.key_header, idempotency_key(one.message_id))
            kept = [key_of(read_stored(letter)) for letter in doubts.letters(conn, one.id)]
            on_every_mail = bool(kept) and all(each == wanted for each in kept)
            return replace(case, key=Key(hours=account.key_hours or 0, on_every_mail=on_every_mail))
        case _:
            return case


def _settle_account(pool: Pool, settings: Settings, now: datetime, cases: list[_Case]) -> int:
    """Look, decide and write down; a mail of which that fails keeps no other from it, and is looked at again later."""
    policy = cases[0].account.doubt_policy
    settled = 0
    for case in _looked_at(cases) if policy == "evidence" else cases:
        try:
            decision = decide(
                policy,
                case.doubt,
                now=now,
                quarantine=timedelta(seconds=settings.quarantine_s),
                evidence=case.evidence,
                key=case.key,
            )
            settled += _write_down(pool, settings, now, case, decision)
        except Exception as error:  # noqa: BLE001 - of one mail
            _log_trouble(case.one, error)
    return settled


def _looked_at(cases: list[_Case]) -> list[_Case]:
    """The cases of one account with what its channel shows of them, without those of which it cannot be asked."""
    account = cases[0].account
    wanted = {case.one.message_id: case.one.recipient for case in cases}
    left_at = [case.one.first_armed_at for case in cases]
    for other in (each for case in cases for each in (*case.before, *case.beside, *case.after)):
        wanted[other.message_id] = other.recipient
        left_at.append(other.armed_at)
    try:
        traces = evidence.look(account.evidence or {}, wanted, min(left_at))
    except Unreadable as unreadable:
        log("evidence_unreadable", level="warning", account=account.id, error=str(unreadable))
        return [replace(case, evidence=Evidence(shows="unreadable")) for case in cases]
    except Exception as error:  # noqa: BLE001 - one mail that makes the channel fail is found by halving
        if len(cases) == 1:
            _log_trouble(cases[0].one, error)
            return []
        middle = len(cases) // 2
        return _looked_at(cases[:middle]) + _looked_at(cases[middle:])
    return [_shown(case, traces) for case in cases]


def _shown(case: _Case, traces: dict[str, Trace]) -> _Case:
    trace = traces.get(case.one.message_id)
    shown = Evidence(
        shows=trace.status if trace else "nothing",
        earlier=case.reaches_back and all(each.message_id in traces for each in case.before),
        gapless=case.reaches_on and all(each.message_id in traces for each in case.beside),
        later=any(each.message_id in traces for each in case.after),
    )
    return replace(case, evidence=shown, quote=trace.quote if trace else "")


def _write_down(pool: Pool, settings: Settings, now: datetime, case: _Case, decision: Decision) -> bool:
    """Do what was decided, where nothing has happened to the mail meanwhile. Returns whether its doubt is over."""
    one, words = case.one, case.quote or REASONS[decision.reason]["en"]
    with pool.connection() as conn:
        here = stored.read(conn)
        company = companies.companies(conn)[one.company_id]
        today = company.day(here.business_now)
        act(conn, actor=f"policy:{case.account.doubt_policy}", because=words, today=today)
        locked = resolutions.read(conn, one.id, lock=True)
        untouched = locked and (locked.state, locked.fence) == ("in_doubt", one.fence)
        if locked is None or not untouched or not is_ours(here, settings.instance):
            return False
        if doubts.heard_of(conn, one.id) != one.heard_of:  # while its evidence was read: decided anew at the next look
            return False
        if companies.accounts(conn).get(one.account_id) != case.account:  # what was decided is of the account as it was
            return False
        match decision.then:
            case "sent":
                resolutions.arrived(conn, locked, resolutions.day_it_left(locked, company, here), words)
            case "failed":
                resolutions.refused(conn, locked, today, words)
            case "again":
                resolutions.send_again(conn, locked, words, until=decision.until)
            case "wait" | "person":
                free_at = one.armed_at + timedelta(seconds=settings.quarantine_s)
                alert_at = free_at + ALERT_AFTER if decision.reason == "quarantine" else None
                look_s = _look_s(case, now, settings.quarantine_s)
                doubts.leave(conn, one.id, one.fence, reason=decision.reason, look_s=look_s, alert_at=alert_at)
                return False
        reached("settling_doubt")
    log("doubt_settled", reminder=one.id, then=decision.then, reason=decision.reason)
    return True


def _log_trouble(one: InDoubt, error: Exception) -> None:
    log("doubt_not_settled", level="warning", reminder=one.id, error=type(error).__name__)


def _look_s(case: _Case, now: datetime, quarantine_s: float) -> float:
    """Seconds until the next look: often at first, then ever more seldom, and once when its quarantine is over."""
    place = case.account.evidence
    often_s = min(evidence.CHANNELS[place["kind"]].again_s if place else _SELDOM_S, quarantine_s / 4)
    age_s = (now - case.one.armed_at).total_seconds()
    wait_s = min(max(often_s, age_s / 20), _SELDOM_S)
    return min(wait_s, quarantine_s - age_s) if age_s < quarantine_s else wait_s
