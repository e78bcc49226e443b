r"""The text form of a filter, for people: `level = 0 and days_overdue >= 15 and tag not in ("litige")`.

`not` binds tighter than `and`, `and` tighter than `or`; parentheses group. Texts stand in double quotes, with \" and
\\ inside. No text at all is EVERYTHING. Reading back what was written gives an equal filter.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from workflow.filter_grammar import (
    EMPTINESS,
    EVERYTHING,
    LISTS,
    MAX_DEPTH,
    MAX_VALUES,
    Condition,
    Filter,
    FilterError,
    Group,
    Op,
    joined,
    within_count,
)
from workflow.filters import Field, field_named

if TYPE_CHECKING:
    from workflow.filter_grammar import Scalar

MAX_PARENTHESES: Final = 12


def to_text(filter_: Filter) -> str:
    """Return the text form, on one line; "" for EVERYTHING."""
    if isinstance(filter_, Condition):
        return str(filter_)
    parts = [
        f"({to_text(part)})" if isinstance(part, Group) and part.joined != "not" else to_text(part)
        for part in filter_.parts
    ]
    return f"not {parts[0]}" if filter_.joined == "not" else {"all": " and ", "any": " or "}[filter_.joined].join(parts)


def parse_text(text: str) -> Filter:
    """Read the text form. Raises FilterError, placed by column."""
    parser = _Parser(text)
    if parser.token.kind == "end":
        return EVERYTHING
    filter_ = parser.alternatives(0)
    if parser.token.kind != "end":
        raise parser.error("and, or, or the end")
    return within_count(filter_, 1)


def _depth(filter_: Filter) -> int:
    return 0 if isinstance(filter_, Condition) else 1 + max(_depth(part) for part in filter_.parts)


_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\["\\])*")
    | (?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign><=|>=|!=|[=<>(),])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    """`read`: the word in lower case, the sign, or the value; `at`: its column."""

    kind: str
    read: object
    at: int


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.token = self._next()

    def _next(self) -> _Token:
        found = _TOKEN.match(self.text, self.end)
        if found is None or found.lastgroup is None:
            rest = self.text[self.end :].lstrip()
            raise FilterError(
                value=rest,
                at=len(self.text) - len(rest) + 1,
                expected='a field, an operator, a number, a day or a closed "text"',
            )
        kind, written = found.lastgroup, found[found.lastgroup]
        self.end = found.end()
        read: object = written
        match kind:
            case "text":
                read = re.sub(r"\\(.)", r"\1", written[1:-1])
            case "number":
                read = Decimal(written)
            case "word":
                read = written.lower() if written.lower() in _KEYWORDS else written
        return _Token(kind, read, found.start(kind) + 1)

    def take(self) -> _Token:
        taken, self.token = self.token, self._next()
        return taken

    def meets(self, word: str) -> bool:
        """Take the word or sign if it comes next."""
        met = self.token.kind in {"word", "sign"} and self.token.read == word
        if met:
            self.take()
        return met

    def error(self, expected: str) -> FilterError:
        return FilterError(value=self.token.read, at=self.token.at, expected=expected)

    def alternatives(self, nested: int) -> Filter:
        at, parts = self.token.at, [self._conjunction(nested)]
        while self.meets("or"):
            parts.append(self._conjunction(nested))
        return self._within_depth(joined("any", parts), at)

    def _conjunction(self, nested: int) -> Filter:
        at, parts = self.token.at, [self._unary(nested)]
        while self.meets("and"):
            parts.append(self._unary(nested))
        return self._within_depth(joined("all", parts), at)

    def _unary(self, nested: int) -> Filter:
        at = self.token.at
        if nested > MAX_PARENTHESES:
            raise self.error(f"a condition here: parentheses and not go {MAX_PARENTHESES} deep")
        if self.meets("not"):
            return self._within_depth(joined("not", [self._unary(nested + 1)]), at)
        if self.meets("("):
            filter_ = self.alternatives(nested + 1)
            if not self.meets(")"):
                raise self.error("and, or, or )")
            return filter_
        return self._condition()

    def _within_depth(self, filter_: Filter, at: int) -> Filter:
        if _depth(filter_) > MAX_DEPTH:
            raise FilterError(value=_depth(filter_), at=at, expected=f"groups at most {MAX_DEPTH} deep")
        return filter_

    def _condition(self) -> Condition:
        if self.token.kind != "word" or self.token.read in _KEYWORDS:
            raise self.error("a field, not or (")
        name = str(self.token.read)
        field = field_named(name, self.token.at)
        self.take()
        op = self._op(field)
        if op in EMPTINESS:
            return Condition(field=name, op=op)
        return Condition(field=name, op=op, values=self._list(field) if op in LISTS else (self._value(field),))

    def _op(self, field: Field) -> Op:
        at = self.token.at
        written = [self.take().read]
        if written == ["is"] and self.meets("not"):
            written.append("not")
        if written in (["not"], ["is"], ["is", "not"]):
            written.append(self.take().read)
        return field.read_op(" ".join(str(word) for word in written), at)

    def _list(self, field: Field) -> tuple[Scalar, ...]:
        at = self.token.at
        if not self.meets("("):
            raise self.error("(")
        values = [self._value(field)]
        while self.meets(","):
            values.append(self._value(field))
        if not self.meets(")"):
            raise self.error(", or )")
        if len(values) > MAX_VALUES:
            raise FilterError(value=len(values), at=at, expected=f"at most {MAX_VALUES} values")
        return tuple(values)

    def _value(self, field: Field) -> Scalar:
        if self.token.kind not in {"text", "number", "day"}:
            raise self.error(field.kind.expected)
        value = field.read_value(self.token.read, self.token.at)
        self.take()
        return value


_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "empty"})
