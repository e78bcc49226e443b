"""A mailbox on a server: read over verified TLS, in order, once, within bounds, and left as it was."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.imap_server import ImapFolder, ImapServer
from workers.imap import Fetched, ImapPlace, Refused, Unreadable, modified_utf7, opened

if TYPE_CHECKING:
    from collections.abc import Generator

CERTIFICATE = Path(__file__).with_name("localhost.pem")
MAIL = b"Message-ID: <a@relay.example>\r\nSubject: Undelivered\r\n\r\nNobody is there.\r\n"
BYTES = 10_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[ImapServer]:
    monkeypatch.setenv("RELANCE_TEST_IMAP", "ouvre-toi")
    with ImapServer(CERTIFICATE) as listening:
        yield listening


def place(server: ImapServer, **changes: str | int | None) -> ImapPlace:
    found = ImapPlace(
        host="localhost",
        port=server.port,
        security="implicit-tls",
        ca_file=str(CERTIFICATE),
        username="relance",
        password_ref="env:RELANCE_TEST_IMAP",  # noqa: S106 - where it is, not what
        folder="INBOX",
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def read(at: ImapPlace, after: int = 0, *, most: int = 100, look_s: float = 45) -> list[Fetched]:
    with opened(at, most_bytes=BYTES, look_s=look_s) as folder:
        found = [folder.fetch(uid, most_bytes=BYTES) for uid in folder.uids(after, most=most)]
    return [one for one in found if one]


def why(at: ImapPlace, *, look_s: float = 45) -> str:
    with pytest.raises(Unreadable) as told:
        read(at, look_s=look_s)
    return str(told.value)


def test_mails_are_read_in_their_order_and_left_as_they_were(server: ImapServer) -> None:
    first = server.inbox.add(MAIL, datetime(2026, 11, 24, 8, 30, tzinfo=UTC))
    server.inbox.add(MAIL + b"2")
    assert [one.content for one in read(place(server))] == [MAIL, MAIL + b"2"]
    assert read(place(server))[0].received_at == datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    assert [one.content for one in read(place(server), first)] == [MAIL + b"2"]
    assert read(place(server), 2) == []
    assert all(not mail.flags for mail in server.inbox.mails)
    assert "EXAMINE" in " ".join(server.commands)
    assert "SELECT" not in " ".join(server.commands)


@pytest.mark.parametrize("authenticates", [True, False])
def test_starttls_and_both_ways_to_log_in(monkeypatch: pytest.MonkeyPatch, *, authenticates: bool) -> None:
    monkeypatch.setenv("RELANCE_TEST_IMAP", 'sésame "ouvre\\toi"' if authenticates else 'ouvre "toi\\')
    password = 'sésame "ouvre\\toi"' if authenticates else 'ouvre "toi\\'
    with ImapServer(CERTIFICATE, implicit=False, login=("relance", password), authenticates=authenticates) as server:
        server.inbox.add(MAIL)
        assert len(read(place(server, security="starttls-required"))) == 1
        assert server.commands.index("STARTTLS") < server.commands.index("AUTHENTICATE" if authenticates else "LOGIN")


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_server_that_refuses_passwords_is_shown_an_access_token(
    monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    monkeypatch.setenv("RELANCE_TEST_IMAP", "ya29.token")
    login = ("relance", "ya29.token")
    with ImapServer(CERTIFICATE, login=login, authenticates=False, tokens=(mechanism,)) as server:
        server.inbox.add(MAIL)
        assert len(read(place(server, auth="xoauth2"))) == 1
        monkeypatch.setenv("RELANCE_TEST_IMAP", "ya29.lapsed")
        assert why(place(server, auth="xoauth2")) == "the server refused the login"
        assert "LOGIN" not in server.commands


def test_a_token_is_shown_to_nobody_who_takes_none(server: ImapServer) -> None:
    assert why(place(server, auth="xoauth2")) == "the server takes no access token"
    assert "AUTHENTICATE" not in server.commands


def test_a_folder_has_the_name_that_people_read(server: ImapServer) -> None:
    server.folders[modified_utf7("Retours & Réponses")] = ImapFolder()
    server.folders["Retours &- R&AOk-ponses"].add(MAIL)
    assert len(read(place(server, folder="Retours & Réponses"))) == 1


def test_a_server_that_nobody_vouches_for_is_not_told_the_password(server: ImapServer) -> None:
    assert "TLS" in why(place(server, ca_file=None))
    assert "TLS" in why(place(server, host="127.1"))
    assert server.commands == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"username": "somebody"}, "refused the login"),
        ({"folder": "Nowhere"}, "refused opening the folder"),
        ({"password_ref": "env:RELANCE_TEST_NO_SUCH"}, "the reference to its secret leads to none"),
        ({"ca_file": "/nowhere.pem"}, "IMAP: FileNotFoundError"),
        ({"port": 1}, "IMAP: ConnectionRefusedError"),
    ],
)
def test_what_cannot_be_read_says_why_and_no_secret(
    server: ImapServer, changes: dict[str, str | int | None], told: str
) -> None:
    said = why(place(server, **changes))
    assert told in said
    assert "ouvre-toi" not in said


def test_uids_far_apart_are_found(server: ImapServer) -> None:
    """A search is asked by stretches: of a folder with years of mail the answer would be one line without end."""
    for uid in (5, 25_000, 4_000_000_000):
        server.inbox.add(MAIL, uid=uid)
    assert [one.uid for one in read(place(server))] == [5, 25_000, 4_000_000_000]
    assert [one.uid for one in read(place(server), most=2)] == [5, 25_000]
    assert [one.uid for one in read(place(server), 25_000)] == [4_000_000_000]


def test_of_a_large_mail_its_beginning_is_read(server: ImapServer) -> None:
    server.inbox.add(MAIL + b"x" * 100_000)
    (found,) = read(place(server))
    assert found.content == (MAIL + b"x" * 100_000)[:BYTES]


def test_a_server_that_announces_more_than_was_asked_for_is_left(server: ImapServer) -> None:
    server.inbox.add(MAIL)
    server.lies_about_bytes = 10**9
    assert why(place(server)) == "IMAP: the server sends more than was asked for"


@pytest.mark.parametrize("word", ["NO", "BAD"])
def test_a_mail_that_the_server_refuses_ends_no_conversation(server: ImapServer, word: str) -> None:
    server.inbox.add(MAIL)
    server.inbox.add(MAIL + b"2")
    server.trouble[1] = word
    with opened(place(server), most_bytes=BYTES) as folder:
        with pytest.raises(Refused):
            folder.fetch(1, most_bytes=BYTES)
        assert folder.fetch(2, most_bytes=BYTES)


def test_a_look_at_a_slow_server_ends(server: ImapServer) -> None:
    server.inbox.add(MAIL)
    server.pause_s = 30
    begun = time.monotonic()
    assert why(place(server), look_s=0.5).startswith("IMAP: ")
    assert time.monotonic() - begun < 5
