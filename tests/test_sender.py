"""The sender: what becomes of a mail whatever the server, the database or the machine does."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.sink import Answer, Behaviour, Sink, Tls
from store.connection import connect, pool
from tests.chasing import committed_chase, decided_run, one, pay
from tests.trade import invoice, open_account
from workers.office import Office
from workers.sender import Sender
from workers.sending import prepare, send_reminders, settle
from workers.settings import Settings
from workers.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from scripts.sink_dialogue import Step
    from store.connection import Connection, Pool
    from workers.deliveries import Ready

CERTIFICATE = Path(__file__).with_name("localhost.pem")
QUICK = Settings(lease_s=5, answer_s=1, dot_budget_s=2, connections=4)


class Desk:
    """A run's due mails, a worker's office and sender, and the server they go to."""

    def __init__(self, url: str, sink: Sink, office: Office, sender: Sender) -> None:
        self.url = url
        self.sink = sink
        self.office = office
        self.sender = sender

    @property
    def pool(self) -> Pool:
        return self.office.pool

    def ids(self) -> list[int]:
        with connect(self.url) as conn:
            return [row[0] for row in conn.execute("SELECT id FROM reminders ORDER BY id")]

    def send(self) -> None:
        send_reminders(self.office, self.sender, self.ids())

    def ready(self) -> list[Ready]:
        """The due mails, claimed and rendered."""
        return prepare(self.office, self.ids())

    def ask(self, query: str) -> object:
        with connect(self.url) as conn:
            return one(conn, query)

    def steps(self) -> list[str]:
        with connect(self.url) as conn:
            return [row[0] for row in conn.execute("SELECT step FROM attempts ORDER BY id")]

    def states(self) -> dict[str, str]:
        with connect(self.url) as conn:
            return dict(conn.execute("SELECT number, state FROM invoices WHERE number IN ('FA-1', 'FA-2')").fetchall())

    def change(self, query: str) -> None:
        with connect(self.url) as conn:
            conn.execute(query.encode())


@contextmanager
def sending_to(
    url: str,
    folder: Path,
    behaviour: Behaviour,
    settings: Settings = QUICK,
    trade: Callable[[Connection], None] | None = None,
) -> Generator[Desk]:
    with Sink(folder, behaviour=behaviour) as sink:
        rule = committed_chase(url, port=sink.port)
        if trade:
            with connect(url) as conn:
                trade(conn)
        decided_run(url, rule)
        with pool(url, actor="worker:test:1", size=6) as connections:
            office = Office(pool=connections, settings=settings)
            sender = Sender(connections, settings, settle)
            sender.start()
            try:
                yield Desk(url, sink, office, sender)
            finally:
                sender.stop()


def says(step: Step, answer: Answer | str) -> Behaviour:
    return Behaviour(verdict=lambda _sender, _recipients, at: answer if at == step else None)


def at_step(step: Step, act: Callable[[], object]) -> Behaviour:
    """Something happens at that step of the first mail."""
    acts = iter([act])

    def verdict(_sender: str, _recipients: tuple[str, ...], at: Step) -> None:
        if at == step:
            next(acts, lambda: None)()

    return Behaviour(verdict=verdict)


# ---------------------------------------------------------------- what the server says


@pytest.mark.parametrize(
    ("step", "answer", "error"),
    [
        ("connect", "421 4.3.2 closing", "connect: 421 4.3.2 closing"),
        ("connect", "554 5.3.2 no service", "connect: 554 5.3.2 no service"),
        ("mail", "421 4.3.2 closing", "mail: 421 4.3.2 closing"),
        ("rcpt", "451 4.7.1 greylisted", "rcpt: 451 4.7.1 greylisted"),
        ("data", "451 4.3.0 later", "data: 451 4.3.0 later"),
        ("dot", "452 4.3.1 disk full", "dot: 452 4.3.1 disk full"),
        ("data", Answer(drop=True), "connection lost: IncompleteReadError"),
    ],
)
def test_what_may_pass_later_is_tried_later(
    database_url: str, tmp_path: Path, step: Step, answer: Answer | str, error: str
) -> None:
    with sending_to(database_url, tmp_path, says(step, answer)) as desk:
        desk.send()
        assert desk.ask("SELECT state || ' ' || waits_for || ' ' || deferrals FROM reminders") == "due server 1"
        assert desk.ask("SELECT last_error FROM reminders") == error
        assert desk.ask("SELECT not_before > clock_timestamp() + interval '50 s' FROM reminders") is True
        assert desk.steps()[-1] == "deferred"
        assert desk.states() == {"FA-1": "level_0_sending", "FA-2": "level_0_sending"}
        assert desk.sink.mails() == []


@pytest.mark.parametrize(
    ("step", "answer", "suppressed"),
    [
        ("rcpt", "550 5.1.1 no such user", True),
        ("rcpt", "550 5.7.1 not from you", False),
        ("mail", "553 5.1.8 not you", False),
        ("data", "554 5.5.1 no", False),
        ("dot", "552 5.3.4 too big", False),
        ("dot", "550 5.1.1 said too late to be about the address", False),
    ],
)
def test_what_is_refused_for_good_fails_and_raises_no_level(
    database_url: str, tmp_path: Path, step: Step, answer: str, *, suppressed: bool
) -> None:
    with sending_to(database_url, tmp_path, says(step, answer)) as desk:
        desk.send()
        assert desk.ask("SELECT state || ' ' || problem || ' ' || last_error FROM reminders") == (
            f"failed refused {step}: {answer}"
        )
        assert desk.states() == {"FA-1": "level_0", "FA-2": "level_0"}
        assert desk.ask("SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["failed"]
        assert desk.ask("SELECT count(*) FROM effects") == 0
        assert desk.ask("SELECT count(*) FROM suppressed_addresses") == int(suppressed)


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(delay_s=20)])
def test_a_dot_without_an_answer_stays_armed_until_the_sweep_puts_it_in_doubt(
    database_url: str, tmp_path: Path, answer: Answer
) -> None:
    with sending_to(database_url, tmp_path, says("dot", answer)) as desk:
        desk.send()
        assert desk.ask("SELECT state FROM reminders") == "armed"
        sweep(desk.pool)
        assert desk.ask("SELECT state FROM reminders") == "armed", "an answer may still come"
        desk.send()
        desk.change("UPDATE reminders SET lease_until = clock_timestamp() - interval '1 s'")
        sweep(desk.pool)
        sweep(desk.pool)
        assert desk.ask("SELECT state FROM reminders") == "in_doubt"
        assert desk.states() == {"FA-1": "level_0_in_doubt", "FA-2": "level_0_in_doubt"}
        assert desk.steps() == ["armed", "in_doubt"]
        desk.send()
        assert len(desk.sink.mails()) == 1


def test_a_login_that_is_refused_holds_the_account_and_fails_no_mail(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD_PASSWORD", "sésame")
    behaviour = Behaviour(tls=Tls(certificate=CERTIFICATE, key=CERTIFICATE), login=("relance", "ouvre-toi"))
    with sending_to(database_url, tmp_path, behaviour) as desk:
        desk.change(
            f"UPDATE mail_accounts SET security = 'starttls-required', ca_file = '{CERTIFICATE}', username = 'relance',"
            " password_ref = 'env:OLD_PASSWORD' WHERE name = 'sortie'"
        )
        desk.send()
        assert desk.ask("SELECT held_because FROM mail_accounts WHERE name = 'sortie'") == (
            "the server refused the login: 535"
        )
        assert desk.ask("SELECT state FROM reminders") == "due"
        monkeypatch.setenv("OLD_PASSWORD", "ouvre-toi")
        desk.send()
        assert desk.sink.mails() == [], "it is held until a person releases it"
        desk.change("UPDATE mail_accounts SET held_because = NULL, held_at = NULL")
        desk.send()
        assert len(desk.sink.mails()) == 1


@pytest.mark.parametrize(
    "broken",
    [
        "host = 'a..b'",
        "port = 1",
        "security = 'starttls-required'",
        "security = 'implicit-tls', ca_file = '/nowhere/ca.pem'",
    ],
)
def test_a_server_that_cannot_be_used_defers_its_mail_visibly(database_url: str, tmp_path: Path, broken: str) -> None:
    with sending_to(database_url, tmp_path, Behaviour()) as desk:
        desk.change(f"UPDATE mail_accounts SET {broken} WHERE name = 'sortie'")
        desk.send()
        assert desk.ask("SELECT state || ' ' || waits_for FROM reminders") == "due server"
        assert desk.ask("SELECT last_error FROM reminders")


def test_a_kept_connection_that_the_server_closed_costs_no_mail(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, Behaviour(), trade=second_mail) as desk:
        first, second = desk.ready()
        (sent,) = desk.sender.deliver([first])
        assert sent
        assert sent.fate == "sent"
        for session in list(desk.sink._server.sessions):  # noqa: SLF001 - the server hangs up between two mails
            desk.sink._loop.call_soon_threadsafe(session.abort)  # noqa: SLF001
        (again,) = desk.sender.deliver([second])
        assert again
        assert again.fate == "sent"


# ---------------------------------------------------------------- what the machine and the database do


def test_a_machine_that_stood_still_between_arming_and_the_dot_sends_no_dot(database_url: str, tmp_path: Path) -> None:
    """A frozen process wakes up with a commit of long ago: the payment that came meanwhile would not be seen."""
    with sending_to(database_url, tmp_path, Behaviour(), replace(QUICK, dot_budget_s=1e-9)) as desk:
        desk.send()
        assert desk.steps() == ["armed", "disarmed"]
        assert desk.ask("SELECT state FROM reminders") == "due"
        assert desk.sink.mails() == []


def test_a_database_that_goes_away_before_arming_lets_no_dot_leave(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, at_step("data", lambda: cut(database_url))) as desk:
        desk.send()
        wait_until(lambda: desk.ask("SELECT state FROM reminders") in {"due", "claimed"})
        assert (desk.sink.mails(), desk.steps()) in (([], []), ([], ["disarmed"]))
        desk.change("UPDATE reminders SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 'claimed'")
        sweep(desk.pool)
        desk.change("UPDATE reminders SET not_before = clock_timestamp()")
        desk.send()
        assert desk.ask("SELECT state FROM reminders") == "sent"
        assert len(desk.sink.mails()) == 1


def test_a_database_that_goes_away_at_the_dot_learns_of_the_answer_later(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, at_step("dot", lambda: cut(database_url))) as desk:
        desk.send()
        wait_until(lambda: desk.ask("SELECT state FROM reminders") == "sent")
        assert desk.states() == {"FA-1": "level_1", "FA-2": "level_1"}
        assert desk.steps() == ["armed", "accepted"]


def test_an_answer_that_comes_after_the_doubt_ends_it(database_url: str, tmp_path: Path) -> None:
    def lapse() -> None:
        with connect(database_url) as conn:
            conn.execute("UPDATE reminders SET lease_until = clock_timestamp() - interval '1 s'")
        with pool(database_url, actor="scheduler:test:1", size=1) as connections:
            sweep(connections)
        with connect(database_url) as conn:
            doubted.append(one(conn, "SELECT state FROM reminders"))

    doubted: list[object] = []
    with sending_to(database_url, tmp_path, at_step("dot", lapse)) as desk:
        desk.send()
        assert doubted == ["in_doubt"]
        assert desk.ask("SELECT state FROM reminders") == "sent"
        assert desk.states() == {"FA-1": "level_1", "FA-2": "level_1"}
        assert desk.steps() == ["armed", "in_doubt", "accepted"]


def test_the_lease_of_what_waits_for_a_slow_server_is_renewed(database_url: str, tmp_path: Path) -> None:
    slow = says("data", Answer(delay_s=1.5))
    with sending_to(database_url, tmp_path, slow, replace(QUICK, lease_s=0.9, dot_budget_s=0.8)) as desk:
        sending_now = threading.Thread(target=desk.send)
        sending_now.start()
        while sending_now.is_alive():
            sweep(desk.pool)
            time.sleep(0.05)
        sending_now.join()
        assert desk.ask("SELECT state || ' ' || fence FROM reminders") == "sent 1"


# ---------------------------------------------------------------- neighbours


def second_mail(conn: Connection) -> None:
    """Another customer's mail in the same run."""
    invoice(conn, "FA-7", "70.00", customer="C-2")


def test_a_mail_that_breaks_its_own_upload_stops_no_other(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, Behaviour(), trade=second_mail) as desk:
        broken, sound = desk.ready()
        fates = desk.sender.deliver([replace(broken, recipients=("é@dupont.example",)), sound])
        assert [each.fate for each in fates if each] == ["unreachable", "sent"]
        assert desk.ask("SELECT array_agg(state ORDER BY state) FROM reminders") == ["due", "sent"]


def test_a_mail_that_cannot_be_armed_fails_and_its_neighbours_leave(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, Behaviour(), trade=third_mail) as desk:
        broken, *sound = desk.ready()
        broken = replace(broken, mail=replace(broken.mail, sha256=b"no hash"))
        fates = desk.sender.deliver([broken, *sound])
        assert [each.fate for each in fates if each] == ["unfit", "sent", "sent"]
        assert desk.ask("SELECT array_agg(state ORDER BY id) FROM reminders") == ["failed", "sent", "sent"]
        assert "disarmed" not in desk.steps()
        assert len(desk.sink.mails()) == 2


@pytest.mark.parametrize("connections", [1, 4])
def test_an_address_that_smtp_cannot_say_puts_no_other_mail_in_doubt(
    database_url: str, tmp_path: Path, connections: int
) -> None:
    settings = replace(QUICK, connections=connections)
    with sending_to(database_url, tmp_path, Behaviour(), settings, trade=second_mail) as desk:
        sound, broken = desk.ready()
        fates = desk.sender.deliver([sound, replace(broken, recipients=("é@dupont.example",))])
        assert [each.fate for each in fates if each] == ["sent", "unreachable"]


def third_mail(conn: Connection) -> None:
    """And one in another currency: with two connections, its envelope travels with a dot."""
    second_mail(conn)
    invoice(conn, "FA-8", "30.00", currency="USD")


@pytest.mark.parametrize(
    ("at_the_dot", "fate"),
    [
        (Answer(reply="554 5.7.1 no"), "refused"),
        (Answer(reply="421 4.3.2 closing"), "refused"),
        (Answer(drop=True), "unknown"),
        (Answer(delay_s=3), "sent"),
    ],
)
def test_what_becomes_of_a_mail_is_not_the_fate_of_the_one_announced_with_its_dot(
    database_url: str, tmp_path: Path, at_the_dot: Answer, fate: str
) -> None:
    answers = iter([at_the_dot])
    behaviour = Behaviour(verdict=lambda _sender, _recipients, at: next(answers, None) if at == "dot" else None)
    settings = replace(QUICK, connections=2, answer_s=5)
    with sending_to(database_url, tmp_path, behaviour, settings, trade=third_mail) as desk:
        found = desk.sender.deliver(desk.ready())
        assert sorted(each.fate for each in found if each) == sorted([fate, "sent", "sent"])
        ids = [mail.message_id for mail in desk.sink.mails()]
        assert len(ids) == len(set(ids)), "nobody was mailed twice"


def test_an_account_whose_server_is_slow_gets_its_mails_one_by_one_for_a_while(
    database_url: str, tmp_path: Path
) -> None:
    sessions: list[str] = []

    def verdict(_sender: str, _recipients: tuple[str, ...], at: Step) -> Answer | None:
        if at == "connect":
            sessions.append(at)
        return Answer(delay_s=1.3) if at == "dot" else None

    def trade(conn: Connection) -> None:
        for number in range(8):
            invoice(
                conn,
                f"FA-2{number}",
                "30.00",
                currency=("USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK")[number],
            )

    settings = replace(QUICK, connections=2, answer_s=5)
    with sending_to(database_url, tmp_path, Behaviour(verdict=verdict), settings, trade=trade) as desk:
        fates = desk.sender.deliver(desk.ready())
        assert [each.fate for each in fates if each] == ["sent"] * 9
        assert len(sessions) <= 4, "two, and one for each that was slow first"


def test_a_tests_mailbox_that_refuses_suppresses_nobody(database_url: str, tmp_path: Path) -> None:
    def trade(conn: Connection) -> None:
        conn.execute("UPDATE settings SET redirect_to = 'tests@nord.example'")

    with sending_to(database_url, tmp_path, says("rcpt", "550 5.1.1 nobody"), trade=trade) as desk:
        desk.send()
        assert desk.ask("SELECT array_agg(state) FROM reminders") == ["failed"]
        assert desk.ask("SELECT count(*) FROM suppressed_addresses") == 0


def test_a_probe_is_not_spent_on_a_mail_that_is_no_longer_due(database_url: str, tmp_path: Path) -> None:
    def trade(conn: Connection) -> None:
        second_mail(conn)
        conn.execute(
            "INSERT INTO account_breakers (account_id, failures, openings, opened_at, probe_at)"
            " SELECT id, 5, 1, now() - interval '2 minutes', now() - interval '1 minute' FROM mail_accounts"
        )

    with sending_to(database_url, tmp_path, Behaviour(), trade=trade) as desk:
        with connect(desk.url) as conn:
            pay(conn, "FA-1")
            pay(conn, "FA-2", "50.50")
        (probe,) = desk.ready()
        assert probe.mail.reminder_id == desk.ids()[1]


def test_a_server_slow_over_one_mail_does_not_keep_the_one_announced_with_its_dot(
    database_url: str, tmp_path: Path
) -> None:
    answers = iter([Answer(delay_s=4)])
    behaviour = Behaviour(verdict=lambda _sender, _recipients, at: next(answers, None) if at == "dot" else None)
    settings = replace(QUICK, connections=2, answer_s=10)

    with sending_to(database_url, tmp_path, behaviour, settings, trade=third_mail) as desk:
        mails = threading.Thread(target=desk.sender.deliver, args=[desk.ready()])
        mails.start()
        time.sleep(2.5)
        assert desk.ask("SELECT array_agg(state ORDER BY state) FROM reminders") == ["armed", "sent", "sent"]
        mails.join()


def test_a_silent_server_delays_no_other_accounts_mail(database_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def trade(conn: Connection) -> None:
            second_mail(conn)
            open_account(conn, "muette", host="127.0.0.1", port=silent.getsockname()[1], security="plain")

        with sending_to(database_url, tmp_path, Behaviour(), trade=trade) as desk:
            stuck, quick = desk.ready()
            elsewhere = replace(stuck.account, id=99, port=silent.getsockname()[1])
            waiting = threading.Thread(
                target=desk.sender.deliver, args=[[replace(stuck, account=elsewhere) for _ in range(6)]]
            )
            waiting.start()
            time.sleep(0.2)
            since = time.monotonic()
            (fate,) = desk.sender.deliver([quick])
            assert fate
            assert fate.fate == "sent"
            assert time.monotonic() - since < 2
            silent.close()
            waiting.join()


def test_two_workers_with_one_hint_send_one_mail(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, Behaviour()) as desk:
        threads = [threading.Thread(target=desk.send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(desk.sink.mails()) == 1
        assert desk.ask("SELECT state || ' ' || fence FROM reminders") == "sent 1"


def test_what_is_on_its_way_is_finished_before_a_worker_stops(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, says("dot", Answer(delay_s=0.5))) as desk:
        sending_now = threading.Thread(target=desk.send)
        sending_now.start()
        wait_until(lambda: desk.ask("SELECT state FROM reminders") == "armed")
    sending_now.join()
    with connect(database_url) as conn:
        assert one(conn, "SELECT state FROM reminders") == "sent"


def test_a_worker_whose_connections_are_idle_stops_at_once(database_url: str, tmp_path: Path) -> None:
    with sending_to(database_url, tmp_path, Behaviour(), trade=second_mail) as desk:
        desk.send()
        since = time.monotonic()
    assert time.monotonic() - since < 5
    with connect(database_url) as conn:
        assert one(conn, "SELECT array_agg(state) FROM reminders") == ["sent", "sent"]


def cut(url: str) -> None:
    """The database hangs up on every worker, as a restart does."""
    with connect(url) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
