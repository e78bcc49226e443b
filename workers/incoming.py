"""A received mail as parts: bytes from anybody in, headers and text out, whatever is wrong with them.

Python's own parser takes minutes and gigabytes for a mail that is made to cost them (a part for every line, a
thousand multiparts in each other), so the structure is read here, within bounds, over one buffer.
"""

from __future__ import annotations

import binascii
import codecs
import html
import quopri
import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from itertools import islice
from typing import TYPE_CHECKING, Final

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 25 * 1024 * 1024
MAX_PARTS: Final = 1_000
MAX_NESTING: Final = 50
MAX_TEXT_BYTES: Final = 128 * 1024  # of one part; what a report has to say stands at its beginning
MAX_HEADER_LINES: Final = 2_000
MAX_VALUE_CHARACTERS: Final = 4_000

_HEAD_END = re.compile(rb"(?:\A|\n)\r?(?:\n|\Z)")
_FIELD = re.compile(r"([!-9;-~]{1,80})[ \t]*:[ \t]*(.*)")
# What a boundary line looks like where the header names another one, or none.
_BOUNDARY_SEEN = re.compile(rb"\n--([^\s-][^\r\n]{3,199}?)[ \t]*\r?\n[Cc]ontent-")
_PARAMETER = re.compile(r""";\s*([\w-]{1,40})(?:\*0?\*?)?\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))""")
_MEDIA_TYPE = re.compile(r"\s*([\w.+-]{1,60}/[\w.+-]{1,60})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
# Codecs of Python that are no charset of mail; some are slow on purpose-made input.
_NO_CHARSETS: Final = frozenset({"ascii", "idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
_INVISIBLE: Final = tuple(
    (re.compile(opened, re.IGNORECASE), re.compile(closed, re.IGNORECASE))
    for opened, closed in (
        ("<!--", "-->"),
        (r"<style\b", r"</style\s{0,9}>"),
        (r"<script\b", r"</script\s{0,9}>"),
        (r"<title\b", r"</title\s{0,9}>"),
    )
)
_LINE_BREAKING_TAG = re.compile(r"(?i)</?(?:p|br|div|tr|li|h\d|table|blockquote|pre)\b[^<>]{0,1000}>")
_TAG = re.compile(r"<[/!a-zA-Z][^<>]{0,2000}>")

Headers = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A leaf of a mail, or the head of a multipart or of a mail within the mail (their own body is empty).

    `returned` is how many mails it is inside of, 0 for what the sender of the report wrote itself.
    """

    headers: Headers
    media_type: str
    parameters: dict[str, str]
    returned: int
    body: bytes

    def first(self, name: str) -> str:
        """The first header of that name (in lower case), encoded words decoded; empty where there is none."""
        return words(self.headers[name][0]) if name in self.headers else ""

    def text(self) -> str:
        r"""Its text, lines ended by \\n: transfer encoding and charset undone, tags of HTML left out."""
        octets = _undone(self.body[:MAX_TEXT_BYTES], self.first("content-transfer-encoding"))
        text = _in_charset(octets, self.parameters.get("charset", "")).replace("\r\n", "\n").replace("\r", "\n")
        return _without_tags(text) if self.media_type == "text/html" else text


def read_parts(content: bytes) -> list[Part]:
    """Take a mail apart; its own headers are those of the first part. Bytes that are no mail make one part of text.

    Parts beyond 1,000 and what is nested more than 50 deep are left out. Raises InvalidInput beyond 25 MiB.
    """
    if len(content) > MAX_BYTES:
        raise InvalidInput(field="message", value=f"{len(content)} bytes", reason="is larger than 25 MiB")
    parts: list[Part] = []
    for part in _entity(content, 0, len(content), depth=0, returned=0, default="text/plain"):
        parts.append(part)
        if len(parts) >= MAX_PARTS:
            break
    return parts


def read_fields(text: str) -> Headers:
    """Header fields of a text by their names in lower case, unfolded, in order; lines that are none are left out."""
    fields: Headers = {}
    last: list[str] | None = None
    for line in text.split("\n", MAX_HEADER_LINES)[:MAX_HEADER_LINES]:
        kept = line.rstrip("\r")
        if kept[:1] in {" ", "\t"}:
            if last is not None and len(last[-1]) < MAX_VALUE_CHARACTERS:
                last[-1] = f"{last[-1]} {kept.strip()[:MAX_VALUE_CHARACTERS]}"
        elif found := _FIELD.match(kept):
            last = fields.setdefault(found[1].lower(), [])
            last.append(found[2][:MAX_VALUE_CHARACTERS].strip())
        else:
            last = None
    return fields


def words(value: str) -> str:
    """A header's value with its encoded words decoded, or as it stands where they are broken."""
    if "=?" not in value:
        return value
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        return value
    return "".join(piece if isinstance(piece, str) else _in_charset(piece, charset or "") for piece, charset in pieces)


def _entity(content: bytes, start: int, end: int, *, depth: int, returned: int, default: str) -> Iterator[Part]:
    """Headers, an empty line, a body; depth first."""
    if depth > MAX_NESTING:
        return
    found = _HEAD_END.search(content, max(start - 1, 0), end)  # the line before ends where it begins
    head_end, body_at = (found.start(), found.end()) if found else (end, end)
    headers = read_fields(content[start : min(head_end, start + MAX_TEXT_BYTES)].decode("utf-8", "replace"))
    if not headers:
        body_at = start
    media_type, parameters = _content_type(headers, default)
    encoded = headers.get("content-transfer-encoding", [""])[0].lower() in {"base64", "quoted-printable"}
    spans: list[tuple[int, int]] = []
    multipart = media_type.startswith("multipart/")
    if multipart:
        spans = _parts_between(content, body_at, end, parameters.get("boundary", ""))
    if multipart and not spans:
        media_type = "text/plain"  # its parts are not to be told apart; what it says is still to be read
    mail_within = media_type in {"message/rfc822", "message/global"} and not encoded

    def part(body: bytes) -> Part:
        return Part(headers=headers, media_type=media_type, parameters=parameters, returned=returned, body=body)

    if spans:
        yield part(b"")
        inner = "message/rfc822" if media_type == "multipart/digest" else "text/plain"
        for left, right in spans:
            yield from _entity(content, left, right, depth=depth + 1, returned=returned, default=inner)
    elif mail_within:
        yield part(b"")
        yield from _entity(content, body_at, end, depth=depth + 1, returned=returned + 1, default="text/plain")
    else:
        yield part(content[body_at:end])


def _parts_between(content: bytes, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
    """Where the parts of a multipart begin and end: by its boundary, or what looks like one where that never comes."""
    start = max(start - 1, 0)  # the line break before the first boundary ends the headers
    named = _boundary_line(boundary.encode("utf-8", "replace")) if boundary else None
    found = list(islice(_between(content, start, end, named), MAX_PARTS)) if named else []
    seen = None if found else _BOUNDARY_SEEN.search(content, start, min(end, start + MAX_TEXT_BYTES))
    return list(islice(_between(content, start, end, _boundary_line(seen[1])), MAX_PARTS)) if seen else found


def _between(content: bytes, start: int, end: int, line: re.Pattern[bytes]) -> Iterator[tuple[int, int]]:
    """From each boundary line to the next; the last part runs to the end where its closing line is missing."""
    begun: int | None = None
    for found in line.finditer(content, start, end):
        if begun is not None:
            yield begun, max(begun, found.start())
        if found[1]:
            return
        begun = min(found.end() + 1, end)
    if begun is not None:
        yield begun, end


def _boundary_line(boundary: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*\r?(?=\n|\Z)")


def _content_type(headers: Headers, default: str) -> tuple[str, dict[str, str]]:
    value = headers.get("content-type", [default])[0]
    found = _MEDIA_TYPE.match(value)
    parameters: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(value):
        parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain)
    return (found[1].lower() if found else default), parameters


def _undone(body: bytes, encoding: str) -> bytes:
    match encoding.strip().lower():
        case "quoted-printable":
            return quopri.decodestring(body)
        case "base64":
            letters = _NOT_BASE64.sub(b"", body)
            return binascii.a2b_base64(letters[: len(letters) // 4 * 4])
        case _:
            return body


def _in_charset(octets: bytes, charset: str) -> str:
    """What the charset says, UTF-8 where it says nothing; a wrong or unknown one costs letters, never the text."""
    try:
        codec = codecs.lookup(charset or "ascii").name
        if codec.replace("_", "-") not in _NO_CHARSETS:
            text = octets.decode(codec, "replace")
            return text.encode("utf-8", "replace").decode("utf-8")  # UTF-7 can spell half a character
    except (LookupError, ValueError):
        pass
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _without(text: str, opened: re.Pattern[str], closed: re.Pattern[str]) -> str:
    """Leave out from each opening to its closing; one that never closes takes the rest."""
    kept, at = [], 0
    while begun := opened.search(text, at):
        kept.append(text[at : begun.start()])
        ended = closed.search(text, begun.end())
        if ended is None:
            return "".join(kept)
        at = ended.end()
    return "".join([*kept, text[at:]])


def _without_tags(text: str) -> str:
    for opened, closed in _INVISIBLE:
        text = _without(text, opened, closed)
    return html.unescape(_TAG.sub("", _LINE_BREAKING_TAG.sub("\n", text)))
