"""A small IMAP server for tests (RFC 3501): real sockets and real TLS, mailboxes in memory, one thread.

What it knows: CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE (PLAIN, XOAUTH2, OAUTHBEARER), SELECT, EXAMINE, (UID) SEARCH
(ALL, UID, HEADER), (UID) FETCH (UID, FLAGS, INTERNALDATE, RFC822.SIZE, BODY[], BODY.PEEK[], header fields or a part of
them), (UID) STORE, NOOP, LOGOUT. It refuses the rest, writes to no folder that was opened by EXAMINE, and can be made
to misbehave.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_LINE = re.compile(rb"(\S+) (UID )?([A-Za-z]+)(?: (.*))?", re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(rb"\{(\d+)\+?\}$")
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^\s"]+)')
_BODY = re.compile(rb"BODY(?:\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?", re.IGNORECASE)


@dataclass(slots=True)
class Kept:
    """A mail in a folder."""

    uid: int
    content: bytes
    received_at: datetime
    flags: set[str] = field(default_factory=set)


@dataclass(slots=True)
class ImapFolder:
    """A folder; `uid_validity` may be changed to let its UIDs begin anew."""

    uid_validity: int = 1
    mails: list[Kept] = field(default_factory=list)
    uid_next: int = 1

    def add(self, content: bytes, received_at: datetime | None = None, *, uid: int | None = None) -> int:
        """Deliver a mail. Returns its UID."""
        self.uid_next = max(self.uid_next, uid or 0)
        kept = Kept(self.uid_next, content, received_at or datetime.now(UTC))
        self.mails.append(kept)
        self.uid_next += 1
        return kept.uid


class ImapServer:
    """Listens on 127.0.0.1 while it is entered. `commands`: what was asked, passwords left out."""

    def __init__(
        self,
        certificate: Path,
        *,
        implicit: bool = True,
        login: tuple[str, str] = ("relance", "ouvre-toi"),
        authenticates: bool = True,
        tokens: tuple[str, ...] = (),
    ) -> None:
        self.folders: dict[str, ImapFolder] = {"INBOX": ImapFolder()}
        self.commands: list[str] = []
        self.login = login
        self.port = 0
        self.pause_s = 0.0  # before each answer after the login
        self.lies_about_bytes = 0  # announced with each mail
        self.trouble: dict[int, str] = {}  # at the FETCH of this UID: NO, BAD, lie or hang up
        self.tokens = tokens
        self._authenticates = authenticates
        self._implicit = implicit
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._sessions: set[asyncio.Task[None]] = set()

    @property
    def inbox(self) -> ImapFolder:
        return self.folders["INBOX"]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def hang_up(self) -> None:
        """End every conversation, whatever it waits for."""
        self._loop.call_soon_threadsafe(lambda: [session.cancel() for session in self._sessions])

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        context = self._context if self._implicit else None
        server = self._loop.run_until_complete(asyncio.start_server(self._session, "127.0.0.1", 0, ssl=context))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for session in list(self._sessions):
            session.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._sessions, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await Session(self, reader, writer, secure=self._implicit).talk(self._context, plain=self._authenticates)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._sessions.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class Session:
    """One conversation."""

    def __init__(
        self, server: ImapServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, secure: bool
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._secure = secure
        self._logged_in = False
        self._folder: ImapFolder | None = None
        self._writable = False

    async def talk(self, context: ssl.SSLContext, *, plain: bool) -> None:
        self._plain = plain
        self._say(b"* OK ready")
        while line := await self._command():
            found = _LINE.fullmatch(line)
            if found is None:
                self._say(b"* BAD no command")
                continue
            tag, uid, name, rest = found[1], bool(found[2]), found[3].upper().decode(), found[4] or b""
            self._server.commands.append(self._shown(name, rest, uid=uid))
            if self._logged_in and self._server.pause_s:
                await asyncio.sleep(self._server.pause_s)
            if name == "STARTTLS" and not self._secure:
                self._say(tag + b" OK begin")
                await self._writer.drain()
                await self._writer.start_tls(context)
                self._secure = True
            elif name == "AUTHENTICATE":
                await self._authenticate(tag, rest)
            else:
                self._answer(tag, name, rest, uid=uid)
            await self._writer.drain()
            if name == "LOGOUT":
                return

    def _shown(self, name: str, rest: bytes, *, uid: bool) -> str:
        shown = "" if name in {"LOGIN", "AUTHENTICATE"} else f" {rest.decode('utf-8', 'replace')}"
        return f"{'UID ' if uid else ''}{name}{shown}".strip()

    async def _command(self) -> bytes:
        line = (await self._reader.readline()).rstrip(b"\r\n")
        while literal := _LITERAL.search(line):
            self._say(b"+ go on")
            octets = await self._reader.readexactly(int(literal[1]))
            line = line[: literal.start()] + b'"' + octets + b'"' + (await self._reader.readline()).rstrip(b"\r\n")
        return line

    def _answer(self, tag: bytes, name: str, rest: bytes, *, uid: bool) -> None:
        match name:
            case "CAPABILITY":
                offered = b" AUTH=PLAIN" if self._plain else b""
                offered += b"".join(b" AUTH=%s" % each.encode() for each in self._server.tokens)
                self._say(b"* CAPABILITY IMAP4rev1" + (offered if self._secure else b" STARTTLS LOGINDISABLED"))
                self._say(tag + b" OK done")
            case "LOGIN" if self._secure:
                self._let_in(tag, tuple(word.decode() for word in _words(rest)))
            case "LOGOUT":
                self._say(b"* BYE bye")
                self._say(tag + b" OK done")
            case "NOOP":
                self._say(tag + b" OK done")
            case "SELECT" | "EXAMINE" if self._logged_in:
                self._open(tag, next(_words(rest)).decode(), writable=name == "SELECT")
            case "SEARCH" if self._folder:
                self._search(tag, rest, uid=uid)
            case "FETCH" if self._folder:
                self._fetch(tag, rest, uid=uid)
            case "STORE" if self._folder and self._writable:
                self._store(tag, rest, uid=uid)
            case _:
                self._say(tag + b" NO not here, not now")

    async def _authenticate(self, tag: bytes, rest: bytes) -> None:
        if self._secure and rest.decode().upper() in self._server.tokens:
            await self._take_token(tag, rest.decode().upper())
            return
        if rest.upper() != b"PLAIN" or not self._secure:
            self._say(tag + b" NO no such mechanism")
            return
        self._say(b"+ ")
        _, name, password = b64decode(await self._reader.readline()).decode().split("\0")
        self._let_in(tag, (name, password))

    async def _take_token(self, tag: bytes, mechanism: str) -> None:
        """Its password is the token. What is wrong with another is said first, and is to be acknowledged."""
        name, token = self._server.login
        wanted = {
            "XOAUTH2": f"user={name}\1auth=Bearer {token}\1\1",
            "OAUTHBEARER": f"n,a={name},\1host=localhost\1port={self._server.port}\1auth=Bearer {token}\1\1",
        }[mechanism]
        self._say(b"+ ")
        self._logged_in = b64decode(await self._reader.readline()) == wanted.encode()
        if self._logged_in:
            self._say(tag + b" OK welcome")
            return
        self._say(b"+ " + b64encode(b'{"status":"401"}'))
        acknowledged = b64decode(await self._reader.readline()) == (b"\1" if mechanism == "OAUTHBEARER" else b"")
        self._say(tag + (b" NO [AUTHENTICATIONFAILED] no" if acknowledged else b" BAD what?"))

    def _let_in(self, tag: bytes, login: tuple[str, ...]) -> None:
        self._logged_in = login == self._server.login
        self._say(tag + (b" OK welcome" if self._logged_in else b" NO [AUTHENTICATIONFAILED] who are you?"))

    def _open(self, tag: bytes, name: str, *, writable: bool) -> None:
        self._folder, self._writable = self._server.folders.get(name), writable
        if self._folder is None:
            self._say(tag + b" NO [NONEXISTENT] no such folder")
            return
        self._say(b"* %d EXISTS" % len(self._folder.mails))
        self._say(b"* FLAGS (\\Seen \\Deleted)")
        self._say(b"* OK [UIDVALIDITY %d] valid" % self._folder.uid_validity)
        self._say(b"* OK [UIDNEXT %d] next" % self._folder.uid_next)
        self._say(tag + (b" OK [READ-WRITE] open" if writable else b" OK [READ-ONLY] open"))

    def _search(self, tag: bytes, rest: bytes, *, uid: bool) -> None:
        words = [word for word in _words(rest) if word.upper() not in {b"CHARSET", b"UTF-8"}]
        kept = list(enumerate(self._mails(), 1))
        while words:
            match words.pop(0).upper():
                case b"ALL":
                    pass
                case b"UID":
                    wanted = words.pop(0)
                    kept = [one for one in kept if _within(one[1].uid, wanted, self._mails()[-1].uid)]
                case b"HEADER":
                    name, value = words.pop(0), words.pop(0)
                    kept = [one for one in kept if value.lower() in _header(one[1].content, name).lower()]
                case _:
                    self._say(tag + b" BAD no such key")
                    return
        numbers = (str(mail.uid if uid else number) for number, mail in kept)
        self._say(" ".join(["* SEARCH", *numbers]).encode())
        self._say(tag + b" OK done")

    def _fetch(self, tag: bytes, rest: bytes, *, uid: bool) -> None:
        wanted, _, items = rest.partition(b" ")
        for number, mail in self._chosen(wanted, uid=uid):
            trouble = self._server.trouble.get(mail.uid, "")
            if trouble == "hang up":
                raise EOFError
            if trouble in {"NO", "BAD"}:
                self._say(tag + f" {trouble} not this one".encode())
                return
            self._writer.write(b"* %d FETCH (UID %d" % (number, mail.uid))
            if b"INTERNALDATE" in items.upper():
                self._writer.write(b' INTERNALDATE "%s"' % f"{mail.received_at:%d-%b-%Y %H:%M:%S %z}".encode())
            if b"RFC822.SIZE" in items.upper():
                self._writer.write(b" RFC822.SIZE %d" % len(mail.content))
            if b"FLAGS" in items.upper():
                self._writer.write(b" FLAGS (%s)" % " ".join(sorted(mail.flags)).encode())
            for section, start, length in _BODY.findall(items):
                content = _section(mail.content, section)
                asked = content[int(start) : int(start) + int(length)] if length else content
                announced = 10**9 if trouble == "lie" else self._server.lies_about_bytes or len(asked)
                origin = b"<%s>" % start if length else b""
                self._writer.write(b" BODY[%s]%s {%d}\r\n%s" % (section, origin, announced, asked))
                if b".PEEK" not in items.upper() and self._writable:
                    mail.flags.add("\\Seen")
            self._say(b")")
        self._say(tag + b" OK done")

    def _store(self, tag: bytes, rest: bytes, *, uid: bool) -> None:
        wanted, item, flags = [*rest.split(b" ", 2), b"", b""][:3]
        given = set(flags.decode().strip("()").split())
        for number, mail in self._chosen(wanted, uid=uid):
            mail.flags = mail.flags | given if item.startswith(b"+") else mail.flags - given
            if b"SILENT" not in item.upper():
                self._say(b"* %d FETCH (FLAGS (%s))" % (number, " ".join(sorted(mail.flags)).encode()))
        self._say(tag + b" OK done")

    def _mails(self) -> list[Kept]:
        assert self._folder is not None
        return self._folder.mails

    def _chosen(self, wanted: bytes, *, uid: bool) -> Iterator[tuple[int, Kept]]:
        mails = self._mails()
        last = (mails[-1].uid if uid else len(mails)) if mails else 0
        for number, mail in enumerate(mails, 1):
            if _within(mail.uid if uid else number, wanted, last):
                yield number, mail

    def _say(self, line: bytes) -> None:
        self._writer.write(line + b"\r\n")


def _within(number: int, wanted: bytes, last: int) -> bool:
    """Whether a number is in a set such as 1:3,7,9:*; beyond the last, `*` names the last (RFC 3501 section 6.4.8)."""
    for each in wanted.split(b","):
        low, _, high = each.partition(b":")
        ends = [last if end == b"*" else int(end) for end in (low, high or low)]
        if min(ends) <= number <= max(ends):
            return True
    return False


def _words(rest: bytes) -> Iterator[bytes]:
    for quoted, plain in _WORD.findall(rest):
        yield plain or re.sub(rb"\\(.)", rb"\1", quoted)


def _header(content: bytes, name: bytes) -> bytes:
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    found = re.search(rb"(?im)^" + re.escape(name) + rb"[ \t]*:((?:.|\n[ \t])*)", head)
    return b" ".join(found[1].split()) if found else b""


def _section(content: bytes, section: bytes) -> bytes:
    """The whole mail, or the header fields named."""
    named = re.fullmatch(rb"HEADER\.FIELDS \((.*)\)", section, re.IGNORECASE)
    if named is None:
        return content
    lines = [b"%s: %s\r\n" % (name, _header(content, name)) for name in named[1].split() if _header(content, name)]
    return b"".join([*lines, b"\r\n"])
