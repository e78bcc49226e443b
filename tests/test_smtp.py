"""The mail connection: verified TLS, a dot of its own, and certainty about what has surely not left."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.sink import Answer, Behaviour, Sink, Tls
from store.companies import Account
from workers.smtp import Refused, Unreachable, Unverified, connect, stuffed

if TYPE_CHECKING:
    from collections.abc import Generator

    from scripts.sink_dialogue import Step
    from workers.smtp import SmtpConnection

CERTIFICATE = Path(__file__).with_name("localhost.pem")
TLS = Tls(certificate=CERTIFICATE, key=CERTIFICATE)
IMPLICIT = Tls(certificate=CERTIFICATE, key=CERTIFICATE, implicit=True)
LOGIN = ("relance", "ouvre-toi")
WRONG = "sésame"
SENDER, READER, COPY = "relance@nord.example", "ana@dupont.example", "chef@nord.example"
MAIL = b"Message-ID: <a@relance>\r\nSubject: FA-1\r\n\r\nBonjour\r\n"


def account(
    port: int,
    security: str = "plain",
    *,
    ca_file: Path | None = None,
    username: str | None = None,
    host: str = "127.0.0.1",
) -> Account:
    return Account(
        id=1,
        name="sortie",
        from_name="Nord SAS",
        from_address=SENDER,
        host=host,
        port=port,
        security=security,
        ca_file=str(ca_file) if ca_file else None,
        username=username,
        password_ref=None,
        max_connections=8,
        per_minute=None,
        held_because=None,
    )


def says(step: Step, answer: Answer | str) -> Behaviour:
    return Behaviour(verdict=lambda _sender, _recipients, at: answer if at == step else None)


async def mail_once(connection: SmtpConnection, *recipients: str, content: bytes = MAIL, answer_s: float = 5) -> None:
    await connection.upload(SENDER, recipients or [READER], stuffed(content))
    await connection.dot(answer_s)


def mailed(to: Account, *recipients: str, password: str | None = None, answer_s: float = 5) -> None:
    async def go() -> None:
        connection = await connect(to, password)
        try:
            await mail_once(connection, *recipients, answer_s=answer_s)
        finally:
            connection.abort()

    asyncio.run(go())


# ---------------------------------------------------------------- whom to trust


@pytest.mark.parametrize(("tls", "security"), [(TLS, "starttls-required"), (IMPLICIT, "implicit-tls")])
def test_a_mail_leaves_over_verified_tls_with_a_login(tmp_path: Path, tls: Tls, security: str) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=tls, login=LOGIN)) as sink:
        mailed(account(sink.port, security, ca_file=CERTIFICATE, username=LOGIN[0]), password=LOGIN[1])
        assert sink.kept() == [MAIL]


@pytest.mark.parametrize(("tls", "security"), [(TLS, "starttls-required"), (IMPLICIT, "implicit-tls")])
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, tls: Tls, security: str) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=tls)) as sink:
        with pytest.raises(Unverified, match="CERTIFICATE_VERIFY_FAILED"):
            mailed(account(sink.port, security))
        assert sink.mails() == []


@pytest.mark.parametrize(("tls", "security"), [(TLS, "starttls-required"), (IMPLICIT, "implicit-tls")])
def test_a_certificate_of_another_name_is_refused(tmp_path: Path, tls: Tls, security: str) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=tls)) as sink, pytest.raises(Unverified, match="CERTIFICATE"):
        mailed(account(sink.port, security, ca_file=CERTIFICATE, host="127.1"))


def test_a_server_that_offers_no_starttls_gets_no_mail_and_no_password(tmp_path: Path) -> None:
    """Somebody in between may have taken the offer out."""
    with Sink(tmp_path, behaviour=Behaviour(login=LOGIN)) as sink:
        with pytest.raises(Unverified, match="no STARTTLS"):
            mailed(account(sink.port, "starttls-required", ca_file=CERTIFICATE, username=LOGIN[0]), password=LOGIN[1])
        assert sink.mails() == []


def test_words_in_clear_after_starttls_end_the_conversation() -> None:
    """CVE-2011-0411: what was said in clear would be taken for the server's own words under TLS."""
    with scripted(b"220 here\r\n", b"250-here\r\n250 STARTTLS\r\n", b"220 go ahead\r\n250 injected\r\n") as server:
        to = account(server.port, "starttls-required", ca_file=CERTIFICATE)
        with pytest.raises(Unverified, match="in clear"):
            asyncio.run(connect(to, None))
    assert b"MAIL" not in server.heard


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "nobody.invalid"])
def test_a_host_that_is_none_is_unreachable(host: str) -> None:
    with pytest.raises(Unreachable, match="cannot connect"):
        asyncio.run(connect(account(25, host=host), None))


@pytest.mark.parametrize("ca_file", [Path("/nowhere/ca.pem"), Path(__file__)])
def test_a_certificate_file_that_is_none_is_unverified(ca_file: Path) -> None:
    with pytest.raises(Unverified):
        asyncio.run(connect(account(1, "implicit-tls", ca_file=ca_file), None))


def test_a_wrong_password_is_refused_at_auth(tmp_path: Path) -> None:
    with Sink(tmp_path, behaviour=Behaviour(tls=TLS, login=LOGIN)) as sink, pytest.raises(Refused) as refused:
        mailed(account(sink.port, "starttls-required", ca_file=CERTIFICATE, username=LOGIN[0]), password=WRONG)
    assert (refused.value.step, refused.value.reply.code) == ("auth", 535)
    assert WRONG not in str(refused.value)


def test_a_server_that_knows_login_alone_is_logged_into() -> None:
    asked = (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n")
    script = (b"220 here\r\n", b"250-here\r\n250 AUTH LOGIN\r\n", *asked, b"235 in\r\n")
    with scripted(*script) as server:
        asyncio.run(connected(account(server.port, username=LOGIN[0]), LOGIN[1]))
    assert server.heard.splitlines()[1:] == [b"AUTH LOGIN", b"cmVsYW5jZQ==", b"b3V2cmUtdG9p"]


TOKEN_WORDS = {
    "XOAUTH2": b"user=relance\1auth=Bearer ya29.token\1\1",
    "OAUTHBEARER": b"n,a=relance,\1host=127.0.0.1\1port=%d\1auth=Bearer ya29.token\1\1",
}


def by_token(port: int) -> Account:
    return replace(account(port, username=LOGIN[0]), auth="xoauth2", password_ref="env:SMTP_TOKEN")  # noqa: S106


@pytest.mark.parametrize("mechanism", TOKEN_WORDS)
def test_a_server_that_refuses_passwords_is_shown_the_token_of_the_hour(
    mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7628, and Google's and Microsoft's older way. The token is read anew at each login."""
    for token in ("ya29.old", "ya29.token"):
        monkeypatch.setenv("SMTP_TOKEN", token)
        script = (b"220 here\r\n", b"250-here\r\n250 AUTH %s\r\n" % mechanism.encode(), b"235 in\r\n")
        with scripted(*script) as server:
            asyncio.run(connected(by_token(server.port), "what was read before"))
    command, said, words = server.heard.splitlines()[1].split()
    wanted = TOKEN_WORDS[mechanism]
    assert (command, said.decode()) == (b"AUTH", mechanism)
    assert b64decode(words) == (wanted % server.port if b"%d" in wanted else wanted)


@pytest.mark.parametrize(("mechanism", "acknowledged"), [("XOAUTH2", b""), ("OAUTHBEARER", b"AQ==")])
def test_a_token_that_has_lapsed_is_refused_at_auth(
    mechanism: str, acknowledged: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_TOKEN", "ya29.lapsed")
    why = b"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"
    refusal = b"535 5.7.8 not accepted\r\n"
    script = (b"220 here\r\n", b"250-here\r\n250 AUTH PLAIN %s\r\n" % mechanism.encode(), why, refusal)
    with scripted(*script) as server, pytest.raises(Refused) as refused:
        asyncio.run(connected(by_token(server.port), None))
    assert (refused.value.step, refused.value.reply.code) == ("auth", 535)
    assert server.heard.split(b"\r\n")[2] == acknowledged
    assert b"ya29" not in str(refused.value).encode()


def test_a_token_is_shown_to_nobody_who_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_TOKEN", "ya29.token")
    script = (b"220 here\r\n", b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
    with scripted(*script) as server, pytest.raises(Unreachable, match="no access token"):
        asyncio.run(connected(by_token(server.port), None))
    assert b"AUTH" not in server.heard


def test_without_its_token_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMTP_TOKEN", raising=False)
    script = (b"220 here\r\n", b"250-here\r\n250 AUTH XOAUTH2\r\n")
    with scripted(*script) as server, pytest.raises(Unreachable, match="no access token on this host"):
        asyncio.run(connected(by_token(server.port), None))
    assert b"AUTH" not in server.heard


async def connected(to: Account, password: str | None) -> None:
    (await connect(to, password)).abort()


# ---------------------------------------------------------------- what left, and what surely did not


def test_several_mails_leave_on_one_connection(tmp_path: Path) -> None:
    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        for _ in range(3):
            await mail_once(connection, READER, COPY)
        await connection.quit()
        assert connection.closed

    with Sink(tmp_path) as sink:
        asyncio.run(go(sink.port))
        assert [mail.to for mail in sink.mails()] == [(READER, COPY)] * 3


def test_the_next_mails_envelope_travels_with_the_dot(tmp_path: Path) -> None:
    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        assert connection.pipelines
        await connection.upload(SENDER, [READER], stuffed(MAIL))
        connection.announce(SENDER, [COPY], stuffed(MAIL))
        await connection.dot(5)
        await connection.upload(SENDER, [COPY], stuffed(MAIL))
        await connection.dot(5)
        await connection.quit()

    with Sink(tmp_path) as sink:
        asyncio.run(go(sink.port))
        assert [mail.to for mail in sink.mails()] == [(READER,), (COPY,)]


def test_no_mail_leaves_under_the_envelope_of_another(tmp_path: Path) -> None:
    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        await connection.upload(SENDER, [READER], stuffed(MAIL))
        connection.announce(SENDER, [READER], stuffed(MAIL))
        await connection.dot(5)
        with pytest.raises(Unreachable):
            await connection.upload(SENDER, [COPY], stuffed(MAIL))
        connection.abort()

    with Sink(tmp_path) as sink:
        asyncio.run(go(sink.port))
        assert [mail.to for mail in sink.mails()] == [(READER,)]


def test_without_its_dot_a_mail_is_no_mail(tmp_path: Path) -> None:
    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        await connection.upload(SENDER, [READER], stuffed(MAIL))
        connection.abort()

    with Sink(tmp_path) as sink:
        asyncio.run(go(sink.port))
        assert sink.mails() == []


def test_a_server_without_pipelining_is_spoken_to_line_by_line() -> None:
    noted = (b"250 sender\r\n", b"250 one\r\n", b"250 two\r\n", b"354 go\r\n", b"250 taken\r\n")
    script = (b"220 here\r\n", b"250 here\r\n", *noted)

    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        await mail_once(connection, READER, COPY)
        connection.abort()

    with scripted(*script) as server:
        asyncio.run(go(server.port))
    assert server.heard.splitlines()[1:5] == [
        f"MAIL FROM:<{SENDER}>".encode(),
        f"RCPT TO:<{READER}>".encode(),
        f"RCPT TO:<{COPY}>".encode(),
        b"DATA",
    ]
    assert server.heard.endswith(b"Bonjour\r\n.\r\n")


@pytest.mark.parametrize("pipelining", ["PIPELINING", ""])
@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
def test_a_refusal_before_the_dot_names_its_step_and_leaves_the_connection_usable(
    tmp_path: Path, step: Step, pipelining: str
) -> None:
    answers = iter(["550 5.7.1 not today"])

    def verdict(_sender: str, _recipients: tuple[str, ...], at: Step) -> str | None:
        return next(answers, None) if at == step else None

    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        if not pipelining:
            del connection.features["PIPELINING"]
        with pytest.raises(Refused) as refused:
            await connection.upload(SENDER, [READER], stuffed(MAIL))
        assert (refused.value.step, refused.value.reply.code) == (step, 550)
        await connection.reset()
        await mail_once(connection)
        connection.abort()

    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink:
        asyncio.run(go(sink.port))
        assert len(sink.mails()) == 1


@pytest.mark.parametrize("pipelining", ["PIPELINING", ""])
def test_a_refused_copy_does_not_keep_the_mail_from_its_reader(tmp_path: Path, pipelining: str) -> None:
    def verdict(_sender: str, recipients: tuple[str, ...], at: Step) -> str | None:
        return "550 5.1.1 no such user" if at == "rcpt" and recipients[-1] == COPY else None

    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        if not pipelining:
            del connection.features["PIPELINING"]
        await mail_once(connection, READER, COPY)
        connection.abort()

    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink:
        asyncio.run(go(sink.port))
        assert [mail.to for mail in sink.mails()] == [(READER,)]


@pytest.mark.parametrize("pipelining", ["PIPELINING", ""])
def test_a_copy_is_not_mailed_where_its_reader_is_refused(tmp_path: Path, pipelining: str) -> None:
    """Pipelined, the server has said 354 by then: the connection closes before anything is taken."""

    def verdict(_sender: str, recipients: tuple[str, ...], at: Step) -> str | None:
        return "550 5.1.1 no such user" if at == "rcpt" and recipients[-1] == READER else None

    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        if not pipelining:
            del connection.features["PIPELINING"]
        with pytest.raises(Refused) as refused:
            await connection.upload(SENDER, [READER, COPY], stuffed(MAIL))
        assert refused.value.step == "rcpt"
        connection.abort()

    with Sink(tmp_path, behaviour=Behaviour(verdict=verdict)) as sink:
        asyncio.run(go(sink.port))
        assert sink.mails() == []


@pytest.mark.parametrize(("step", "certain"), [("mail", True), ("rcpt", True), ("copy", False)])
def test_a_refusal_is_heard_from_a_server_that_hangs_up_after_it(step: str, *, certain: bool) -> None:
    said = {"mail": b"421 bye\r\n", "rcpt": b"250 a\r\n550 5.1.1 nobody\r\n", "copy": b"250 a\r\n250 b\r\n550 c\r\n"}
    hello = b"250-here\r\n250 PIPELINING\r\n"

    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        try:
            await connection.upload(SENDER, [READER, COPY], stuffed(MAIL))
        finally:
            connection.abort()

    with scripted(b"220 here\r\n", hello, said[step], hang_up=True) as server:
        with pytest.raises(Refused if certain else Unreachable) as failed:
            asyncio.run(go(server.port))
        assert getattr(failed.value, "step", "copy") == step


def test_a_refused_dot_is_certain(tmp_path: Path) -> None:
    with Sink(tmp_path, behaviour=says("dot", "552 5.3.4 too big")) as sink:
        with pytest.raises(Refused) as refused:
            mailed(account(sink.port))
        assert (refused.value.step, str(refused.value.reply)) == ("dot", "552 5.3.4 too big")


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(delay_s=30)])
def test_a_dot_without_an_answer_leaves_nobody_the_wiser(tmp_path: Path, answer: Answer) -> None:
    with Sink(tmp_path, behaviour=says("dot", answer)) as sink:
        with pytest.raises(Unreachable):
            mailed(account(sink.port), answer_s=0.2)
        assert len(sink.mails()) == 1, "the server did take it"


def test_a_server_that_is_closing_says_so_at_once(tmp_path: Path) -> None:
    with Sink(tmp_path, behaviour=says("connect", "421 4.3.2 closing")) as sink, pytest.raises(Refused) as refused:
        mailed(account(sink.port))
    assert (refused.value.step, refused.value.reply.code) == ("connect", 421)


def test_nobody_at_the_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot connect"):
        mailed(account(port))


@pytest.mark.parametrize(
    "words", [b"hello there\r\n", b"999 what\r\n", b"", b"220-" + b"x" * 100_000, b"220-more\r\n" * 200]
)
def test_what_does_not_speak_smtp_is_unreachable(words: bytes) -> None:
    with scripted(words, hang_up=True) as server, pytest.raises(Unreachable):
        asyncio.run(connect(account(server.port), None))


@pytest.mark.parametrize("words", [b"250-" + b"x" * 100_000, b"250-more\r\n" * 200, b"nonsense\r\n", b""])
def test_an_answer_to_ehlo_without_an_end_is_unreachable(words: bytes) -> None:
    with scripted(b"220 here\r\n", words, hang_up=True) as server, pytest.raises(Unreachable):
        asyncio.run(connect(account(server.port), None))


def test_a_reply_of_control_characters_is_kept_printable(tmp_path: Path) -> None:
    with scripted(b"220 here\r\n", b"250 here\r\n", b"550 a\x00b\x1b[2Jc\xff\r\n") as server:

        async def go() -> str:
            connection = await connect(account(server.port), None)
            try:
                with pytest.raises(Refused) as refused:
                    await connection.upload(SENDER, [READER], stuffed(MAIL))
            finally:
                connection.abort()
            return refused.value.reply.text

        assert asyncio.run(go()).isprintable()


# ---------------------------------------------------------------- dots


@given(st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x", b" .", b"\xc3\xa9."]), max_size=8))
def test_no_mail_carries_a_dot_that_ends_it_and_none_loses_one(lines: list[bytes]) -> None:
    content = b"\r\n".join(lines)
    sent = stuffed(content)
    assert b"\r\n.\r\n" not in b"\r\n" + sent
    assert sent.endswith(b"\r\n")
    unstuffed = b"\r\n".join(line.removeprefix(b".") for line in sent.split(b"\r\n"))
    assert unstuffed in {content, content + b"\r\n"}


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\nb\r\n", b"a\r", b"\n"])
def test_a_bare_cr_or_lf_is_refused(content: bytes) -> None:
    """Some servers take it for a line's end: a dot after it would end the mail and start another."""
    with pytest.raises(ValueError, match="bare"):
        stuffed(content)


def test_dots_at_the_start_of_lines_arrive(tmp_path: Path) -> None:
    content = b"Subject: dots\r\n\r\n.\r\n..\r\n.hidden\r\n\r\n.\r\n"

    async def go(port: int) -> None:
        connection = await connect(account(port), None)
        await mail_once(connection, content=content)
        connection.abort()

    with Sink(tmp_path) as sink:
        asyncio.run(go(sink.port))
        assert sink.kept() == [content]


# ---------------------------------------------------------------- a server of a few lines


class Scripted:
    """Says one thing at the start and one after each line of its client; at DATA it waits for the dot."""

    def __init__(self, replies: tuple[bytes, ...], *, hang_up: bool) -> None:
        self.heard = b""
        self._replies = replies
        self._hang_up = hang_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(10)
        with client, contextlib.suppress(OSError):
            client.sendall(self._replies[0])
            end = b"\r\n"
            for reply in self._replies[1:]:
                heard = b""
                while not heard.endswith(end):
                    part = client.recv(65536)
                    if not part:
                        return
                    heard += part
                self.heard += heard
                client.sendall(reply)
                end = b"\r\n.\r\n" if reply.startswith(b"354") else b"\r\n"
            if not self._hang_up:
                while part := client.recv(65536):
                    self.heard += part

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def scripted(*replies: bytes, hang_up: bool = False) -> Generator[Scripted]:
    server = Scripted(replies, hang_up=hang_up)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        thread.join()
        server.close()
