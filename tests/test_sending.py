"""From a claim to a mail: what its envelope, its headers and its words are, and what fails alone."""

from __future__ import annotations

import email
from email import policy
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from operations.customers import save_contact, save_customer
from operations.holds import hold, stop
from operations.run import run_by_hand
from scripts.sink import Sink
from store import settings
from store.connection import connect, pool
from tests.chasing import NOW, TEXTS, committed_chase, decide_run, one, open_rule, pay
from tests.trade import TODAY, invoice
from workers import steps
from workers.deliveries import Delivery
from workers.office import Office
from workers.sending import prepare, settle
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from store.connection import Connection
    from workers.deliveries import Ready
    from workers.steps import Step
    from workflow.facts import Language

ENGLISH = {"subject": "Reminder {{ level }}", "header": "Dear {{ contact.name }},", "footer": "Regards"}


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    committed_chase(database_url)
    with connect(database_url) as opened:
        opened.autocommit = True
        yield opened


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    with pool(database_url, actor="worker:test:1", size=2) as connections:
        yield Office(pool=connections, settings=Settings())


def run(conn: Connection, url: str, **changes: Any) -> list[int]:  # noqa: ANN401 - fields of a rule
    """Decide a run of the rule with these changes; the ids of its mails."""
    rule = open_rule(conn, **changes)
    run_id = run_by_hand(conn, rule, by="user:marie").run_id
    decide_run(url, run_id)
    return [row[0] for row in conn.execute("SELECT id FROM reminders WHERE run_id = %s ORDER BY id", [run_id])]


def parsed(ready: Ready) -> EmailMessage:
    raw = ready.stuffed.replace(b"\r\n..", b"\r\n.")
    message: EmailMessage = email.message_from_bytes(raw, policy=policy.default)
    return message


def test_a_copy_is_shown_and_a_blind_copy_is_not(conn: Connection, database_url: str, office: Office) -> None:
    ids = run(conn, database_url, cc=["chef@nord.example"], bcc=["archive@nord.example"], reply_to="aide@nord.example")
    (ready,) = prepare(office, ids)
    assert ready.recipients == ("ana@dupont.example", "chef@nord.example", "archive@nord.example")
    message = parsed(ready)
    assert (message["To"], message["Cc"], message["Reply-To"]) == (
        "Ana <ana@dupont.example>", "chef@nord.example", "aide@nord.example",
    )  # fmt: skip
    assert b"archive@nord.example" not in ready.stuffed


def test_each_address_is_in_the_envelope_once(conn: Connection, database_url: str, office: Office) -> None:
    ids = run(conn, database_url, cc=["Ana@dupont.example"], bcc=["archive@nord.example", "archive@nord.example"])
    (ready,) = prepare(office, ids)
    assert [each.lower() for each in ready.recipients] == ["ana@dupont.example", "archive@nord.example"]


READERS: dict[str, tuple[Language | None, Language | None]] = {
    "the contact's": ("en", "fr"),
    "the customer's": (None, "en"),
    "the company's": (None, None),
}


@pytest.mark.parametrize("whose", READERS)
def test_the_reader_is_written_to_in_their_language(
    conn: Connection, database_url: str, office: Office, whose: str
) -> None:
    contact, customer = READERS[whose]
    save_customer(conn, number="C-1", name="Dupont SARL", language=customer, by="user:marie")
    save_contact(
        conn, customer="C-1", name="Ana", email="ana@dupont.example", language=contact, roles=["dunning"],
        by="user:marie",
    )  # fmt: skip
    (ready,) = prepare(office, run(conn, database_url, texts={"fr": TEXTS, "en": ENGLISH}))
    expected = "Relance de Nord SAS" if whose == "the company's" else "Reminder 1"
    assert parsed(ready)["Subject"] == expected


def test_the_clock_of_a_test_instance_stands_while_mails_are_claimed_by_it(
    conn: Connection, database_url: str, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = run(conn, database_url)
    conn.execute("SET lock_timeout = '50 ms'")

    def meddle(step: Step) -> None:
        if step == "claiming":
            with pytest.raises(psycopg.errors.LockNotAvailable):
                settings.set_clock(conn, NOW)

    monkeypatch.setattr(steps, "WATCHERS", [meddle])
    assert len(prepare(office, ids)) == 1
    settings.set_clock(conn, NOW)


def test_the_bytes_are_the_same_however_often_they_are_made(
    conn: Connection, database_url: str, office: Office
) -> None:
    ids = run(conn, database_url)
    (first,) = prepare(office, ids)
    conn.execute("UPDATE reminders SET state = 'due', lease_until = NULL")
    (second,) = prepare(office, ids)
    assert second.mail.fence == first.mail.fence + 1
    assert (second.stuffed, second.mail.sha256) == (first.stuffed, first.mail.sha256)


def test_a_contact_corrected_while_the_mail_was_queued_gets_it(
    conn: Connection, database_url: str, office: Office
) -> None:
    ids = run(conn, database_url)
    save_contact(conn, customer="C-1", name="Bob", email="bob@dupont.example", roles=["dunning"], by="user:marie")
    (ready,) = prepare(office, ids)
    assert (ready.mail.recipient, ready.recipients) == ("bob@dupont.example", ("bob@dupont.example",))
    body = parsed(ready).get_body(("plain",))
    assert body
    assert "Bonjour Bob" in body.get_content()


def test_a_text_that_breaks_on_real_values_fails_its_own_mail_alone(
    conn: Connection, database_url: str, office: Office
) -> None:
    """No such text is saved today; one saved before it was forbidden may still be pinned."""
    invoice(conn, "FA-9", "10.00", customer="C-2")
    ids = run(conn, database_url)
    header = '"{{ invoices[1].number }}"'
    conn.execute("UPDATE rule_versions SET definition = jsonb_set(definition, '{texts,fr,header}', %s)", [header])
    ready = prepare(office, ids)
    assert [len(each.mail.versions) for each in ready] == [2]
    failed = conn.execute("SELECT problem, ended_on FROM reminders WHERE state = 'failed'").fetchall()
    assert failed == [("not_rendered", TODAY)]
    assert one(conn, "SELECT state FROM invoices WHERE number = 'FA-9'") == "level_0"


def test_mails_whose_rule_cannot_be_read_wait_in_a_run_that_is_held(
    conn: Connection, database_url: str, office: Office
) -> None:
    ids = run(conn, database_url)
    conn.execute('UPDATE rule_versions SET definition = definition || \'{"tone": "firm"}\'')
    conn.commit()
    assert prepare(office, ids) == []
    assert "tone" in str(one(conn, "SELECT held_because FROM runs"))
    assert one(conn, "SELECT array_agg(DISTINCT state) FROM reminders") == ["due"]
    conn.execute("UPDATE rule_versions SET definition = definition - 'tone'")
    assert prepare(office, ids) == [], "a person lets it go"
    conn.execute("UPDATE runs SET held_because = NULL, held_at = NULL")
    assert len(prepare(office, ids)) == len(ids)


@pytest.mark.parametrize("reference", ["env:NOBODY_SET_THIS", "file:/nowhere/at/all"])
def test_a_host_that_lacks_the_password_fails_no_mail(
    conn: Connection, database_url: str, office: Office, reference: str
) -> None:
    ids = run(conn, database_url)
    conn.execute(
        "UPDATE mail_accounts SET security = 'implicit-tls', username = 'relance', password_ref = %s"
        " WHERE name = 'sortie'",
        [reference],
    )
    assert prepare(office, ids) == []
    assert conn.execute("SELECT state, last_error FROM reminders").fetchall() == [("due", "no password on this host")]
    assert one(conn, "SELECT not_before > clock_timestamp() FROM reminders") is True


def test_nothing_is_claimed_outside_the_window(conn: Connection, database_url: str, office: Office) -> None:
    ids = run(conn, database_url)
    settings.set_clock(conn, NOW.replace(hour=22))
    assert prepare(office, ids) == []
    waiting = conn.execute("SELECT state, waits_for, fence, not_before > now() FROM reminders").fetchall()
    assert waiting == [("due", "window", 0, True)]
    settings.set_clock(conn, NOW)
    assert len(prepare(office, ids)) == 1


@pytest.mark.parametrize("gate", ["stop", "account", "rule"])
def test_nothing_is_claimed_behind_a_closed_gate(
    conn: Connection, database_url: str, office: Office, gate: str
) -> None:
    ids = run(conn, database_url)
    if gate == "stop":
        stop(conn, because="wrong price list", by="user:marie")
    elif gate == "account":
        hold(conn, account="sortie", because="blocked", by="user:marie")
    else:
        hold(conn, rule="Relance 1", because="wrong text", by="user:marie")
    assert prepare(office, ids) == []
    assert conn.execute("SELECT state, fence FROM reminders").fetchall() == [("due", 0)]


def test_what_is_no_longer_due_is_let_go_with_its_reason(conn: Connection, database_url: str, office: Office) -> None:
    ids = run(conn, database_url)
    pay(conn, "FA-1")
    pay(conn, "FA-2", "50.50")
    assert prepare(office, ids) == []
    assert conn.execute("SELECT state, problem FROM reminders").fetchall() == [("cancelled", "paid")]
    assert one(conn, "SELECT count(*) FROM effects") == 0


def test_unknown_and_finished_ids_are_left_alone(conn: Connection, database_url: str, office: Office) -> None:
    ids = run(conn, database_url)
    assert prepare(office, [999_999, -1]) == []
    conn.execute("UPDATE reminders SET state = 'sent', ended_at = now(), ended_on = '2026-11-24'")
    assert prepare(office, ids) == []


def test_a_mail_that_the_database_refuses_fails_for_a_person_to_see(
    conn: Connection, database_url: str, office: Office
) -> None:
    (ready,) = prepare(office, run(conn, database_url))
    assert not settle(conn, ready, Delivery("unfit", error="CheckViolation"))
    row = conn.execute("SELECT state, problem, last_error, ended_on FROM reminders").fetchone()
    assert row == ("failed", "not_armed", "CheckViolation", TODAY)
    assert one(conn, "SELECT state FROM invoices WHERE number = 'FA-1'") == "level_0"


def test_a_pinned_rule_is_sent_as_it_was_pinned(conn: Connection, database_url: str, tmp_path: Path) -> None:
    """The rule is edited while its mails are queued: they say what the run decided."""
    with Sink(tmp_path) as sink:
        conn.execute("UPDATE mail_accounts SET port = %s WHERE name = 'sortie'", [sink.port])
        ids = run(conn, database_url)
        open_rule(conn, texts={"fr": TEXTS | {"subject": "Tout autre chose"}})
        with pool(database_url, actor="worker:test:1", size=2) as connections:
            (ready,) = prepare(Office(pool=connections, settings=Settings()), ids)
    assert parsed(ready)["Subject"] == "Relance de Nord SAS"
