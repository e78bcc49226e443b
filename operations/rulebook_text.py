"""A rulebook as text: companies, accounts, tags and rules in one YAML file that a person reads and a team versions.

Each section is a mapping by name. What is not written has its default. Every value is read by what its field is, never
by what it looks like: `NO` is a country and `0 9 * * 1-5` a schedule line, quoted or not; empty, ~ and null are none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import time
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import yaml

from operations import yaml_text
from operations.accounts import save_account
from operations.companies import save_company
from operations.evidence import check_evidence
from operations.mailboxes import IMAP_DEFAULTS, check_mailbox
from operations.tags import save_category, save_tag
from operations.yaml_text import Block
from workflow.errors import InvalidInput
from workflow.facts import Language
from workflow.filter_text import parse_text, to_text
from workflow.rules import Rule
from workflow.spelling import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Values by field, all fields; entries by name; and all of it by section.
Entry: TypeAlias = dict[str, Any]
Book: TypeAlias = dict[str, dict[str, Entry]]

FORMAT: Final = "1"
TEXT_PARTS: Final = ("subject", "header", "footer")

_HEADER: Final = """\
# relance rulebook. What is not written has its default.
# relance rules check FILE says what is wrong with it, relance rules import FILE what it would change.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something of a file that is not taken: where (`rules / Relance 1`), in which line, and why."""

    place: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.place}" if self.line and self.place else self.place or f"line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBook:
    """What a file holds: what could be read, what not, and the line of each field (`rules / Relance 1 / tags`)."""

    book: Book
    refusals: tuple[Refusal, ...]
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a field's value is read from a node and written as YAML knows it."""

    read: Callable[[yaml.Node], Any]
    write: Callable[[Any], object] = lambda value: value


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What stands under one word: the kind of each field in the order in which it is written, and the defaults."""

    one: str
    kinds: Mapping[str, Kind]
    defaults: Mapping[str, Any]


def read_book(text: str) -> ReadBook:
    """Read a rulebook whole, so that all that is wrong with it is known at once. Raises InvalidInput for no YAML."""
    return _Reading().whole(yaml_text.read(text))


def write_book(book: Book) -> str:
    """Write a rulebook: the same values give the same bytes, and reading them gives the values."""
    document: dict[str, object] = {"rulebook": int(FORMAT)}
    for name, section in SECTIONS.items():
        entries = sorted(book.get(name, {}).items(), key=lambda item: (item[1].get("company") or "", item[0]))
        if entries:
            document[name] = {key: dict(_written(section, entry)) for key, entry in entries}
    return _HEADER + yaml_text.dump(document)


def text_parts(values: Entry) -> Iterator[tuple[str, Any]]:
    """An entry's values by field, a rule's texts part by part: `texts.fr.subject`."""
    for name, value in values.items():
        if name != "texts":
            yield name, value
            continue
        for language, parts in value.items():
            yield from ((f"texts.{language}.{part}", text) for part, text in parts.items())


def _written(section: Section, entry: Entry) -> Iterator[tuple[str, object]]:
    for name, kind in section.kinds.items():
        if name not in section.defaults or entry[name] != section.defaults[name]:
            yield name, None if entry[name] is None else kind.write(entry[name])


class _Reading:
    """Gathers what can be read and what cannot."""

    def __init__(self) -> None:
        self.book: Book = {}
        self.refusals: list[Refusal] = []
        self.lines: dict[str, int] = {}

    def whole(self, node: yaml.Node | None) -> ReadBook:
        document = self.mapping(node, "", "a rulebook is a mapping that begins with rulebook: 1") if node else {}
        version = document.pop("rulebook", None)
        if version is None or version[1].value != FORMAT:
            self.refuse("", version[1] if version else node, "must say rulebook: 1: it is no rulebook of this version")
        for name, (key, value) in document.items():
            if name not in SECTIONS:
                self.refuse("", key, f"{name} is no section; they are {', '.join(SECTIONS)}")
                continue
            self.book[name] = {}
            for title, (title_key, entry_node) in self.mapping(value, name, "must be a mapping by name").items():
                place = f"{name} / {title}"
                self.lines[place] = _line(title_key)
                before = len(self.refusals)
                entry = self.entry(SECTIONS[name], entry_node, title_key, place)
                if len(self.refusals) == before:
                    self.book[name][title] = entry
        return ReadBook(book=self.book, refusals=tuple(self.refusals), lines=self.lines)

    def entry(self, section: Section, node: yaml.Node, title: yaml.Node, place: str) -> Entry:
        found = self.mapping(node, place, "must be a mapping of fields")
        entry = {}
        for name, (key, value) in found.items():
            if name not in section.kinds:
                self.refuse(place, key, _no_field(name, section))
                continue
            self.lines[f"{place} / {name}"] = _line(key)
            try:
                entry[name] = section.kinds[name].read(value)
            except InvalidInput as wrong:
                field = wrong.field if wrong.field.startswith(name) else name
                self.refuse(place, value, str(InvalidInput(field=field, value=wrong.value, reason=wrong.reason)))
        for name in section.kinds:
            if name not in found:
                if name in section.defaults:
                    entry[name] = section.defaults[name]
                else:
                    self.refuse(place, title, f"{name}: is missing")
        return {name: entry[name] for name in section.kinds if name in entry}

    def mapping(self, node: yaml.Node, place: str, expected: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        if isinstance(node, yaml.MappingNode):
            return {key.value: (key, value) for key, value in node.value}
        if not _is_none(node):
            self.refuse(place, node, expected)
        return {}

    def refuse(self, place: str, node: yaml.Node | None, reason: str) -> None:
        self.refusals.append(Refusal(place=place, line=_line(node) if node else 1, reason=reason))


def _no_field(name: str, section: Section) -> str:
    if "password" in name:
        return f"{name} is not taken: a password never stands in a file; password_ref says where it is"
    return f"{name} is no field of {section.one}; the nearest is {closest(name, section.kinds)}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_none(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in {"", "~", "null"}


def _seen(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


def _scalar(node: yaml.Node, expected: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise InvalidInput(field="value", value=_seen(node), reason=f"must be {expected}")
    return str(node.value)


def _text(node: yaml.Node) -> str:
    return "" if _is_none(node) else _scalar(node, "a text")


def _optional_text(node: yaml.Node) -> str | None:
    return None if _is_none(node) else _scalar(node, "a text")


def _flag(node: yaml.Node) -> bool:
    said = _scalar(node, "true or false")
    if said not in {"true", "false"}:
        raise InvalidInput(field="value", value=said, reason="must be true or false")
    return said == "true"


def _optional_flag(node: yaml.Node) -> bool | None:
    return None if _is_none(node) else _flag(node)


def _number(node: yaml.Node) -> int | None:
    said = _scalar(node, "a whole number")
    if not re.fullmatch(r"-?[0-9]{1,9}", said):
        raise InvalidInput(field="value", value=said, reason="must be a whole number")
    return int(said)


def _optional_number(node: yaml.Node) -> int | None:
    return None if _is_none(node) else _number(node)


def _time(node: yaml.Node) -> time:
    said = _scalar(node, "a time such as 08:30")
    hour, _, minute = said.partition(":")
    if not re.fullmatch(r"[0-9]{1,2}:[0-9]{2}", said) or int(hour) > 23 or int(minute) > 59:
        raise InvalidInput(field="value", value=said, reason="must be a time such as 08:30")
    return time(int(hour), int(minute))


def _optional_time(node: yaml.Node) -> time | None:
    return None if _is_none(node) else _time(node)


def _items(node: yaml.Node) -> list[yaml.Node]:
    if _is_none(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise InvalidInput(field="value", value=_seen(node), reason="must be a list")
    return list(node.value)


def _words(node: yaml.Node) -> tuple[str, ...]:
    return tuple(_scalar(item, "a text") for item in _items(node))


def _optional_words(node: yaml.Node) -> tuple[str, ...] | None:
    return None if _is_none(node) else _words(node)


def _weekdays(node: yaml.Node) -> tuple[int, ...]:
    return tuple(sorted({number for item in _items(node) if (number := _number(item)) is not None}))


def _filter(node: yaml.Node) -> str:
    return to_text(parse_text(_text(node)))


def _texts(node: yaml.Node) -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = {}
    for language, parts in _pairs(node, "must be a mapping by language"):
        if language not in get_args(Language):
            known = ", ".join(get_args(Language))
            raise InvalidInput(field="texts", value=language, reason=f"is no language; they are {known}")
        read = {part: _text(text) for part, text in _pairs(parts, f"{language} must have {', '.join(TEXT_PARTS)}")}
        if set(read) != set(TEXT_PARTS):
            raise InvalidInput(
                field=f"texts.{language}", value=sorted(read), reason=f"must have {', '.join(TEXT_PARTS)}"
            )
        texts[language] = {part: read[part] for part in TEXT_PARTS}
    return texts


def _mailbox(node: yaml.Node) -> dict[str, Any] | None:
    if _is_none(node):
        return None
    pairs = _pairs(node, "must be a mapping: maildir, or host, username and password_ref", field="mailbox")
    return check_mailbox({name: _optional_text(value) for name, value in pairs})


def _evidence(node: yaml.Node) -> dict[str, Any] | None:
    if _is_none(node):
        return None
    pairs = _pairs(node, "must be a mapping: its kind, and the fields of that", field="evidence")
    return check_evidence({name: _optional_text(value) for name, value in pairs})


def _without_defaults(place: dict[str, Any]) -> dict[str, Any]:
    """A mailbox, or a place of evidence, as people write it."""
    return {name: value for name, value in place.items() if name not in IMAP_DEFAULTS or value != IMAP_DEFAULTS[name]}


def _pairs(node: yaml.Node, expected: str, *, field: str = "texts") -> list[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput(field=field, value=_seen(node), reason=expected)
    return [(key.value, value) for key, value in node.value]


TEXT: Final = Kind(read=_text)
OPTIONAL_TEXT: Final = Kind(read=_optional_text)
FLAG: Final = Kind(read=_flag)
OPTIONAL_FLAG: Final = Kind(read=_optional_flag)
NUMBER: Final = Kind(read=_number)
OPTIONAL_NUMBER: Final = Kind(read=_optional_number)
TIME: Final = Kind(read=_time, write=lambda at: f"{at:%H:%M}")
OPTIONAL_TIME: Final = Kind(read=_optional_time, write=TIME.write)
WORDS: Final = Kind(read=_words, write=list)
OPTIONAL_WORDS: Final = Kind(read=_optional_words, write=list)
WEEKDAYS: Final = Kind(read=_weekdays, write=list)
FILTER: Final = Kind(read=_filter)
MAILBOX: Final = Kind(read=_mailbox, write=_without_defaults)
EVIDENCE: Final = Kind(read=_evidence, write=_without_defaults)
TEXTS: Final = Kind(
    read=_texts,
    write=lambda texts: {
        language: {part: Block(parts[part]) for part in TEXT_PARTS} for language, parts in sorted(texts.items())
    },
)


def _defaults(function: Callable[..., object]) -> dict[str, Any]:
    """What is saved where nothing is said, as the operation itself has it."""
    parameters = {name: one.default for name, one in signature(function).parameters.items()}
    return {
        name: tuple(sorted(default)) if isinstance(default, frozenset) else default
        for name, default in parameters.items()
        if default is not Parameter.empty
    }


# A section more is an entry here, what saves it in operations.rulebook, and what reads it from the database there.
SECTIONS: Final[dict[str, Section]] = {
    "companies": Section(
        one="a company",
        kinds={
            "name": TEXT,
            "legal_line": TEXT,
            "siren": OPTIONAL_TEXT,
            "address": TEXT,
            "country": TEXT,
            "email": OPTIONAL_TEXT,
            "phone": TEXT,
            "web": TEXT,
            "iban": OPTIONAL_TEXT,
            "bic": OPTIONAL_TEXT,
            "language": TEXT,
            "zone": TEXT,
            "send_weekdays": WEEKDAYS,
            "send_from": TIME,
            "send_until": OPTIONAL_TIME,
            "send_on_holidays": FLAG,
            "min_days_between_mails": OPTIONAL_NUMBER,
            "run_times_usual": OPTIONAL_NUMBER,
            "run_share_percent": OPTIONAL_NUMBER,
            "run_always_allowed": NUMBER,
            "payments_fresh_hours": OPTIONAL_NUMBER,
            "domain_per_minute": OPTIONAL_NUMBER,
            "after_bounce": TEXT,
        },
        defaults=_defaults(save_company),
    ),
    "accounts": Section(
        one="an account",
        kinds={
            "company": OPTIONAL_TEXT,
            "user": OPTIONAL_TEXT,
            "from_name": TEXT,
            "from_address": TEXT,
            "host": TEXT,
            "port": NUMBER,
            "security": TEXT,
            "ca_file": OPTIONAL_TEXT,
            "username": OPTIONAL_TEXT,
            "password_ref": OPTIONAL_TEXT,
            "max_connections": NUMBER,
            "per_minute": OPTIONAL_NUMBER,
            "mailbox": MAILBOX,
            "auth": TEXT,
            "doubt_policy": TEXT,
            "evidence": EVIDENCE,
            "key_header": OPTIONAL_TEXT,
            "key_hours": OPTIONAL_NUMBER,
        },
        defaults=_defaults(save_account),
    ),
    "categories": Section(
        one="a category", kinds={"collapsed": FLAG, "one_only": FLAG}, defaults=_defaults(save_category)
    ),
    "tags": Section(one="a tag", kinds={"colour": TEXT, "category": OPTIONAL_TEXT}, defaults=_defaults(save_tag)),
    "rules": Section(
        one="a rule",
        kinds={
            "company": TEXT,
            "account": TEXT,
            "owner": OPTIONAL_TEXT,
            "filter": FILTER,
            "schedule_lines": WORDS,
            "tags": WORDS,
            "counts": FLAG,
            "any_level": FLAG,
            "minimum_gap_days": OPTIONAL_NUMBER,
            "needs_fresh_payments": OPTIONAL_FLAG,
            "grouping": TEXT,
            "attach_invoices": FLAG,
            "preferred_contact": TEXT,
            "interlocutor": TEXT,
            "reply_to": OPTIONAL_TEXT,
            "cc": WORDS,
            "bcc": WORDS,
            "report_to": WORDS,
            "shared_with": OPTIONAL_WORDS,
            "on_test_instance": FLAG,
            "texts": TEXTS,
        },
        defaults={"owner": None}
        | {
            field.name: field.default
            for field in fields(Rule)
            if field.init and field.name not in {"title", "filter", "texts"}
        },
    ),
}
