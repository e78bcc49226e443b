"""What follows of a mail that came back: noted once, the address silenced only by proof, and a person told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from letters.letter import letter_from_stored
from operations.companies import save_company
from operations.customers import save_contact
from operations.explain import explain
from operations.lookup import find_invoice
from scripts.sink import Sink
from store import settings
from store.connection import connect
from tests.chasing import committed_chase, decided_run, one, open_rule, pay, send_all
from tests.databases import administering, copied
from tests.returned import answer, bounce, complaint, full
from tests.trade import journal
from workers.feedback import Came, take

if TYPE_CHECKING:
    from collections.abc import Generator

    from store.connection import Connection

ANA = "ana@dupont.example"
AT = datetime(2026, 11, 24, 15, tzinfo=UTC)
BY = "scheduler:test:1"
TOMORROW = date(2026, 11, 25)
RULE_2 = "Relance 2"


@pytest.fixture(scope="module")
def sent(servers: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The name of a database in which FA-1 and FA-2 have had their first reminder, in one mail to Ana."""
    with administering(servers[0]) as server:
        name = f"{template}_sent"
        made = copied(server, servers[0], template, name)
        url = next(made)
        with Sink(tmp_path_factory.mktemp("sink")) as sink:
            rule = committed_chase(url, port=sink.port)
            send_all(url, decided_run(url, rule))
        with connect(url) as conn:
            open_rule(conn, RULE_2, level=1, tags=[])
        yield name
        made.close()


@pytest.fixture
def conn(servers: tuple[str, str], sent: str) -> Generator[Connection]:
    with administering(servers[0]) as server:
        made = copied(server, servers[0], sent, f"{sent}_one")
        with connect(next(made)) as connection:
            yield connection
        made.close()


def ours(conn: Connection) -> str:
    """The message id of the mail, as the server got it."""
    return str(one(conn, "SELECT message_id FROM reminders WHERE state = 'sent'"))


def came(conn: Connection, content: bytes) -> list[Came]:
    return take(conn, content, received_at=AT, by=BY)


def kept(conn: Connection) -> bytes:
    """The letter, as it was armed."""
    found = one(conn, "SELECT letter FROM mails")
    assert isinstance(found, bytes)
    return found


def suppressed(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT email FROM suppressed_addresses ORDER BY email")]


def noted(conn: Connection) -> list[tuple[str, str]]:
    return conn.execute("SELECT kind, reason FROM feedback ORDER BY id").fetchall()


def why(conn: Connection, number: str = "FA-1", rule: str = RULE_2) -> str:
    """What keeps it from its next reminder tomorrow."""
    return explain(conn, find_invoice(conn, number), by="system", rule=rule, on=TOMORROW).rules[0].reason


def test_a_hard_bounce_silences_the_address_marks_the_mail_and_makes_a_task(conn: Connection) -> None:
    (found,) = came(conn, bounce(ours(conn), "Ana@dupont.example"))
    assert (found.kind, found.suppressed, found.again) == ("hard", True, ())
    assert found.task_id is not None
    assert suppressed(conn) == [ANA]
    assert one(conn, "SELECT undelivered_at IS NOT NULL FROM reminders WHERE message_id = %s", ours(conn)) is True
    assert one(conn, "SELECT kind FROM tasks WHERE done_at IS NULL") == "undelivered"
    assert {why(conn), why(conn, "FA-2")} == {"undelivered"}


def test_the_level_stays_where_the_mail_brought_it(conn: Connection) -> None:
    came(conn, bounce(ours(conn), ANA))
    assert one(conn, "SELECT level FROM invoices WHERE number = 'FA-1'") == 1


def test_the_same_report_read_twice_changes_nothing(conn: Connection) -> None:
    report = bounce(ours(conn), ANA)
    came(conn, report)
    tables = ("feedback", "tasks", "suppressed_addresses", "journal")
    before = [one(conn, f"SELECT count(*) FROM {table}") for table in tables]
    assert came(conn, report) == []
    assert came(conn, report.replace(b"\r\n", b"\n")) == [], "a maildir ends its lines otherwise"
    assert [one(conn, f"SELECT count(*) FROM {table}") for table in tables] == before


def test_a_second_report_about_the_same_mail_makes_no_second_task(conn: Connection) -> None:
    came(conn, bounce(ours(conn), ANA))
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert found.task_id is None
    assert one(conn, "SELECT count(*) FROM tasks") == 1
    assert noted(conn) == [("hard", "no_mailbox")] * 2


@pytest.mark.parametrize(
    "forged",
    [
        "<1.{zeros}@nord.example>",  # looks like one of ours
        "{ours_of_another_domain}",
        "{other_random}",
        "",
    ],
)
def test_a_report_that_quotes_no_mail_of_ours_silences_nobody(conn: Connection, forged: str) -> None:
    """An id and a shape are easily guessed; the random part is not."""
    number, _, rest = ours(conn).strip("<>").partition(".")
    random, _, domain = rest.partition("@")
    written = forged.format(
        zeros="0" * 20,
        ours_of_another_domain=f"<{number}.{random}@evil.example>",
        other_random=f"<{number}.{random[::-1]}@{domain}>",
    )
    assert came(conn, bounce(written, ANA)) == []
    assert suppressed(conn) == []
    assert noted(conn) == []


@pytest.mark.parametrize("address", ["compta@martin.example", "ben@dupont.example"])
def test_a_report_with_the_id_of_a_mail_silences_no_other_customer(conn: Connection, address: str) -> None:
    (found,) = came(conn, bounce(ours(conn), address))
    assert (found.kind, found.reason, found.suppressed, found.task_id) == ("soft", "other_address", False, None)
    assert suppressed(conn) == []
    assert why(conn) == "reminded"


def test_a_full_mailbox_is_noted_and_no_more(conn: Connection) -> None:
    (found,) = came(conn, full(ours(conn), ANA))
    assert (found.kind, found.reason, found.status, found.task_id) == ("soft", "delayed", "4.2.2", None)
    assert suppressed(conn) == []


@pytest.mark.parametrize("address", [ANA, ""])
def test_a_complaint_ends_mail_to_its_reader_and_makes_a_task(conn: Connection, address: str) -> None:
    (found,) = came(conn, complaint(ours(conn), address))
    assert (found.kind, found.suppressed) == ("complaint", True)
    assert suppressed(conn) == [ANA]
    assert one(conn, "SELECT undelivered_at FROM reminders WHERE message_id = %s", ours(conn)) is None
    assert why(conn) == "suppressed"


def test_answers_of_people_and_of_their_absence_are_told_apart(conn: Connection) -> None:
    came(conn, answer(ours(conn), ANA))
    came(conn, answer(ours(conn), ANA, automatic=True))
    assert noted(conn) == [("answer", "answered"), ("auto_reply", "automatic_answer")]
    assert suppressed(conn) == []


def test_a_copy_of_our_own_next_reminder_is_no_answer_to_the_last(conn: Connection) -> None:
    copy = answer(ours(conn), "relance@nord.example").replace(b"Message-ID: <", b"X-Was: <", 1)
    assert came(conn, f"Message-ID: {ours(conn)}\r\n".encode() + copy) == []


def test_nothing_of_a_report_s_words_and_addresses_is_kept(conn: Connection) -> None:
    came(conn, bounce(ours(conn), ANA, said="550 5.1.1 canari@dupont.example is no more"))
    came(conn, answer(ours(conn), "canari@dupont.example", body="Canari est parti."))
    tables = ("feedback", "tasks", "journal")
    written = "\n".join(str(row) for table in tables for row in conn.execute(f"SELECT t::text FROM {table} t".encode()))
    assert "canari" not in written.lower()
    assert "dupont.example" not in written
    told = conn.execute("SELECT about FROM feedback").fetchall()
    assert all(about.startswith("sha256:") for (about,) in told)


def test_what_follows_is_journaled_with_why(conn: Connection) -> None:
    (found,) = came(conn, bounce(ours(conn), ANA))
    reminder_id = found.reminder_id
    assert journal(conn, "reminder", reminder_id) == [{"undelivered": [None, "no_mailbox"]}]
    said = conn.execute("SELECT DISTINCT subject, actor, because, today FROM journal WHERE actor = %s", [BY]).fetchall()
    assert {row[0] for row in said} == {"reminder", "suppression", "task"}
    assert {row[2] for row in said} == {f"what came back about reminder {reminder_id}"}
    assert all(row[3] is not None for row in said)


def test_explain_tells_what_came_back_by_date_kind_and_hash(conn: Connection) -> None:
    came(conn, bounce(ours(conn), ANA))
    came(conn, answer(ours(conn), "chef@dupont.example"))
    found = explain(conn, find_invoice(conn, "FA-1"), by="system")
    (mail,) = found.reminders
    assert mail.undelivered_at is not None
    assert [(one.kind, one.received_at, bool(one.about)) for one in found.feedback[mail.id]] == [
        ("hard", AT, True),
        ("answer", AT, True),
    ]


def test_another_address_of_the_customer_s_gets_the_next_reminder(conn: Connection) -> None:
    came(conn, bounce(ours(conn), ANA))
    save_contact(conn, customer="C-1", name="Ben", email="ben@dupont.example", roles=["dunning"], by="user:marie")
    assert why(conn) == "reminded"


def test_a_test_s_mailbox_that_bounces_silences_nobody_whenever_the_bounce_comes(conn: Connection) -> None:
    """What counts is where that very mail went, not where the test's mails go today."""
    letter = letter_from_stored(kept(conn), {}).redirected("test@nord.example")
    conn.execute("UPDATE mails SET letter = %s", [letter.stored()])
    conn.execute("UPDATE reminders SET recipient = 'test@nord.example' WHERE state = 'sent'")
    for address in (None, "other@nord.example", "test@nord.example"):
        settings.redirect(conn, address)
        (found,) = came(conn, bounce(ours(conn), "test@nord.example"))
        assert (found.kind, found.suppressed, found.task_id) == ("hard", False, None)
    assert suppressed(conn) == []


def test_a_mail_that_went_to_a_customer_before_a_test_began_counts(conn: Connection) -> None:
    settings.redirect(conn, ANA)
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert found.suppressed


# ------------------------------------------------------------------ the next contact


@pytest.fixture
def next_contact(conn: Connection) -> Connection:
    """The company lets the next contact be reminded; C-1 has a billing contact, Ben."""
    save_company(conn, code="NORD", name="Nord SAS", after_bounce="next_contact", by="user:marie")
    save_contact(conn, customer="C-1", name="Ben", email="ben@dupont.example", roles=["billing"], by="user:marie")
    return conn


def test_the_next_contact_is_reminded_anew_where_the_company_wants_it(next_contact: Connection) -> None:
    conn = next_contact
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert found.again == ("FA-1", "FA-2")
    assert found.task_id is not None, "the address is still to be corrected"
    stands = conn.execute("SELECT state, cycle, last_reminded_on FROM invoices WHERE number = 'FA-1'").fetchone()
    assert stands == ("level_0", 2, None)
    again = explain(conn, find_invoice(conn, "FA-1"), by="system", rule="Relance 1").rules[0]
    assert again.reason == "reminded"
    assert [link.link for link in again.chain if link.chosen] == ["customer's other contact"]


def test_what_has_gone_further_is_not_taken_back(next_contact: Connection) -> None:
    conn = next_contact
    conn.execute("UPDATE invoices SET state = 'level_1_sending' WHERE number = 'FA-1'")
    pay(conn, "FA-2", "50.50")
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert found.again == ()
    assert one(conn, "SELECT state FROM invoices WHERE number = 'FA-1'") == "level_1_sending"


def test_what_a_person_has_corrected_since_is_not_taken_back(next_contact: Connection) -> None:
    conn = next_contact
    conn.execute("UPDATE invoices SET last_reminded_on = '2026-11-20' WHERE number = 'FA-1'")
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert found.again == ("FA-2",)


def test_where_the_rule_cannot_be_read_any_more_a_person_has_the_task(
    next_contact: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    conn = next_contact
    conn.execute('UPDATE rule_versions SET definition = definition || \'{"by": "another version"}\'')
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert (found.suppressed, found.again) == (True, ())
    assert found.task_id is not None
    assert "rule_unreadable" in capsys.readouterr().err


def test_where_nobody_is_left_in_the_chain_it_stays_with_the_task(conn: Connection) -> None:
    save_company(conn, code="NORD", name="Nord SAS", after_bounce="next_contact", by="user:marie")
    (found,) = came(conn, bounce(ours(conn), ANA))
    assert found.again == ()
    assert why(conn) == "undelivered"
