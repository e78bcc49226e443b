"""A mail that stays in doubt is told of: once, to whom it concerns, with what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from letters.doubts import MOST_SHOWN, MailInDoubt, compose
from operations.customers import save_contact, save_customer
from operations.holds import hold
from operations.outbox import outbox
from operations.resolve import resolve
from operations.run import run_by_hand
from operations.status import status
from operations.users import save_user
from scripts.sink import Answer, Behaviour, Sink
from store import doubts as stored
from store.connection import connect, pool
from tests import witness
from tests.chasing import NOW, committed_chase, decide_run, doubt, long_ago, one, open_rule
from tests.returned import answer
from tests.trade import invoice, open_account
from workers.doubt_alerts import tell_of_doubts
from workers.feedback import take
from workers.settings import Settings
from workflow.doubt import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.sink_dialogue import Step
    from store.connection import Connection, Pool
    from store.people import UserRole

CLAIRE, MARIE, PAUL = "claire@nord.example", "marie@nord.example", "paul@nord.example"


class Server:
    """Refuses everything while `away`, and who is in `refused`; answers no dot while `mute`."""

    away = False
    mute = False
    refused: tuple[str, ...] = ()

    def verdict(self, _sender: str, recipients: tuple[str, ...], step: Step) -> Answer | str | None:
        if step == "rcpt" and (self.away or recipients[-1] in self.refused):
            return "451 4.3.0 later"
        return Answer(drop=True) if self.mute and step == "dot" else None


class Desk:
    def __init__(self, url: str, sink: Sink, server: Server, connections: Pool) -> None:
        self.url = url
        self.sink = sink
        self.server = server
        self.pool = connections
        with connect(url) as conn:
            roles: dict[str, UserRole] = {"claire": "administrator", "paul": "reader"}
            for login, role in roles.items():
                save_user(
                    conn, login=login, name=login, email=f"{login}@nord.example", role=role,
                    language="en" if login == "claire" else "fr", by="system",
                )  # fmt: skip
            rule = open_rule(conn, report_to=["marie"])
        with connect(url) as conn:
            run_id = run_by_hand(conn, rule, by="user:marie").run_id
        decide_run(url, run_id)
        with connect(url) as conn:
            self.reminder = int(str(one(conn, "SELECT id FROM reminders")))
            doubt(conn, self.reminder)

    def another(self, reader: str, minutes: float) -> None:
        """A mail of another account and of another rule, which has this reader, in doubt for so long."""
        with connect(self.url) as conn:
            open_account(conn, "autre", host="127.0.0.1", port=self.sink.port, security="plain")
            save_customer(conn, number="K-1", name="Autre", by="user:marie")
            save_contact(conn, customer="K-1", name="B", email="b@autre.example", roles=["dunning"], by="user:marie")
            invoice(conn, "FA-90", "10.00", customer="K-1")
            rule = open_rule(conn, "Autre", report_to=[reader])
            conn.execute("UPDATE rule_versions SET account_id = (SELECT id FROM mail_accounts WHERE name = 'autre')"
                         " WHERE rule_id = %s", [rule.id])  # fmt: skip
        with connect(self.url) as conn:
            run_id = run_by_hand(conn, rule, by="user:marie").run_id
        decide_run(self.url, run_id)
        with connect(self.url) as conn:
            number = int(str(one(conn, "SELECT id FROM reminders WHERE run_id = %s", run_id)))
            doubt(conn, number)
            long_ago(conn, number, minutes)

    def tell(self, settings: Settings | None = None) -> int:
        return tell_of_doubts(self.pool, settings or Settings())

    def later(self, minutes: float) -> None:
        with connect(self.url) as conn:
            long_ago(conn, self.reminder, minutes)

    def at_once(self) -> None:
        with connect(self.url) as conn:
            conn.execute("UPDATE reminders SET alert_at = now() WHERE alert_at < 'infinity'")

    def told(self) -> dict[str, witness.Mail]:
        return {mail.to[0]: mail for mail in witness.mails(self.sink)}


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    server = Server()
    with (
        Sink(tmp_path, behaviour=Behaviour(verdict=server.verdict)) as sink,
        pool(database_url, actor="scheduler:test:1", size=2) as connections,
    ):
        committed_chase(database_url, port=sink.port)
        yield Desk(database_url, sink, server, connections)


def test_after_a_quarter_of_an_hour_those_whom_it_concerns_are_told_once(desk: Desk) -> None:
    desk.later(14)
    assert desk.tell() == 0
    desk.later(2)
    assert desk.tell() == 1
    told = desk.told()
    assert told.keys() == {CLAIRE, MARIE}, "administrators, and who has the rule's reports"
    english = " ".join(told[CLAIRE].text.split())
    assert told[CLAIRE].subject == "One reminder to be checked"
    for words in (
        "ana@dupont.example", "FA-1, FA-2", "Relance 1", REASONS["hold"]["en"],
        f"relance resolve {desk.reminder} --send-again --because TEXT --yes",
    ):  # fmt: skip
        assert words in english
    assert told[MARIE].subject == "Une relance à vérifier"
    assert REASONS["hold"]["fr"] in " ".join(told[MARIE].text.split())
    desk.at_once()
    desk.later(60)
    assert desk.tell() == 0
    assert len(desk.sink.mails()) == 2


def test_a_mail_that_was_settled_meanwhile_is_not_told_of(desk: Desk) -> None:
    desk.later(20)
    with connect(desk.url) as conn:
        resolve(conn, desk.reminder, "arrived", because="asked", quarantine_s=0, dry_run=False, by="user:marie")
    assert desk.tell() == 0


def test_an_alert_that_does_not_leave_is_tried_again(desk: Desk) -> None:
    desk.later(20)
    desk.server.away = True
    assert desk.tell() == 0
    assert desk.tell() == 0, "not before five minutes"
    desk.server.away = False
    desk.at_once()
    assert desk.tell() == 1
    assert desk.told().keys() == {CLAIRE, MARIE}


def test_a_held_account_lets_the_alert_wait(desk: Desk) -> None:
    with connect(desk.url) as conn:
        hold(conn, account="sortie", because="moving", by="user:marie")
    desk.later(20)
    assert desk.tell() == 0
    assert desk.told() == {}


def test_a_server_that_answers_no_dot_keeps_nobody_from_being_told_and_is_handed_each_copy_once(desk: Desk) -> None:
    desk.server.mute = True
    desk.later(20)
    assert desk.tell() == 1
    assert desk.told().keys() == {CLAIRE, MARIE}
    desk.at_once()
    assert desk.tell() == 0
    assert len(desk.sink.mails()) == 2


def test_a_mail_whose_own_readers_were_not_reached_is_told_of_again(desk: Desk) -> None:
    """Marie has the reports of one rule, Paul of another, and nobody is an administrator any more."""
    with connect(desk.url) as conn:
        conn.execute("UPDATE users SET inactive_since = now() WHERE login = 'claire'")
        conn.execute("UPDATE settings SET report_account_id = (SELECT id FROM mail_accounts WHERE name = 'sortie')")
    desk.another("paul", 20)
    desk.later(20)
    desk.server.refused = (PAUL,)
    assert desk.tell() == 1
    assert desk.told().keys() == {MARIE}
    desk.server.refused = ()
    desk.at_once()
    assert desk.tell() == 1
    assert desk.told().keys() == {MARIE, PAUL}
    assert len(desk.sink.mails()) == 2, "Marie was told once"


def test_one_accounts_trouble_keeps_no_other_from_telling(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(desk.url) as conn:
        conn.execute("UPDATE mail_accounts SET from_address = 'no address' WHERE name = 'sortie'")
    desk.another("paul", 20)
    desk.later(20)
    assert desk.tell() == 1
    assert desk.told().keys() == {CLAIRE, PAUL}
    assert "doubt_alert_not_made" in capsys.readouterr().err
    with connect(desk.url) as conn:
        conn.execute("UPDATE mail_accounts SET from_address = 'relance@nord.example' WHERE name = 'sortie'")
    desk.at_once()
    assert desk.tell() == 1, "what could not be made is told of once it can be"


def test_an_alert_for_nobody_waits_for_somebody(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(desk.url) as conn:
        conn.execute("UPDATE users SET inactive_since = now() WHERE login IN ('claire', 'marie')")
    desk.later(20)
    assert desk.tell() == 0
    assert "doubt_alert_for_nobody" in capsys.readouterr().err
    with connect(desk.url) as conn:
        conn.execute("UPDATE users SET inactive_since = NULL WHERE login = 'marie'")
    assert desk.tell() == 0, "not before five minutes"
    desk.at_once()
    assert desk.tell() == 1
    assert desk.told().keys() == {MARIE}


def test_another_instances_doubts_are_nobodys_here(desk: Desk) -> None:
    desk.later(20)
    assert desk.tell(replace(Settings(), instance=str(uuid4()))) == 0
    assert desk.told() == {}


def test_on_a_test_instance_the_alert_is_redirected(desk: Desk) -> None:
    with connect(desk.url) as conn:
        conn.execute("UPDATE settings SET redirect_to = 'test@nord.example'")
    desk.later(20)
    assert desk.tell() == 1
    assert desk.told().keys() == {"test@nord.example"}


def test_a_policy_that_waits_for_the_quarantine_is_given_its_time(desk: Desk) -> None:
    with connect(desk.url) as conn:
        fence = int(str(one(conn, "SELECT fence FROM reminders")))
        soon = conn.execute("SELECT now() + interval '30 min'").fetchall()[0][0]
        stored.leave(conn, desk.reminder, fence, reason="quarantine", look_s=0, alert_at=soon)
    desk.later(20)
    assert desk.tell() == 0
    desk.at_once()
    assert desk.tell() == 1


# ---------------------------------------------------------------- what is seen of it


def test_status_and_outbox_say_why_a_mail_is_left_in_doubt(desk: Desk, redis_url: str) -> None:
    def standing(conn: Connection) -> list[tuple[str, int]]:
        return [(found.reason, found.mails) for found in status(conn, redis_url).doubts]

    with connect(desk.url) as conn:
        assert standing(conn) == [], "not yet for long"
    desk.later(20)
    with connect(desk.url) as conn:
        assert standing(conn) == [("hold", 1)]
        message_id = str(one(conn, "SELECT message_id FROM reminders"))
        take(conn, answer(message_id, "ana@dupont.example"), received_at=None, by="scheduler:test:1")
        assert standing(conn) == [("hold_heard_of", 1)]
        conn.execute("UPDATE mail_accounts SET doubt_policy = 'evidence', evidence = '{}', key_header = NULL")
        assert standing(conn) == [("not_looked", 1)]
        stored.leave(
            conn, desk.reminder, int(str(one(conn, "SELECT fence FROM reminders"))), reason="unreadable", look_s=0,
            alert_at=None,
        )  # fmt: skip
        assert standing(conn) == [("unreadable", 1)]
        assert [found.doubt_reason for found in outbox(conn, state="in_doubt")] == ["unreadable"]
        resolve(conn, desk.reminder, "arrived", because="asked", quarantine_s=0, dry_run=False, by="user:marie")
        assert standing(conn) == []
        assert outbox(conn)[0].doubt_reason is None


def in_doubt(number: int = 7, **changes: object) -> MailInDoubt:
    found = MailInDoubt(
        reminder=number, rule="Relance 1", recipient="ana@dupont.example", since=NOW, reason="hold",
        invoices=("FA-1",),
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def test_many_are_told_of_in_one_mail_of_a_bounded_length() -> None:
    parts = compose([in_doubt(number) for number in range(MOST_SHOWN + 3)], "en")
    assert parts.subject == f"{MOST_SHOWN + 3} reminders to be checked"
    assert "and 3 more" in parts.text
    assert parts.text.count("Invoices: FA-1") == MOST_SHOWN
    assert all(len(line) <= 78 for line in parts.text.splitlines())
    assert parts.html.count("<li>") == MOST_SHOWN
    many = compose([in_doubt(invoices=tuple(f"FA-{number}" for number in range(30)))], "fr")
    assert "FA-9, …" in many.text


def test_what_was_saved_is_shown_and_never_obeyed() -> None:
    parts = compose([in_doubt(rule="<script>alert(1)</script>\r\n\x1b[31m", invoices=("FA & Co",))], "en")
    assert "<script>" not in parts.html
    assert "&lt;script&gt;" in parts.html
    assert "FA &amp; Co" in parts.html
    assert "\x1b" not in parts.text
    assert "<script>alert(1)</script> [31m, to" in " ".join(parts.text.split())
