"""A policy at work on real rows: what it looks at, when, and what it writes down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from operations.companies import save_company
from operations.customers import save_contact, save_customer
from operations.resolve import resolve
from operations.run import run_by_hand
from scripts.sink import Answer, Behaviour
from store import doubts as stored
from store import outcomes, resolutions
from store.connection import connect, pool
from tests.chasing import committed_chase, decide_run, long_ago, one, pay, send_all
from tests.postfix import PostfixLog
from tests.provider import Provider
from tests.returned import answer, bounce, full
from tests.stories.telling import Plan, Server
from tests.trade import TODAY, invoice, open_account
from workers import evidence
from workers.doubts import settle_doubts
from workers.feedback import take
from workers.settings import Settings
from workers.sweep import act_on_early_bounces
from workflow.doubt import MOST_AGAIN, REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from operations.resolve import Answer as Answered
    from store.connection import Connection, Pool
    from store.rules import SavedRule
    from workers.feedback import Came

LOST, TAKEN = Answer(reply="451 never said", drop=True), Answer(drop=True)
AT_ONCE = Settings(quarantine_s=0)
PATIENT = Settings(quarantine_s=1800)
KEY = {"doubt_policy": "provider_key", "key_header": "Idempotency-Key", "key_hours": 24}


class Desk:
    """A chase whose mails leave through a sink; the mail to C-1 is the one in doubt."""

    def __init__(self, url: str, sink: Provider, log: PostfixLog, connections: Pool, server: Server) -> None:
        self.url = url
        self.sink = sink
        self._server = server
        self.log = log
        self.pool = connections
        self._rule: SavedRule = committed_chase(url, port=sink.port)
        self._others = 0
        with connect(url) as conn:  # nobody owes anything yet but C-2, who disputes, and C-3, who has no address
            pay(conn, "FA-1")
            pay(conn, "FA-2", "50.50")

    def account(self, **changes: Any) -> None:  # noqa: ANN401 - as save_account takes them
        with connect(self.url) as conn:
            open_account(conn, "sortie", host="127.0.0.1", port=self.sink.port, security="plain", **changes)

    def long_since(self) -> None:
        """What was changed so far was changed a day ago; the journal is append-only otherwise."""
        with connect(self.url) as conn:
            conn.execute("ALTER TABLE journal DISABLE TRIGGER USER")
            conn.execute("UPDATE journal SET at = at - interval '1 day'")
            conn.execute("ALTER TABLE journal ENABLE TRIGGER USER")

    def by_evidence(self, **changes: Any) -> None:  # noqa: ANN401 - as save_account takes them
        place = {"kind": "postfix_log", "path": str(self.log.path)}
        self.account(doubt_policy="evidence", evidence=place, **changes)

    def another(self, *, logged: bool = True) -> str:
        """Another customer's mail is accepted. Its message id."""
        self._others += 1
        number = f"K-{self._others}"
        with connect(self.url) as conn:
            save_customer(conn, number=number, name="Autre", by="user:marie")
            save_contact(conn, customer=number, name="B", email="b@autre.example", roles=["dunning"], by="user:marie")
            invoice(conn, f"FA-9{self._others}", "10.00", customer=number)
        (reminder,) = self._run()
        with connect(self.url) as conn:
            send_all(self.url, int(str(one(conn, "SELECT run_id FROM reminders WHERE id = %s", reminder))))
            message_id = str(one(conn, "SELECT message_id FROM reminders WHERE id = %s AND state = 'sent'", reminder))
        if logged:
            self.log.accepted(message_id, "b@autre.example")
        return message_id

    def _run(self) -> list[int]:
        with connect(self.url) as conn:
            run_id = run_by_hand(conn, self._rule, by="user:marie").run_id
        decide_run(self.url, run_id)
        with connect(self.url) as conn:
            return [row[0] for row in conn.execute("SELECT id FROM reminders WHERE run_id = %s", [run_id])]

    def doubtful(self, number: str = "FA-70") -> int:
        """The connection of a mail to Ana ends at its dot, which nobody has seen."""
        with connect(self.url) as conn:
            invoice(conn, number, "70.00")
        (reminder,) = self._run()
        self.send(reminder, LOST)
        return reminder

    def send(self, reminder: int, answer: Answer | None = None) -> None:
        """Let it leave; in doubt where the server's answer to its dot is none."""
        if answer:
            self._server.plans.append(Plan("dot", "", lambda: answer))
        send_all(self.url, int(str(self.ask("SELECT run_id FROM reminders WHERE id = %s", reminder))))
        with connect(self.url) as conn:
            conn.execute("UPDATE reminders SET lease_until = now() - interval '1 s' WHERE state = 'armed'")
            assert outcomes.doubt_lapsed(conn) == (1 if answer else 0)

    def resolve_by_hand(self, reminder: int, answer: Answered = "send again") -> None:
        with connect(self.url) as conn:
            resolve(conn, reminder, answer, because="asked", quarantine_s=0, dry_run=False, by="user:marie")

    def returns(self, content: bytes) -> list[Came]:
        """It comes back, and is read."""
        with connect(self.url) as conn:
            return take(conn, content, received_at=None, by="scheduler:test:1")

    def settle(self, settings: Settings = AT_ONCE) -> int:
        """All policies look now."""
        with connect(self.url) as conn:
            conn.execute("UPDATE reminders SET not_before = now() WHERE state = 'in_doubt'")
        return settle_doubts(self.pool, settings)

    def ask(self, query: str, *parameters: object) -> object:
        with connect(self.url) as conn:
            return one(conn, query, *parameters)

    def stands(self, reminder: int) -> tuple[object, object]:
        with connect(self.url) as conn:
            row = conn.execute("SELECT state, doubt_reason FROM reminders WHERE id = %s", [reminder]).fetchone()
        assert row
        return row[0], row[1]

    def message_id(self, reminder: int) -> str:
        return str(self.ask("SELECT message_id FROM reminders WHERE id = %s", reminder))


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    server = Server()
    with (
        Provider(tmp_path / "sink", behaviour=Behaviour(verdict=server.verdict), window_s=3600) as sink,
        pool(database_url, actor="scheduler:test:1", size=6) as connections,
    ):
        yield Desk(database_url, sink, PostfixLog(tmp_path / "mail.log"), connections, server)


def test_under_hold_nobody_looks(desk: Desk) -> None:
    reminder = desk.doubtful()
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", None)


@pytest.mark.parametrize("came", [full, answer])
@pytest.mark.parametrize("policy", ["evidence", "provider_key", "resend"])
def test_a_mail_about_which_something_came_back_is_sent_and_leaves_no_second_time(
    desk: Desk, policy: str, came: Callable[[str, str], bytes]
) -> None:
    if policy == "evidence":
        desk.by_evidence()
    else:
        desk.account(**(KEY if policy == "provider_key" else {"doubt_policy": policy}))
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    desk.returns(came(desk.message_id(reminder), "ana@dupont.example"))
    assert desk.settle() == 1
    assert desk.stands(reminder) == ("sent", None)
    detail = desk.ask("SELECT detail FROM attempts WHERE step = 'resolved' AND reminder_id = %s", reminder)
    assert detail == f"it arrived: {REASONS['heard_of']['en']}"


def test_a_mail_in_doubt_that_bounced_counts_as_sent_and_the_next_contact_is_reminded(desk: Desk) -> None:
    desk.account(doubt_policy="resend")
    reminder = desk.doubtful()
    with connect(desk.url) as conn:
        save_company(conn, code="NORD", name="Nord SAS", after_bounce="next_contact", by="user:marie")
        save_contact(conn, customer="C-1", name="Ben", email="ben@dupont.example", roles=["billing"], by="user:marie")
    desk.returns(bounce(desk.message_id(reminder), "ana@dupont.example"))
    assert desk.settle() == 1
    assert desk.stands(reminder) == ("sent", None)
    act_on_early_bounces(desk.pool)
    assert desk.ask("SELECT state || ' ' || cycle FROM invoices WHERE number = 'FA-70'") == "level_0 2"
    assert desk.ask("SELECT count(*) FROM tasks WHERE done_at IS NULL") == 1


def during_a_look(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let it happen between the reading of the rows and the evidence."""
    look = evidence.look

    def and_meanwhile(*asked: Any) -> object:  # noqa: ANN401 - as look takes them
        happens()
        return look(*asked)

    monkeypatch.setattr(evidence, "look", and_meanwhile)


def test_what_comes_back_while_its_trace_is_looked_for_is_not_overlooked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    during_a_look(monkeypatch, lambda: desk.returns(answer(desk.message_id(reminder), "ana@dupont.example")))
    assert desk.settle() == 0
    assert desk.settle() == 1
    assert desk.stands(reminder)[0] == "sent"


# ---------------------------------------------------------------- evidence


def test_a_mail_that_the_log_shows_counts_as_sent_by_the_policys_word(desk: Desk) -> None:
    desk.by_evidence()
    reminder = desk.doubtful()
    desk.log.accepted(desk.message_id(reminder))
    assert desk.settle(PATIENT) == 1, "what arrived needs no waiting"
    assert desk.stands(reminder) == ("sent", None)
    assert desk.ask("SELECT level FROM invoices WHERE number = 'FA-70'") == 1
    assert desk.ask("SELECT last_reminded_on FROM invoices WHERE number = 'FA-70'") == TODAY
    assert desk.ask("SELECT state FROM effects WHERE reminder_id = %s", reminder) == "due"
    with connect(desk.url) as conn:
        last = conn.execute("SELECT step, detail, actor FROM attempts ORDER BY id DESC LIMIT 1").fetchone()
        because = one(conn, "SELECT because FROM journal WHERE change -> 'level' IS NOT NULL ORDER BY id DESC LIMIT 1")
    assert last
    assert (last[0], last[2]) == ("resolved", "policy:evidence")
    assert "status=sent" in last[1]
    assert str(because) in last[1]
    assert "@" not in last[1]


def test_a_mail_that_left_no_trace_beside_others_goes_again_and_leaves_once(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle() == 1
    assert desk.stands(reminder) == ("due", None)
    desk.send(reminder)
    assert desk.stands(reminder) == ("sent", None)
    assert desk.sink.duplicates() == {}
    assert len(desk.sink.mails()) == 3


def test_nothing_goes_again_within_the_quarantine(desk: Desk) -> None:
    desk.by_evidence()
    desk.long_since()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder)[0] == "in_doubt"
    assert desk.ask("SELECT not_before > now() AND alert_at > now() + interval '40 min' FROM reminders WHERE id = %s",
                    reminder) is True  # fmt: skip


def test_a_log_that_stands_still_proves_nothing(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "nothing_later")
    desk.another(logged=False)
    assert desk.settle() == 0, "the log is stale: a mail that surely left is not in it"
    assert desk.stands(reminder) == ("in_doubt", "nothing_later")


def test_a_mail_that_left_within_the_quarantine_proves_nothing_of_what_came_after_it(desk: Desk) -> None:
    desk.by_evidence()
    desk.long_since()
    desk.another()
    reminder = desk.doubtful()
    within = desk.another()
    with connect(desk.url) as conn:
        conn.execute("UPDATE reminders SET armed_at = armed_at - interval '2 h'")
        conn.execute("UPDATE reminders SET armed_at = armed_at + interval '20 min' WHERE message_id = %s", [within])
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder) == ("in_doubt", "nothing_later")
    desk.another()
    assert desk.settle(PATIENT) == 1


def test_a_log_that_lost_the_mails_beside_it_proves_nothing(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    desk.another(logged=False)
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "nothing_earlier")


def test_where_the_mails_before_it_are_too_far_back_nothing_is_proven(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.by_evidence()
    desk.another()
    with connect(desk.url) as conn:
        conn.execute("INSERT INTO attempts (reminder_id, fence, step) SELECT id, 1, 'deferred' FROM reminders")
    reminder = desk.doubtful()
    desk.another()
    monkeypatch.setattr(stored, "_MOST_ATTEMPTS", 1)
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "nothing_earlier")


def test_an_accounts_first_mail_has_none_before_it(desk: Desk) -> None:
    desk.by_evidence()
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle() == 1
    assert desk.stands(reminder)[0] == "due"


def test_a_missing_log_settles_nothing(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    desk.log.path.unlink()
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "unreadable")


def test_evidence_that_was_given_afterwards_proves_no_absence(desk: Desk) -> None:
    desk.another()
    reminder = desk.doubtful()
    desk.by_evidence()
    desk.another()
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "account_changed")
    desk.log.accepted(desk.message_id(reminder))
    assert desk.settle() == 1
    assert desk.stands(reminder)[0] == "sent"


def test_a_mail_claimed_before_its_account_was_changed_may_have_left_by_the_old_one(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder) == ("in_doubt", "account_changed")


def test_an_account_changed_while_its_evidence_was_read_is_looked_at_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    during_a_look(monkeypatch, lambda: desk.account(doubt_policy="hold"))
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", None)


def test_a_log_that_lost_a_mail_just_after_it_proves_nothing(desk: Desk) -> None:
    desk.by_evidence()
    desk.long_since()
    desk.another()
    reminder = desk.doubtful()
    desk.another(logged=False)
    with connect(desk.url) as conn:
        conn.execute("UPDATE reminders SET armed_at = armed_at - interval '2 h'")
        for (each,) in conn.execute("SELECT id FROM reminders").fetchall():
            long_ago(conn, each, 120)
    desk.another()
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder) == ("in_doubt", "gaps")


def test_where_the_mails_after_it_are_behind_too_many_others_nothing_is_proven(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.by_evidence()
    desk.long_since()
    reminder = desk.doubtful()
    with connect(desk.url) as conn:
        conn.execute("UPDATE reminders SET armed_at = armed_at - interval '2 h'")
        (found,) = stored.to_look_at(conn, again_s=0, limit=1)
        until = found.dots[0] + timedelta(hours=1)
        assert stored.witnesses_within(conn, found.account_id, found.dots[0], until, limit=5) == ([], True)
        monkeypatch.setattr(stored, "_MOST_ATTEMPTS", 1)
        assert stored.witnesses_within(conn, found.account_id, found.dots[0], until, limit=5) == ([], False)
        assert stored.witnesses_within(conn, found.account_id, found.dots[0], found.dots[0], limit=5) == ([], True)
    assert found.id == reminder


def test_the_mails_before_its_second_dot_must_be_shown_as_well(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle() == 1
    desk.another(logged=False)
    desk.send(reminder, LOST)
    desk.another()
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "nothing_earlier")


def test_a_mail_that_makes_the_look_fail_keeps_no_other_from_being_settled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.by_evidence()
    desk.another()
    bad, good = desk.doubtful(), desk.doubtful("FA-71")
    desk.another()
    worst, look = desk.message_id(bad), evidence.look

    def failing(place: Any, wanted: Any, since: Any) -> object:  # noqa: ANN401 - as look takes them
        if worst in wanted:
            raise ValueError(worst)
        return look(place, wanted, since)

    monkeypatch.setattr(evidence, "look", failing)
    assert desk.settle() == 1
    assert desk.stands(good)[0] == "due"
    assert desk.stands(bad) == ("in_doubt", None)
    said = capsys.readouterr().err
    assert '"doubt_not_settled"' in said
    assert worst not in said


def test_a_mail_whose_rows_cannot_be_read_keeps_no_other_from_being_settled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.account(**KEY)
    bad, good = desk.doubtful(), desk.doubtful("FA-71")
    letters = stored.letters

    def failing(conn: Connection, reminder_id: int) -> list[bytes]:
        if reminder_id == bad:
            conn.execute("SELECT 1 / 0")
        return letters(conn, reminder_id)

    monkeypatch.setattr(stored, "letters", failing)
    assert desk.settle() == 1
    assert [desk.stands(each)[0] for each in (bad, good)] == ["in_doubt", "due"]


def test_holding_an_account_changes_nothing_of_its_evidence(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    desk.by_evidence(max_connections=2)
    assert desk.settle() == 1
    assert desk.stands(reminder)[0] == "due"


def test_a_mail_that_bounced_at_the_smarthost_fails_and_gives_its_invoices_back(desk: Desk) -> None:
    desk.by_evidence()
    desk.long_since()
    reminder = desk.doubtful()
    queue_id = desk.log.accepted(desk.message_id(reminder))
    desk.log.told(queue_id, "ana@dupont.example", "bounced", "550 5.1.1 nobody")
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder) == ("in_doubt", "quarantine")
    assert desk.settle() == 1
    assert desk.stands(reminder)[0] == "failed"
    assert desk.ask("SELECT problem FROM reminders WHERE id = %s", reminder) == "refused"
    assert desk.ask("SELECT state FROM invoices WHERE number = 'FA-70'") == "level_0"
    assert desk.ask("SELECT count(*) FROM effects WHERE reminder_id = %s", reminder) == 0


def test_a_mail_about_an_invoice_paid_meanwhile_is_looked_for_again_and_then_left_to_a_person(desk: Desk) -> None:
    desk.by_evidence()
    desk.another()
    reminder = desk.doubtful()
    desk.another()
    assert desk.settle() == 1
    with connect(desk.url) as conn:
        pay(conn, "FA-70", "70.00")
    desk.send(reminder)
    assert desk.stands(reminder)[0] == "in_doubt"
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "came_back")
    assert len(desk.sink.mails()) == 2


@pytest.mark.parametrize("answer", ["send again", "arrived"])
def test_a_person_who_was_faster_is_obeyed(desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: Answered) -> None:
    desk.by_evidence()
    desk.another()
    desk.doubtful()
    desk.another()
    read = resolutions.read

    def settled_meanwhile(conn: Connection, reminder_id: int, *, lock: bool) -> object:
        monkeypatch.setattr(resolutions, "read", read)
        desk.resolve_by_hand(reminder_id, answer)
        return read(conn, reminder_id, lock=lock)

    monkeypatch.setattr(resolutions, "read", settled_meanwhile)
    assert desk.settle() == 0
    assert desk.ask("SELECT count(*) FROM attempts WHERE step = 'resolved'") == 1


def test_one_look_at_a_time_and_ever_more_seldom(desk: Desk) -> None:
    desk.by_evidence()
    reminder = desk.doubtful()
    with connect(desk.url) as conn:
        assert [found.id for found in stored.to_look_at(conn, again_s=60, limit=10)] == [reminder]
        conn.commit()
    assert settle_doubts(desk.pool, AT_ONCE) == 0
    assert desk.stands(reminder) == ("in_doubt", None), "another scheduler has it"
    with connect(desk.url) as conn:
        conn.execute("UPDATE reminders SET armed_at = armed_at - interval '2 hours' WHERE id = %s", [reminder])
    desk.settle(PATIENT)
    pause = desk.ask("SELECT not_before - now() FROM reminders WHERE id = %s", reminder)
    assert isinstance(pause, timedelta)
    assert 300 < pause.total_seconds() < 400


def test_another_instances_doubts_are_left_alone(desk: Desk) -> None:
    desk.by_evidence()
    reminder = desk.doubtful()
    desk.log.accepted(desk.message_id(reminder))
    assert desk.settle(replace(AT_ONCE, instance=str(uuid4()))) == 0
    assert desk.stands(reminder) == ("in_doubt", None)


# ---------------------------------------------------------------- a provider's key, and resending


def test_a_mail_whose_dots_carried_the_key_goes_again_until_the_providers_time_is_over(desk: Desk) -> None:
    desk.account(**KEY)
    desk.long_since()
    reminder = desk.doubtful()
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder) == ("in_doubt", "quarantine")
    assert desk.settle() == 1
    assert desk.ask("SELECT again_until > armed_at + interval '23 h' FROM reminders WHERE id = %s", reminder)
    desk.send(reminder, TAKEN)
    assert desk.settle() == 1
    desk.send(reminder)
    assert desk.stands(reminder) == ("sent", None)
    assert desk.ask("SELECT again_until FROM reminders WHERE id = %s", reminder) is None
    assert (len(desk.sink.mails()), len(desk.sink.dropped)) == (1, 1)


def test_a_mail_that_left_without_the_key_is_a_persons(desk: Desk) -> None:
    reminder = desk.doubtful()
    with connect(desk.url) as conn:  # as if the account had always been so
        conn.execute("ALTER TABLE mail_accounts DISABLE TRIGGER USER")
        conn.execute("UPDATE mail_accounts SET doubt_policy = 'provider_key', key_header = 'X-Key', key_hours = 24")
        conn.execute("ALTER TABLE mail_accounts ENABLE TRIGGER USER")
    assert desk.settle(PATIENT) == 0, "that the account was made is no change of it"
    assert desk.stands(reminder) == ("in_doubt", "without_key")


def test_a_key_that_the_account_has_only_now_is_none(desk: Desk) -> None:
    reminder = desk.doubtful()
    desk.account(**KEY)
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "account_changed")


def test_a_key_that_its_provider_may_have_forgotten_lets_nothing_leave(desk: Desk) -> None:
    desk.account(**KEY)
    desk.long_since()
    reminder = desk.doubtful()
    assert desk.settle() == 1
    with connect(desk.url) as conn:
        conn.execute("UPDATE reminders SET again_until = now() - interval '1 s' WHERE id = %s", [reminder])
    desk.send(reminder)
    assert desk.stands(reminder)[0] == "in_doubt"
    assert desk.ask("SELECT problem FROM reminders WHERE id = %s", reminder) == "key_expired"
    assert desk.sink.mails() == []
    desk.settle()
    assert desk.stands(reminder) == ("in_doubt", "came_back")


def test_a_mail_queued_under_its_key_does_not_leave_by_an_account_that_changed_meanwhile(desk: Desk) -> None:
    desk.account(**KEY)
    desk.long_since()
    reminder = desk.doubtful()
    assert desk.settle() == 1
    desk.account(doubt_policy="hold")
    desk.send(reminder)
    assert desk.stands(reminder)[0] == "in_doubt"
    assert desk.sink.mails() == []


def test_a_mail_queued_under_its_key_does_not_leave_where_the_account_changed_just_before_its_dot(desk: Desk) -> None:
    desk.account(**KEY)
    reminder = desk.doubtful()
    assert desk.settle() == 1
    desk.send(reminder)
    assert desk.stands(reminder)[0] == "in_doubt"
    assert desk.sink.mails() == []


def test_resend_goes_again_so_many_times(desk: Desk) -> None:
    desk.account(doubt_policy="resend")
    reminder = desk.doubtful()
    assert desk.settle(PATIENT) == 0
    assert desk.stands(reminder) == ("in_doubt", "quarantine")
    for _ in range(MOST_AGAIN):
        assert desk.settle() == 1
        desk.send(reminder, LOST)
    assert desk.settle() == 0
    assert desk.stands(reminder) == ("in_doubt", "too_often")


def test_a_person_who_sends_again_is_not_counted(desk: Desk) -> None:
    desk.account(doubt_policy="resend")
    reminder = desk.doubtful()
    for _ in range(MOST_AGAIN):
        desk.resolve_by_hand(reminder)
        desk.send(reminder, LOST)
    assert desk.settle() == 1
