"""The sink's side of the SMTP dialogue, and how a test makes it misbehave."""

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

SIZE_LIMIT_BYTES = 25_000_000
LINE_LIMIT_BYTES = 12_288  # RFC 4954 section 4: the longest line, an AUTH response
CHALLENGES = {"PLAIN": ("",), "LOGIN": ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")}
ENVELOPE_PATH = re.compile(r"(?:FROM|TO): ?<([^<>\s]*)>((?: [!-~]+)*) *", re.IGNORECASE)

Step = Literal["connect", "mail", "rcpt", "data", "dot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sink does at one step: reply (None: the usual one), late by `delay_s`, or hang up without a word.

    At the dot, a reply of 2xx or None means accepted: the mail is in the journal before the delay and before the drop.
    A drop with a 4xx or 5xx reply loses the mail.
    """

    reply: str | None = None
    delay_s: float = 0.0
    drop: bool = False

    @property
    def accepts(self) -> bool:
        """Whether the client's wish is granted."""
        return self.reply is None or self.reply[0] in "23"


USUAL = Answer()
Accept = Callable[[str, list[str], bytes], None]
Verdict = Callable[[str, tuple[str, ...], Step], Answer | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A server's certificate and key, PEM files; implicit from the first byte, or else by STARTTLS."""

    certificate: Path
    key: Path
    implicit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the sink treats its clients.

    `verdict(envelope_from, recipients, step)` runs in the sink's thread; a string is a reply line such as
    "451 4.3.0 later", None the usual answer. At rcpt the last recipient is the one in question. A 421, and any refusal
    at connect, ends the connection. `login` is the only (user, password) that may send.
    """

    verdict: Verdict | None = None
    tls: Tls | None = None
    login: tuple[str, str] | None = None

    def answer(self, envelope_from: str, recipients: list[str], step: Step) -> Answer:
        """Return the answer to one step."""
        said = self.verdict(envelope_from, tuple(recipients), step) if self.verdict else None
        return said if isinstance(said, Answer) else Answer(reply=said) if said else USUAL


OBLIGING = Behaviour()


class Session(asyncio.Protocol):
    """One client's SMTP dialogue (RFC 5321), with PIPELINING: the answers of one packet leave in one write."""

    def __init__(
        self, behaviour: Behaviour, context: ssl.SSLContext | None, accept: Accept, sessions: set["Session"]
    ) -> None:
        self._behaviour = behaviour
        self._context = context
        self._accept = accept
        self._sessions = sessions
        self._transport: asyncio.Transport
        self._input = bytearray()
        self._output: list[str] = []
        self._waiting = False  # for a delay, a handshake, the end: what the client says meanwhile stays in the buffer
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._encrypted = False
        self._start_over()

    def _start_over(self) -> None:
        self._greeted = False
        self._logged_in = self._behaviour.login is None
        self._challenges: tuple[str, ...] = ()
        self._responses: list[bytes] = []
        self._forget_mail()

    def _forget_mail(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._in_data = False
        self._searched = 0
        self._oversize = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's types promise less than it does
        self._transport = transport
        self._encrypted = transport.get_extra_info("ssl_object") is not None
        self._sessions.add(self)
        answer = self._behaviour.answer("", [], "connect")
        self._give(answer, "220 sink.localhost ESMTP", last=not answer.accepts)
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client: a mail without its dot was never accepted."""
        del exc
        self._sessions.discard(self)
        self._waiting = True
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what arrived and answer what is complete."""
        self._input += data
        self._advance()

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def _advance(self) -> None:
        while not self._waiting and (self._read_mail() if self._in_data else self._read_line()):
            pass
        self._flush()

    def _flush(self) -> None:
        if self._output and not self._transport.is_closing():
            self._transport.write("".join(self._output).encode())
        self._output.clear()

    def _say(self, line: str) -> None:
        self._output.append(line + "\r\n")

    def _hang_up(self, line: str) -> None:
        self._waiting = True
        self._say(line)
        self._flush()
        self._transport.close()

    def _give(self, answer: Answer, usual: str, *, last: bool = False) -> None:
        reply = answer.reply or usual
        if answer.delay_s:
            self._waiting = True
            prompt = replace(answer, delay_s=0.0)
            self._timer = asyncio.get_running_loop().call_later(answer.delay_s, self._give_late, prompt, usual, last)
        elif answer.drop:
            self._waiting = True
            self._flush()
            self.abort()
        elif last or reply.startswith("421"):
            self._hang_up(reply)
        else:
            self._say(reply)

    def _give_late(self, answer: Answer, usual: str, last: bool) -> None:  # noqa: FBT001 - call_later knows no keywords
        self._waiting = False
        self._give(answer, usual, last=last)
        self._advance()

    def _read_line(self) -> bool:
        end = self._input.find(b"\n") + 1
        if not end:
            if len(self._input) > LINE_LIMIT_BYTES:
                self._hang_up("500 5.5.6 line too long")
            return False
        raw = bytes(self._input[:end])
        del self._input[:end]
        if not raw.endswith(b"\r\n"):
            self._hang_up("550 5.5.2 a bare LF ends no line")
        elif not raw.isascii():
            self._say("500 5.5.2 not ASCII")
        elif self._challenges:
            self._take_response(raw[:-2].decode())
        else:
            self._obey(raw[:-2].decode())
        return True

    def _obey(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "MAIL":
                self._mail(rest)
            case "RCPT":
                self._rcpt(rest)
            case "DATA":
                self._data()
            case "EHLO" | "HELO" as hello:
                self._hello(extended=hello == "EHLO")
            case "STARTTLS":
                self._starttls()
            case "AUTH":
                self._auth(rest)
            case "RSET":
                self._forget_mail()
                self._say("250 2.0.0 forgotten")
            case "NOOP":
                self._say("250 2.0.0 here")
            case "QUIT":
                self._hang_up("221 2.0.0 goodbye")
            case _:
                self._say("500 5.5.1 unknown command")

    def _may_start_tls(self) -> bool:
        return self._behaviour.tls is not None and not self._encrypted

    def _hello(self, *, extended: bool) -> None:
        self._forget_mail()
        self._greeted = True
        offers = ["sink.localhost"]
        if extended:
            offers += ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", f"SIZE {SIZE_LIMIT_BYTES}"]
            if self._may_start_tls():
                offers.append("STARTTLS")
            elif self._behaviour.login:
                offers.append("AUTH PLAIN LOGIN")
        for offer in offers[:-1]:
            self._say(f"250-{offer}")
        self._say(f"250 {offers[-1]}")

    def _mail(self, rest: str) -> None:
        path = ENVELOPE_PATH.fullmatch(rest)
        if not self._greeted or self._sender is not None:
            self._say("503 5.5.1 not now")
        elif not self._logged_in:
            self._say("530 5.7.0 log in first")
        elif not path or rest[:5].upper() != "FROM:":
            self._say("501 5.5.4 MAIL FROM:<address>")
        elif refusal := _parameters_refused(path[2]):
            self._say(refusal)
        else:
            answer = self._behaviour.answer(path[1], [], "mail")
            if answer.accepts:
                self._sender = path[1]
            self._give(answer, "250 2.1.0 sender noted")

    def _rcpt(self, rest: str) -> None:
        path = ENVELOPE_PATH.fullmatch(rest)
        if self._sender is None:
            self._say("503 5.5.1 MAIL first")
        elif not path or not path[1] or path[2] or rest[:3].upper() != "TO:":
            self._say("501 5.5.4 RCPT TO:<address>")
        else:
            answer = self._behaviour.answer(self._sender, [*self._recipients, path[1]], "rcpt")
            if answer.accepts:
                self._recipients.append(path[1])
            self._give(answer, "250 2.1.5 recipient noted")

    def _data(self) -> None:
        if self._sender is None or not self._recipients:
            self._say("503 5.5.1 no valid recipient")
            return
        answer = self._behaviour.answer(self._sender, self._recipients, "data")
        if answer.accepts:
            self._in_data = True
            self._input[:0] = b"\r\n"  # so that a dot on the first line is like any other
        self._give(answer, "354 the mail, then a dot")

    def _read_mail(self) -> bool:
        end = self._input.find(b"\r\n.\r\n", self._searched)
        if end < 0:
            if len(self._input) > SIZE_LIMIT_BYTES:
                self._oversize = True
                del self._input[:-4]
            self._searched = max(0, len(self._input) - 4)
            return False
        raw = bytes(self._input[: end + 2])
        del self._input[: end + 5]
        sender, recipients = self._sender or "", self._recipients
        oversize = self._oversize or len(raw) > SIZE_LIMIT_BYTES + 2
        self._forget_mail()
        if oversize:
            self._say("552 5.3.4 too big")
        elif not raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"):
            self._say("550 5.5.2 a bare CR or LF ends no line")
        else:
            answer = self._behaviour.answer(sender, recipients, "dot")
            if answer.accepts:
                self._accept(sender, recipients, raw.replace(b"\r\n.", b"\r\n")[2:])
            self._give(answer, "250 2.0.0 accepted")
        return True

    def _starttls(self) -> None:
        if not self._may_start_tls():
            self._say("503 5.5.1 no STARTTLS here")
        elif self._input:
            self._hang_up("501 5.5.2 nothing may follow STARTTLS in the clear")
        else:
            self._say("220 2.0.0 go ahead")
            self._flush()
            self._waiting = True
            self._task = asyncio.get_running_loop().create_task(self._encrypt())

    async def _encrypt(self) -> None:
        assert self._context is not None  # noqa: S101 - STARTTLS is offered with a certificate only
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                self._transport, self, self._context, server_side=True
            )
        except OSError:
            encrypted = None
        if encrypted is None:  # asyncio reports no lost connection where the handshake failed
            self.connection_lost(None)
            return
        self._transport = encrypted
        self._encrypted = True
        self._start_over()
        self._waiting = False
        self._advance()

    def _auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        if not self._greeted or self._logged_in:
            self._say("503 5.5.1 not now")
        elif self._may_start_tls():
            self._say("538 5.7.11 STARTTLS first")
        elif mechanism.upper() not in CHALLENGES:
            self._say("504 5.5.4 PLAIN or LOGIN")
        else:
            self._challenges, self._responses = CHALLENGES[mechanism.upper()], []
            if initial:
                self._take_response(initial)
            else:
                self._say(f"334 {self._challenges[0]}")

    def _take_response(self, line: str) -> None:
        try:
            self._responses.append(base64.b64decode(line, validate=True))
        except binascii.Error:  # also the asterisk of a client that gives up
            self._challenges = ()
            self._say("501 5.5.2 no base64")
            return
        if len(self._responses) < len(self._challenges):
            self._say(f"334 {self._challenges[len(self._responses)]}")
            return
        self._challenges = ()
        # PLAIN says identity NUL user NUL password in one response, LOGIN the last two in one each.
        given = tuple(part.decode("utf-8", "replace") for part in b"\0".join(self._responses).split(b"\0")[-2:])
        self._logged_in = given == self._behaviour.login
        self._say("235 2.7.0 welcome" if self._logged_in else "535 5.7.8 wrong user or password")


def _parameters_refused(parameters: str) -> str | None:
    for parameter in parameters.upper().split():
        match parameter.split("=", 1):
            case ["SIZE", size] if size.isdecimal():
                if int(size) > SIZE_LIMIT_BYTES:
                    return "552 5.3.4 too big"
            case ["BODY", "7BIT" | "8BITMIME"] | ["AUTH", _]:
                pass
            case _:
                return f"555 5.5.4 unknown parameter {parameter}"
    return None
