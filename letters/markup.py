"""A user's Markdown with values in it, as HTML and as plain text, so that a value is never read as Markdown.

Where a template prints a value, the rendered text carries it between two marks. It is then taken out: only the
skeleton, with numbered places, meets the Markdown parser, and the values come back afterwards, escaped for HTML or as
they are for text. A customer named `[x](javascript:1)` or `*a*` therefore stands in the mail exactly so. And since
mails of one rule share their skeletons, the parser runs once for all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from html import escape, unescape
from typing import Final
from urllib.parse import quote

from markdown_it import MarkdownIt

OPENING: Final = "\ue000"
CLOSING: Final = "\ue001"
TEXT_WIDTH: Final = 78

_VALUE = re.compile(f"{OPENING}(.*?){CLOSING}", re.DOTALL)
_PLACE = re.compile(f"{OPENING}([0-9]+){CLOSING}")
_PLACE_WHOLE = re.compile(f"({OPENING}[0-9]+{CLOSING})")
_LINK = re.compile(r' href="([^"]*)"')
_URL_CHARACTERS: Final = "%/:?#[]@!$&'()*+,;=-._~"
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
# How each element of a letter looks; strong, em and the rest look as they always do.
STYLES: Final = {
    "p": "margin:0 0 16px",
    "ul": "margin:0 0 16px;padding-left:22px",
    "ol": "margin:0 0 16px;padding-left:22px",
    "li": "margin:0 0 4px",
    "blockquote": "margin:0 0 16px;padding-left:14px;border-left:3px solid #d5dbe1",
    "a": "color:#1d5a96",
    **dict.fromkeys(
        ("h1", "h2", "h3"), "margin:8px 0 12px;font-size:17px;line-height:24px;font-weight:600;color:#1f3d5c"
    ),
}
_STYLED_TAG = re.compile(rf"<({'|'.join(STYLES)})(?=[ >])")
_SPACES = re.compile(r"[ \t\r\n]+")
_BULLET = re.compile(r"[ ]*(?:[-*+>]|[0-9]{1,3}[.)]) +")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A rendered text: its skeleton, and the values of its numbered places."""

    skeleton: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """An address of which a part is a value: judged when it is whole."""

    address: str


def mark(value: object) -> str:
    """Wrap what a template prints; None prints nothing."""
    text = "" if value is None else str(value).replace(OPENING, "").replace(CLOSING, "")
    return f"{OPENING}{text}{CLOSING}"


def taken_apart(rendered: str) -> Marked:
    """Separate a rendered text from the values that `mark` wrapped."""
    parts = _VALUE.split(rendered)
    skeleton = "".join(
        part if index % 2 == 0 else f"{OPENING}{index // 2}{CLOSING}" for index, part in enumerate(parts)
    )
    return Marked(skeleton=skeleton, values=tuple(parts[1::2]))


def to_html(marked: Marked) -> str:
    """Render as an HTML fragment: no raw HTML, no images, links to http, https and mailto only."""
    values = marked.values
    written: list[str] = []
    for piece in _pieces(marked.skeleton):
        match piece:
            case str():
                written.append(piece)
            case int():
                written.append(escape(values[piece]).replace("\n", "<br>"))
            case _Link(address=address):
                whole = quote(_filled(address, values), safe=_URL_CHARACTERS)
                written.append(f' href="{escape(whole)}"' if _is_allowed(whole) else "")
    return "".join(written)


def to_text(marked: Marked) -> str:
    """Give the Markdown itself with the values as they are, wrapped at 78 columns; a line break stays one."""
    text = _BLANK_LINES.sub("\n\n", _filled(marked.skeleton, marked.values)).strip()
    return wrapped(text)


def to_line(marked: Marked) -> str:
    """Give the text on one line, runs of spaces and line breaks made one space (no-break spaces stay)."""
    return _SPACES.sub(" ", _filled(marked.skeleton, marked.values).strip())


def _filled(skeleton: str, values: tuple[str, ...]) -> str:
    return _PLACE.sub(lambda place: values[int(place[1])], skeleton)


def wrapped(text: str) -> str:
    """Break lines of more than 78 characters, at spaces only, never at a no-break space."""
    return "\n".join(line if len(line) <= TEXT_WIDTH else _broken(line) for line in text.split("\n"))


def _broken(line: str) -> str:
    """Keep what follows a bullet under its first word."""
    bullet = _BULLET.match(line)
    indent = " " * bullet.end() if bullet else ""
    start = bullet.end() if bullet else len(line) - len(line.lstrip(" "))  # no break before the first word
    lines = []
    while len(line) > TEXT_WIDTH:
        cut = line.rfind(" ", start, TEXT_WIDTH + 1)
        if cut < 0:
            cut = line.find(" ", TEXT_WIDTH)
        if cut < 0:
            break
        lines.append(line[:cut])
        line, start = indent + line[cut + 1 :].lstrip(" "), len(indent)
    return "\n".join([*lines, line])


@lru_cache(maxsize=1024)
def _pieces(skeleton: str) -> tuple[str | int | _Link, ...]:
    """Render the skeleton once and cut it: literal HTML, numbers of values, links that carry values."""
    html = _MARKDOWN.render(_BLANK_LINES.sub("\n\n", skeleton).strip())
    html = _STYLED_TAG.sub(lambda tag: f'{tag[0]} style="{STYLES[tag[1]]}"', html)
    pieces: list[str | int | _Link] = []
    position = 0
    for link in _LINK.finditer(html):
        if OPENING in link[1]:
            pieces += _places(html[position : link.start()])
            pieces.append(_Link(address=unescape(link[1])))
            position = link.end()
    return (*pieces, *_places(html[position:]))


def _places(html: str) -> list[str | int]:
    return [int(part) if index % 2 else part for index, part in enumerate(_PLACE.split(html))]


def _is_allowed(address: str) -> bool:
    scheme, colon, _ = address.partition(":")
    return bool(colon) and scheme.lower() in {"http", "https", "mailto"}


def _normalized(url: str) -> str:
    """Percent-encode what an address may not carry, but leave the places of values to be filled."""
    parts = _PLACE_WHOLE.split(url)
    return "".join(part if index % 2 else quote(part, safe=_URL_CHARACTERS) for index, part in enumerate(parts))


def _markdown() -> MarkdownIt:
    # Line breaks of the text are line breaks of the letter: what a signature needs, and what the text part shows.
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True})
    markdown.disable(["image", "html_block", "html_inline", "code", "fence", "reference"])
    # Methods by assignment is markdown-it's documented way to decide about links.
    markdown.validateLink = lambda url: OPENING in url or _is_allowed(url)  # type: ignore[method-assign]
    markdown.normalizeLink = _normalized  # type: ignore[method-assign]
    return markdown


_MARKDOWN: Final = _markdown()
