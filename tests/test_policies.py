"""A worker is killed with its dot on the wire, or just before: each policy makes of it what it promises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operations.customers import save_contact, save_customer
from operations.run import run_by_hand
from scripts.sink import Behaviour
from store.connection import connect, pool
from tests.chasing import committed_chase, decide_run, decided_run, one, send_all
from tests.postfix import Following
from tests.provider import Provider
from tests.trade import invoice, open_account
from workers.broker import RedisHints
from workers.doubts import settle_doubts
from workers.relay import relay
from workers.settings import Settings
from workers.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.connection import Pool
    from store.rules import SavedRule

ROOT = Path(__file__).resolve().parents[1]
ANA = "ana@dupont.example"
QUICK = Settings(connections=1, lease_s=1, answer_s=1, quarantine_s=2.5, dot_budget_s=0.9, hint_s=1)
PATIENCE_S = 30.0
LOST, TAKEN = "at_dot", "dot_written"


class Desk:
    def __init__(self, settings: Settings, sink: Provider, log: Following, connections: Pool, told: Path) -> None:
        self.url = settings.database_url
        self.sink = sink
        self.log = log
        self._settings = settings
        self._pool = connections
        self._told = told
        self._rule: SavedRule = committed_chase(self.url, port=sink.port)

    def account(self, **changes: Any) -> None:  # noqa: ANN401 - as save_account takes them
        with connect(self.url) as conn:
            open_account(conn, "sortie", host="127.0.0.1", port=self.sink.port, security="plain", **changes)
            # It has been so for long; the journal is append-only otherwise.
            conn.execute("ALTER TABLE journal DISABLE TRIGGER USER")
            conn.execute("UPDATE journal SET at = at - interval '1 day'")
            conn.execute("ALTER TABLE journal ENABLE TRIGGER USER")

    def killed(self, step: str) -> None:
        """A worker of its own process is killed at this step of Ana's mail, which is in doubt at last."""
        names = ("connections", "lease_s", "answer_s", "quarantine_s", "dot_budget_s", "hint_s")
        environment = {f"RELANCE_{name.upper()}": str(getattr(self._settings, name)) for name in names}
        environment |= {"DATABASE_URL": self.url, "REDIS_URL": self._settings.redis_url}
        environment |= {"FAULTS_PLAN": f"{step} 1 KILL", "FAULTS_TOLD": str(self._told)}
        decided_run(self.url, self._rule)
        self._told.touch()
        hints = RedisHints(self._settings.redis_url)
        command = [sys.executable, "-m", "tests.faults.child", "worker"]
        child = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.DEVNULL)
        try:
            self._until(lambda: child.poll() is not None, lambda: relay(self._pool, hints, self._settings))
        finally:
            child.kill()
            child.wait()
        assert child.returncode == -signal.SIGKILL
        self._until(lambda: self.state() == "in_doubt", lambda: sweep(self._pool))

    def another(self) -> None:
        """Another customer's mail leaves through a worker that lives."""
        with connect(self.url) as conn:
            number = f"K-{one(conn, 'SELECT count(*) FROM customers')}"
            save_customer(conn, number=number, name="Autre", by="user:marie")
            save_contact(conn, customer=number, name="B", email="b@autre.example", roles=["dunning"], by="user:marie")
            invoice(conn, f"FA-9{number[2:]}", "10.00", customer=number)
            conn.execute("UPDATE invoices SET held_because = 'later', held_at = now() WHERE number IN ('FA-1', 'FA-2')")
            run_id = run_by_hand(conn, self._rule, by="user:marie").run_id
        decide_run(self.url, run_id)
        send_all(self.url, run_id)
        with connect(self.url) as conn:
            conn.execute("UPDATE invoices SET held_because = NULL, held_at = NULL WHERE number IN ('FA-1', 'FA-2')")

    def quarantined(self) -> None:
        """The quarantine is over."""
        free = "SELECT clock_timestamp() > armed_at + make_interval(secs => %s) FROM reminders WHERE recipient = %s"
        self._until(lambda: bool(self._ask(free, self._settings.quarantine_s, ANA)))

    def settled(self) -> str:
        """The policies look, and what they send again leaves; how Ana's mail stands in the end."""

        def look() -> None:
            with connect(self.url) as conn:
                conn.execute("UPDATE reminders SET not_before = now() WHERE state = 'in_doubt'")
            settle_doubts(self._pool, self._settings)

        for _ in range(4):
            look()
            if self.state() != "in_doubt":
                break
            time.sleep(0.1)
        if self.state() == "due":
            send_all(self.url, int(str(self._ask("SELECT run_id FROM reminders WHERE recipient = %s", ANA))))
        return self.state()

    def state(self) -> str:
        return str(self._ask("SELECT state FROM reminders WHERE recipient = %s", ANA))

    def why(self) -> str:
        return str(self._ask("SELECT doubt_reason FROM reminders WHERE recipient = %s", ANA))

    def to_ana(self) -> int:
        return sum(mail.to == (ANA,) for mail in self.sink.mails())

    def _ask(self, query: str, *parameters: object) -> object:
        with connect(self.url) as conn:
            return one(conn, query, *parameters)

    def _until(self, so: Any, meanwhile: Any = lambda: None) -> None:  # noqa: ANN401 - something to ask, something to do
        until = time.monotonic() + PATIENCE_S
        while not so():
            assert time.monotonic() < until
            meanwhile()
            time.sleep(0.05)


@pytest.fixture
def desk(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Desk]:
    settings = replace(QUICK, database_url=database_url, redis_url=redis_url)
    with (
        Provider(tmp_path / "sink", behaviour=Behaviour(), window_s=3600) as sink,
        Following(sink, tmp_path / "mail.log") as log,
        pool(database_url, actor="scheduler:test:1", size=6) as connections,
    ):
        yield Desk(settings, sink, log, connections, tmp_path / "told")


@pytest.mark.parametrize(("step", "before"), [(TAKEN, 1), (LOST, 0)])
def test_evidence_tells_a_mail_that_left_from_one_that_did_not(desk: Desk, step: str, before: int) -> None:
    place = {"kind": "postfix_log", "path": str(desk.log.log.path)}
    desk.account(doubt_policy="evidence", evidence=place)
    desk.another()
    desk.killed(step)
    assert desk.to_ana() == before
    desk.quarantined()
    desk.another()
    assert desk.settled() == "sent"
    assert desk.to_ana() == 1


@pytest.mark.parametrize(("evil", "reason"), [("missing", "unreadable"), ("stale", "nothing_later")])
def test_evidence_that_is_not_sound_sends_nothing(desk: Desk, evil: str, reason: str) -> None:
    path = desk.log.log.path if evil == "missing" else desk.log.log.path.with_name("old.log")
    desk.account(doubt_policy="evidence", evidence={"kind": "postfix_log", "path": str(path)})
    desk.another()
    if evil == "stale":  # as it was when somebody turned logging off
        time.sleep(0.1)
        path.write_bytes(desk.log.log.path.read_bytes())
    desk.killed(LOST)
    desk.quarantined()
    desk.another()
    if evil == "missing":
        time.sleep(0.1)
        path.unlink()
    assert desk.settled() == "in_doubt"
    assert desk.why() == reason
    assert desk.to_ana() == 0


@pytest.mark.parametrize(("step", "dropped"), [(TAKEN, 1), (LOST, 0)])
def test_a_provider_that_knows_the_key_takes_the_mail_once(desk: Desk, step: str, dropped: int) -> None:
    desk.account(doubt_policy="provider_key", key_header="Idempotency-Key", key_hours=24)
    desk.killed(step)
    desk.quarantined()
    assert desk.settled() == "sent"
    assert (desk.to_ana(), len(desk.sink.dropped)) == (1, dropped)


@pytest.mark.parametrize(("step", "mails"), [(TAKEN, 2), (LOST, 1)])
def test_resend_misses_nobody_at_the_price_of_a_duplicate(desk: Desk, step: str, mails: int) -> None:
    desk.account(doubt_policy="resend")
    desk.killed(step)
    desk.quarantined()
    assert desk.settled() == "sent"
    assert desk.to_ana() == mails


def test_hold_sends_nothing(desk: Desk) -> None:
    desk.killed(LOST)
    desk.quarantined()
    assert desk.settled() == "in_doubt"
    assert desk.to_ana() == 0
