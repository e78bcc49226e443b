"""Invoices that do not exist, made to suit filters: a plain one, and ones that differ in what the filters ask about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations, islice, product
from typing import TYPE_CHECKING, Final, cast, get_args

from workflow.facts import CommercialState, Contact, CustomerFacts, CustomerKind, InvoiceFacts
from workflow.filters import Condition
from workflow.machine import LAST_LEVEL, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workflow.filter_grammar import Actual, Scalar
    from workflow.filters import Filter

PLAIN_AMOUNT: Final = Decimal("100.00")
# So many variants are looked at before saying that none suits: two filters of ten conditions ask for far fewer.
MOST_VARIANTS: Final = 3000

_NEXT_DAY: Final = timedelta(days=1)
_CENT: Final = Decimal("0.01")
_LATEST: Final = date(9990, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """An imaginary invoice, and in what it differs from the plain one, as a filter would say it."""

    facts: InvoiceFacts
    traits: tuple[str, ...] = ()


def plain_invoice(company: str, due_on: date, *, min_days_between_mails: int | None = None) -> InvoiceFacts:
    """An invoice of 100.00 EUR to a professional with an address, never reminded, that nothing holds back."""
    customer = CustomerFacts(
        id=1,
        number="C",
        name="C",
        kind="professional",
        row_version=1,
        address=Contact(id=1, name="C", email="c@client.example"),
        min_days_between_mails=min_days_between_mails,
    )
    return InvoiceFacts(
        id=1,
        number="F",
        company=company,
        customer=customer,
        state="level_0",
        level=0,
        cycle=1,
        row_version=1,
        commercial_state="open",
        currency="EUR",
        total=PLAIN_AMOUNT,
        balance=PLAIN_AMOUNT,
        issued_on=due_on - timedelta(days=30),
        due_on=due_on,
    )


def variants(plain: InvoiceFacts, filters: Iterable[Filter]) -> Iterator[Variant]:
    """Yield the plain invoice, then ones that differ in what lasts (amount, customer, tags), fewest differences first.

    What passes (the level, days since this and that) is left as it is: it is a simulation's to move.
    """
    return _varied(plain, filters, {name: made for name, made in _VARIED.items() if name not in _PASSING}, None)


def moments(plain: InvoiceFacts, filters: Iterable[Filter], today: date) -> Iterator[Variant]:
    """Yield the plain invoice as it may stand on that day: other levels, days and dates too, fewest differences first.

    Days overdue and since the last reminder are told by the dates that they stand for.
    """
    return _varied(plain, filters, _VARIED, today)


def _varied(
    plain: InvoiceFacts,
    filters: Iterable[Filter],
    made: dict[str, Callable[[InvoiceFacts, Actual], InvoiceFacts]],
    today: date | None,
) -> Iterator[Variant]:
    asked: dict[str, list[Scalar]] = {}
    for filter_ in filters:
        for condition in conditions(filter_):
            name, values = _as_dates(condition, today) if today else (condition.field, condition.values)
            if name in made:
                asked.setdefault(name, []).extend(values)
    options = {name: list(_options(name, values)) for name, values in sorted(asked.items())}

    def each() -> Iterator[Variant]:
        for count in range(len(options) + 1):
            for names in combinations(options, count):
                for chosen in product(*(options[name] for name in names)):
                    facts = plain
                    for name, value in zip(names, chosen, strict=True):
                        facts = made[name](facts, value)
                    yield Variant(facts=facts, traits=tuple(map(_trait, names, chosen)))

    return islice(each(), MOST_VARIANTS)


def conditions(filter_: Filter) -> Iterator[Condition]:
    """Every condition of a filter, in its order."""
    if isinstance(filter_, Condition):
        yield filter_
        return
    for part in filter_.parts:
        yield from conditions(part)


def _as_dates(condition: Condition, today: date) -> tuple[str, tuple[Scalar, ...]]:
    column = {"days_overdue": "due_on", "days_since_reminder": "last_reminded_on"}.get(condition.field)
    if column is None:
        return condition.field, condition.values
    return column, tuple(today - timedelta(days=value) for value in condition.values if isinstance(value, int))


def _options(name: str, values: list[Scalar]) -> Iterator[Actual]:
    """What is worth trying of a field that filters compare with these values: they, their neighbours, absence."""
    known = list(dict.fromkeys(values))
    match name:
        case "tag" | "customer_tag":
            titles = [str(one) for one in known]
            yield from (frozenset({title}) for title in titles)
            if len(titles) != 1:
                yield frozenset(titles) or frozenset({"x"})
        case "customer_kind":
            yield from get_args(CustomerKind)
        case "commercial_state":
            yield from get_args(CommercialState)
        case "state" | "level":
            yield from (f"level_{level}" for level in range(LAST_LEVEL + 1))
        case "balance" | "total":
            yield from (near for one in known if isinstance(one, Decimal) for near in (one, one + _CENT, one - _CENT))
        case "issued_on" | "due_on" | "last_reminded_on":
            days = [one for one in known if isinstance(one, date) and date(2, 1, 1) < one < _LATEST]
            yield from (near for one in days for near in (one, one + _NEXT_DAY, one - _NEXT_DAY))
            if name != "issued_on":
                yield None
        case _:
            yield from known


def _trait(name: str, value: Actual) -> str:
    match value:
        case frozenset():
            return " and ".join(str(Condition(field=name, op="=", values=(one,))) for one in sorted(value))
        case None:
            return str(Condition(field=name, op="is empty"))
        case _:
            is_state = name in {"state", "level"}
            scalar: Scalar = level_of(str(value)) if is_state else value
            return str(Condition(field="level" if is_state else name, op="=", values=(scalar,)))


def _with_customer(facts: InvoiceFacts, **changes: object) -> InvoiceFacts:
    return replace(facts, customer=replace(facts.customer, **changes))  # type: ignore[arg-type]


def _with_state(facts: InvoiceFacts, state: Actual) -> InvoiceFacts:
    return replace(facts, state=str(state), level=level_of(str(state)))


def _with_balance(facts: InvoiceFacts, balance: Actual) -> InvoiceFacts:
    amount = cast("Decimal", balance)
    return replace(facts, balance=amount, total=max(facts.total, amount))


def _with_total(facts: InvoiceFacts, total: Actual) -> InvoiceFacts:
    amount = cast("Decimal", total)
    return replace(facts, total=amount, balance=min(facts.balance, amount))


# How an invoice gets a value. A field that is not here cannot be made to suit: the company is given.
_VARIED: Final[dict[str, Callable[[InvoiceFacts, Actual], InvoiceFacts]]] = {
    "level": _with_state,
    "state": _with_state,
    "commercial_state": lambda facts, value: replace(facts, commercial_state=value),  # type: ignore[arg-type]
    "balance": _with_balance,
    "total": _with_total,
    "currency": lambda facts, value: replace(facts, currency=str(value)),
    "tag": lambda facts, value: replace(facts, tags=cast("frozenset[str]", value)),
    "customer": lambda facts, value: _with_customer(facts, number=value),
    "customer_kind": lambda facts, value: _with_customer(facts, kind=value),
    "customer_tag": lambda facts, value: _with_customer(facts, tags=value),
    "payment_method": lambda facts, value: replace(facts, payment_method=cast("str | None", value)),
    "number": lambda facts, value: replace(facts, number=str(value)),
    "issued_on": lambda facts, value: replace(facts, issued_on=cast("date", value)),
    "due_on": lambda facts, value: replace(facts, due_on=cast("date | None", value)),
    "last_reminded_on": lambda facts, value: replace(facts, last_reminded_on=cast("date | None", value)),
}
_PASSING: Final = frozenset({"level", "state", "commercial_state", "due_on", "last_reminded_on"})
