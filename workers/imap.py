"""A folder of an IMAP mailbox, opened to read only (EXAMINE, RFC 3501), over verified TLS, for a bounded time.

However a server drips, or whatever it says it sends, a look ends and takes little memory.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
import threading
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from workers.sasl import GIVE_UP, bearer, token_response
from workers.settings import secret
from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from store.companies import Auth

_STEP_S: Final = 10.0
_LOOK_S: Final = 45.0
# A search answers in one line, which imaplib bounds: it is asked by stretches of UIDs, longer where they are empty.
_STRETCH_UIDS: Final = 10_000
_LAST_UID: Final = 2**32 - 1
_ABOVE_A_MAIL_BYTES: Final = 64 * 1024

# Of mails that a search by words takes for one: the last so many are looked at.
_MOST_ALIKE: Final = 5

_MESSAGE_ID: Final = re.compile(rb"^message-id:\s*(<[^<>\s]{1,250}>)", re.IGNORECASE | re.MULTILINE)
_UID: Final = re.compile(rb"\bUID (\d{1,10})\b")
_INTERNALDATE: Final = re.compile(rb'INTERNALDATE "([ 0-9A-Za-z:+-]{20,30})"')


class Unreadable(RelanceError):  # noqa: N818 - what a mailbox is
    """A mailbox that could not be read; its words hold no secret and nothing of a mail."""


class Refused(Unreadable):
    """The server does not give this one mail; it may give others."""


class TooMuch(Unreadable):
    """The server sends more of this one mail than was asked for. The connection is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapPlace:
    """A folder on a server; `password_ref` is a reference (env:NAME, file:PATH), never the secret.

    `auth`: whether it leads to a password or to an access token.
    """

    host: str
    port: int
    security: str
    ca_file: str | None
    username: str
    password_ref: str
    folder: str
    auth: Auth = "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A mail, or its beginning; `received_at` by the server's word."""

    uid: int
    content: bytes
    received_at: datetime | None


class Folder:
    """An opened folder."""

    def __init__(self, mailbox: imaplib.IMAP4, uid_validity: int, uid_next: int | None) -> None:
        self._mailbox = mailbox
        self.uid_validity = uid_validity
        self._uid_next = uid_next

    def uids(self, after: int, *, most: int) -> list[int]:
        """The UIDs above `after`, ascending, the first ones: at most `most` of them. Raises OSError."""
        end = (self._uid_next or _LAST_UID + 1) - 1
        found: list[int] = []
        start, stretch = after + 1, _STRETCH_UIDS if self._uid_next else _LAST_UID
        while start <= end and len(found) < most:
            upper = min(start + stretch - 1, end)
            named = b" ".join(_done("searching", self._mailbox.uid("SEARCH", "UID", f"{start}:{upper}"))).split()
            found += sorted(map(int, named))
            start, stretch = upper + 1, stretch if named else stretch * 10
        return found[:most]

    def fetch(self, uid: int, *, most_bytes: int) -> Fetched | None:
        """A mail's first bytes, without a mark on it; None where it has gone. Raises Refused, TooMuch, OSError."""
        return self._fetch(uid, f"BODY.PEEK[]<0.{most_bytes}>", most_bytes)

    def copy_of(self, message_id: str, *, most_bytes: int) -> Fetched | None:
        """A mail with this Message-ID, its content that header alone; None where there is none. Raises OSError."""
        named = self._mailbox.uid("SEARCH", "HEADER", "Message-ID", _quoted(message_id))
        for uid in b" ".join(_done("searching", named)).split()[-_MOST_ALIKE:]:
            found = self._fetch(int(uid), "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]", most_bytes)
            if found and message_id.encode("ascii", "replace") in _MESSAGE_ID.findall(found.content):
                return found
        return None

    def _fetch(self, uid: int, what: str, most_bytes: int) -> Fetched | None:
        items = f"(UID INTERNALDATE {what})"
        try:
            status, data = self._mailbox.uid("FETCH", str(uid), items)
        except imaplib.IMAP4.abort:
            raise  # the connection, not the mail
        except imaplib.IMAP4.error:  # BAD
            status, data = "BAD", []
        if status != "OK":
            raise Refused("IMAP: the server refused reading a mail")
        for piece in data:
            if not isinstance(piece, tuple):
                continue
            head, content = piece[0], piece[1]
            named = _UID.search(head)
            if named is None or int(named[1]) == uid:
                return Fetched(uid=uid, content=content[:most_bytes], received_at=_date(head))
        return None


@contextlib.contextmanager
def opened(place: ImapPlace, *, most_bytes: int, look_s: float = _LOOK_S) -> Generator[Folder]:
    """The folder. Every failure, of the block too, is told as Unreadable."""
    mailbox: _Bounded | None = None
    watch = _Watch(look_s)
    try:
        context = ssl.create_default_context(cafile=place.ca_file)
        mailbox = _Bounded(place, context, watch, most_bytes + _ABOVE_A_MAIL_BYTES)
        if place.security == "starttls-required":
            mailbox.starttls(context)
        _log_in(mailbox, place)
        _done("opening the folder", mailbox.select(_quoted(modified_utf7(place.folder)), readonly=True))
        validity = _number(mailbox, "UIDVALIDITY")
        if validity is None:
            raise Unreadable("IMAP: the server keeps no UIDs")
        yield Folder(mailbox, validity, _number(mailbox, "UIDNEXT"))
    except InvalidInput:
        raise Unreadable("the reference to its secret leads to none on this machine") from None
    except ssl.SSLError as error:
        raise Unreadable(f"TLS: {error.reason or type(error).__name__}") from None
    except (OSError, ValueError, imaplib.IMAP4.error) as error:  # IMAP4.error quotes what the server says
        raise Unreadable(f"IMAP: {type(error).__name__}") from None
    finally:
        if mailbox:
            with contextlib.suppress(OSError, imaplib.IMAP4.error, TooMuch):
                mailbox.logout()
            with contextlib.suppress(OSError):
                mailbox.shutdown()
        watch.end()


class _Watch:
    """Hangs up when the time of a look is over, whatever it waits for."""

    def __init__(self, look_s: float) -> None:
        self._timer = threading.Timer(look_s, self._hang_up)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []

    def begin(self, raw: socket.socket) -> None:
        self._sockets.append(raw)
        self._timer.start()

    def end(self) -> None:
        self._timer.cancel()
        for raw in self._sockets:
            raw.close()

    def _hang_up(self) -> None:
        for raw in self._sockets:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)


class _Bounded(imaplib.IMAP4):
    """Believes no server that announces more than was asked for, and waits for none longer than its watch does."""

    def __init__(self, place: ImapPlace, context: ssl.SSLContext, watch: _Watch, most_bytes: int) -> None:
        self._context = context if place.security == "implicit-tls" else None
        self._watch = watch
        self._most_bytes = most_bytes
        super().__init__(place.host, place.port, timeout=_STEP_S)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        raw = socket.create_connection((self.host, self.port), timeout)
        # TLS takes the descriptor over: what the watch shuts down is a second one of the same connection.
        self._watch.begin(raw.dup())
        return self._context.wrap_socket(raw, server_hostname=self.host) if self._context else raw

    def read(self, size: int) -> bytes:
        if size > self._most_bytes:
            raise TooMuch("IMAP: the server sends more than was asked for")
        return super().read(size)


def _log_in(mailbox: imaplib.IMAP4, place: ImapPlace) -> None:
    shown = secret(place.password_ref)
    offered = {word.removeprefix("AUTH=") for word in mailbox.capabilities if word.startswith("AUTH=")}
    try:
        if place.auth == "xoauth2":
            mechanism = bearer(offered)
            if mechanism is None:
                raise Unreadable("the server takes no access token")
            words = iter([token_response(mechanism, place.username, shown, host=place.host, port=place.port)])
            mailbox.authenticate(mechanism, lambda _challenge: next(words, GIVE_UP[mechanism]))
        elif "PLAIN" in offered:
            plain = f"\0{place.username}\0{shown}".encode()
            mailbox.authenticate("PLAIN", lambda _challenge: plain)
        else:
            mailbox.login(place.username, shown)
    except mailbox.abort:
        raise  # the connection, not the login
    except mailbox.error:
        raise Unreadable("the server refused the login") from None


def _number(mailbox: imaplib.IMAP4, code: str) -> int | None:
    _, data = mailbox.response(code)
    said = data[-1] if data else None
    return int(said) if isinstance(said, bytes) and said.isdigit() else None


def _date(head: bytes) -> datetime | None:
    found = _INTERNALDATE.search(head)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1].decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z")
    except ValueError:
        return None


def _done(what: str, answer: tuple[str, Sequence[object]]) -> Sequence[bytes]:
    """The data of an OK."""
    status, data = answer
    if status != "OK":
        raise Unreadable(f"IMAP: the server refused {what}")
    return [piece for piece in data if isinstance(piece, bytes)]


def _quoted(text: str) -> str:
    """An IMAP quoted string (RFC 3501 section 4.3)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def modified_utf7(folder: str) -> str:
    """A folder's name as it travels (RFC 3501 section 5.1.3): `Envoyés` is `Envoy&AOk-s`."""
    return "".join(_shifted(folder))


def _shifted(folder: str) -> Iterator[str]:
    for plain, other in re.findall(r"([\x20-\x7e]+)|([^\x20-\x7e]+)", folder):
        letters = b64encode(other.encode("utf-16-be")).decode("ascii").rstrip("=").replace("/", ",")
        yield plain.replace("&", "&-") if plain else f"&{letters}-"
