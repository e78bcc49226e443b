"""The mapping file: which column says what, written by a person or kept from a guess; checked to the letter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, get_args

from operations.importing.amounts import DECIMALS
from operations.importing.days import ORDERS
from operations.importing.fields import FIELDS, KINDS
from operations.importing.sheets import DELIMITERS, Encoding
from operations.yaml_text import dump, load
from workflow.errors import InvalidInput
from workflow.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping as Map

    from operations.importing.amounts import Decimals
    from operations.importing.days import Order
    from operations.importing.fields import Kind, Type

# Said for the whole file at its top rather than among the columns.
CONSTANTS: Final = ("company", "currency")
WHOLE: Final = "whole"
_TAB: Final = "tab"
_MOST_DAYS: Final = 3650
_TOP: Final = ("kind", "encoding", "delimiter", "dates", "decimal", *CONSTANTS, "columns", "rows")
_ROWS: Final = ("filled", "only", "skip")
_FORMATS: Final[dict[Type, tuple[str, ...]]] = {"day": ORDERS, "amount": DECIMALS, "line": (WHOLE,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a field's text comes from: columns (joined by a space), one value for all rows, or a name made of columns.

    `format`: an order for days, a decimal sign for amounts, `whole` for numbers such as 12345.0. `words`: what cells
    say and what that means. `plus_days`: days added to a day, a figure or a column's name. `split`: parts tags.
    `same`: rows of which a derived name is made of the same are one thing, such as an invoice with its payments.
    """

    columns: tuple[str, ...] = ()
    value: str | None = None
    derived: bool = False
    prefix: str = ""
    format: str | None = None
    words: Map[str, str] = field(default_factory=dict)
    plus_days: int | str | None = None
    negate: bool = False
    split: str | None = None
    same: bool = False

    @property
    def label(self) -> str:
        """As messages name it."""
        named = " + ".join(self.columns) or f"= {self.value}"
        return named if self.plus_days is None else f"{named} + {self.plus_days} days"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """What a file of one kind says, and where: `sources` by field.

    A row counts where the columns `filled` are, where those in `only` say one of these, those in `skip` none.
    """

    kind: Kind
    encoding: Encoding | None = None
    delimiter: str | None = None
    dates: Order | None = None
    decimal: Decimals | None = None
    sources: Map[str, Source] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    only: Map[str, tuple[str, ...]] = field(default_factory=dict)
    skip: Map[str, tuple[str, ...]] = field(default_factory=dict)

    def with_source(self, name: str, source: Source) -> Mapping:
        """The same, but for one field."""
        return replace(self, sources={**self.sources, name: source})


def parse(text: str) -> Mapping:
    """Read a mapping file. Raises InvalidInput, naming the key, its value and what is wrong with it."""
    given = _mapping(load(text) or {}, "file")
    _known(given, _TOP, "")
    kind = _one_of(given.get("kind", ""), KINDS, "kind")
    sources = {
        name: _source(kind, name, value) for name, value in _mapping(given.get("columns", {}), "columns").items()
    }
    for name in CONSTANTS:
        if name in given:
            if name in sources:
                raise InvalidInput(field=name, value=given[name], reason="is given among the columns too")
            sources[name] = _source(kind, name, {"value": given[name]}, place=name)
    rows = _mapping(given.get("rows", {}), "rows")
    _known(rows, _ROWS, "rows.")
    return Mapping(
        kind=kind,
        encoding=_one_of(given["encoding"], get_args(Encoding), "encoding") if "encoding" in given else None,
        delimiter=_delimiter(given["delimiter"]) if "delimiter" in given else None,
        dates=_one_of(given["dates"], ORDERS, "dates") if "dates" in given else None,
        decimal=_one_of(given["decimal"], DECIMALS, "decimal") if "decimal" in given else None,
        sources=sources,
        filled=_texts(rows.get("filled", []), "rows.filled"),
        only={
            name: _texts(value, f"rows.only.{name}")
            for name, value in _mapping(rows.get("only", {}), "rows.only").items()
        },
        skip={
            name: _texts(value, f"rows.skip.{name}")
            for name, value in _mapping(rows.get("skip", {}), "rows.skip").items()
        },
    )


def write(mapping: Mapping) -> str:
    """The mapping as a file that `parse` reads back to the same."""
    constants = {
        name: source.value
        for name in CONSTANTS
        if (source := mapping.sources.get(name)) and source == Source(value=source.value)
    }
    written: dict[str, Any] = {
        "kind": mapping.kind,
        "encoding": mapping.encoding,
        "delimiter": _TAB if mapping.delimiter == "\t" else mapping.delimiter,
        "dates": mapping.dates,
        "decimal": mapping.decimal,
        **constants,
        "columns": {name: _written(source) for name, source in mapping.sources.items() if name not in constants},
        "rows": {
            key: value
            for key, value in (
                ("filled", list(mapping.filled)),
                ("only", {name: list(cells) for name, cells in mapping.only.items()}),
                ("skip", {name: list(cells) for name, cells in mapping.skip.items()}),
            )
            if value
        },
    }
    return dump({key: value for key, value in written.items() if value})


def _written(source: Source) -> str | list[str] | dict[str, Any]:
    if source == Source(columns=source.columns) and source.columns:
        return source.columns[0] if len(source.columns) == 1 else list(source.columns)
    long: dict[str, Any] = {}
    if source.value is not None:
        long["value"] = source.value
    elif source.derived:
        long["derived"] = list(source.columns)
    elif len(source.columns) == 1:
        long["column"] = source.columns[0]
    else:
        long["columns"] = list(source.columns)
    options = {
        "prefix": source.prefix,
        "format": source.format,
        "words": dict(source.words),
        "plus_days": None if source.plus_days is None else str(source.plus_days),
        "negate": "yes" if source.negate else None,
        "split": source.split,
        "again": "same" if source.same else None,
    }
    return long | {key: value for key, value in options.items() if value}


def _source(kind: Kind, name: str, value: object, place: str | None = None) -> Source:
    place = place or f"columns.{name}"
    known = FIELDS[kind].get(name)
    if known is None:
        raise InvalidInput(field=place, value=name, reason=f"is no field of {kind}{_nearest(name, FIELDS[kind])}")
    if isinstance(value, str | list):
        return Source(columns=_columns(value, place))
    given = _mapping(value, place)
    origin = [key for key in ("column", "columns", "derived", "value") if key in given]
    if len(origin) != 1:
        raise InvalidInput(field=place, value=origin, reason="needs one of column, columns, derived, value")
    if origin == ["derived"] and known.type != "line":
        raise InvalidInput(field=place, value=name, reason="only numbers and references can be derived")
    allowed = ["words"]
    allowed += {"day": ["format", "plus_days"], "amount": ["format", "negate"], "line": ["format"]}.get(known.type, [])
    allowed += ["prefix", "again"] if origin == ["derived"] else []
    allowed += ["split"] if name == "tag" else []
    _known(given, (*origin, *allowed), f"{place}.")
    days = given.get("plus_days")
    return Source(
        columns=_columns(given[origin[0]], f"{place}.{origin[0]}") if origin != ["value"] else (),
        value=_text(given["value"], f"{place}.value") if origin == ["value"] else None,
        derived=origin == ["derived"],
        prefix=_text(given.get("prefix", ""), f"{place}.prefix"),
        format=_one_of(given["format"], _FORMATS[known.type], f"{place}.format") if "format" in given else None,
        words={
            cell: _text(meaning, f"{place}.words.{cell}")
            for cell, meaning in _mapping(given.get("words", {}), f"{place}.words").items()
        },
        plus_days=None if days is None else _days(_text(days, f"{place}.plus_days"), f"{place}.plus_days"),
        negate=_one_of(given.get("negate", "no"), ("yes", "no"), f"{place}.negate") == "yes",
        split=_text(given["split"], f"{place}.split") or None if "split" in given else None,
        same=_one_of(given.get("again", "other"), ("other", "same"), f"{place}.again") == "same",
    )


def _days(text: str, place: str) -> int | str:
    if not text.lstrip("-").isdecimal() or not text.isascii():
        return text
    if len(text) > 5 or abs(int(text)) > _MOST_DAYS:
        raise InvalidInput(field=place, value=text, reason=f"is more than {_MOST_DAYS} days")
    return int(text)


def _columns(value: object, place: str) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else _texts(value, place)
    if not found or not all(found):
        raise InvalidInput(field=place, value=value, reason="names no column")
    return found


def _texts(value: object, place: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value.strip(),)
    if not isinstance(value, list):
        raise InvalidInput(field=place, value=value, reason="must be a list")
    return tuple(_text(one, place) for one in value)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(field=place, value=value, reason="must be text")
    return value.strip()


def _mapping(value: object, place: str) -> dict[str, Any]:
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(field=place, value=value, reason="must be a mapping, key: value")
    return value


def _known(given: Map[str, object], allowed: tuple[str, ...], place: str) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise InvalidInput(field=f"{place}{key}", value=value, reason=f"is not known here{_nearest(key, allowed)}")


def _one_of(value: object, words: tuple[Any, ...], place: str) -> Any:  # noqa: ANN401 - one of these words
    if value not in words:
        raise InvalidInput(field=place, value=value, reason=f"must be one of {', '.join(words)}")
    return value


def _delimiter(value: object) -> str:
    found = "\t" if value == _TAB else value
    if found not in DELIMITERS:
        raise InvalidInput(field="delimiter", value=value, reason="must be one of , ; | tab")
    return str(found)


def _nearest(name: str, known: Map[str, object] | tuple[str, ...]) -> str:
    return did_you_mean(name, known) or f": {', '.join(known)}"
