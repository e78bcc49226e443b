"""One kept SMTP connection that can stop before the final dot.

RFC 5321 for the conversation, RFC 2920 for pipelining, RFC 3207 for STARTTLS with a verified certificate. Until the
dot is
written, whatever goes wrong, the mail has surely not left.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from workers.sasl import GIVE_UP, bearer, token_response
from workers.settings import secret
from workers.steps import reached
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.companies import Account

_STEP_S = 60.0
_MAX_REPLY_LINES = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: its code and its text, one line."""

    code: int
    text: str

    def __str__(self) -> str:
        """As it would be quoted."""
        return f"{self.code} {self.text}"


class Refused(Exception):  # noqa: N818 - what the server did
    """The server said no, at this step: the mail has surely not been accepted."""

    def __init__(self, step: str, reply: Reply) -> None:
        """Keep both."""
        self.step = step
        self.reply = reply
        super().__init__(f"{step}: {reply}")


class Unreachable(Exception):  # noqa: N818 - what happened
    """No conversation, or none any more; before the dot this is certain."""


class Unverified(Unreachable):
    """The server could not be trusted with mail: no TLS where it is required, or a certificate that does not hold."""


class SmtpConnection:
    """One connection to an account's server, from greeting to QUIT."""

    def __init__(self, account: Account, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Made by `connect`, for the account as it then was."""
        self.account = account
        self._reader = reader
        self._writer = writer
        self._announced = b""
        self.spent = False  # not to be used for another mail
        self.features: dict[str, str] = {}

    @property
    def pipelines(self) -> bool:
        """Several commands may travel in one packet (RFC 2920)."""
        return "PIPELINING" in self.features

    @property
    def certificate_until(self) -> datetime | None:
        """Until when the server's certificate holds, which was verified; None without TLS."""
        certificate = self._writer.get_extra_info("peercert")
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC) if certificate else None

    async def upload(self, sender: str, recipients: Sequence[str], stuffed: bytes) -> None:
        """Hand over everything but the final dot. `stuffed`: CRLF lines, dots doubled, ending in CRLF.

        Its envelope is not said again where it was announced with the last dot. Raises Refused or Unreachable; the
        first recipient's refusal refuses the mail, another's only loses the copy.
        """
        commands = self._envelope(sender, recipients, stuffed)
        announced, self._announced = self._announced, b""
        if announced:
            if announced != _lines(commands):
                raise Unreachable("another mail was announced")
            replies = await self._replies(len(commands))
        else:
            replies = await self._converse(commands)
        for step, reply, wanted in (("mail", replies[0], 250), ("rcpt", replies[1], 250), ("data", replies[-1], 354)):
            if reply.code >= 400:
                if replies[-1].code == 354:
                    self.abort()
                raise Refused(step, reply)
            if reply.code != wanted and not (step == "rcpt" and reply.code == 251):
                raise Unreachable(f"out of step: {reply.code} to {step}")
        self._writer.write(stuffed)
        await self._drained()

    def announce(self, sender: str, recipients: Sequence[str], stuffed: bytes) -> None:
        """Let the next mail's envelope travel in one packet with the coming dot; only where the server `pipelines`.

        Raises UnicodeEncodeError for an address that SMTP cannot say; then nothing is announced.
        """
        self._announced = _lines(self._envelope(sender, recipients, stuffed))

    def _envelope(self, sender: str, recipients: Sequence[str], stuffed: bytes) -> list[str]:
        size = f" SIZE={len(stuffed)}" if "SIZE" in self.features else ""
        return [f"MAIL FROM:<{sender}>{size}", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]

    async def dot(self, timeout_s: float) -> Reply:
        """Write the final dot and wait for its answer. Raises Refused (certain), or Unreachable (nobody knows)."""
        self._writer.write(b".\r\n" + self._announced)
        reached("dot_written")
        reply = await self._reply(timeout_s)
        if reply.code >= 400:
            raise Refused("dot", reply)
        if not 200 <= reply.code < 300:
            raise Unreachable(f"out of step: {reply.code} to the dot")
        return reply

    async def reset(self) -> None:
        """Ready for another mail after a refusal. Raises Unreachable."""
        await self._converse(["RSET"])

    def wait_until_written(self) -> None:
        """From here on `upload` returns when all has been handed to the system: nothing may linger behind the dot."""
        self._writer.transport.set_write_buffer_limits(high=1)  # asyncio's TLS takes 0 for "always full", and hangs

    def abort(self) -> None:
        """Close without another byte: a mail without its dot is no mail."""
        self._writer.transport.abort()

    @property
    def closed(self) -> bool:
        """Nothing can be sent on it any more."""
        return self._writer.transport.is_closing() or self._reader.at_eof()

    async def quit(self) -> None:
        """Leave politely, and at once."""
        try:
            self._writer.write(b"QUIT\r\n")
            await self._reply(2)
        except (Unreachable, OSError):
            pass
        self.abort()

    async def _converse(self, commands: Sequence[str]) -> list[Reply]:
        if self.pipelines:
            self._writer.write(_lines(commands))
            return await self._replies(len(commands))
        replies = []
        for command in commands:
            self._writer.write(_lines([command]))
            replies.append(await self._reply(_STEP_S))
            if replies[-1].code >= 400 and command != "DATA" and len(replies) <= 2:
                replies += [Reply(503, "not asked")] * (len(commands) - len(replies))
                break
        return replies

    async def _replies(self, count: int) -> list[Reply]:
        """The answers to pipelined commands. A server that refused the mail or its reader may hang up on the rest."""
        replies: list[Reply] = []
        try:
            await self._read_replies(replies, count, _STEP_S)
        except Unreachable:
            if all(reply.code < 400 for reply in replies[:2]):
                raise
            self.abort()
            replies += [Reply(503, "not asked")] * (count - len(replies))
        return replies

    async def _reply(self, timeout_s: float) -> Reply:
        replies: list[Reply] = []
        await self._read_replies(replies, 1, timeout_s)
        return replies[0]

    async def _read_replies(self, replies: list[Reply], count: int, timeout_s: float) -> None:
        """Append what the server answers, as it comes: what was read before a failure is known. Raises Unreachable."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(replies) < count:
                    replies.append(await self._read_reply())
        except TimeoutError:
            raise Unreachable(f"no answer within {timeout_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unreachable(f"connection lost: {type(error).__name__}") from None
        except ValueError:
            raise Unreachable("an answer that is not SMTP") from None

    async def _read_reply(self) -> Reply:
        texts = []
        for _ in range(_MAX_REPLY_LINES):
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise asyncio.IncompleteReadError(line, None)
            code = int(line[:3])
            texts.append(_printable(line[4:]))
            if line[3:4] != b"-":
                if not 200 <= code < 600:
                    raise ValueError(code)
                return Reply(code, " ".join(texts)[:500])
        raise ValueError("endless")

    async def _drained(self) -> None:
        """Wait until the system has taken all that was written; most often it has."""
        transport = self._writer.transport
        if not transport.is_closing() and transport.get_write_buffer_size() == 0:
            return
        try:
            async with asyncio.timeout(_STEP_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"connection lost: {type(error).__name__}") from None

    async def hello(self, name: str) -> None:
        """EHLO; keeps the features offered. Raises Refused or Unreachable."""
        self._writer.write(_lines([f"EHLO {name}"]))
        reply_lines = await self._ehlo_lines()
        self.features = {}
        for line in reply_lines[1:]:
            keyword, _, value = line.partition(" ")
            self.features[keyword.upper()] = value

    async def _ehlo_lines(self) -> list[str]:
        lines: list[str] = []
        for _ in range(_MAX_REPLY_LINES):
            try:
                async with asyncio.timeout(_STEP_S):
                    line = await self._reader.readline()
                code = int(line[:3])
            except (OSError, ValueError) as error:
                raise Unreachable(f"no answer to EHLO: {type(error).__name__}") from None
            lines.append(_printable(line[4:]))
            if code >= 400:
                raise Refused("ehlo", Reply(code, lines[-1]))
            if line[3:4] != b"-":
                return lines
        raise Unreachable("an endless answer to EHLO")

    async def greeting(self) -> None:
        """The server's first word. Raises Refused (a 421, say) or Unreachable."""
        reply = await self._reply(_STEP_S)
        if reply.code >= 400:
            raise Refused("connect", reply)

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Go on under TLS. Raises Unverified where the certificate does not hold, Unreachable."""
        try:
            await self._writer.start_tls(context, server_hostname=host, ssl_handshake_timeout=30)
        except ssl.SSLError as error:
            raise Unverified(f"TLS: {error.reason}") from None
        except OSError as error:
            raise Unreachable(f"TLS: {type(error).__name__}") from None
        self.wait_until_written()

    async def start_tls(self, context: ssl.SSLContext, host: str, name: str) -> None:
        """STARTTLS, verified, then EHLO again.

        Raises Unverified where it is not offered or the certificate does not hold.
        """
        if "STARTTLS" not in self.features:
            raise Unverified("the server offers no STARTTLS")
        (reply,) = await self._converse(["STARTTLS"])
        if reply.code != 220:
            raise Unverified(f"STARTTLS refused: {reply}")
        if getattr(self._reader, "_buffer", b""):  # words in clear after the 220 are an attacker's
            raise Unverified("the server spoke in clear after STARTTLS")
        await self.encrypt(context, host)
        await self.hello(name)

    async def log_in(self, username: str, password: str) -> None:
        """AUTH PLAIN, else LOGIN (RFC 4954). Raises Refused at step `auth`."""
        offered = self.features.get("AUTH", "").upper().split()
        if "PLAIN" in offered or not offered:
            token = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
            (reply,) = await self._converse([f"AUTH PLAIN {token}"])
        else:
            (reply,) = await self._converse(["AUTH LOGIN"])
            for word in (username, password):
                if reply.code == 334:
                    (reply,) = await self._converse([base64.b64encode(word.encode()).decode()])
        if reply.code != 235:
            raise Refused("auth", reply)

    async def show_token(self, username: str, token: str) -> None:
        """AUTH by an access token (workers.sasl). Raises Refused at step `auth`, Unreachable where none is taken."""
        mechanism = bearer(self.features.get("AUTH", "").upper().split())
        if mechanism is None:
            raise Unreachable("the server takes no access token")
        words = token_response(mechanism, username, token, host=self.account.host, port=self.account.port)
        (reply,) = await self._converse([f"AUTH {mechanism} {base64.b64encode(words).decode()}"])
        if reply.code == 334:  # what is wrong with the token; the refusal itself comes once this is acknowledged
            (reply,) = await self._converse([base64.b64encode(GIVE_UP[mechanism]).decode()])
        if reply.code != 235:
            raise Refused("auth", reply)


@functools.lru_cache(maxsize=64)
def _context(ca_file: str | None) -> ssl.SSLContext:
    """A verifying context; reading the system's certificates takes tens of milliseconds, so once."""
    return ssl.create_default_context(cafile=ca_file)


async def connect(account: Account, password: str | None) -> SmtpConnection:
    """Connect, verify and log in, as the account asks. Raises Refused, Unreachable or Unverified."""
    name = account.from_address.rpartition("@")[2]
    try:
        context = None if account.security == "plain" else _context(account.ca_file)
    except OSError as error:
        raise Unverified(f"the account's certificate file: {type(error).__name__}") from None
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(account.host, account.port, limit=64 * 1024)
    except (OSError, TimeoutError, UnicodeError) as error:  # the last: a host that is no name at all
        raise Unreachable(f"cannot connect: {type(error).__name__}") from None
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
    connection = SmtpConnection(account, reader, writer)
    connection.wait_until_written()  # here too: what TLS hands down must not linger below it
    try:
        if account.security == "implicit-tls" and context:
            await connection.encrypt(context, account.host)
        await connection.greeting()
        await connection.hello(name)
        if account.security == "starttls-required" and context:
            await connection.start_tls(context, account.host, name)
        if account.auth == "xoauth2":
            await connection.show_token(account.username or "", _token(account))
        elif account.username and password is not None:
            await connection.log_in(account.username, password)
    except BaseException:
        connection.abort()
        raise
    return connection


def _token(account: Account) -> str:
    """The access token as it is now: another program renews it, so what was read a minute ago may have lapsed."""
    try:
        return secret(account.password_ref or "")
    except InvalidInput:
        raise Unreachable("no access token on this host") from None


def stuffed(content: bytes) -> bytes:
    """Double the dots at the start of lines (RFC 5321 section 4.5.2) and end with CRLF: a mail as DATA carries it.

    Raises ValueError for a bare CR or LF, which some servers take for the end of a mail.
    """
    ends = content.count(b"\r\n")
    if ends != content.count(b"\n") or ends != content.count(b"\r"):
        raise ValueError("a bare CR or LF in a mail")
    lines = content if content.endswith(b"\r\n") else content + b"\r\n"
    doubled = lines.replace(b"\r\n.", b"\r\n..")
    return b"." + doubled if doubled.startswith(b".") else doubled


def _lines(commands: Sequence[str]) -> bytes:
    return "".join(f"{command}\r\n" for command in commands).encode("ascii")


def _printable(raw: bytes) -> str:
    return "".join(char if char.isprintable() else "?" for char in raw.decode("utf-8", "replace").strip())
