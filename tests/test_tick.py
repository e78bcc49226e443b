"""The tick: arm what still holds, write down what was taken, wait for nobody, in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from operations import holds, ledger, pauses, tags
from operations.customers import exclude, save_contact, save_customer
from operations.invoices import attach_original, dispute, update
from operations.ledger import credit_note
from operations.resolve import resolve
from operations.rules import deactivate
from store import claims, companies, outcomes, rules, settings
from store.connection import connect
from store.tick import Answered, Ticked, Uploaded, tick
from tests.chasing import NOW, RULE, committed_chase, decide_run, decided_run, one, pay
from tests.trade import TODAY, invoice

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from store.connection import Connection

MARIE = "user:marie"


class Mail:
    """The chase's one mail, about FA-1 and FA-2, claimed and at the server's door."""

    def __init__(self, conn: Connection, reminder_id: int | None = None) -> None:
        self.conn = conn
        self.id = reminder_id or int(str(one(conn, "SELECT id FROM reminders")))
        self.uploaded = self.claim()

    def claim(self) -> Uploaded:
        (claimed,) = claims.claim(self.conn, [self.id], lease_s=60, quarantine_s=1800)
        found = self.conn.execute(
            "SELECT i.id, i.row_version FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id"
            " WHERE ri.reminder_id = %s AND ri.outcome = 'planned'",
            [self.id],
        ).fetchall()
        version = one(self.conn, "SELECT row_version FROM customers WHERE id = %s", claimed.customer_id)
        self.conn.commit()
        return Uploaded(
            reminder_id=self.id,
            fence=claimed.fence,
            company_id=claimed.company_id,
            customer_id=claimed.customer_id,
            customer_version=int(str(version)),
            versions=dict(found),
            recipient="ana@dupont.example",
            subject="Relance",
            letter=b"letter",
            sha256=b"\0" * 32,
        )

    @property
    def key(self) -> tuple[int, int]:
        return self.id, self.uploaded.fence

    def arm(self) -> Ticked:
        return self.tick([self.uploaded], [])

    def answer(self, fence: int | None = None) -> Answered:
        """The server's 2xx."""
        return Answered(
            reminder_id=self.id,
            fence=self.uploaded.fence if fence is None else fence,
            company_id=self.uploaded.company_id,
            invoice_ids=tuple(self.uploaded.versions),
            reply="250 2.0.0 accepted",
        )

    def take(self, fence: int | None = None) -> Ticked:
        """It is written down."""
        return self.tick([], [self.answer(fence)])

    def tick(self, uploaded: list[Uploaded], answered: list[Answered]) -> Ticked:
        done = tick(self.conn, uploaded, answered, lease_s=660, companies=companies.companies(self.conn))
        self.conn.commit()
        return done

    def state(self) -> object:
        return one(self.conn, "SELECT state FROM reminders WHERE id = %s", self.id)

    def invoices(self) -> list[str]:
        rows = self.conn.execute("SELECT state FROM invoices WHERE number IN ('FA-1', 'FA-2') ORDER BY number")
        return [row[0] for row in rows]

    def steps(self) -> list[str]:
        return [row[0] for row in self.conn.execute("SELECT step FROM attempts ORDER BY id")]


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url, actor="worker:test:1") as opened:
        opened.execute("SELECT 1")
        opened.commit()
        yield opened


@pytest.fixture
def mail(conn: Connection) -> Mail:
    return Mail(conn)


def test_a_mail_sent_again_under_a_key_is_not_armed_once_the_key_may_be_forgotten(mail: Mail) -> None:
    mail.conn.execute("UPDATE reminders SET again_until = clock_timestamp() + interval '1 min'")
    mail.conn.commit()
    assert mail.arm().armed == {mail.key}
    mail.conn.execute("UPDATE reminders SET state = 'claimed', again_until = clock_timestamp() - interval '1 ms'")
    mail.conn.commit()
    assert mail.arm().withdrawn == {mail.key}


@contextmanager
def holding(url: str, query: str) -> Generator[None]:
    """Somebody else's transaction that has this row."""
    with connect(url) as other:
        other.execute(query.encode())
        yield
        other.rollback()


# ---------------------------------------------------------------- arming


def test_a_mail_whose_facts_still_hold_is_armed_for_the_time_of_an_answer(mail: Mail) -> None:
    assert mail.arm().armed == {mail.key}
    assert mail.state() == "armed"
    left_s = one(mail.conn, "SELECT extract(epoch FROM lease_until - armed_at)::int FROM reminders")
    assert left_s == 660
    assert mail.steps() == ["armed"]
    kept = mail.conn.execute("SELECT reminder_id, fence, subject, letter FROM mails").fetchall()
    assert kept == [(mail.id, mail.uploaded.fence, "Relance", b"letter")]


CHANGES: dict[str, Callable[[Connection], object]] = {
    "a part payment": lambda conn: pay(conn, "FA-1", "10.00"),
    "a whole payment": lambda conn: pay(conn, "FA-2", "50.50"),
    "a credit note": lambda conn: credit_note(
        conn, company="NORD", customer="C-1", invoice="FA-1", amount="1", currency="EUR", issued_on=TODAY,
        reference="AV-1", by=MARIE,
    ),
    "credit on account": lambda conn: ledger.record_payment(
        conn, company="NORD", customer="C-1", amount="1", currency="EUR", received_on=TODAY, reference="V-1", by=MARIE
    ),
    "a dispute": lambda conn: dispute(conn, company="NORD", number="FA-1", by=MARIE),
    "another due date": lambda conn: update(conn, company="NORD", number="FA-1", due_on=date(2026, 12, 24), by=MARIE),
    "a tag": lambda conn: tags.tag(conn, company="NORD", invoices=["FA-1"], tags=["Relance 1"], by=MARIE),
    "a pause": lambda conn: pauses.pause(
        conn, company="NORD", invoice="FA-2", until_on=TODAY, reason="on holiday", today=TODAY, by=MARIE
    ),
    "a customer's promise": lambda conn: pauses.promise(conn, customer="C-1", paid_on=TODAY, today=TODAY, by=MARIE),
    "an exclusion": lambda conn: exclude(conn, customer="C-1", because="a friend", by=MARIE),
    "another name": lambda conn: save_customer(conn, number="C-1", name="Dupont SA", by=MARIE),
    "another contact": lambda conn: save_contact(
        conn, customer="C-1", name="Bob", email="bob@dupont.example", roles=["dunning"], by=MARIE
    ),
    "a held customer": lambda conn: holds.hold(conn, customer="C-1", because="being negotiated", by=MARIE),
    "a held invoice": lambda conn: holds.hold(conn, company="NORD", invoice="FA-2", because="negotiated", by=MARIE),
    "an archived original": lambda conn: attach_original(
        conn, company="NORD", number="FA-1", content=b"%PDF-1.7", name="FA-1.pdf", by=MARIE
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_mail_whose_facts_have_changed_is_withdrawn(mail: Mail, database_url: str, change: str) -> None:
    with connect(database_url) as other:
        CHANGES[change](other)
    done = mail.arm()
    assert (done.armed, done.withdrawn) == (set(), {mail.key})
    assert (mail.state(), mail.steps()) == ("claimed", [])
    assert one(mail.conn, "SELECT count(*) FROM mails") == 0


def test_a_change_to_an_invoice_that_the_mail_does_not_list_changes_nothing(mail: Mail, database_url: str) -> None:
    with connect(database_url) as other:
        invoice(other, "FA-9", "10.00")
        dispute(other, company="NORD", number="FA-3", by=MARIE)
    assert mail.arm().armed == {mail.key}


def scheduled_and_off(conn: Connection) -> None:
    conn.execute("UPDATE runs SET request_key = NULL")
    deactivate(conn, rule=RULE, by=MARIE, now=NOW)


GATES: dict[str, Callable[[Connection], object]] = {
    "the kill switch": lambda conn: holds.stop(conn, because="wrong price list", by=MARIE),
    "a held rule": lambda conn: holds.hold(conn, rule=RULE, because="wrong text", by=MARIE),
    "a held account": lambda conn: holds.hold(conn, account="sortie", because="blocked", by=MARIE),
    "a rule that is off, its run scheduled": scheduled_and_off,
    "a suppressed address": lambda conn: outcomes.suppress(conn, "ANA@dupont.example", "550 5.1.1"),
    "a closed window": lambda conn: settings.set_clock(conn, NOW + timedelta(hours=12)),
    "a Sunday": lambda conn: settings.set_clock(conn, datetime(2026, 11, 29, 12, tzinfo=UTC)),
    "a holiday": lambda conn: settings.set_clock(conn, datetime(2026, 12, 25, 12, tzinfo=UTC)),
}


@pytest.mark.parametrize("gate", GATES)
def test_no_mail_is_armed_after_a_gate_was_closed(mail: Mail, database_url: str, gate: str) -> None:
    with connect(database_url) as other:
        GATES[gate](other)
    assert (mail.arm().armed, mail.state()) == (set(), "claimed")


def test_a_gate_that_is_closing_is_waited_for_by_nobody(mail: Mail, database_url: str) -> None:
    with connect(database_url) as other:
        settings.close_gates(other)
        done = mail.arm()
        assert (done.armed, done.withdrawn) == (set(), set()), "it comes again at the next tick"
        other.rollback()
    assert mail.arm().armed == {mail.key}


def test_a_rule_that_is_off_still_mails_what_a_person_asked_for(mail: Mail, database_url: str) -> None:
    with connect(database_url) as other:
        deactivate(other, rule=RULE, by=MARIE, now=NOW)
    assert mail.arm().armed == {mail.key}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT FROM invoices WHERE number = 'FA-2' FOR NO KEY UPDATE",
        "SELECT FROM customers WHERE number = 'C-1' FOR NO KEY UPDATE",
        "SELECT FROM reminders FOR NO KEY UPDATE",
    ],
)
def test_a_row_in_other_hands_is_not_waited_for_and_comes_again(mail: Mail, database_url: str, query: str) -> None:
    with holding(database_url, query):
        done = mail.arm()
        assert (done.armed, done.withdrawn, mail.state()) == (set(), set(), "claimed")
    assert mail.arm().armed == {mail.key}


def test_an_old_fence_arms_nothing(mail: Mail) -> None:
    old = mail.uploaded
    outcomes.give_back(mail.conn, mail.id, old.fence)
    mail.uploaded = mail.claim()
    assert mail.uploaded.fence == old.fence + 1
    done = mail.tick([old], [])
    assert (done.armed, done.withdrawn) == (set(), {(mail.id, old.fence)})
    assert mail.arm().armed == {mail.key}


def test_a_mail_is_armed_once(mail: Mail) -> None:
    mail.arm()
    done = mail.arm()
    assert (done.armed, done.withdrawn) == (set(), {mail.key})
    assert mail.steps() == ["armed"]


def test_a_lapsed_claim_that_somebody_else_has_is_not_armed(mail: Mail) -> None:
    mail.conn.execute("UPDATE reminders SET lease_until = clock_timestamp() - interval '1 s'")
    outcomes.free_lapsed(mail.conn)
    mail.conn.commit()
    assert mail.arm().armed == set()


# ---------------------------------------------------------------- sent


def test_an_accepted_mail_raises_levels_dates_and_effects(mail: Mail) -> None:
    mail.arm()
    assert mail.take().sent == {mail.id}
    assert mail.invoices() == ["level_1", "level_1"]
    days = mail.conn.execute("SELECT DISTINCT last_reminded_on FROM invoices WHERE level = 1").fetchall()
    assert days == [(TODAY,)]
    ended = mail.conn.execute("SELECT state, ended_on, lease_until FROM reminders").fetchall()
    assert ended == [("sent", TODAY, None)]
    assert one(mail.conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["accepted"]
    assert one(mail.conn, "SELECT state FROM effects") == "due"
    assert mail.steps() == ["armed", "accepted"]
    journaled = one(
        mail.conn, "SELECT count(*) FROM journal WHERE change -> 'level' = '[0, 1]' AND today = '2026-11-24'"
    )
    assert journaled == 2


def test_an_acceptance_heard_twice_raises_one_level_and_is_told(mail: Mail) -> None:
    mail.arm()
    mail.take()
    again = mail.take()
    assert (again.sent, again.ended) == (set(), {mail.id})
    assert mail.invoices() == ["level_1", "level_1"]


def test_a_row_in_other_hands_keeps_an_acceptance_for_the_next_tick(mail: Mail, database_url: str) -> None:
    mail.arm()
    with holding(database_url, "SELECT FROM invoices WHERE number = 'FA-1' FOR UPDATE"):
        done = mail.take()
        assert (done.sent, done.ended, mail.state()) == (set(), set(), "armed")
    assert mail.take().sent == {mail.id}


def lapse(mail: Mail) -> None:
    mail.conn.execute("UPDATE reminders SET lease_until = clock_timestamp() - interval '1 s'")
    assert outcomes.doubt_lapsed(mail.conn) == 1
    mail.conn.commit()
    assert mail.invoices() == ["level_0_in_doubt", "level_0_in_doubt"]


def test_a_late_acceptance_ends_the_doubt(mail: Mail) -> None:
    mail.arm()
    lapse(mail)
    assert mail.take().sent == {mail.id}
    assert mail.invoices() == ["level_1", "level_1"]
    assert mail.steps() == ["armed", "in_doubt", "accepted"]


@pytest.mark.parametrize("meanwhile", ["due again", "claimed again", "armed again"])
def test_a_late_acceptance_counts_whatever_became_of_the_mail(mail: Mail, meanwhile: str) -> None:
    mail.arm()
    first = mail.uploaded.fence
    lapse(mail)
    resolve(mail.conn, mail.id, "send again", because="asked by phone", quarantine_s=0, dry_run=False, by=MARIE)
    mail.conn.commit()
    if meanwhile != "due again":
        mail.uploaded = mail.claim()
    if meanwhile == "armed again":
        assert mail.arm().armed == {mail.key}
    assert mail.take(first).sent == {mail.id}
    assert (mail.state(), mail.invoices()) == ("sent", ["level_1", "level_1"])
    assert mail.arm().armed == set(), "what is sent is never armed"


def test_a_late_acceptance_and_the_next_upload_in_one_tick_send_no_second_dot(mail: Mail) -> None:
    mail.arm()
    lapse(mail)
    resolve(mail.conn, mail.id, "send again", because="asked by phone", quarantine_s=0, dry_run=False, by=MARIE)
    mail.conn.commit()
    answered = Answered(
        reminder_id=mail.id, fence=mail.uploaded.fence, company_id=mail.uploaded.company_id,
        invoice_ids=tuple(mail.uploaded.versions), reply="250 late",
    )  # fmt: skip
    again = mail.claim()
    done = mail.tick([again], [answered])
    assert (done.sent, done.armed) == ({mail.id}, set())


def test_an_acceptance_for_a_mail_that_had_ended_is_told_and_raises_nothing(mail: Mail) -> None:
    mail.arm()
    outcomes.end(mail.conn, mail.id, mail.uploaded.fence, state="failed", problem="refused", error="554", day=TODAY)
    done = mail.take()
    assert (done.sent, done.ended) == (set(), {mail.id})
    assert mail.invoices() == ["level_0", "level_0"]
    assert mail.steps()[-1] == "accepted"


def test_an_invoice_paid_after_the_dot_is_reminded_and_settled(mail: Mail, database_url: str) -> None:
    mail.arm()
    with connect(database_url) as other:
        pay(other, "FA-1")
    mail.take()
    assert mail.invoices() == ["settled", "level_1"]
    assert one(mail.conn, "SELECT before_settled FROM invoices WHERE number = 'FA-1'") == "level_1"


def test_one_tick_sends_and_arms(mail: Mail, database_url: str) -> None:
    mail.arm()
    with connect(database_url) as other:
        invoice(other, "FA-9", "10.00", customer="C-2")
        rule = one(other, "SELECT id FROM rules")
        other.execute(
            "INSERT INTO runs (rule_id, rule_version, due_at, request_key) VALUES (%s, 1, now(), 'x')", [rule]
        )
        run_id = one(other, "SELECT max(id) FROM runs")
    assert isinstance(run_id, int)
    decide_run(database_url, run_id)
    second = Mail.__new__(Mail)
    second.conn, second.id = mail.conn, int(str(one(mail.conn, "SELECT max(id) FROM reminders")))
    second.uploaded = second.claim()
    answered = Answered(
        reminder_id=mail.id, fence=mail.uploaded.fence, company_id=mail.uploaded.company_id,
        invoice_ids=tuple(mail.uploaded.versions), reply="250 ok",
    )  # fmt: skip
    done = mail.tick([second.uploaded], [answered])
    assert (done.sent, done.armed) == ({mail.id}, {second.key})


# ---------------------------------------------------------------- how a mail goes back, and ends


def test_the_words_of_an_old_fence_change_nothing(mail: Mail) -> None:
    old = mail.uploaded.fence
    outcomes.give_back(mail.conn, mail.id, old)
    mail.uploaded = mail.claim()
    outcomes.give_back(mail.conn, mail.id, old, error="late", wait_s=999)
    outcomes.end(mail.conn, mail.id, old, state="failed", problem="refused", error="late", day=TODAY)
    assert (mail.state(), mail.invoices()) == ("claimed", ["level_0_sending", "level_0_sending"])


def test_what_was_ever_in_doubt_ends_in_doubt(mail: Mail) -> None:
    mail.arm()
    lapse(mail)
    resolve(mail.conn, mail.id, "send again", because="asked by phone", quarantine_s=0, dry_run=False, by=MARIE)
    mail.uploaded = mail.claim()
    outcomes.end(mail.conn, mail.id, mail.uploaded.fence, state="failed", problem="refused", error="554", day=TODAY)
    assert (mail.state(), mail.invoices()) == ("in_doubt", ["level_0_in_doubt", "level_0_in_doubt"])
    assert one(mail.conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["in_doubt"]


def test_a_failed_mail_gives_its_key_back_and_keeps_its_history(mail: Mail) -> None:
    outcomes.end(mail.conn, mail.id, mail.uploaded.fence, state="failed", problem="refused", error="554", day=TODAY)
    assert (mail.state(), mail.invoices()) == ("failed", ["level_0", "level_0"])
    assert one(mail.conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["failed"]
    assert one(mail.conn, "SELECT count(*) FROM effects") == 0


def test_a_mail_deferred_for_five_days_is_told_to_be_given_up(mail: Mail) -> None:
    assert not outcomes.give_back(mail.conn, mail.id, mail.uploaded.fence, waits_for="server")
    mail.conn.execute("UPDATE reminders SET deferred_at = now() - interval '5 days 1 s'")
    mail.uploaded = mail.claim()
    assert outcomes.give_back(mail.conn, mail.id, mail.uploaded.fence, waits_for="server")
    assert one(mail.conn, "SELECT deferrals FROM reminders") == 2


# ---------------------------------------------------------------- one bad row


def three_mails(conn: Connection, url: str) -> list[Mail]:
    invoice(conn, "FA-7", "70.00", customer="C-2")
    invoice(conn, "FA-8", "30.00", currency="USD")
    conn.commit()
    decided_run(url, rules.saved(conn)[0])
    return [Mail(conn, row[0]) for row in conn.execute("SELECT id FROM reminders ORDER BY id").fetchall()]


def test_a_mail_that_the_database_refuses_stops_no_neighbour(conn: Connection, database_url: str) -> None:
    taken, bad, sound = three_mails(conn, database_url)
    taken.arm()
    refused = replace(bad.uploaded, sha256=b"no hash")
    done = taken.tick([refused, sound.uploaded], [taken.answer()])
    assert (done.sent, done.armed, done.unfit) == ({taken.id}, {sound.key}, {bad.key: "CheckViolation"})
    assert [each.state() for each in (taken, bad, sound)] == ["sent", "claimed", "armed"]


def test_an_answer_that_cannot_be_written_arms_nobody_and_is_told(conn: Connection, database_url: str) -> None:
    taken, other, _ = three_mails(conn, database_url)
    taken.arm()
    with pytest.raises(psycopg.DataError):
        taken.tick([other.uploaded], [replace(taken.answer(), reply="250 \0")])
    conn.rollback()
    assert [each.state() for each in (taken, other)] == ["armed", "claimed"]


def test_a_database_that_goes_away_is_no_mails_own_fault(conn: Connection, database_url: str) -> None:
    mail, other, _ = three_mails(conn, database_url)
    sellers = companies.companies(conn)
    conn.close()
    with pytest.raises(psycopg.OperationalError):
        tick(conn, [mail.uploaded, other.uploaded], [], lease_s=660, companies=sellers)
