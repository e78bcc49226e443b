"""The grammar of filters: kinds of value, fields, operators, conditions and how they join, limits.

Whoever makes a filter by hand answers for it; the readers of JSON (`workflow.filters`) and of text
(`workflow.filter_text`) let nothing pass that breaks a limit or that a field does not take.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflow.facts import InvoiceFacts

Op = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "is empty", "is not empty"]
Joined = Literal["all", "any", "not"]
Scalar: TypeAlias = int | Decimal | date | str
Actual: TypeAlias = Scalar | frozenset[str] | None
Place: TypeAlias = int | str

EQUALITY: Final[tuple[Op, ...]] = ("=", "!=", "in", "not in")
ORDER: Final[tuple[Op, ...]] = ("=", "!=", "<", "<=", ">", ">=", "in", "not in")
EMPTINESS: Final[tuple[Op, ...]] = ("is empty", "is not empty")
LISTS: Final[tuple[Op, ...]] = ("in", "not in")

MAX_CONDITIONS: Final = 20
MAX_DEPTH: Final = 3
MAX_VALUES: Final = 500
MAX_TEXT: Final = 200
MAX_AMOUNT: Final = Decimal(10**15)
MAX_DECIMALS: Final = 4


class FilterError(InvalidInput):
    """A filter that cannot be read: where, and what was expected there.

    `at`: the column (from 1) of a text, or the JSON pointer ("" is the whole) of a document.
    """

    def __init__(self, *, value: object, at: Place, expected: str) -> None:
        """Keep the place and the expectation, so that a face can mark the one and print the other."""
        self.at = at
        self.expected = expected
        where = f"column {at}" if isinstance(at, int) else at or "the top"
        shown = reprlib.repr(value) if isinstance(value, dict | list) else value
        super().__init__(field="filter", value=shown, reason=f"at {where}: expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What to expect, in words, and how a raw JSON or text value is read (None: it is not one)."""

    expected: str
    read: Callable[[object], Scalar | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a condition may ask about: its kind of value, its operators, how it is read from an invoice, its help.

    A field takes `is empty` exactly when it can be absent or is a set.
    """

    kind: Kind
    ops: tuple[Op, ...]
    of: Callable[[InvoiceFacts, date], Actual]
    help_fr: str
    help_en: str

    def read_op(self, raw: object, at: Place) -> Op:
        """Return the operator. Raises FilterError when the field does not take it."""
        for op in self.ops:
            if op == raw:
                return op
        raise FilterError(value=raw, at=at, expected=f"one of {', '.join(self.ops)}")

    def read_value(self, raw: object, at: Place) -> Scalar:
        """Return the value that a raw one (text, number, ISO day) stands for. Raises FilterError."""
        value = self.kind.read(raw)
        if value is None:
            raise FilterError(value=raw, at=at, expected=self.kind.expected)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One question about one field. `values`: none for `is empty`, one for a comparison, 1 to 500 for a list."""

    field: str
    op: Op
    values: tuple[Scalar, ...] = ()

    def __str__(self) -> str:
        values = ", ".join(written(value) for value in self.values)
        return f"{self.field} {self.op} {f'({values})' if self.op in LISTS else values}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Filters joined: all hold, any holds, or the single one does not. Only EVERYTHING has no part."""

    joined: Joined
    parts: tuple[Filter, ...]


Filter: TypeAlias = Condition | Group

EVERYTHING: Final = Group(joined="all", parts=())


def joined(how: Joined, parts: Sequence[Filter]) -> Filter:
    """Join filters; a single one under "all" or "any" stays as it is."""
    return parts[0] if len(parts) == 1 and how != "not" else Group(joined=how, parts=tuple(parts))


def within_count(filter_: Filter, at: Place) -> Filter:
    """Return the filter as it is. Raises FilterError when it has too many conditions."""
    if (count := _count(filter_)) > MAX_CONDITIONS:
        raise FilterError(value=count, at=at, expected=f"at most {MAX_CONDITIONS} conditions")
    return filter_


def _count(filter_: Filter) -> int:
    return 1 if isinstance(filter_, Condition) else sum(_count(part) for part in filter_.parts)


def whole(lowest: int, highest: int) -> Kind:
    """Return the kind of whole numbers between two bounds, both included."""

    def read(raw: object) -> int | None:
        number = _number(raw)
        return int(number) if number is not None and lowest <= number <= highest and number % 1 == 0 else None

    return Kind(expected=f"a whole number from {lowest} to {highest}", read=read)


def one_of(choices: tuple[str, ...]) -> Kind:
    """Return the kind of a closed list of words."""
    return Kind(
        expected="one of " + ", ".join(written(choice) for choice in choices),
        read=lambda raw: raw if isinstance(raw, str) and raw in choices else None,
    )


def written(value: Scalar) -> str:
    r"""Return a value as the text form has it: quoted text with \" and \\, plain digits, ISO days."""
    match value:
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def _number(raw: object) -> Decimal | None:
    # No float: a JSON face that wants decimals says them as text, or parses them as Decimal.
    if isinstance(raw, int) and not isinstance(raw, bool):
        return Decimal(raw)
    return raw if isinstance(raw, Decimal) and raw.is_finite() else None


def _amount(raw: object) -> Decimal | None:
    plain = isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", raw)
    number = Decimal(str(raw)) if plain else _number(raw)
    if number is None or abs(number) >= MAX_AMOUNT or round(number, MAX_DECIMALS) != number:
        return None
    return number


def _day(raw: object) -> date | None:
    if not isinstance(raw, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", raw):
        return None
    try:
        return date.fromisoformat(raw)
    except ValueError:
        return None


def _words(raw: object) -> str | None:
    # PostgreSQL stores neither a NUL nor half a surrogate pair; no other control character belongs in a title either.
    if not isinstance(raw, str) or not 0 < len(raw) <= MAX_TEXT:
        return None
    return None if any(unicodedata.category(character) in ("Cc", "Cs") for character in raw) else raw


AMOUNT: Final = Kind(expected='an amount such as 12.50 (in JSON "12.50"), with at most four decimals', read=_amount)
DAY: Final = Kind(expected='a day such as 2026-01-31 (in JSON "2026-01-31")', read=_day)
WORDS: Final = Kind(expected=f'a text in quotes, such as "A", of at most {MAX_TEXT} characters', read=_words)
