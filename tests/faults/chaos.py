"""A run: rounds of trouble, each ended by rest, a person who resolves what is in doubt, and the next business day."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import psycopg
import redis

from operations.lookup import find_rule
from operations.resolve import resolve
from operations.run import run_by_hand, set_business_clock
from scripts.embedded import throwaway
from scripts.sink import Behaviour, Sink
from store.connection import connect, pool
from store.migrations import migrate
from tests.faults import ledgers, naive
from tests.faults.book import Book, Round, clock, day_of
from tests.faults.business import Business
from tests.faults.checker import Judge, Verdict
from tests.faults.doubts import ever_in_doubt, settled, unsettled
from tests.faults.mailserver import MailServer
from tests.faults.processes import Troop
from tests.faults.proxy import DatabaseProxy, MailProxy
from tests.faults.services import Loss, Services
from tests.postfix import Following
from tests.stories.telling import MACHINE_TIME_GOES_ON, MARIE, PARIS, RESTLESS, Server, Story
from workers.broker import RedisHints
from workers.settings import Settings, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from operations.resolve import Answer
    from scripts.embedded import Servers
    from tests.faults.proxy import AtCommit, Transaction
    from workflow.doubt import Policy

# Not the ratios of production, where one answer may take ten minutes; their order is the same.
_TIMES: Final = Settings(
    connections=4,
    lease_s=2,
    answer_s=2,
    quarantine_s=7,
    hint_s=2,
    sweep_s=0.3,
    dot_budget_s=1,
    breaker_s=1,
    close_s=240,
)
_PRODUCT: Final = ("worker", "worker", "worker", "scheduler", "scheduler", "scheduler")
_NAIVE: Final = ("naive", "naive", "naive", "naive-cron", "naive-cron")
# How often each happens, a second.
_RATES: Final = {
    "kill worker": 0.1, "kill scheduler": 0.04, "freeze worker": 0.06, "freeze scheduler": 0.03, "stop worker": 0.06,
    "at commit": 0.3, "cut mail": 0.06, "cut database": 0.04, "double hints": 0.5, "lose a service": 0.2,
}  # fmt: skip
LOSSES: Final[tuple[Loss, ...]] = (
    "redis flushed", "postgres stopped at once", "redis killed", "postgres killed", "redis frozen",
    "redis restarted empty", "redis out of memory",
)  # fmt: skip
_COMMITS: Final[tuple[AtCommit, ...]] = (
    "killed before it", "killed after it", "its answer lost", "the connection cut before it"
)  # fmt: skip
_TRANSACTIONS: Final[tuple[Transaction, ...]] = ("arms", "sends", "any")
# A second of this run is a minute of back-off: the ladder of 1, 5, 15 minutes is no setting.
_MINUTES_A_SECOND: Final = 1.0
# At worst, until the first mail of a round leaves.
_PATIENCE_S: Final = 20.0
_NAIVE_REST_S: Final = 5.0
_WAITING: Final = "SELECT 'reminder ' || id || ' waits' FROM reminders WHERE open AND state = 'due'"
# The scheduler may have been dead all the while: each rule's run of the round's day, at nine, is there.
_PLANNED: Final = """
SELECT NOT EXISTS (SELECT FROM rules u WHERE u.active AND NOT EXISTS (
    SELECT FROM runs n WHERE n.rule_id = u.id AND n.due_at > s.business_now - interval '12 hours'))
  FROM settings s
"""
_NAIVE_LEFT: Final = "SELECT 'naive ' || id FROM naive_reminders WHERE NOT sent"


def times(factor: float) -> Settings:
    """All timers of a run, scaled by one factor."""
    names = ("lease_s", "answer_s", "quarantine_s", "hint_s", "sweep_s", "dot_budget_s", "breaker_s", "close_s")
    settings = replace(_TIMES, **{name: getattr(_TIMES, name) * factor for name in names})
    check(settings)
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`customers`: new ones a round; `chaos_s`: for how long a round's trouble lasts.

    `rates`: what happens how often a second; `planned`: processes die at steps, chosen by chance; `plans`: these
    instead, each process once; `commits`: these alone are met; `fair`: mail server and network are.
    `policy`: what becomes of mails in doubt.
    """

    seed: int
    rounds: int
    chaos_s: float
    customers: int
    factor: float = 1.0
    naive: bool = False
    rates: Mapping[str, float] = field(default_factory=lambda: _RATES)
    losses: tuple[Loss, ...] = LOSSES
    planned: bool = True
    plans: tuple[str, ...] = ()
    commits: tuple[tuple[Transaction, AtCommit], ...] = ()
    fair: bool = False
    policy: Policy = "hold"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What happened in a run, and what the judge makes of it."""

    wanted: Wanted
    verdict: Verdict
    deaths: Counter[str]
    freezes: Counter[str]
    stops: int
    losses: Counter[str]
    troubles: Counter[str]
    business: Counter[str]
    in_doubt: int
    resolved: Counter[str]
    alone_s: list[float]
    longest_timer_s: float
    wall_s: float


@dataclass(slots=True, kw_only=True)
class _Stage:
    """Everything that a run has at hand."""

    wanted: Wanted
    settings: Settings
    servers: Servers
    sink: Sink
    server: MailServer
    mail_proxy: MailProxy
    database_proxy: DatabaseProxy
    services: Services
    troop: Troop
    business: Business
    book: Book
    chance: random.Random
    doubts: int = 0
    resolved: Counter[str] = field(default_factory=Counter)
    alone_s: list[float] = field(default_factory=list)
    losses: Iterator[Loss] = field(default_factory=lambda: iter(()))


def run(wanted: Wanted, *, told: Callable[[str], None] = lambda _line: None) -> Outcome:
    """Run it; `told` hears how it goes on."""
    began = time.monotonic()
    settings = times(wanted.factor)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relance-faults-")))
        servers = stack.enter_context(throwaway())
        stage = _set(stack, wanted, settings, servers, folder)
        for number in range(wanted.rounds):
            _round(stage, number)
            told(
                f"round {number + 1} of {wanted.rounds}: {len(stage.sink.mails())} mails,"
                f" {len(stage.troop.deaths)} deaths, alone again after {stage.alone_s[-1]:.1f} s"
            )
        stage.business.end()
        stage.troop.end()
        with connect(servers.database_url) as conn:
            if wanted.policy == "evidence":
                stage.doubts = ever_in_doubt(conn)
                stage.resolved += settled(conn)
            judge = Judge(stage.book, ledgers.read(conn, stage.sink), stage.server.refused, stage.troop.deaths)
        verdict = judge.judge(sorted(folder.glob("*.log")))
        return Outcome(
            wanted=wanted,
            verdict=verdict,
            deaths=Counter(f"{death.role}: {death.step}" for death in stage.troop.deaths),
            freezes=Counter(stage.troop.freezes),
            stops=stage.troop.stops,
            losses=Counter(stage.services.losses.elements()),
            troubles=stage.server.troubles
            + Counter({f"network: {name}": count for name, count in stage.mail_proxy.troubles.items()})
            + Counter({f"commit: {name}": count for name, count in stage.database_proxy.done.items()}),
            business=stage.business.done,
            in_doubt=stage.doubts,
            resolved=stage.resolved,
            alone_s=stage.alone_s,
            longest_timer_s=settings.armed_lease_s + settings.hint_s,
            wall_s=time.monotonic() - began,
        )


def _set(stack: contextlib.ExitStack, wanted: Wanted, settings: Settings, servers: Servers, folder: Path) -> _Stage:
    """Set the stage: servers, proxies, company and rules; the processes start at once."""
    kind = f"{wanted.seed}"
    server = MailServer(seed=f"{kind} server", answer_s=settings.answer_s)
    sink = stack.enter_context(Sink(folder / "sink", behaviour=Behaviour(verdict=server.verdict)))
    mail_proxy = stack.enter_context(
        MailProxy(sink.port, seed=f"{kind} network", longest_stall_s=settings.answer_s * 1.5)
    )
    troops: list[Troop] = []
    database_proxy = stack.enter_context(
        DatabaseProxy(folder / "db", servers.folder, kill=lambda pid, step: troops[0].kill_process(pid, step))  # noqa: PLW0108 - not there yet
    )
    through = f"postgresql://relance@/relance?host={quote(str(folder / 'db'), safe='')}&hostaddr=&port=5432"
    account: dict[str, Any] = {"port": mail_proxy.port, "doubt_policy": wanted.policy}
    if wanted.policy == "evidence":
        (folder / "smarthost").mkdir()
        log = folder / "smarthost" / "mail.log"
        account["evidence"] = {"kind": "postfix_log", "path": str(log)}
        luck = random.Random(f"{kind} log")  # noqa: S311 - chaos, not secrets
        stack.enter_context(Following(sink, log, chance=luck, latest_s=settings.quarantine_s / 2))
    _open_trade(servers, settings, sink, account)
    if wanted.naive:
        with connect(servers.database_url) as conn:
            conn.execute(naive.TABLE.encode())
    names = ("connections", "lease_s", "answer_s", "quarantine_s", "hint_s", "sweep_s", "dot_budget_s", "breaker_s")
    environment = {f"RELANCE_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= {"DATABASE_URL": through, "REDIS_URL": servers.redis_url}
    troop = Troop(
        _NAIVE if wanted.naive else _PRODUCT,
        environment=environment,
        folder=folder,
        seed=f"{kind} troop",
        freeze_s=settings.armed_lease_s + 1,
    )
    troops.append(troop)
    stack.callback(troop.end)
    book = Book()
    business = Business(servers.database_url, book, seed=f"{kind} business", pause_s=0.2)
    business.start()
    stack.callback(business.end)
    chance = random.Random(f"{kind} chaos")  # noqa: S311 - chaos, not secrets
    return _Stage(
        wanted=wanted,
        settings=settings,
        servers=servers,
        sink=sink,
        server=server,
        mail_proxy=mail_proxy,
        database_proxy=database_proxy,
        services=Services(servers, seed=f"{kind} services", away_s=settings.lease_s),
        troop=troop,
        business=business,
        book=book,
        chance=chance,
        losses=_in_turn(wanted.losses, chance),
    )


def _in_turn(losses: Sequence[Loss], chance: random.Random) -> Iterator[Loss]:
    """Each loss once before any comes again."""
    while True:
        yield from chance.sample(losses, len(losses))


def _open_trade(servers: Servers, settings: Settings, sink: Sink, account: Mapping[str, Any]) -> None:
    with connect(servers.database_url) as conn:
        migrate(conn)
    with pool(servers.database_url, actor="scheduler:test:1", size=1) as connections:
        story = Story(
            database_url=servers.database_url, redis_url=servers.redis_url, settings=settings, pool=connections,
            sink=sink, server=Server(),
        ).open()  # fmt: skip
        story.company(send_on_holidays=True, run_times_usual=None, run_share_percent=None).account(**account)


def _round(stage: _Stage, number: int) -> None:
    day = day_of(number)
    url = stage.servers.database_url
    stage.book.open_customers(url, stage.wanted.customers, day)
    with connect(url) as conn:
        start = clock(conn)
    if stage.wanted.planned or stage.wanted.plans:
        stage.troop.stir(stage.wanted.plans)
    with connect(url) as conn:
        set_business_clock(
            conn, datetime.combine(day, datetime.min.time(), PARIS).replace(hour=9, minute=30), by="system"
        )
    _calm(stage, calm=False)
    stage.business.work(day)
    _trouble(stage)
    stage.business.rest()
    _calm(stage, calm=True)
    stage.troop.rest()
    since = time.monotonic()
    _rest(stage)
    stage.alone_s.append(time.monotonic() - since)
    if stage.wanted.policy == "evidence":
        _let_evidence_speak(stage, day)
    if not stage.wanted.naive:
        _resolve(stage)
    with connect(url) as conn:
        stage.book.rounds.append(Round(day=day, start=start, end=clock(conn)))


def _calm(stage: _Stage, *, calm: bool) -> None:
    stage.database_proxy.calm = calm
    stage.server.calm = stage.mail_proxy.calm = calm or stage.wanted.fair


def _trouble(stage: _Stage) -> None:
    """Let everything go wrong from now on, and for a while after the first mail has left, each thing at its rate."""
    before, last = len(stage.sink.mails()), time.monotonic()
    until = last + _PATIENCE_S
    patient = last + _PATIENCE_S * 3  # a policy settles what a worker's death has left
    begun = False
    while time.monotonic() < (patient if stage.wanted.plans and not _met(stage) else until):
        if not begun and len(stage.sink.mails()) > before:
            begun, until = True, time.monotonic() + stage.wanted.chaos_s
        time.sleep(0.05)
        stage.troop.tend()
        _time_goes_on(stage, time.monotonic() - last)
        passed, last = time.monotonic() - last, time.monotonic()
        for what, rate in stage.wanted.rates.items():
            if stage.chance.random() < rate * min(passed, 1):
                _happen(stage, what)


def _met(stage: _Stage) -> bool:
    """Whether every plan has been met by one process at least."""
    met = {death.step for death in stage.troop.deaths} | stage.troop.freezes.keys()
    return all(plan.split()[0] in met for plan in stage.wanted.plans)


def _happen(stage: _Stage, what: str) -> None:
    naive_way = stage.wanted.naive
    verb, _, rest = what.partition(" ")
    role = {"worker": "naive", "scheduler": "naive-cron"}.get(rest, rest) if naive_way else rest
    match verb:
        case "kill":
            stage.troop.kill(role)
        case "freeze":
            stage.troop.freeze(role)
        case "stop" if not naive_way:
            stage.troop.terminate(role)
        case "at":
            wanted = stage.wanted.commits or [
                (transaction, then) for transaction in (("any",) if naive_way else _TRANSACTIONS) for then in _COMMITS
            ]
            stage.database_proxy.at_next_commit(*stage.chance.choice(wanted))
        case "cut":
            (stage.mail_proxy if rest == "mail" else stage.database_proxy).cut_all()
        case "double" if not naive_way:
            _double_hints(stage)
        case "lose":
            stage.services.lose(next(stage.losses))


def _double_hints(stage: _Stage) -> None:
    """One message to two workers, and a hint for what is long done."""
    with contextlib.suppress(psycopg.Error, redis.RedisError), connect(stage.servers.database_url) as conn:
        hints = RedisHints(stage.servers.redis_url)
        mails = [row[0] for row in conn.execute("SELECT id FROM reminders ORDER BY id DESC LIMIT 30")]
        for run_id, number in conn.execute("SELECT run_id, number FROM chunks ORDER BY run_id DESC LIMIT 6"):
            hints.give("rule_due", run_id)
            hints.give("advance_chunk", run_id, number)
            hints.give("close_run", run_id)
        if mails:
            for actor in ("send_reminders", "send_reminders", "apply_effects"):
                hints.give(actor, stage.chance.sample(mails, min(5, len(mails))))


def _time_goes_on(stage: _Stage, seconds: float) -> None:
    """Minutes of back-off are seconds here."""
    by = {"by": f"{seconds * _MINUTES_A_SECOND} minutes"}
    with contextlib.suppress(psycopg.Error), connect(stage.servers.database_url) as conn:
        conn.execute("SET lock_timeout = '50ms'")
        for statement in MACHINE_TIME_GOES_ON:
            with contextlib.suppress(psycopg.errors.LockNotAvailable), conn.transaction():
                conn.execute(statement.encode(), by)


def _rest(stage: _Stage) -> None:
    """Until nothing is left to do but what a person is to do."""
    questions = [_NAIVE_LEFT] if stage.wanted.naive else [RESTLESS, _WAITING]
    patience_s = _NAIVE_REST_S if stage.wanted.naive else 30 + 30 * stage.wanted.factor
    until = time.monotonic() + patience_s
    last = time.monotonic()
    while True:
        stage.troop.tend()
        _time_goes_on(stage, time.monotonic() - last)
        last = time.monotonic()
        with connect(stage.servers.database_url) as conn:
            restless = [row[0] for question in questions for row in conn.execute(question.encode())]
            planned = conn.execute(_PLANNED).fetchone() == (True,)
        if not restless and (planned or stage.wanted.naive):
            return
        if time.monotonic() > until:
            if stage.wanted.naive:
                return
            raise AssertionError(f"not at rest after {patience_s:g} s: {restless[:20]}")
        time.sleep(0.1)


def _let_evidence_speak(stage: _Stage, day: date) -> None:
    """Once their quarantine is over, another mail leaves; then what evidence can settle is settled."""
    until = time.monotonic() + 60 + 60 * stage.wanted.factor
    while True:
        with connect(stage.servers.database_url) as conn:
            waiting, free_at = unsettled(conn, stage.settings.quarantine_s)
            if free_at is None:
                return
            left_s = (free_at - clock(conn)).total_seconds()
            if left_s <= 0:
                stage.book.open_customers(stage.servers.database_url, 3, day)
                run_by_hand(conn, find_rule(conn, "Relance 1"), by=MARIE)
        assert time.monotonic() < until, f"evidence has not settled {waiting} mails"
        time.sleep(max(0.0, left_s) + 0.1)
        _rest(stage)
        time.sleep(stage.settings.quarantine_s / 4)


def _resolve(stage: _Stage) -> None:
    """A person looks in the sink's journal once the quarantine is over: it arrived, goes again, or is let go."""
    asked_before: set[int] = set()
    for _ in range(4):
        with connect(stage.servers.database_url) as conn:
            doubtful = conn.execute(
                "SELECT id, message_id, armed_at FROM reminders WHERE state = 'in_doubt' ORDER BY id"
            ).fetchall()
            if not doubtful:
                return
            free_at = max(row[2] for row in doubtful).timestamp() + stage.settings.quarantine_s
            time.sleep(max(0.0, free_at - clock(conn).timestamp()) + 0.05)
            taken = {line.message_id for line in stage.sink.mails()}
            for reminder_id, message_id, _ in doubtful:
                answer: Answer = "arrived"
                if message_id not in taken:
                    # What comes back without having left is about something paid or disputed meanwhile.
                    answer = "lost" if reminder_id in asked_before else "send again"
                if reminder_id not in asked_before:
                    stage.doubts += 1
                asked_before.add(reminder_id)
                resolve(
                    conn, reminder_id, answer, because="the server's journal", quarantine_s=stage.settings.quarantine_s,
                    dry_run=False, by=MARIE,
                )  # fmt: skip
                conn.commit()
                stage.resolved[answer] += 1
        _rest(stage)
