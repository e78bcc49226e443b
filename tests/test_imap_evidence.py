"""A mailbox where each mail sent leaves a copy, as evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operations.evidence import check_evidence
from tests.imap_server import ImapFolder, ImapServer
from workers import evidence
from workers.imap import Unreadable, modified_utf7

if TYPE_CHECKING:
    from collections.abc import Generator

CERTIFICATE = Path(__file__).with_name("localhost.pem")
OURS = "<12.0123456789abcdef0123@nord.example>"
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[ImapServer]:
    monkeypatch.setenv("ARCHIVE_PASSWORD", "ouvre-toi")
    with ImapServer(CERTIFICATE) as listening:
        listening.folders[modified_utf7("Envoyés")] = ImapFolder()
        yield listening


def sent(server: ImapServer) -> ImapFolder:
    return server.folders["Envoy&AOk-s"]


def place(server: ImapServer, **changes: object) -> dict[str, Any]:
    given: dict[str, object] = {
        "kind": "imap", "host": "localhost", "port": server.port, "ca_file": str(CERTIFICATE), "folder": "Envoyés",
        "username": "relance", "password_ref": "env:ARCHIVE_PASSWORD",
    }  # fmt: skip
    return check_evidence(given | changes)


def mail(message_id: str) -> bytes:
    return f"Subject: Relance 1\r\nMessage-ID: {message_id}\r\n\r\nBonjour\r\n".encode()


def test_a_copy_in_the_folder_shows_that_the_mail_was_accepted(server: ImapServer) -> None:
    sent(server).add(mail("<other@nord.example>"))
    uid = sent(server).add(mail(OURS), NOW)
    found = evidence.look(place(server), {OURS: "ana@dupont.example", "<13.x@nord.example>": "b@b.example"}, NOW)
    assert {one: trace.status for one, trace in found.items()} == {OURS: "accepted"}
    assert found[OURS].quote == f"IMAP folder Envoyés, message {uid} of 2026-11-24 09:00:00 +0000"
    assert all(not kept.flags for kept in sent(server).mails), "left as it was"


def test_a_mail_that_only_quotes_the_id_is_no_copy(server: ImapServer) -> None:
    """A server searches by words, or by a part of them."""
    sent(server).add(mail("<x12.0123456789abcdef0123@nord.example>").replace(b"Message-ID: <x", b"Message-ID: <a.x"))
    sent(server).add(b"Subject: Re\r\nMessage-ID: <x@y.example> (was <12.0123456789abcdef0123@nord.example>)\r\n\r\n")
    assert evidence.look(place(server), {OURS: "ana@dupont.example"}, NOW) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folder": "Archive"}, "refused opening the folder"),
        ({"password_ref": "env:NOBODY_SET_THIS"}, "leads to none on this machine"),
        ({"ca_file": "/nowhere.pem"}, "IMAP"),
        ({"auth": "xoauth2"}, "no access token"),
    ],
)
def test_a_mailbox_that_cannot_be_read_is_unreadable(server: ImapServer, changes: dict[str, str], told: str) -> None:
    with pytest.raises(Unreadable, match=told) as unreadable:
        evidence.look(place(server, **changes), {OURS: "ana@dupont.example"}, NOW)
    assert "ouvre-toi" not in str(unreadable.value)
