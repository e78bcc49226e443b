"""A mapping guessed from a file's column names and values; it is shown before anything is done by it."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from operations.importing.amounts import NoAmount, amount, currency_of, decimals_of
from operations.importing.days import ORDERS, day
from operations.importing.fields import FIELDS, KINDS, NO, YES, plain
from operations.importing.mappings import WHOLE, Mapping, Source
from operations.importing.records import DECIMAL_ID
from workflow.errors import InvalidInput
from workflow.money import CURRENCIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.importing.fields import Field, Kind
    from operations.importing.sheets import Sheet

_LOOKED_AT: Final = 500
_MOSTLY: Final = 0.9
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+\Z")
# Without it a row says nothing of this kind: an invoice that is not paid is no payment.
_SAYS_ROW: Final[dict[Kind, str]] = {"payments": "received_on", "tags": "tag"}
# What makes a row one of its kind: where no column says it, the file is of no such kind.
_MAKES_KIND: Final[dict[Kind, tuple[str, ...]]] = {
    "customers": ("number", "name"),
    "contacts": ("customer", "name", "email"),
    "invoices": ("issued_on", "total"),
    "payments": ("received_on", "amount"),
    "tags": ("tag",),
}
# A field that says the same thing is not guessed twice; the first is meant.
_INSTEAD: Final = {("tags", "customer"): "invoice"}


def guess(sheet: Sheet, kind: Kind) -> Mapping:
    """The likeliest mapping; a field that no column seems to say is left out, a required one too."""
    columns = _looked_at(sheet)
    taken: set[int] = set()
    sources: dict[str, Source] = {}
    for name, known in FIELDS[kind].items():
        found = None if _INSTEAD.get((kind, name), "") in sources else _likeliest(sheet, known, name, columns, taken)
        if found is None:
            continue
        taken.add(found)
        whole = known.type == "line" and bool(columns[found]) and all(map(DECIMAL_ID.match, columns[found]))
        sources[name] = Source(columns=(sheet.header[found],), format=WHOLE if whole else None)
    amounts = next((name for name, known in FIELDS[kind].items() if known.type == "amount" and name in sources), None)
    if "currency" in FIELDS[kind] and "currency" not in sources and amounts:
        said = currency_of(columns[sheet.header.index(sources[amounts].columns[0])])
        if said:
            sources["currency"] = Source(value=said)
    return Mapping(
        kind=kind,
        encoding=sheet.encoding,
        delimiter=sheet.delimiter,
        sources=sources,
        filled=_filled(sheet, sources[_SAYS_ROW[kind]].columns[0]) if _SAYS_ROW.get(kind, "") in sources else (),
    )


def check_complete(mapping: Mapping, sheet: Sheet) -> None:
    """Raise InvalidInput where a field is missing without which nothing can be imported."""
    given = mapping.sources
    missing = [name for name, known in FIELDS[mapping.kind].items() if known.required and name not in given]
    if "currency" in FIELDS[mapping.kind] and "currency" not in given:
        missing.append("currency")
    if mapping.kind == "tags" and ("invoice" in given) == ("customer" in given):
        raise InvalidInput(field="columns", value=sorted(given), reason="tags are of invoices or of customers: map one")
    if mapping.kind == "payments" and not {"invoice", "customer"} & given.keys():
        missing.append("invoice")
    if missing:
        titles = ", ".join(title for title in sheet.header if title)
        option = " (or --currency EUR)" if "currency" in missing else ""
        reason = f"no column is known to say {', '.join(missing)}{option}: name it in a mapping file (--save-mapping)"
        raise InvalidInput(field="columns", value=titles, reason=reason)


def check_meant(mapping: Mapping, sheet: Sheet) -> None:
    """Raise InvalidInput for a guess that may as well be of another kind: a register of invoices has dates and amounts.

    It is of its kind where the name of what makes it one is that kind's alone, or where it reads more such names, or
    more columns, than the other kind would.
    """
    # What was paid may stand beside an invoice: only its day makes a payment of it.
    makes = [name for name in _MAKES_KIND[mapping.kind] if name != "amount"]
    for other in KINDS:
        rival = guess(sheet, other)
        if other == mapping.kind or not rival.sources.keys() >= set(_MAKES_KIND[other]):
            continue
        own, theirs = _own(mapping, other), _own(rival, mapping.kind)
        if own.keys() & set(makes) or len(own) > len(theirs):
            continue
        if len(own) == len(theirs) and len(_titles(rival)) < len(_titles(mapping)):
            continue
        shared = ", ".join(title for name in _MAKES_KIND[mapping.kind] for title in mapping.sources[name].columns)
        telling = f" ({', '.join(theirs.values())} tells)" if theirs else ""
        reason = (
            f"{shared} may as well be of {other}{telling}: say --kind {other}, or keep this guess by --save-mapping, "
            "look it over, and give it as --mapping"
        )
        raise InvalidInput(field="kind", value=mapping.kind, reason=reason)


def _own(mapping: Mapping, other: Kind) -> dict[str, str]:
    """The columns by field whose names only this kind has, and not the other."""
    foreign = {title for name, known in FIELDS[other].items() for title in (plain(name), *known.names)}
    return {
        name: title
        for name, source in mapping.sources.items()
        for title in source.columns
        if plain(title) in {plain(name), *FIELDS[mapping.kind][name].names} - foreign
    }


def _titles(mapping: Mapping) -> list[str]:
    return [title for source in mapping.sources.values() for title in source.columns]


def _filled(sheet: Sheet, title: str) -> tuple[str, ...]:
    """The column's name, where some of its cells are empty: those rows are none of this kind."""
    place = sheet.header.index(title)
    empty = any(len(cells) == len(sheet.header) and not cells[place].strip() for _, cells in sheet.rows())
    return (title,) if empty else ()


def _looked_at(sheet: Sheet) -> list[list[str]]:
    """The first filled cells of each column."""
    columns: list[list[str]] = [[] for _ in sheet.header]
    for _, cells in islice(sheet.rows(), _LOOKED_AT):
        if len(cells) == len(columns):
            for index, cell in enumerate(cells):
                if cell.strip():
                    columns[index].append(cell.strip())
    return columns


def _likeliest(sheet: Sheet, known: Field, name: str, columns: Sequence[Sequence[str]], taken: set[int]) -> int | None:
    """The free column of the likeliest name whose values can be the field's; else the only one that says so itself."""
    titles = [plain(title) for title in sheet.header]
    once = [index for index, title in enumerate(sheet.header) if title and sheet.header.count(title) == 1]
    free = [index for index in once if index not in taken and _can_be(known, name, columns[index])]
    for likely in (plain(name), *known.names):
        for index in free:
            if titles[index] == likely:
                return index
    telling = [index for index in free if columns[index] and _says_itself(name, columns[index])]
    return telling[0] if len(telling) == 1 else None


def _can_be(known: Field, name: str, values: Sequence[str]) -> bool:
    """Whether most of a column's values are of the field's type; an empty column can be anything optional."""
    if not values:
        return not known.required
    match known.type:
        case "day":
            fits = [any(day(value, order) for order in ORDERS) for value in values]
        case "amount":
            fits = [_is_amount(value) for value in values]
        case "count":
            fits = [value.partition(".")[0].isdecimal() for value in values]
        case "flag":
            fits = [plain(value) in YES | NO for value in values]
        case "choice":
            fits = [plain(value) in known.words for value in values]
        case "line" if name == "email" or name.endswith("_contact"):
            fits = [bool(_ADDRESS.match(value)) for value in values]
        case "line" if name == "currency":
            fits = [value in CURRENCIES for value in values]
        case "line" if name == "country":
            fits = [len(value) == 2 and value.isalpha() for value in values]
        case _:
            return True
    return sum(fits) >= _MOSTLY * len(values)


def _says_itself(name: str, values: Sequence[str]) -> bool:
    """An address or a currency is known without its column's name."""
    match name:
        case "email":
            return all(map(_ADDRESS.match, values))
        case "currency":
            return all(value in CURRENCIES for value in values)
        case _:
            return False


def _is_amount(text: str) -> bool:
    try:
        amount(text, None if decimals_of([text]) != "ambiguous" else "point")
    except NoAmount:
        return False
    return True
