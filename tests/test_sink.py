import json
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from scripts.sink import Answer, Behaviour, Sink, Tls, Verdict, read_journal

# A certificate for localhost and 127.0.0.1, and its key: a public pair that protects nothing.
CERTIFICATE = Path(__file__).with_name("localhost.pem")
MAIL = b"Message-ID: <%b@relance>\r\nX-Relance-Reminder: 42\r\nSubject: FA-1\r\n\r\nBonjour\r\n"
ENVELOPE = b"MAIL FROM:<seller@example.fr> SIZE=90 BODY=8BITMIME\r\nRCPT TO:<client@example.fr>\r\nDATA\r\n"


class Client:
    """Speaks byte by byte what smtplib would never say."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.lines = self.socket.makefile("rb")
        self.greeting = self.read()

    def read(self) -> str:
        """One reply, its last line; empty when the sink hung up."""
        while (line := self.lines.readline().decode().rstrip("\r\n"))[3:4] == "-":
            pass
        return line

    def say(self, data: bytes, replies: int = 1) -> list[str]:
        self.socket.sendall(data)
        return [self.read() for _ in range(replies)]

    def codes(self, data: bytes, replies: int = 1) -> list[str]:
        return [reply[:3] for reply in self.say(data, replies)]


@contextmanager
def client_of(sink: Sink, *, hello: bool = True) -> Generator[Client]:
    client = Client(sink.port)
    try:
        if hello:
            assert client.codes(b"EHLO worker\r\n") == ["250"]
        yield client
    finally:
        client.lines.close()
        client.socket.close()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    with Sink(tmp_path / "sink") as sink:
        yield sink


def at(wanted: str, answer: Answer | str) -> Verdict:
    return lambda _sender, _recipients, step: answer if step == wanted else None


def test_an_accepted_mail_is_in_the_journal_before_its_250_is_read(sink: Sink) -> None:
    before = datetime.now(UTC)
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        assert client.say(MAIL % b"a" + b".\r\n") == ["250 2.0.0 accepted"]
        (mail,) = sink.mails()
    assert before <= mail.at <= datetime.now(UTC)
    assert (mail.message_id, mail.reminder) == ("<a@relance>", "42")
    assert (mail.sender, mail.to) == ("seller@example.fr", ("client@example.fr",))
    assert (mail.size, mail.sha256) == (len(MAIL % b"a"), sha256(MAIL % b"a").hexdigest())
    assert sink.kept() == [MAIL % b"a"]


def test_a_journal_line_has_the_promised_keys(sink: Sink, tmp_path: Path) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say(MAIL % b"a" + b".\r\n")
    row = json.loads((tmp_path / "sink" / "journal.jsonl").read_text())
    assert set(row) == {"at", "message_id", "to", "from", "size", "sha256", "reminder"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", row["at"])


def test_a_mail_whose_dot_never_came_is_not_accepted(sink: Sink) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say(MAIL % b"a", 0)
    with client_of(sink) as client:
        assert client.codes(b"NOOP\r\n") == ["250"]
    assert sink.mails() == []


def test_a_dot_may_travel_with_the_next_mails_commands(sink: Sink) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say(MAIL % b"a", 0)
        assert client.codes(b".\r\n" + ENVELOPE, 4) == ["250", "250", "250", "354"]
        client.say(MAIL % b"b", 0)
        assert client.codes(b".\r\nQUIT\r\n", 2) == ["250", "221"]
        assert client.read() == ""
    assert [mail.message_id for mail in sink.mails()] == ["<a@relance>", "<b@relance>"]


def test_packets_may_break_anywhere(sink: Sink) -> None:
    with client_of(sink) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in ENVELOPE + MAIL % b"a" + b"..\r\n.\r\nNOOP\r\n":
            client.socket.sendall(bytes([byte]))
        assert [client.read()[:3] for _ in range(5)] == ["250", "250", "354", "250", "250"]
    assert sink.kept() == [MAIL % b"a" + b".\r\n"]


@pytest.mark.parametrize(
    ("wire", "meant"),
    [
        (b"..\r\n", b".\r\n"),
        (b"...two\r\n", b"..two\r\n"),
        (b"a\r\n..\r\n..\r\n", b"a\r\n.\r\n.\r\n"),
        (b"a.\r\n", b"a.\r\n"),
        (b"", b""),
        ("é\r\n".encode(), "é\r\n".encode()),
    ],
)
def test_dots_are_unstuffed(sink: Sink, wire: bytes, meant: bytes) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        assert client.codes(wire + b".\r\n") == ["250"]
    assert sink.kept() == [meant]
    assert sink.mails()[0].sha256 == sha256(meant).hexdigest()


@pytest.mark.parametrize("smuggled", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"a\nb", b"a\rb"])
def test_a_bare_line_end_is_refused_and_smuggles_nothing(sink: Sink, smuggled: bytes) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        assert client.codes(b"Subject: x\r\n\r\nx" + smuggled + ENVELOPE + b"x\r\n.\r\n") == ["550"]
        assert client.codes(b"NOOP\r\n") == ["250"]
    assert sink.mails() == []


def test_a_command_that_ends_in_a_bare_line_feed_is_refused(sink: Sink) -> None:
    with client_of(sink, hello=False) as client:
        assert client.say(b"EHLO worker\n", 2) == ["550 5.5.2 a bare LF ends no line", ""]


def test_a_folded_message_id_and_a_forged_one_in_the_body_are_told_apart(sink: Sink) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say(b"Subject: x\r\nmessage-id:\r\n <real@x>\r\n\r\nMessage-ID: <body@x>\r\n.\r\n")
        client.say(ENVELOPE, 3)
        client.say(b"Subject: none\r\n\r\nMessage-ID: <body@x>\r\n.\r\n")
    assert [(mail.message_id, mail.reminder) for mail in sink.mails()] == [("<real@x>", None), ("", None)]


def test_a_mail_accepted_twice_is_a_duplicate(sink: Sink) -> None:
    with client_of(sink) as client:
        for message_id in (b"a", b"b", b"a", b"a"):
            client.say(ENVELOPE, 3)
            client.say(MAIL % message_id + b".\r\n")
    assert sink.duplicates() == {"<a@relance>": 3}


def test_several_recipients_are_one_mail(sink: Sink) -> None:
    with smtplib.SMTP("127.0.0.1", sink.port) as smtp:
        assert smtp.sendmail("", ["a@x.fr", "b@x.fr"], MAIL % b"a") == {}
        assert {"pipelining", "8bitmime", "size", "enhancedstatuscodes"} <= set(smtp.esmtp_features)
    assert [(mail.sender, mail.to) for mail in sink.mails()] == [("", ("a@x.fr", "b@x.fr"))]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"MAIL FROM:<a@x>\r\n", "503"),
        (b"EHLO x\r\nRCPT TO:<a@x>\r\n", "503"),
        (b"EHLO x\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<b@x>\r\n", "503"),
        (b"EHLO x\r\nMAIL FROM:<a@x>\r\nDATA\r\n", "503"),
        (b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRSET\r\nDATA\r\n", "503"),
        (b"EHLO x\r\nMAIL FROM:a@x\r\n", "501"),
        (b"EHLO x\r\nMAIL TO:<a@x>\r\n", "501"),
        (b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<>\r\n", "501"),
        (b"EHLO x\r\nMAIL FROM:<a@x> SMTPUTF8\r\n", "555"),
        (b"EHLO x\r\nMAIL FROM:<a@x> SIZE=25000001\r\n", "552"),
        ("EHLO x\r\nMAIL FROM:<é@x>\r\n".encode(), "500"),
        (b"VRFY a\r\n", "500"),
        (b"STARTTLS\r\n", "503"),
        (b"HELO x\r\nAUTH PLAIN AGEAYg==\r\n", "503"),
    ],
)
def test_a_wrong_command_is_refused(sink: Sink, said: bytes, code: str) -> None:
    with client_of(sink, hello=False) as client:
        assert client.codes(said, said.count(b"\r\n"))[-1] == code
        assert client.codes(b"NOOP\r\n") == ["250"]


def test_a_mail_over_the_size_limit_is_refused_at_the_dot(sink: Sink) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say((b"x" * 998 + b"\r\n") * 25_001, 0)
        assert client.codes(b".\r\nNOOP\r\n", 2) == ["552", "250"]
    assert sink.mails() == []


def test_an_endless_command_ends_the_connection(sink: Sink) -> None:
    with client_of(sink) as client:
        assert client.say(b"x" * 13_000, 2) == ["500 5.5.6 line too long", ""]


@pytest.mark.parametrize(
    ("step", "codes"),
    [
        ("mail", ["451", "503", "503"]),
        ("rcpt", ["250", "451", "503"]),
        ("data", ["250", "250", "451"]),
    ],
)
def test_a_verdict_refuses_at_its_step(tmp_path: Path, step: str, codes: list[str]) -> None:
    with (
        Sink(tmp_path, behaviour=Behaviour(verdict=at(step, "451 4.3.0 later"))) as sink,
        client_of(sink) as client,
    ):
        assert client.codes(ENVELOPE, 3) == codes
        assert client.codes(b"NOOP\r\n") == ["250"]
        assert sink.mails() == []


def test_a_verdict_at_the_dot_refuses_the_mail(tmp_path: Path) -> None:
    with Sink(tmp_path, behaviour=Behaviour(verdict=at("dot", "550 5.7.1 spam"))) as sink, client_of(sink) as client:
        client.say(ENVELOPE, 3)
        assert client.say(MAIL % b"a" + b".\r\n") == ["550 5.7.1 spam"]
        assert (sink.mails(), sink.kept()) == ([], [])


def test_one_unknown_recipient_does_not_keep_the_mail_from_the_other(tmp_path: Path) -> None:
    def verdict(sender: str, recipients: tuple[str, ...], step: str) -> str | None:
        return "550 5.1.1 no such user" if step == "rcpt" and recipients[-1] == "gone@x" else None

    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as smtp:
            refused = smtp.sendmail("s@x", ["gone@x", "here@x"], MAIL % b"a")
        assert refused == {"gone@x": (550, b"5.1.1 no such user")}
        assert [mail.to for mail in sink.mails()] == [("here@x",)]


@pytest.mark.parametrize("refusal", ["421 4.3.2 closing", "554 5.3.2 no mail here"])
def test_a_refusal_at_connect_ends_the_connection(tmp_path: Path, refusal: str) -> None:
    with (
        Sink(tmp_path, behaviour=Behaviour(verdict=at("connect", refusal))) as sink,
        client_of(sink, hello=False) as client,
    ):
        assert (client.greeting, client.read()) == (refusal, "")


def test_a_421_in_mid_dialogue_ends_the_connection(tmp_path: Path) -> None:
    with (
        Sink(tmp_path, behaviour=Behaviour(verdict=at("rcpt", "421 4.7.0 slow down"))) as sink,
        client_of(sink) as client,
    ):
        assert client.codes(ENVELOPE, 3) == ["250", "421", ""]


@pytest.mark.parametrize(("reply", "accepted"), [(None, 1), ("250 2.0.0 queued", 1), ("451 4.3.0 later", 0)])
def test_a_drop_after_the_dot_leaves_the_client_in_doubt(tmp_path: Path, reply: str | None, accepted: int) -> None:
    verdict = at("dot", Answer(reply=reply, drop=True))
    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink, client_of(sink) as client:
        client.say(ENVELOPE, 3)
        assert client.say(MAIL % b"a" + b".\r\n") == [""]
        assert len(sink.mails()) == accepted


def test_a_late_answer_keeps_its_place_before_the_next(tmp_path: Path) -> None:
    verdict = at("dot", Answer(delay_s=0.3))
    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink, client_of(sink) as client:
        client.say(ENVELOPE, 3)
        began = time.monotonic()
        assert client.say(MAIL % b"a" + b".\r\nNOOP\r\n", 2) == ["250 2.0.0 accepted", "250 2.0.0 here"]
        assert time.monotonic() - began >= 0.3


def test_a_mail_answered_too_late_was_accepted_all_the_same(tmp_path: Path) -> None:
    verdict = at("dot", Answer(delay_s=60))
    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink, client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say(MAIL % b"a" + b".\r\n", 0)
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.read()
        assert len(sink.mails()) == 1


@pytest.mark.parametrize("implicit", [True, False])
def test_a_mail_may_travel_encrypted(tmp_path: Path, *, implicit: bool) -> None:
    behaviour = Behaviour(tls=Tls(certificate=CERTIFICATE, key=CERTIFICATE, implicit=implicit), login=("relance", "pw"))
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    with Sink(tmp_path, behaviour=behaviour) as sink:
        with (
            smtplib.SMTP_SSL("127.0.0.1", sink.port, context=trusting)
            if implicit
            else smtplib.SMTP("127.0.0.1", sink.port) as smtp
        ):
            if not implicit:
                smtp.ehlo()
                assert not smtp.has_extn("auth")
                smtp.starttls(context=trusting)
            smtp.login("relance", "pw")
            assert not smtp.has_extn("starttls")
            smtp.sendmail("s@x", ["c@x"], MAIL % b"a")
        assert len(sink.mails()) == 1


def test_a_client_that_does_not_know_the_certificate_turns_away(tmp_path: Path) -> None:
    behaviour = Behaviour(tls=Tls(certificate=CERTIFICATE, key=CERTIFICATE))
    with Sink(tmp_path, behaviour=behaviour) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as smtp, pytest.raises(ssl.SSLCertVerificationError):
            smtp.starttls(context=ssl.create_default_context())
        with client_of(sink) as client:
            assert client.codes(b"NOOP\r\n") == ["250"]


def test_commands_smuggled_behind_starttls_are_never_obeyed(tmp_path: Path) -> None:
    behaviour = Behaviour(tls=Tls(certificate=CERTIFICATE, key=CERTIFICATE))
    with Sink(tmp_path, behaviour=behaviour) as sink, client_of(sink) as client:
        assert client.codes(b"STARTTLS\r\nNOOP\r\n", 2) == ["501", ""]


@pytest.mark.parametrize(
    ("login", "codes"),
    [
        (b"AUTH PLAIN AHJlbGFuY2UAcMOkc3M=\r\n", ["235"]),
        (b"AUTH PLAIN\r\nAHJlbGFuY2UAcMOkc3M=\r\n", ["334", "235"]),
        (b"AUTH LOGIN\r\ncmVsYW5jZQ==\r\ncMOkc3M=\r\n", ["334", "334", "235"]),
    ],
)
def test_only_who_knows_the_password_may_send(tmp_path: Path, login: bytes, codes: list[str]) -> None:
    with Sink(tmp_path, behaviour=Behaviour(login=("relance", "päss"))) as sink, client_of(sink) as client:
        assert client.codes(ENVELOPE, 3) == ["530", "503", "503"]
        assert client.codes(login, len(codes)) == codes
        assert client.codes(ENVELOPE, 3) == ["250", "250", "354"]


def test_a_wrong_password_is_refused_and_may_be_tried_again(tmp_path: Path) -> None:
    with Sink(tmp_path, behaviour=Behaviour(login=("relance", "pw"))) as sink, client_of(sink) as client:
        assert client.codes(b"AUTH PLAIN AHJlbGFuY2UAcHg=\r\n") == ["535"]
        assert client.codes(b"AUTH LOGIN\r\n*\r\n", 2) == ["334", "501"]
        assert client.codes(b"AUTH CRAM-MD5\r\n") == ["504"]
        assert client.codes(b"AUTH PLAIN AHJlbGFuY2UAcHc=\r\n") == ["235"]


def test_a_sink_opened_again_goes_on_counting(tmp_path: Path) -> None:
    for message_id in (b"a", b"b"):
        with Sink(tmp_path) as sink, client_of(sink) as client:
            client.say(ENVELOPE, 3)
            client.say(MAIL % message_id + b".\r\n")
    assert [mail.message_id for mail in read_journal(tmp_path / "journal.jsonl")] == ["<a@relance>", "<b@relance>"]
    assert sorted(path.name for path in (tmp_path / "mails").iterdir()) == ["000001.eml", "000002.eml"]


def test_a_line_still_being_written_is_not_read(sink: Sink, tmp_path: Path) -> None:
    with client_of(sink) as client:
        client.say(ENVELOPE, 3)
        client.say(MAIL % b"a" + b".\r\n")
    with (tmp_path / "sink" / "journal.jsonl").open("a") as journal:
        journal.write('{"at": "2026-')
    assert len(sink.mails()) == 1


def test_a_taken_port_is_reported_to_who_asked_for_it(sink: Sink, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Sink(tmp_path / "other", port=sink.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_own_process_says_its_port_and_stops_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    ready_file = tmp_path / "ready.json"
    command = [
        sys.executable,
        "-m",
        "scripts.sink",
        "--folder",
        str(tmp_path),
        "--no-keep",
        "--ready-file",
        str(ready_file),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = json.loads(process.stdout.readline())["port"]
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.sendmail("s@x", ["c@x"], MAIL % b"a")
            assert json.loads(ready_file.read_text()) == {"port": port}
            process.send_signal(number)
            _, complaints = process.communicate(timeout=10)
            smtp.close()
    assert (process.returncode, complaints) == (0, "")
    assert len(list(read_journal(tmp_path / "journal.jsonl"))) == 1
    assert not (tmp_path / "mails").exists()
