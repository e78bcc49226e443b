"""The instance at a glance: what waits, what runs and how fast, what failed, what is held and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

import redis

from operations import runs
from operations.pace import Pace, pace
from store import (
    audits,
    breakers,
    companies,
    doubts,
    freshness,
    inbox,
    lookups,
    mailboxes,
    rules,
    settings,
    standing,
    tasks,
)
from store.outbox import REMINDER_STATES
from workers.broker import QUEUES
from workers.identity import why_foreign
from workflow.doubt import ALERT_AFTER
from workflow.errors import InvalidInput
from workflow.limits import CLOSED, connections_now
from workflow.schedule import next_instants

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date

    from operations.runs import RunLine
    from store.audits import LastAudit
    from store.companies import Account, Company
    from store.connection import Connection
    from store.doubts import Standing
    from store.mailboxes import MailboxStanding
    from store.settings import Settings
    from store.standing import Held, Moving, Queues

_PATIENCE_S = 3.0
_ENDED = ("sent", "cancelled")
_NAMESPACE = "dramatiq"
# A worker says every second or so that it is there; what a dead one had fetched waits for the living.
_ALIVE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Whether the hints' server answers; by queue, the hints that no worker has fetched yet and those in work."""

    reachable: bool
    waiting: dict[str, int]
    in_work: dict[str, int]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStanding:
    """A mail account: mails accepted on the business day, what waits for the server and until when, its last error.

    `failures` to connect or to log in, in a row; after five nothing tries before `open_until`. `connections`: of a
    worker, fewer while the server says that there are too many.
    """

    name: str
    sent_today: int
    waiting_for_window: int
    waiting_for_server: int
    next_try_at: datetime | None
    last_error: str | None
    held_because: str | None
    failures: int
    open_until: datetime | None
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NextInstant:
    """When a rule is due next."""

    rule: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look. `foreign`: why nothing may be mailed from this host, None where it may.

    `days`: each company's business day; `pace`: by open run; `undated`: invoices that no reminder will follow for want
    of a due date, by company; `stale`: whose payment data are too old for firmer reminders, and since when; `events`:
    how many are parked and rejected; `audit`: the last one; `doubts`: mails in doubt for longer than 15 minutes, by
    reason; `tasks`: open ones by kind; `mailboxes`: how reading bounces and answers goes; `unreadable`: rules that fire
    for nobody, by title, and why.
    """

    instance: Settings
    foreign: str | None
    days: dict[str, date]
    schema: int
    reminders: dict[str, int]
    queues: Queues
    open_runs: tuple[RunLine, ...]
    pace: dict[int, Pace]
    last_runs: tuple[RunLine, ...]
    accounts: tuple[AccountStanding, ...]
    undated: dict[str, int]
    stale: dict[str, str]
    events: dict[str, int]
    audit: LastAudit | None
    tasks: dict[str, int]
    mailboxes: tuple[MailboxStanding, ...]
    doubts: tuple[Standing, ...]
    unreadable: dict[str, str]
    next_instants: tuple[NextInstant, ...]
    held: tuple[Held, ...]
    redis: Redis
    looked_at: datetime

    @property
    def sent_today(self) -> int:
        """Mails accepted on the business day."""
        return sum(account.sent_today for account in self.accounts)

    @property
    def per_s(self) -> float:
        """Mails that left each second, over the last minute, all open runs together."""
        return sum(pace.per_s for pace in self.pace.values())


def status(conn: Connection, redis_url: str, *, instance: str = "", ever: bool = True) -> Status:
    """Look at the rows and at Redis; a Redis that is away is part of the answer.

    `instance`: to which this host belongs, as the settings say it.
    `ever`: count all mails that were ever sent or cancelled too, for which the whole table is read.
    """
    here = settings.read(conn)
    now = settings.database_now(conn)
    sellers = companies.companies(conn)
    days = {company.id: company.day(here.business_now) for company in sellers.values()}
    moving = standing.moving(conn, days, since=_since(here, sellers.values(), now))
    last_minute = {one.run_id: one.last_minute for one in moving if one.open}
    open_runs = runs.lines(conn, list(last_minute))
    counted = standing.reminders_by_state(conn, ever=ever)
    titles = lookups.rule_titles(conn)
    unreadable = {titles[rule_id]: problem for rule_id, problem in rules.unreadable(conn).items()}
    coming, unfiring = _next_instants(conn, here, sellers)
    return Status(
        instance=here,
        foreign=why_foreign(here, instance),
        days={sellers[company_id].code: day for company_id, day in days.items()},
        schema=standing.schema_version(conn),
        reminders={state: counted.get(state, 0) for state in REMINDER_STATES if ever or state not in _ENDED},
        queues=standing.queues(conn),
        open_runs=tuple(open_runs),
        pace={
            line.run.id: pace(line.run, line.progress, last_minute=last_minute[line.run.id], now=now)
            for line in open_runs
        },
        last_runs=tuple(runs.latest(conn, 5)),
        accounts=tuple(_accounts(conn, companies.accounts(conn), moving, now)),
        undated=standing.undated(conn),
        audit=audits.last(conn),
        doubts=tuple(doubts.standing(conn, after_s=ALERT_AFTER.total_seconds())),
        stale={one.code: one.detail for one in freshness.of_companies(conn).values() if one.stale},
        events=inbox.troubled(conn),
        tasks=tasks.open_tasks(conn),
        mailboxes=tuple(mailboxes.standing(conn)),
        unreadable=unreadable | unfiring,
        next_instants=tuple(coming),
        held=tuple(standing.held(conn)),
        redis=hints(redis_url),
        looked_at=now,
    )


def _since(here: Settings, sellers: Collection[Company], now: datetime) -> datetime:
    """When the earliest of the companies' days began. A set clock's days are not the machine's: two days are enough."""
    if here.clock_is_set or not sellers:
        return now - timedelta(days=2)
    return min(datetime.combine(one.day(now), time.min, one.clock) for one in sellers)


def _accounts(
    conn: Connection, accounts: Mapping[int, Account], moving: list[Moving], now: datetime
) -> list[AccountStanding]:
    """Every account, those that do most first."""
    said = standing.errors(conn, [one.in_error for one in moving if one.in_error])
    broken = breakers.breakers(conn)
    found = []
    for account in accounts.values():
        mine = [one for one in moving if one.account_id == account.id]
        latest = max((one.in_error for one in mine if one.in_error), default=None)
        tries = [one.next_try_at for one in mine if one.next_try_at]
        breaker = broken.get(account.id)
        found.append(
            AccountStanding(
                name=account.name,
                sent_today=sum(one.sent_today for one in mine),
                waiting_for_window=sum(one.waiting_for_window for one in mine),
                waiting_for_server=sum(one.waiting_for_server for one in mine),
                next_try_at=min(tries, default=None),
                last_error=(said.get(latest) if latest else None) or (breaker.last_error if breaker else None),
                held_because=account.held_because,
                failures=breaker.failures if breaker else 0,
                open_until=breaker.probe_at if breaker else None,
                connections=connections_now(breaker or CLOSED, account.max_connections, now),
            )
        )
    return sorted(
        found,
        key=lambda one: (not one.held_because, not one.open_until, -one.waiting_for_server, -one.sent_today, one.name),
    )


def _next_instants(
    conn: Connection, here: Settings, sellers: Mapping[int, Company]
) -> tuple[list[NextInstant], dict[str, str]]:
    """Each rule's next instant, the nearest first, of active rules that are not held; and whose schedule is none."""
    found, unfiring = [], {}
    for saved in rules.saved(conn):
        if not saved.active or saved.held_because:
            continue
        after = max(here.business_now, saved.counting_from)
        try:
            coming = next_instants(saved.rule.schedule_lines, sellers[saved.company_id].clock, after, count=1)
        except InvalidInput as error:
            unfiring[saved.title] = str(error)
            continue
        found += [NextInstant(rule=saved.title, due_at=due_at) for due_at in coming]
    return sorted(found, key=lambda one: (one.due_at, one.rule)), unfiring


def hints(redis_url: str) -> Redis:
    """Ask Redis, for a few seconds at most."""
    queues = sorted(set(QUEUES.values()))
    try:
        with redis.Redis.from_url(redis_url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S) as client:
            seconds, _ = client.time()
            heard = f"{_NAMESPACE}:__heartbeats__"
            workers = [name.decode() for name in client.zrangebyscore(heard, (seconds - _ALIVE_S) * 1000, "+inf")]
            waiting = {queue: int(client.llen(f"{_NAMESPACE}:{queue}")) for queue in queues}
            in_work = {
                queue: sum(int(client.scard(f"{_NAMESPACE}:__acks__.{name}.{queue}")) for name in workers)
                for queue in queues
            }
    except redis.RedisError as error:
        return Redis(reachable=False, waiting={}, in_work={}, error=type(error).__name__)
    return Redis(reachable=True, waiting=waiting, in_work=in_work)
