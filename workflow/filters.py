"""Which invoices: the fields a filter may ask about, what it says about one invoice, what is certain from it alone.

A filter is one frozen value (`workflow.filter_grammar`) with two written forms: JSON, here, and text
(`workflow.filter_text`). Its meaning in SQL is in `store.filters`. A verdict has two values: comparing something absent
is false whatever the operator, so that `not` is the plain opposite, and `is empty` asks for absence. A set field (tags)
is never absent: `=` and `in` read "has any of", `!=` and `not in` read "has none of".
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, get_args

from workflow.facts import CommercialState, CustomerKind
from workflow.filter_grammar import (
    AMOUNT,
    DAY,
    EMPTINESS,
    EQUALITY,
    EVERYTHING,
    LISTS,
    MAX_DEPTH,
    MAX_VALUES,
    ORDER,
    WORDS,
    Actual,
    Condition,
    Field,
    Filter,
    FilterError,
    Group,
    Joined,
    Op,
    Place,
    Scalar,
    joined,
    one_of,
    whole,
    within_count,
    written,
)
from workflow.machine import LAST_LEVEL, STATES
from workflow.spelling import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import date

    from workflow.facts import InvoiceFacts

__all__ = [
    "EVERYTHING",
    "FIELDS",
    "Clause",
    "Condition",
    "ConditionClause",
    "Field",
    "Filter",
    "FilterError",
    "Group",
    "GroupClause",
    "clauses",
    "excludes_tag",
    "field_named",
    "filter_from_json",
    "filter_to_json",
    "fixed_level",
    "loosened",
    "matches",
    "minimum_gap",
]

NOTHING: Final = Group(joined="not", parts=(EVERYTHING,))
LEVELS: Final = range(LAST_LEVEL + 1)
LEVEL: Final = whole(0, LAST_LEVEL)
DAYS: Final = whole(-36_500, 36_500)
JSON_FORMS: Final = '{"all": […]}, {"any": […]}, {"not": {…}} or {"field": …, "op": …, "value": …}'


def _days_since(day: date | None, today: date) -> int | None:
    return None if day is None else (today - day).days


FIELDS: Final[dict[str, Field]] = {
    "level": Field(
        kind=LEVEL,
        ops=ORDER,
        of=lambda invoice, _: invoice.level,
        help_fr="Nombre de relances déjà envoyées pour la facture, de 0 à 3.",
        help_en="Number of reminders already sent for the invoice, from 0 to 3.",
    ),
    "days_overdue": Field(
        kind=DAYS,
        ops=ORDER + EMPTINESS,
        of=lambda invoice, today: _days_since(invoice.due_on, today),
        help_fr="Jours écoulés depuis l'échéance ; négatif avant elle, vide sans échéance.",
        help_en="Days since the due date; negative before it, empty without a due date.",
    ),
    "days_since_reminder": Field(
        kind=DAYS,
        ops=ORDER + EMPTINESS,
        of=lambda invoice, today: _days_since(invoice.last_reminded_on, today),
        help_fr="Jours écoulés depuis la dernière relance ; vide si la facture n'a jamais été relancée.",
        help_en="Days since the last reminder; empty when the invoice was never reminded.",
    ),
    "state": Field(
        kind=one_of(STATES),
        ops=EQUALITY,
        of=lambda invoice, _: invoice.state,
        help_fr="État de la facture dans le cycle de relance.",
        help_en="Where the invoice stands in the reminder cycle.",
    ),
    "commercial_state": Field(
        kind=one_of(get_args(CommercialState)),
        ops=EQUALITY,
        of=lambda invoice, _: invoice.commercial_state,
        help_fr="État commercial de la facture, tel que la facturation le donne.",
        help_en="The invoice's commercial state, as the invoicing system tells it.",
    ),
    "balance": Field(
        kind=AMOUNT,
        ops=ORDER,
        of=lambda invoice, _: invoice.balance,
        help_fr="Reste à payer, dans la devise de la facture.",
        help_en="What is left to pay, in the invoice's currency.",
    ),
    "total": Field(
        kind=AMOUNT,
        ops=ORDER,
        of=lambda invoice, _: invoice.total,
        help_fr="Montant total de la facture, taxes comprises, dans sa devise.",
        help_en="The invoice's total including tax, in its currency.",
    ),
    "currency": Field(
        kind=WORDS,
        ops=EQUALITY,
        of=lambda invoice, _: invoice.currency,
        help_fr="Devise de la facture, par son code ISO 4217.",
        help_en="The invoice's currency, by its ISO 4217 code.",
    ),
    "tag": Field(
        kind=WORDS,
        ops=EQUALITY + EMPTINESS,
        of=lambda invoice, _: invoice.tags,
        help_fr="Tags de la facture par leur titre, y compris ceux qu'un envoi en cours va poser.",
        help_en="The invoice's tags by title, those that a mail under way will add included.",
    ),
    "customer": Field(
        kind=WORDS,
        ops=EQUALITY,
        of=lambda invoice, _: invoice.customer.number,
        help_fr="Numéro du client.",
        help_en="The customer's number.",
    ),
    "customer_kind": Field(
        kind=one_of(get_args(CustomerKind)),
        ops=EQUALITY,
        of=lambda invoice, _: invoice.customer.kind,
        help_fr="Nature du client : professionnel, personne publique, consommateur ou inconnue.",
        help_en="What the customer is: a professional, a public body, a consumer or unknown.",
    ),
    "customer_tag": Field(
        kind=WORDS,
        ops=EQUALITY + EMPTINESS,
        of=lambda invoice, _: invoice.customer.tags,
        help_fr="Tags du client, par leur titre.",
        help_en="The customer's tags, by title.",
    ),
    "company": Field(
        kind=WORDS,
        ops=EQUALITY,
        of=lambda invoice, _: invoice.company,
        help_fr="Société qui facture, par son code.",
        help_en="The company that invoices, by its code.",
    ),
    "payment_method": Field(
        kind=WORDS,
        ops=EQUALITY + EMPTINESS,
        of=lambda invoice, _: invoice.payment_method,
        help_fr="Mode de paiement prévu pour la facture ; vide s'il n'est pas connu.",
        help_en="How the invoice is meant to be paid; empty when that is not known.",
    ),
    "number": Field(
        kind=WORDS,
        ops=EQUALITY,
        of=lambda invoice, _: invoice.number,
        help_fr="Numéro de la facture.",
        help_en="The invoice's number.",
    ),
    "issued_on": Field(
        kind=DAY,
        ops=ORDER,
        of=lambda invoice, _: invoice.issued_on,
        help_fr="Date de la facture.",
        help_en="The day the invoice was issued.",
    ),
    "due_on": Field(
        kind=DAY,
        ops=ORDER + EMPTINESS,
        of=lambda invoice, _: invoice.due_on,
        help_fr="Date d'échéance de la facture ; vide si elle n'en a pas.",
        help_en="The invoice's due date; empty when it has none.",
    ),
    "last_reminded_on": Field(
        kind=DAY,
        ops=ORDER + EMPTINESS,
        of=lambda invoice, _: invoice.last_reminded_on,
        help_fr="Date de la dernière relance ; vide si la facture n'a jamais été relancée.",
        help_en="The day of the last reminder; empty when the invoice was never reminded.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionClause:
    """What became of one condition: its text, the invoice's own value, and whether it holds."""

    text: str
    actual: Actual
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClause:
    """What became of a group, part by part, in the filter's own order."""

    joined: Joined
    parts: tuple[Clause, ...]
    holds: bool


Clause: TypeAlias = ConditionClause | GroupClause

_JOIN: Final[dict[Joined, Callable[[Iterable[bool]], bool]]] = {
    "all": all,
    "any": any,
    "not": lambda verdicts: not any(verdicts),
}
_COMPARE: Final[dict[Op, Callable[..., bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(filter_: Filter, facts: InvoiceFacts, today: date) -> bool:
    """Whether the filter selects the invoice on that day of the company's calendar."""
    if isinstance(filter_, Condition):
        return _holds(filter_, FIELDS[filter_.field].of(facts, today))
    return _JOIN[filter_.joined](matches(part, facts, today) for part in filter_.parts)


def clauses(filter_: Filter, facts: InvoiceFacts, today: date) -> Clause:
    """Say why: every condition with its verdict, those included that `matches` need not look at."""
    if isinstance(filter_, Condition):
        actual = FIELDS[filter_.field].of(facts, today)
        return ConditionClause(text=str(filter_), actual=actual, holds=_holds(filter_, actual))
    parts = tuple(clauses(part, facts, today) for part in filter_.parts)
    return GroupClause(joined=filter_.joined, parts=parts, holds=_JOIN[filter_.joined](part.holds for part in parts))


def filter_to_json(filter_: Filter) -> dict[str, object]:
    """Return the JSON form, from plain values: amounts and days as text."""
    if isinstance(filter_, Condition):
        document: dict[str, object] = {"field": filter_.field, "op": filter_.op}
        values = [value if isinstance(value, int | str) else written(value) for value in filter_.values]
        if filter_.op in LISTS:
            document["value"] = values
        elif values:
            document["value"] = values[0]
        return document
    parts = [filter_to_json(part) for part in filter_.parts]
    return {"not": parts[0]} if filter_.joined == "not" else {filter_.joined: parts}


def filter_from_json(document: object) -> Filter:
    """Read the JSON form, already parsed (decimals as text or Decimal). Raises FilterError, placed by JSON pointer."""
    return EVERYTHING if document == {"all": []} else within_count(_read(document, "", 0), "")


def fixed_level(filter_: Filter) -> int | None:
    """Return the one level that every selected invoice has, or None when the filter leaves more than one (or none)."""
    needed = [(condition, truth) for condition, truth in _certain(filter_) if condition.field == "level"]
    left = [level for level in LEVELS if all(_holds(condition, level) == truth for condition, truth in needed)]
    return left[0] if len(left) == 1 else None


def excludes_tag(filter_: Filter, tag: str) -> bool:
    """Whether an invoice that carries the tag, alone or among others, is certainly left out."""
    # The verdict on a set of tags only ever changes one way as the set grows, so its two ends speak for all between.
    return any(
        _holds(condition, frozenset({tag})) != truth
        and _holds(condition, frozenset({tag, *map(str, condition.values)})) != truth
        for condition, truth in _certain(filter_)
        if condition.field == "tag"
    )


def minimum_gap(filter_: Filter) -> int | None:
    """Return the least days since the last reminder that the filter asks of every invoice; None when below 1."""
    gaps = [
        value + (condition.op == ">")
        for condition, truth in _certain(filter_)
        if truth and condition.field == "days_since_reminder" and condition.op in (">", ">=")
        for value in condition.values
        if isinstance(value, int)
    ]
    return max((gap for gap in gaps if gap >= 1), default=None)


def loosened(filter_: Filter, fields: Collection[str]) -> Filter:
    """Return the filter without its say about these fields: it selects whatever might match, had they other values."""
    return _loosened(filter_, fields, EVERYTHING)


def _loosened(filter_: Filter, fields: Collection[str], lenient: Filter) -> Filter:
    """`lenient`: what a condition turns into, so that the whole selects more; below a `not` it is nothing at all."""
    if isinstance(filter_, Condition):
        return lenient if filter_.field in fields else filter_
    if filter_.joined == "not":
        lenient = NOTHING if lenient == EVERYTHING else EVERYTHING
    return Group(joined=filter_.joined, parts=tuple(_loosened(part, fields, lenient) for part in filter_.parts))


def _certain(filter_: Filter, *, truth: bool = True) -> Iterator[tuple[Condition, bool]]:
    """Yield the conditions whose verdict is the same for every selected invoice, with that verdict."""
    if isinstance(filter_, Condition):
        yield filter_, truth
    elif filter_.joined == "not":
        yield from _certain(filter_.parts[0], truth=not truth)
    elif filter_.joined == ("all" if truth else "any"):
        for part in filter_.parts:
            yield from _certain(part, truth=truth)


def _holds(condition: Condition, actual: Actual) -> bool:
    op, values = condition.op, condition.values
    if op in EMPTINESS:
        return (actual is None or actual == frozenset()) == (op == "is empty")
    if actual is None:
        return False
    if op in _COMPARE:
        return _COMPARE[op](actual, values[0])
    found = actual in values if not isinstance(actual, frozenset) else not actual.isdisjoint(values)
    return found == (op in ("=", "in"))


def field_named(name: object, at: Place) -> Field:
    """Return the field of that name. Raises FilterError, naming the nearest known one."""
    if isinstance(name, str) and name in FIELDS:
        return FIELDS[name]
    raise FilterError(value=name, at=at, expected=f"a known field, the nearest is {closest(str(name), FIELDS)}")


def _read(document: object, at: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise FilterError(value=document, at=at, expected=f"a condition here: groups go {MAX_DEPTH} deep")
    match document:
        case {"all": [_, *_] as parts, **rest} if not rest:
            return joined("all", [_read(part, f"{at}/all/{n}", depth + 1) for n, part in enumerate(parts)])
        case {"any": [_, *_] as parts, **rest} if not rest:
            return joined("any", [_read(part, f"{at}/any/{n}", depth + 1) for n, part in enumerate(parts)])
        case {"not": part, **rest} if not rest:
            return joined("not", [_read(part, f"{at}/not", depth + 1)])
        case {"field": str() as name, "op": op, **rest} if not rest.keys() - {"value"}:
            field = field_named(name, f"{at}/field")
            checked = field.read_op(op, f"{at}/op")
            return Condition(field=name, op=checked, values=_json_values(field, checked, rest, at))
        case _:
            raise FilterError(value=document, at=at, expected=JSON_FORMS)


def _json_values(field: Field, op: Op, rest: dict[object, object], at: str) -> tuple[Scalar, ...]:
    if op in EMPTINESS:
        if rest:
            raise FilterError(value=rest["value"], at=f"{at}/value", expected=f"no value after {op}")
        return ()
    if "value" not in rest:
        raise FilterError(value=None, at=at, expected=f"a value: {field.kind.expected}")
    value = rest["value"]
    if op not in LISTS:
        return (field.read_value(value, f"{at}/value"),)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise FilterError(value=value, at=f"{at}/value", expected=f"a list of 1 to {MAX_VALUES} values")
    return tuple(field.read_value(one, f"{at}/value/{n}") for n, one in enumerate(value))
