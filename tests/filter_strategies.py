"""Filters and invoices at random, from a world small enough that they often meet."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, get_args

from hypothesis import strategies as st

from workflow.facts import CommercialState, CustomerFacts, CustomerKind, InvoiceFacts
from workflow.filter_grammar import AMOUNT, DAY, EMPTINESS, LISTS, WORDS
from workflow.filters import EVERYTHING, FIELDS, Condition, Group
from workflow.machine import STATES

if TYPE_CHECKING:
    from workflow.filter_grammar import Scalar
    from workflow.filters import Filter

TODAY = date(2026, 11, 24)
TAGS = ("Relance 1", "Relance 2", "litige", 'dit "à vérifier"', "C:\\factures")
DAYS = [TODAY - timedelta(days=days) for days in (-3, 0, 1, 2, 15)]
AMOUNTS = [Decimal(amount) for amount in ("-10", "0", "0.01", "100", "100.00", "250.5")]
WORDS_OF = {
    "currency": ("EUR", "CHF"),
    "tag": TAGS,
    "customer_tag": TAGS,
    "customer": ("C-1", "C-2"),
    "company": ("NORD", "SUD", "unknown"),
    "payment_method": ("transfer", "bill_of_exchange"),
    "number": ("FA-1", "FA-2", "FA-3"),
    "state": STATES,
    "commercial_state": get_args(CommercialState),
    "customer_kind": get_args(CustomerKind),
}


def values_of(name: str) -> st.SearchStrategy[Scalar]:
    """Values of a field, near those of the invoices below."""
    if name in WORDS_OF:
        return st.sampled_from(WORDS_OF[name])
    kind = FIELDS[name].kind
    if kind is DAY:
        return st.sampled_from(DAYS)
    if kind is AMOUNT:
        return st.sampled_from(AMOUNTS)
    return st.integers(0, 3) if name == "level" else st.integers(-4, 16)


def any_value_of(name: str) -> st.SearchStrategy[Scalar]:
    """Any value that a field takes."""
    kind = FIELDS[name].kind
    if kind is WORDS:
        return st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)
    if kind is DAY:
        return st.dates()
    if kind is AMOUNT:
        return st.decimals("-999999999999999", "999999999999999", places=4)
    return values_of(name)


@st.composite
def conditions(draw: st.DrawFn, *, anything: bool = False) -> Condition:
    name = draw(st.sampled_from(sorted(FIELDS)))
    op = draw(st.sampled_from(FIELDS[name].ops))
    value = (any_value_of if anything else values_of)(name)
    if op in EMPTINESS:
        return Condition(field=name, op=op)
    values = draw(st.lists(value, min_size=1, max_size=3)) if op in LISTS else [draw(value)]
    return Condition(field=name, op=op, values=tuple(values))


def filters(*, anything: bool = False) -> st.SearchStrategy[Filter]:
    """Filters as the readers make them: at most three groups deep, 18 conditions, no group of one but `not`."""
    level: st.SearchStrategy[Filter] = conditions(anything=anything)
    for widest in (2, 3, 3):
        parts = st.lists(level, min_size=2, max_size=widest).map(tuple)
        level = st.one_of(
            level,
            st.builds(Group, joined=st.sampled_from(["all", "any"]), parts=parts),
            st.builds(Group, joined=st.just("not"), parts=st.tuples(level)),
        )
    return st.one_of(st.just(EVERYTHING), level)


def customer(number: str, kind: CustomerKind = "professional", tags: frozenset[str] = frozenset()) -> CustomerFacts:
    return CustomerFacts(id=1, number=number, name=number, kind=kind, row_version=1, tags=tags)


TAG_SETS = st.frozensets(st.sampled_from(TAGS), max_size=2)
CUSTOMERS = st.builds(customer, st.sampled_from(["C-1", "C-2"]), st.sampled_from(get_args(CustomerKind)), TAG_SETS)
INVOICES = st.builds(
    InvoiceFacts,
    id=st.just(1),
    number=st.sampled_from(WORDS_OF["number"]),
    company=st.sampled_from(["NORD", "SUD"]),
    customer=CUSTOMERS,
    state=st.sampled_from(STATES),
    level=st.integers(0, 3),
    cycle=st.just(1),
    row_version=st.just(1),
    commercial_state=st.sampled_from(get_args(CommercialState)),
    currency=st.sampled_from(WORDS_OF["currency"]),
    total=st.sampled_from(AMOUNTS),
    balance=st.sampled_from(AMOUNTS),
    issued_on=st.sampled_from(DAYS),
    due_on=st.none() | st.sampled_from(DAYS),
    last_reminded_on=st.none() | st.sampled_from(DAYS),
    payment_method=st.none() | st.sampled_from(WORDS_OF["payment_method"]),
    tags=TAG_SETS,
)
