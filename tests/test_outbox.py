"""Each reminder as it left: what the list says is what the server took, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.invoices import attach_original
from operations.lookup import Unknown
from operations.outbox import BytesDiffer, eml, one, outbox
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import committed_chase, decided_run, open_rule, send_all
from tests.trade import TODAY
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


def test_a_mail_is_made_again_as_the_server_took_it(database_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        (reminder_id,) = send_all(database_url, decided_run(database_url, rule))
        (taken,) = sink.kept()
        (accepted,) = sink.mails()
    with connect(database_url) as conn:
        assert eml(conn, reminder_id) == taken
        posted = one(conn, reminder_id)
    assert (posted.state, posted.message_id, posted.recipient) == ("sent", accepted.message_id, accepted.to[0])
    assert (posted.subject, posted.invoices, posted.ended_on) == ("Relance de Nord SAS", ["FA-1", "FA-2"], TODAY)


def test_an_attached_original_is_part_of_the_bytes(database_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        with connect(database_url) as conn:
            for number in ("FA-1", "FA-2"):
                attach_original(
                    conn, company="NORD", number=number, content=b"%PDF-1.7 " + number.encode(), name=f"{number}.pdf",
                    by="user:marie",
                )  # fmt: skip
            rule = open_rule(conn, rule.title, attach_invoices=True)
        (reminder_id,) = send_all(database_url, decided_run(database_url, rule))
        (taken,) = sink.kept()
    with connect(database_url) as conn:
        assert eml(conn, reminder_id) == taken
        conn.execute("UPDATE mails SET sha256 = sha256('other')")
        with pytest.raises(BytesDiffer, match="not those that left"):
            eml(conn, reminder_id)
        conn.execute("DELETE FROM invoice_attachments")
        conn.execute("DELETE FROM attachments")
        with pytest.raises(BytesDiffer, match="no longer kept"):
            eml(conn, reminder_id)


def test_a_mail_that_waits_has_no_bytes_yet(database_url: str) -> None:
    run_id = decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        (waiting,) = outbox(conn, run_id=run_id)
        assert (waiting.state, waiting.subject, waiting.level) == ("due", None, 0)
        with pytest.raises(InvalidInput, match="never about to leave"):
            eml(conn, waiting.reminder)


def test_the_list_takes_a_state_a_run_and_a_limit(database_url: str) -> None:
    run_id = decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as conn:
        assert len(outbox(conn, state="due")) == 1
        assert outbox(conn, state="sent") == []
        assert outbox(conn, run_id=run_id + 1) == []
        assert outbox(conn, limit=0) == []
        with pytest.raises(InvalidInput, match="in_doubt"):
            outbox(conn, state="lost")
        for ask in (one, eml):
            with pytest.raises(Unknown, match="no reminder '999'"):
                ask(conn, 999)
