"""A mail in doubt is a person's to settle: it arrived, or it goes again, or is lost, once the first cannot arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.lookup import Unknown
from operations.resolve import resolve
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import committed_chase, decided_run, doubt, one, pay, send_all
from tests.trade import TODAY
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from operations.resolve import Answer, Resolution
    from store.connection import Connection

WHY = "seen in the archive"


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as opened:
        opened.execute("SELECT 1")
        yield opened


@pytest.fixture
def reminder(conn: Connection) -> int:
    reminder_id = one(conn, "SELECT id FROM reminders")
    assert isinstance(reminder_id, int)
    doubt(conn, reminder_id)
    return reminder_id


def settled(
    conn: Connection,
    reminder: int,
    answer: Answer,
    *,
    quarantine_s: float = 0,
    dry_run: bool = False,
    because: str = WHY,
) -> Resolution:
    return resolve(
        conn, reminder, answer, because=because, quarantine_s=quarantine_s, dry_run=dry_run, by="user:marie"
    )  # fmt: skip


def states(conn: Connection) -> dict[str, str]:
    return dict(conn.execute("SELECT number, state FROM invoices WHERE number IN ('FA-1', 'FA-2')").fetchall())


def test_a_mail_that_arrived_counts_as_sent(conn: Connection, reminder: int) -> None:
    found = settled(conn, reminder, "arrived")
    assert (found.done, found.day, found.reminder.invoices) == (True, TODAY, ["FA-1", "FA-2"])
    assert one(conn, "SELECT state FROM reminders") == "sent"
    assert states(conn) == {"FA-1": "level_1", "FA-2": "level_1"}
    assert one(conn, "SELECT last_reminded_on FROM invoices WHERE number = 'FA-1'") == TODAY
    assert one(conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["accepted"]
    assert one(conn, "SELECT state FROM effects") == "due"
    last = conn.execute("SELECT step, detail, actor FROM attempts ORDER BY id DESC LIMIT 1").fetchone()
    assert last == ("resolved", f"it arrived: {WHY}", "user:marie")
    because = one(conn, "SELECT DISTINCT because FROM journal WHERE change -> 'level' IS NOT NULL")
    assert because == WHY


def test_a_mail_sent_again_is_due_under_a_new_fence(conn: Connection, reminder: int) -> None:
    fence = one(conn, "SELECT fence FROM reminders")
    assert settled(conn, reminder, "send again").done
    again = conn.execute("SELECT state, fence, ever_in_doubt, lease_until FROM reminders").fetchone()
    assert again == ("due", int(str(fence)) + 1, True, None)
    assert states(conn) == {"FA-1": "level_0_sending", "FA-2": "level_0_sending"}
    assert one(conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["planned"]


def test_an_instance_without_a_company_has_nothing_to_resolve(database: Connection) -> None:
    with pytest.raises(Unknown):
        settled(database, 1, "arrived")


def test_a_lost_mail_gives_its_invoices_back_to_the_next_run(conn: Connection, reminder: int) -> None:
    with pytest.raises(InvalidInput, match="may still arrive"):
        settled(conn, reminder, "lost", quarantine_s=1800)
    assert settled(conn, reminder, "lost").done
    assert conn.execute("SELECT state, problem, ended_on FROM reminders").fetchone() == ("failed", "lost", TODAY)
    assert states(conn) == {"FA-1": "level_0", "FA-2": "level_0"}
    assert one(conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["failed"]
    assert one(conn, "SELECT count(*) FROM effects") == 0
    last = conn.execute("SELECT step, detail FROM attempts ORDER BY id DESC LIMIT 1").fetchone()
    assert last == ("resolved", f"lost: {WHY}")


def test_a_mail_sent_again_leaves_with_the_same_message_id(database_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        run_id = decided_run(database_url, committed_chase(database_url, port=sink.port))
        with connect(database_url) as conn:
            reminder = one(conn, "SELECT id FROM reminders")
            assert isinstance(reminder, int)
            doubt(conn, reminder)
            settled(conn, reminder, "send again")
        send_all(database_url, run_id)
        (accepted,) = sink.mails()
    with connect(database_url) as conn:
        assert one(conn, "SELECT message_id FROM reminders WHERE state = 'sent'") == accepted.message_id


def test_nothing_goes_again_within_the_quarantine(conn: Connection, reminder: int) -> None:
    with pytest.raises(InvalidInput, match=r"can be sent again from 20\d\d-"):
        settled(conn, reminder, "send again", quarantine_s=1800)
    assert one(conn, "SELECT state FROM reminders") == "in_doubt"
    assert settled(conn, reminder, "arrived", quarantine_s=1800).done, "knowing that it arrived needs no waiting"


@pytest.mark.parametrize("answer", ["arrived", "send again"])
def test_a_dry_run_changes_nothing(conn: Connection, reminder: int, answer: Answer) -> None:
    assert not settled(conn, reminder, answer, dry_run=True).done
    assert one(conn, "SELECT state FROM reminders") == "in_doubt"
    assert one(conn, "SELECT count(*) FROM attempts WHERE step = 'resolved'") == 0


@pytest.mark.parametrize("answer", ["arrived", "send again"])
def test_a_reminder_is_resolved_once(conn: Connection, reminder: int, answer: Answer) -> None:
    settled(conn, reminder, "arrived")
    with pytest.raises(InvalidInput, match="is sent: only a reminder in doubt"):
        settled(conn, reminder, answer)


def test_an_invoice_paid_meanwhile_stays_settled_and_keeps_its_level(conn: Connection, reminder: int) -> None:
    pay(conn, "FA-1")
    settled(conn, reminder, "arrived")
    paid = conn.execute("SELECT state, before_settled, level FROM invoices WHERE number = 'FA-1'").fetchone()
    assert paid == ("settled", "level_1", 1)


def test_a_reason_and_a_known_reminder_are_needed(conn: Connection, reminder: int) -> None:
    with pytest.raises(InvalidInput, match="because"):
        settled(conn, reminder, "arrived", because=" ")
    with pytest.raises(Unknown, match="no reminder"):
        settled(conn, reminder + 1, "arrived")
