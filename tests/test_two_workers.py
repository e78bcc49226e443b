"""Two worker processes under everything that goes wrong on a bad day; the mail server's journal is the judge.

kill -9 at random moments, a Redis that forgets all, doubled hints, two schedulers, payments meanwhile, a server that
takes a mail and hangs up. At rest: nothing twice, nobody chased who had paid, nothing missed in silence. Then a person
resolves what is in doubt by the evidence, and the books balance.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from operations.ledger import record_payment
from operations.resolve import resolve
from scripts.sink import Answer, Behaviour, Sink
from store.connection import connect, pool
from tests import witness
from tests.stories.telling import RESTLESS, Server, Story
from workers.broker import RedisHints
from workers.process import schedule, working
from workers.settings import Settings, check

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from scripts.sink_dialogue import Step
    from store.connection import Connection
    from tests.witness import Mail

HASTY = Settings(lease_s=2, answer_s=2, quarantine_s=5, hint_s=2, sweep_s=0.3, connections=4)
DUE_ON, BUSINESS_DAY = "2026-02-20", "2026-03-18"
LEVELS = (0, 1)
LAST_REMINDED = "2026-03-02"

# Every third customer has one invoice, the others two and three; half of the customers have had a first reminder.
_TRADE = """
WITH who AS (
    INSERT INTO customers (number, name, email)
    SELECT 'K-' || n, 'Client ' || n, 'client' || n || '@client.example' FROM generate_series(1, %(customers)s) AS n
    RETURNING id, substr(number, 3)::int AS n
)
INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on, state,
                      last_reminded_on)
SELECT (SELECT id FROM companies), who.id, 'FA-' || who.n || k, 'EUR', 100 + k, 100 + k, '2026-01-20',
       %(due_on)s::date, CASE WHEN who.n %% 2 = 0 THEN 'level_0' ELSE 'level_1' END,
       CASE WHEN who.n %% 2 = 1 THEN %(reminded)s::date END
  FROM who CROSS JOIN generate_series(1, 3) AS k WHERE k <= 1 + who.n %% 3
"""


class Worker:
    """A worker process, killed and started again."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._environment = {
            **os.environ,
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "RELANCE_CONNECTIONS": str(settings.connections),
            "RELANCE_LEASE_S": str(settings.lease_s),
            "RELANCE_ANSWER_S": str(settings.answer_s),
            "RELANCE_QUARANTINE_S": str(settings.quarantine_s),
        }
        self._log = log.open("ab")
        self.kills = 0
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "scripts.main", "worker", "--child", "--threads", "3"]
        return subprocess.Popen(command, env=self._environment, stderr=self._log)

    def kill(self) -> None:
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        self.kills += 1
        self._child = self._start()

    def stop(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(30)
        finally:
            self._child.kill()
            self._child.wait()
            self._log.close()


@dataclass
class Trouble:
    """What goes wrong on purpose. The payments, and when each was surely committed, by the database's clock."""

    seed: int
    paid: dict[str, datetime] = field(default_factory=dict)
    hinted: int = 0
    flushed: int = 0

    def verdict(self, drops: float = 0.02) -> Callable[[str, tuple[str, ...], Step], Answer | str | None]:
        chance = random.Random(self.seed)  # noqa: S311 - chaos, not secrets

        def answer(_sender: str, recipients: tuple[str, ...], step: Step) -> Answer | str | None:
            if step == "rcpt" and recipients[-1].endswith("7@client.example"):
                return "550 5.1.1 no such user" if chance.random() < 0.3 else None
            if step == "data":
                return Answer(delay_s=chance.random() * 0.06)
            if step == "dot":
                return Answer(delay_s=chance.random() * 0.2, drop=chance.random() < drops)
            return None

        return answer

    def pay(self, url: str, over: threading.Event) -> None:
        chance = random.Random(self.seed + 1)  # noqa: S311 - chaos, not secrets
        with connect(url) as conn:
            owed = conn.execute(
                "SELECT i.number, c.number, i.balance FROM invoices i JOIN customers c ON c.id = i.customer_id"
            ).fetchall()
            conn.commit()
            chance.shuffle(owed)
            for number, customer, balance in owed[: len(owed) // 6]:
                if over.wait(0.04):
                    return
                record_payment(
                    conn, company="NORD", customer=customer, invoice=number, amount=balance, currency="EUR",
                    received_on=conn.execute("SELECT '2026-03-18'::date").fetchall()[0][0], reference=f"VIR-{number}",
                    by="user:marie",
                )  # fmt: skip
                conn.commit()
                self.paid[number] = conn.execute("SELECT clock_timestamp()").fetchall()[0][0]
                conn.commit()

    def double_hints(self, url: str, redis_url: str, over: threading.Event) -> None:
        hints = RedisHints(redis_url)
        with connect(url) as conn:
            conn.autocommit = True
            while not over.wait(0.05):
                mails = [row[0] for row in conn.execute("SELECT id FROM reminders ORDER BY random() LIMIT 5")]
                for run_id, number in conn.execute("SELECT run_id, number FROM chunks"):
                    hints.give("rule_due", run_id)
                    hints.give("advance_chunk", run_id, number)
                    hints.give("close_run", run_id)
                if mails:
                    hints.give("send_reminders", mails)
                    hints.give("send_reminders", mails)
                    hints.give("apply_effects", mails)
                    self.hinted += 1

    def kill_and_flush(self, workers: list[Worker], sink: Sink, redis_url: str, kills: int, mails: int) -> None:
        """Kill one of them whenever some more mails have left, so that every death meets mails on their way."""
        chance = random.Random(self.seed + 2)  # noqa: S311 - chaos, not secrets
        for turn in range(kills):
            wait_for_mails(sink, (turn + 1) * mails // (kills + 1))
            time.sleep(chance.random() * 0.2)
            chance.choice(workers).kill()
            if turn == kills // 2:
                with redis.Redis.from_url(redis_url) as client:
                    client.flushdb()
                self.flushed += 1


def at_rest(url: str, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    with connect(url) as conn:
        conn.autocommit = True
        while True:
            restless = [row[0] for row in conn.execute(RESTLESS.encode())]
            if not restless and conn.execute("SELECT count(*) FROM runs").fetchall() != [(0,)]:
                return
            assert time.monotonic() < until, f"not at rest: {restless[:20]}"
            time.sleep(0.1)


@contextlib.contextmanager
def running(*targets: Callable[[], None]) -> Generator[None]:
    """Threads for the time of the block; what one of them raises is raised."""
    failures: list[BaseException] = []

    def kept(target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as failure:  # noqa: BLE001 - raised in the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=kept, args=[target]) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def check_payments(conn: Connection, accepted: list[Mail], paid: dict[str, datetime]) -> None:
    """I3: no mail was armed after the payment of an invoice that it claims was committed."""
    armed = {
        (reminder_id, sha256): at
        for reminder_id, sha256, at in conn.execute(
            "SELECT m.reminder_id, encode(m.sha256, 'hex'), a.at FROM mails m JOIN attempts a"
            " ON a.reminder_id = m.reminder_id AND a.fence = m.fence AND a.step = 'armed'"
        )
    }
    late = [
        (number, mail.message_id)
        for mail in accepted
        for number in mail.invoices
        if number in paid and mail.reminder is not None and armed[mail.reminder, mail.sha256] > paid[number]
    ]
    assert late == []


def check_nothing_missed(conn: Connection, before: dict[str, int]) -> None:
    """I2 and I4: every invoice went up by one level, or says why not; none went up by two."""
    silent = []
    for number, state, level, balance, outcome, mail, deferred in conn.execute(
        "SELECT i.number, i.state, i.level, i.balance, ri.outcome, r.state, r.waits_for = 'server' FROM invoices i"
        "  LEFT JOIN LATERAL (SELECT * FROM reminder_invoices ri WHERE ri.invoice_id = i.id"
        "                      ORDER BY ri.reminder_id DESC LIMIT 1) ri ON true"
        "  LEFT JOIN reminders r ON r.id = ri.reminder_id"
    ):
        known = (
            (outcome, mail) == ("accepted", "sent") and level == before[number] + 1,
            (outcome, mail) == ("in_doubt", "in_doubt") and level == before[number],
            (outcome, mail) == ("failed", "failed") and level == before[number],
            (outcome, mail, deferred) == ("planned", "due", True) and level == before[number],  # leaves in a minute
            state == "settled" and balance == 0 and level == before[number],
        )
        if sum(known[:4]) != 1 and not known[4]:
            silent.append((number, state, level, outcome, mail))
    assert silent == []


def levels(conn: Connection) -> dict[str, int]:
    return dict(conn.execute("SELECT number, level FROM invoices").fetchall())


@pytest.mark.parametrize(
    ("customers", "kills"),
    [
        pytest.param(200, 3, marks=pytest.mark.timeout(120)),
        pytest.param(4000, 40, marks=[pytest.mark.long, pytest.mark.timeout(400)]),
    ],
)
def test_two_workers_send_each_mail_once_whatever_happens(
    database_url: str, redis_url: str, tmp_path: Path, customers: int, kills: int
) -> None:
    check(HASTY)
    settings = replace(HASTY, database_url=database_url, redis_url=redis_url)
    trouble = Trouble(seed=kills)
    with (
        Sink(tmp_path / "sink", behaviour=Behaviour(verdict=trouble.verdict())) as sink,
        contextlib.ExitStack() as stack,
    ):
        before = open_trade(settings, sink, customers)
        workers = []
        for name in ("one", "two"):
            workers.append(Worker(settings, tmp_path / f"{name}.log"))
            stack.callback(workers[-1].stop)
        over, stop = threading.Event(), threading.Event()
        stack.callback(over.set)
        with running(lambda: schedule(settings, stop), lambda: schedule(settings, stop)):
            try:
                with running(
                    lambda: trouble.pay(database_url, over),
                    lambda: trouble.kill_and_flush(workers, sink, redis_url, kills, customers * 3 // 4),
                    lambda: trouble.double_hints(database_url, redis_url, over),
                ):
                    try:
                        wait_until(lambda: sum(worker.kills for worker in workers) == kills, 60 + kills * 5)
                    finally:
                        over.set()
                at_rest(database_url, 60)
                seen = witness.mails(sink)
                with connect(database_url) as conn:
                    witness.check_promises(conn, sink, seen)
                    check_payments(conn, seen, trouble.paid)
                    check_nothing_missed(conn, before)
                resolve_by_evidence(settings, sink)
                at_rest(database_url, 60)
            finally:
                stop.set()
        seen = witness.mails(sink)
        with connect(database_url) as conn:
            witness.check_promises(conn, sink, seen)
            check_payments(conn, seen, trouble.paid)
            check_nothing_missed(conn, before)
            in_doubt_and_owed = (
                "SELECT i.number FROM invoices i JOIN reminder_invoices ri ON ri.invoice_id = i.id"
                " WHERE ri.outcome = 'in_doubt' AND i.balance > 0 AND NOT EXISTS (SELECT FROM reminder_invoices o"
                " JOIN invoices p ON p.id = o.invoice_id WHERE o.reminder_id = ri.reminder_id AND p.balance = 0)"
            )
            assert conn.execute(in_doubt_and_owed).fetchall() == []
            runs = conn.execute("SELECT count(*), count(DISTINCT rule_id) FROM runs").fetchall()
            (fence,) = conn.execute("SELECT max(fence) FROM reminders").fetchall()
        assert runs == [(3, 3)]
        assert (trouble.flushed, trouble.hinted > 0, len(trouble.paid) > 0) == (1, True, True)
        assert fence[0] > 1, "no death ever met a mail: the harness is blind"


def test_the_usual_way_is_caught_by_the_same_judge(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """What people write with cron, "not known to be sent, so send it again", under the same server: it mails twice."""
    hasty = replace(HASTY, lease_s=1, answer_s=1, dot_budget_s=0.9, sweep_s=1000, database_url=database_url)
    settings = replace(hasty, redis_url=redis_url)
    trouble = Trouble(seed=3)

    def forget_the_doubt(over: threading.Event) -> None:
        with connect(database_url) as conn:
            conn.autocommit = True
            while not over.wait(0.1):
                conn.execute(
                    "UPDATE reminders SET state = 'due', lease_until = NULL, hinted_until = '-infinity'"
                    " WHERE state = 'armed' AND lease_until < clock_timestamp()"
                )

    with Sink(tmp_path / "sink", behaviour=Behaviour(verdict=trouble.verdict(drops=0.3))) as sink:
        open_trade(settings, sink, 30)
        over = threading.Event()
        with working(settings, threads=2), running(lambda: schedule(settings, over), lambda: forget_the_doubt(over)):
            try:
                wait_until(lambda: bool(sink.duplicates()), 60)
            finally:
                over.set()
        with connect(database_url) as conn, pytest.raises(AssertionError):
            witness.check_promises(conn, sink, witness.mails(sink))


def open_trade(settings: Settings, sink: Sink, customers: int) -> dict[str, int]:
    """A test instance on its business day with these customers' invoices, and three rules due. Their levels before."""
    with pool(settings.database_url, actor="scheduler:test:1", size=1) as connections:
        story = Story(
            database_url=settings.database_url,
            redis_url=settings.redis_url,
            settings=settings,
            pool=connections,
            sink=sink,
            server=Server(),
        ).open()
        with connect(settings.database_url) as conn:
            parameters = {"customers": customers, "due_on": DUE_ON, "reminded": LAST_REMINDED}
            conn.execute(_TRADE.encode(), parameters)
            before = levels(conn)
        story.clock(BUSINESS_DAY, "09:30")
    return before


def wait_for_mails(sink: Sink, count: int) -> None:
    wait_until(lambda: len(sink.mails()) >= count, 90)


def wait_until(holds: Callable[[], bool], patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def resolve_by_evidence(settings: Settings, sink: Sink) -> None:
    """A person reads the journal: what is in it arrived; what is not, once it can no longer come, goes again."""
    time.sleep(settings.quarantine_s)
    taken = {line.message_id for line in sink.mails()}
    with connect(settings.database_url) as conn:
        doubtful = conn.execute("SELECT id, message_id FROM reminders WHERE state = 'in_doubt' ORDER BY id").fetchall()
        for reminder_id, message_id in doubtful:
            resolve(
                conn,
                reminder_id,
                "arrived" if message_id in taken else "send again",
                because="the server's journal",
                quarantine_s=settings.quarantine_s,
                dry_run=False,
                by="user:marie",
            )


def test_a_worker_whose_supervisor_is_gone_ends_by_itself(database_url: str, redis_url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    orphan = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-m', 'scripts.main', 'worker', '--child'], stderr=subprocess.PIPE);"
        "child.stderr.readline(); print(child.pid, flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", orphan], env=environment, stdout=subprocess.PIPE, check=True, timeout=60
    )
    pid = int(done.stdout)
    wait_until(lambda: not alive(pid), 30)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # where there is none, nobody leaves a zombie to be taken for the living
    try:
        return " Z " not in stat.read_text(encoding="ascii")
    except FileNotFoundError:
        return not stat.parent.parent.exists()
