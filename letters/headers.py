"""Mail headers as bytes that say what they were given and nothing else (RFC 5322, 2047, 2231; RFC 5321 sizes).

A header can only be injected through a line break, a quote or an encoded word that somebody decodes twice. Control
characters and encoded words are refused by name of the field; whatever is not plain ASCII words is encoded whole.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import quote

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TEXT_CHARACTERS: Final = 200
MAX_FILE_NAME_CHARACTERS: Final = 120

_LINE_LENGTH: Final = 76
# C0 and C1 controls, line and paragraph separators, bidirectional overrides, surrogates, non-characters.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_ENCODED_WORD = re.compile(r"=\?[^?\s]*\?[bBqQ]\?")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,120}@[A-Za-z0-9.-]{1,120}>")
_HEADER_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
_KNOWN_HEADERS: Final = frozenset(
    {
        "auto-submitted", "bcc", "cc", "comments", "date", "from", "in-reply-to", "keywords", "message-id",
        "mime-version", "received", "references", "reply-to", "return-path", "sender", "subject", "to",
        "x-relance-reminder",
    }
)  # fmt: skip
_NO_FILE_NAME = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff<>:"/\\|?*%]+')
_FILE_NAME_EDGES = re.compile(r"\A[\s._]+|[\s._]+\Z")
_RESERVED_NAMES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Somebody with an address; the name is what a reader sees and may be empty."""

    address: str
    name: str = ""


def check_address(text: str, *, field: str) -> str:
    """Return the address as it may stand in an envelope: `local@domain`, the domain in lower case and A-labels.

    Takes what a business address looks like: an ASCII dot-atom, one `@`, a host name. Raises InvalidInput for
    anything else: quoted local parts, address literals, spaces, names around it, sizes past RFC 5321 §4.5.3.1.
    """
    local, at, domain = text.partition("@")
    if not at or "@" in domain:
        _refuse(field, text, "an address has exactly one @")
    if not local.isascii():
        _refuse(field, text, "the part before the @ must be ASCII")
    if not _LOCAL_PART.fullmatch(local):
        _refuse(field, text, "the part before the @ is not a plain address")
    if len(local) > 64:
        _refuse(field, text, "the part before the @ is longer than 64 characters")
    host = _host(domain, text, field)
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        _refuse(field, text, "the part behind the @ is not a host name")
    if len(local) + 1 + len(host) > 254:
        _refuse(field, text, "an address has at most 254 characters")
    return f"{local}@{host}"


def check_header_text(text: str, *, field: str) -> str:
    """Return a name or subject as one line with single spaces. Raises InvalidInput for what could become a header.

    That is control characters (line breaks, NUL), encoded words (`=?utf-8?Q?…`) and more than 200 characters.
    """
    control = _CONTROLS.search(text)
    if control is not None:
        _refuse(field, text, f"the character U+{ord(control[0]):04X} is not allowed")
    if _ENCODED_WORD.search(text):
        _refuse(field, text, "looks like an encoded header: give the plain text")
    line = " ".join(filter(None, text.split(" "))).strip()
    if len(line) > MAX_TEXT_CHARACTERS:
        _refuse(field, text, f"is longer than {MAX_TEXT_CHARACTERS} characters")
    return line


def check_message_id(text: str, *, field: str) -> str:
    """Return a Message-ID with its angle brackets, or raise InvalidInput."""
    if not _MESSAGE_ID.fullmatch(text):
        _refuse(field, text, "is not a message id such as <relance.12@example.fr>")
    return text


def check_header_name(text: str, *, field: str) -> str:
    """Return the name of a header that a mail has none of yet. Raises InvalidInput for any other (RFC 5322 §3.6.8)."""
    if not _HEADER_NAME.fullmatch(text):
        _refuse(field, text, "is not a header's name such as Idempotency-Key")
    if text.lower() in _KNOWN_HEADERS or text.lower().startswith(("content-", "resent-", "list-", "arc-", "dkim-")):
        _refuse(field, text, "is a header that means something else in a mail")
    return text


def file_name(text: str) -> str:
    """Turn any text into a file name that is safe to show and to save: no folders, controls or reserved names."""
    name = _FILE_NAME_EDGES.sub("", _NO_FILE_NAME.sub("_", text))
    if len(name) > MAX_FILE_NAME_CHARACTERS:
        stem, dot, extension = name.rpartition(".")
        kept = f"{dot}{extension}" if stem and len(extension) <= 8 else ""
        name = _FILE_NAME_EDGES.sub("", name[: MAX_FILE_NAME_CHARACTERS - len(kept)]) + kept
    if not name:
        return "attachment"
    return f"_{name}" if _RESERVED_NAMES.match(name) else name


def text_header(name: str, text: str, *, field: str) -> str:
    """Write a header whose value is free text, folded, each line ended by CRLF."""
    return f"{name}: {_encoded(check_header_text(text, field=field), len(name) + 2)}\r\n"


def mailboxes_header(name: str, mailboxes: Sequence[Mailbox], *, field: str) -> str:
    """Write a header that lists mailboxes, one a line."""
    return f"{name}: {f',{_FOLD}'.join(_mailbox(mailbox, len(name) + 2, field) for mailbox in mailboxes)}\r\n"


def references_header(name: str, message_ids: Sequence[str], *, field: str) -> str:
    """Write a header that lists message ids, one a line."""
    return f"{name}: {_FOLD.join(check_message_id(each, field=field) for each in message_ids)}\r\n"


def file_name_parameter(name: str) -> str:
    """Write `filename=` for a sanitised name: quoted where ASCII, in pieces by RFC 2231 where not or too long."""
    if name.isascii() and len(name) <= 60:
        return f'{_FOLD}filename="{name}"'
    encoded = f"utf-8''{quote(name, safe='')}"
    pieces: list[str] = []
    while encoded:
        cut = min(len(encoded), 60)
        if cut < len(encoded) and "%" in encoded[cut - 2 : cut]:
            cut = encoded.rindex("%", 0, cut)  # an escape is not cut in two
        pieces.append(encoded[:cut])
        encoded = encoded[cut:]
    if len(pieces) == 1:
        return f"{_FOLD}filename*={pieces[0]}"
    return ";".join(f"{_FOLD}filename*{index}*={piece}" for index, piece in enumerate(pieces))


_FOLD: Final = "\r\n "


@lru_cache(maxsize=4096)
def _mailbox(mailbox: Mailbox, indent: int, field: str) -> str:
    address = check_address(mailbox.address, field=f"{field}.address")
    name = " ".join(check_header_text(mailbox.name, field=f"{field}.name").split())
    if not name:
        return address
    if _PLAIN_PHRASE.fullmatch(name) and "=?" not in name:
        phrase = name
    elif name.isascii() and "=?" not in name:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        phrase = f'"{escaped}"'
    else:
        phrase = _encoded_words(name, indent)
    fits = indent + len(phrase) + len(address) + 3 <= _LINE_LENGTH and "\r\n" not in phrase
    return f"{phrase}{' ' if fits else _FOLD}<{address}>"


def _encoded(text: str, indent: int) -> str:
    if not text.isascii() or "=?" in text:
        return _encoded_words(text, indent)
    if indent + len(text) <= _LINE_LENGTH:
        return text
    return _folded(text, indent)


def _folded(text: str, indent: int) -> str:
    """Break before words; the space stays at the start of the next line, where folding white space belongs."""
    lines, current, room = [], "", _LINE_LENGTH - indent
    for word in text.split(" "):
        if current and len(current) + 1 + len(word) > room:
            lines.append(current)
            current, room = word, _LINE_LENGTH - 1
        else:
            current = f"{current} {word}" if current else word
    return _FOLD.join([*lines, current])


def _encoded_words(text: str, indent: int) -> str:
    """Write RFC 2047 words of whole characters, one a line.

    Written here rather than by email.header: a mail's bytes must come out the same under any version of Python.
    """
    words, octets, room = [], text.encode("utf-8"), _room(indent)
    while octets:
        end = room
        while end < len(octets) and octets[end] & 0b1100_0000 == 0b1000_0000:  # inside a character
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(octets[:end]).decode('ascii')}?=")
        octets, room = octets[end:], _room(1)
    return _FOLD.join(words)


def _room(indent: int) -> int:
    """Count the octets that one encoded word can carry behind an indent: four characters carry three."""
    return (_LINE_LENGTH - indent - len("=?utf-8?b??=")) // 4 * 3


def _host(domain: str, text: str, field: str) -> str:
    try:
        return domain.lower() if domain.isascii() else domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        _refuse(field, text, "the part behind the @ is not a host name")


def _refuse(field: str, value: str, reason: str) -> NoReturn:
    raise InvalidInput(field=field, value=value, reason=reason)
