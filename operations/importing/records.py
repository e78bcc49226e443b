"""Rows become records: each field's text found, read as its type, or the row refused with its column and the reason."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, assert_never

from operations.formulas import may_be_formula
from operations.importing.amounts import NoAmount, amount, decimals_of
from operations.importing.days import Moment, day, order_of
from operations.importing.fields import FIELDS, NO, YES, plain
from operations.importing.mappings import WHOLE
from workflow.errors import InvalidInput
from workflow.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Mapping as Map
    from datetime import date

    from operations.importing.fields import Field
    from operations.importing.mappings import Mapping, Source
    from operations.importing.sheets import Sheet

Cells = list[str]

# A number that a spreadsheet, or a library, made a decimal one.
DECIMAL_ID = re.compile(r"[0-9]+\.0+\Z")
_COUNT = re.compile(r"(?P<figures>[0-9]{1,6})(?:\.0+)?\Z")
_WORDS = re.compile(r"\s*[,;/|+&]\s*|\s+et\s+|\s+and\s+")
_DIGEST: Final = 12
_DASH: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Record:
    """What a row says, by field; absent are those that the mapping does not name, and those whose cell is empty."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A row that is refused: where, what stands there, and why."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All rows of a file as a mapping reads them. `left_out`: rows that do not count.

    `decimal_ids`: numbers such as 12345.0, by column: the first one and how many.
    """

    records: list[Record]
    bad: list[Bad]
    rows: int
    left_out: int
    decimal_ids: dict[str, tuple[str, int]]


class _Refused(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, reason: str) -> None:
        self.reason = reason


def settled(mapping: Mapping, sheet: Sheet) -> Mapping:
    """The mapping with every format decided that the whole column decides.

    Raises InvalidInput where nothing in a column tells, or where the mapping names a column that is not there.
    """
    open_fields = {
        name: source
        for name, source in mapping.sources.items()
        if source.columns and not source.format and FIELDS[mapping.kind][name].type in ("day", "amount")
    }
    texts: dict[str, set[str]] = {name: set() for name in open_fields}
    getters = {name: _getter(source, sheet) for name, source in open_fields.items()}
    counts = _counting(mapping, sheet)
    for _, cells in sheet.rows():
        if len(cells) == len(sheet.header) and counts(cells):
            for name, get in getters.items():
                texts[name].add(get(cells))
    for name, source in open_fields.items():
        is_day = FIELDS[mapping.kind][name].type == "day"
        said = mapping.dates if is_day else mapping.decimal
        found = said or (order_of(texts[name]) if is_day else decimals_of(texts[name]))
        if found == "ambiguous":
            raise InvalidInput(
                field=f"columns.{name}",
                value=min(filter(None, texts[name])),
                reason=f"the column {source.label} may have {_EITHER[is_day]}, and nothing in it tells: {_SAY[is_day]}",
            )
        if found:
            mapping = mapping.with_source(name, replace(source, format=found))
    return mapping


_ORDER_WORDS: Final = {"dmy": " (day, month, year)", "mdy": " (month, day, year)", "ymd": " (year, month, day)"}
_EITHER: Final = {True: "the day or the month first", False: "a decimal comma or a decimal point"}
_SAY: Final = {True: "say --dates dmy or mdy", False: "say --decimal comma or point"}


def read(sheet: Sheet, mapping: Mapping) -> Reading:
    """Read every row as the mapping says. Raises InvalidInput for a mapping that does not fit the file."""
    fields = FIELDS[mapping.kind]
    getters = [_getter(source, sheet) for source in mapping.sources.values()]
    readers = [
        (name, source.label, fields[name].required, _reader(mapping, name, sheet))
        for name, source in mapping.sources.items()
    ]
    lines = {source.label for name, source in mapping.sources.items() if fields[name].type == "line"}
    counts = _counting(mapping, sheet)
    records, bad = [], []
    rows = left_out = 0
    decimal_ids: dict[str, tuple[str, int]] = {}
    for line, cells in sheet.rows():
        rows += 1
        if len(cells) != len(sheet.header):
            reason = f"the row has {len(cells)} cells, the header {len(sheet.header)}"
            bad.append(Bad(line=line, column="", value=sheet.delimiter.join(cells)[:100], reason=reason))
            continue
        texts = [get(cells) for get in getters]  # each once a row: a derived name counts the rows that are equal
        if not counts(cells):
            left_out += 1
            continue
        values: dict[str, Any] = {}
        for text, (name, label, required, reader) in zip(texts, readers, strict=True):
            if not text and not required:
                continue
            try:
                values[name] = reader(text, cells)
            except _Refused as refused:
                bad.append(Bad(line=line, column=label, value=text, reason=refused.reason))
                break
            if text.endswith(".0") and values[name] == text and label in lines and DECIMAL_ID.match(text):
                first, times = decimal_ids.get(label, (text, 0))
                decimal_ids[label] = (first, times + 1)
        else:
            records.append(Record(line, values))
    return Reading(records=records, bad=bad, rows=rows, left_out=left_out, decimal_ids=decimal_ids)


def samples(sheet: Sheet, mapping: Mapping, name: str, count: int) -> list[tuple[str, str]]:
    """The first different texts of a field and what is read in each, as text; a dash where it would be refused."""
    source = mapping.sources[name]
    get, read = _getter(source, sheet), _reader(mapping, name, sheet)
    found: dict[str, str] = {}
    for _, cells in sheet.rows():
        if len(cells) == len(sheet.header) and (text := get(cells)) and text not in found:
            found[text] = _shown(read, text, cells)
        if len(found) == count:
            break
    return list(found.items())


def _shown(read: Callable[[str, Cells], Any], text: str, cells: Cells) -> str:
    try:
        value = read(text, cells)
    except _Refused:
        return _DASH
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def column(sheet: Sheet, name: str) -> int:
    """Where the column of this name stands, from 0. Raises InvalidInput where none does, or two do."""
    found = [index for index, title in enumerate(sheet.header) if title == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(field="columns", value=name, reason=f"{len(found)} columns have this name: rename one")
    titles = [title for title in sheet.header if title]
    hint = did_you_mean(name, titles) or f"; they are {', '.join(titles[:50])}"
    raise InvalidInput(field="columns", value=name, reason=f"there is no such column{hint}")


def _counting(mapping: Mapping, sheet: Sheet) -> Callable[[Cells], bool]:
    filled = [column(sheet, name) for name in mapping.filled]
    only = [(column(sheet, name), frozenset(cells)) for name, cells in mapping.only.items()]
    skip = [(column(sheet, name), frozenset(cells)) for name, cells in mapping.skip.items()]

    def counts(cells: Cells) -> bool:
        return (
            all(cells[index].strip() for index in filled)
            and all(cells[index].strip() in wanted for index, wanted in only)
            and not any(cells[index].strip() in unwanted for index, unwanted in skip)
        )

    return counts if filled or only or skip else lambda _: True


def _getter(source: Source, sheet: Sheet) -> Callable[[Cells], str]:
    value, words = source.value, source.words
    if value is not None:
        return lambda _: value
    places = [column(sheet, name) for name in source.columns]
    if source.derived:
        return _deriving(places, source.prefix, same=source.same)
    if len(places) > 1:
        return lambda cells: _said(" ".join(filter(None, (cells[place].strip() for place in places))), words)
    (place,) = places
    if words:
        return lambda cells: _said(cells[place].strip(), words)
    return lambda cells: cells[place].strip()


def _said(text: str, words: Map[str, str]) -> str:
    return words.get(text, text)


def _deriving(places: Sequence[int], prefix: str, *, same: bool) -> Callable[[Cells], str]:
    """A name from what some columns say; a second row that says so is the same, or is told apart by its order."""
    seen: Counter[str] = Counter()

    def derive(cells: Cells) -> str:
        name = prefix + digest(cells[place].strip() for place in places)
        seen[name] += 1
        return name if same or seen[name] == 1 else f"{name}-{seen[name]}"

    return derive


def digest(parts: Iterable[object]) -> str:
    """A short name for these parts: 12 hex digits of their SHA-256."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]


def _reader(mapping: Mapping, name: str, sheet: Sheet) -> Callable[[str, Cells], Any]:
    """What turns a field's text into its value, or raises _Refused."""
    known, source = FIELDS[mapping.kind][name], mapping.sources[name]
    read = _typed(known, source, sheet, mapping.sources.get("currency"))

    def checked(text: str, cells: Cells) -> Any:  # noqa: ANN401 - as the field's type says
        if not text and known.required:
            raise _Refused("is missing")
        return read(text, cells)

    return checked


def _typed(  # noqa: PLR0911 - one a type
    known: Field, source: Source, sheet: Sheet, currency: Source | None
) -> Callable[[str, Cells], Any]:
    match known.type:
        case "line" | "text":
            return _line(whole=source.format == WHOLE, split=source.split)
        case "day":
            return _day(source, sheet)
        case "amount":
            return _amount(source, _getter(currency, sheet) if currency else lambda _: "")
        case "count":
            return lambda text, _: _count(text)
        case "flag":
            return lambda text, _: _flag(text)
        case "choice":
            return lambda text, _: _choice(text, known.words)
        case "choices":
            return lambda text, _: tuple(
                dict.fromkeys(_choice(word, known.words) for word in _WORDS.split(text) if word)
            )
        case _:
            assert_never(known.type)


def _line(*, whole: bool, split: str | None) -> Callable[[str, Cells], Any]:
    def line(text: str, _: Cells) -> str:
        if may_be_formula(text):
            raise _Refused("begins as a spreadsheet's formula does")
        return text.partition(".")[0] if whole and DECIMAL_ID.match(text) else text

    def lines(text: str, cells: Cells) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line(part.strip(), cells) for part in text.split(split) if part.strip()))

    return lines if split else line


def _day(source: Source, sheet: Sheet) -> Callable[[str, Cells], date | Moment | None]:
    order: Any = source.format
    later = source.plus_days
    place = column(sheet, later) if isinstance(later, str) else None

    def read(text: str, cells: Cells) -> date | Moment | None:
        if not text:
            return None
        found = day(text, order)
        if found is None:
            raise _Refused(f"is no day{_ORDER_WORDS.get(order, '')}")
        days = int(_days(cells[place].strip()) if place is not None else later or 0)
        try:
            if isinstance(found, Moment):
                _ = found.at + timedelta(days=days - 1)  # whatever the clock, that day is in the calendar
                return replace(found, later=days)
            return found + timedelta(days=days)
        except OverflowError:
            raise _Refused(f"{days} days later there is no calendar") from None

    return read


def _days(text: str) -> int:
    found = _COUNT.match(text.removeprefix("-"))
    if found is None:
        raise _Refused(f"{text!r} is no number of days")
    return -int(found["figures"]) if text.startswith("-") else int(found["figures"])


def _amount(source: Source, currency: Callable[[Cells], str]) -> Callable[[str, Cells], str]:
    decimals: Any = source.format

    def read(text: str, cells: Cells) -> str:
        try:
            plain_number = amount(text, decimals, currency(cells))
        except NoAmount as wrong:
            raise _Refused(str(wrong)) from None
        if not source.negate:
            return plain_number
        return plain_number.removeprefix("-") if plain_number.startswith("-") else f"-{plain_number}"

    return read


def _count(text: str) -> int | None:
    if not text:
        return None
    found = _COUNT.match(text)
    if found is None:
        raise _Refused("is no whole number")
    return int(found["figures"])


def _flag(text: str) -> bool:
    said = plain(text)
    if said not in YES and said not in NO:
        raise _Refused("is neither yes nor no")
    return said in YES


def _choice(text: str, words: Map[str, str]) -> str:
    meant = words.get(plain(text), "") if text else ""
    if text and not meant:
        raise _Refused(f"must be one of {', '.join(dict.fromkeys(words.values()))}")
    return meant
