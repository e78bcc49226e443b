"""The doctor tries where mails in doubt are looked for, and says whether it would prove anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from operations.doctor.evidence import channel
from operations.doctor.examination import examine
from operations.run import run_by_hand
from scripts.sink import Sink
from store import companies
from store.connection import connect
from tests.chasing import committed_chase, decide_run, long_ago, one, send_all
from tests.imap_server import ImapServer
from tests.postfix import PostfixLog
from tests.test_doctor import machine
from tests.trade import open_account
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.doctor.finding import Finding
    from workflow.facts import Language

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class Desk:
    def __init__(self, url: str, sink: Sink, log: PostfixLog) -> None:
        self.url = url
        self.sink = sink
        self.log = log
        self._rule = committed_chase(url, port=sink.port)

    def by_evidence(self, **place: object) -> None:
        place = place or {"kind": "postfix_log", "path": str(self.log.path)}
        with connect(self.url) as conn:
            open_account(
                conn, "sortie", host="127.0.0.1", port=self.sink.port, security="plain", doubt_policy="evidence",
                evidence=place,
            )  # fmt: skip

    def sent(self) -> str:
        """A mail left ten minutes ago. Its message id."""
        with connect(self.url) as conn:
            run_id = run_by_hand(conn, self._rule, by="user:marie").run_id
        decide_run(self.url, run_id)
        send_all(self.url, run_id)
        with connect(self.url) as conn:
            conn.execute("UPDATE reminders SET armed_at = armed_at - interval '10 minutes'")
            long_ago(conn, int(str(one(conn, "SELECT id FROM reminders"))), 10)
            return str(one(conn, "SELECT message_id FROM reminders WHERE state = 'sent'"))

    def found(self, language: Language = "en") -> Finding:
        with connect(self.url) as conn:
            account = next(each for each in companies.accounts(conn).values() if each.name == "sortie")
        (finding,) = channel(self.url, account, language)
        assert (finding.check, finding.subject) == ("evidence", "sortie")
        return finding


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    with Sink(tmp_path / "sink") as sink:
        yield Desk(database_url, sink, PostfixLog(tmp_path / "mail.log"))


def test_evidence_that_shows_the_last_mails_is_sound(desk: Desk) -> None:
    desk.by_evidence()
    assert (desk.found().verdict, desk.found().figures["mails"]) == ("ok", 0), "nothing has left yet"
    desk.log.accepted(desk.sent())
    finding = desk.found()
    assert (finding.verdict, finding.advice) == ("ok", "")
    assert "shows 1 of the account's last 1 mails" in finding.found


def test_evidence_that_does_not_show_them_is_a_warning(desk: Desk) -> None:
    desk.by_evidence()
    desk.sent()
    finding = desk.found()
    assert finding.verdict == "warning"
    assert "waits for a person" in finding.advice
    assert "attend une personne" in desk.found("fr").advice


def test_evidence_that_cannot_be_read_is_an_error_with_its_cause(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.by_evidence()
    desk.log.path.unlink()
    finding = desk.found()
    assert finding.verdict == "error"
    assert "No such file or directory" in finding.found
    monkeypatch.setenv("ARCHIVE_PASSWORD", "wrong")
    with ImapServer(CERTIFICATE) as server:
        desk.by_evidence(
            kind="imap", host="localhost", port=server.port, ca_file=str(CERTIFICATE), username="relance",
            password_ref="env:ARCHIVE_PASSWORD",  # noqa: S106 - where it is, not what
        )  # fmt: skip
        finding = desk.found()
    assert "the server refused the login" in finding.found
    assert "password_ref" in finding.advice
    assert "wrong" not in finding.found + finding.advice


def test_the_whole_look_tries_each_account_that_has_evidence(desk: Desk, redis_url: str) -> None:
    settings = Settings(database_url=desk.url, redis_url=redis_url)

    def looked() -> list[str]:
        found = examine(settings, {"ARCHIVE": "x", "RELANCE_ARCHIVE": "x"}, to=None, now=machine)
        return [one.subject for one in found if one.check in {"evidence", "configuration"}]

    assert looked() == ["", "RELANCE_ARCHIVE"]
    desk.by_evidence(kind="imap", host="127.0.0.1", port=1, username="a", password_ref="env:RELANCE_ARCHIVE")  # noqa: S106
    assert looked() == ["", "sortie"], "and a secret of it is no unknown variable"
