"""Invoices made to suit filters: the plain one first, and one that suits wherever one can be had."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import islice

import pytest
from hypothesis import given

from tests.filter_strategies import filters
from workflow.decision import REMINDED, decide
from workflow.filter_text import parse_text
from workflow.filters import EVERYTHING, FIELDS, Filter, Group, matches
from workflow.imaginary import MOST_VARIANTS, conditions, moments, plain_invoice, variants
from workflow.rules import Rule

TODAY = date(2026, 11, 24)
PLAIN = plain_invoice("NORD", TODAY - timedelta(days=30))


def suiting(text: str) -> tuple[str, ...]:
    """In what the first suiting invoice differs from the plain one."""
    filter_ = parse_text(text)
    return next(one.traits for one in moments(PLAIN, [filter_], TODAY) if matches(filter_, one.facts, TODAY))


def test_the_plain_invoice_is_due_for_a_first_reminder() -> None:
    rule = Rule(title="R", filter=EVERYTHING, texts={})
    assert decide(PLAIN, rule, TODAY).reason == REMINDED
    assert [one.traits for one in variants(PLAIN, [EVERYTHING])] == [()]


@pytest.mark.parametrize(
    ("text", "traits"),
    [
        ("level = 0 and days_overdue >= 15", ()),
        ("level = 2", ("level = 2",)),
        ("level > 1 and level <= 2", ("level = 2",)),
        ('state = "level_1"', ("level = 1",)),
        ("days_overdue = 12", ("due_on = 2026-11-12",)),
        ("days_overdue > 40", ("due_on = 2026-10-14",)),
        ("due_on is empty", ("due_on is empty",)),
        ("days_since_reminder >= 8", ("last_reminded_on = 2026-11-16",)),
        ("balance > 1000", ("balance = 1000.01",)),
        ("total < 50", ("total = 49.99",)),
        ('currency != "EUR" and currency in ("CHF", "USD")', ('currency = "CHF"',)),
        ('tag in ("a", "b") and tag not in ("b")', ('tag = "a"',)),
        ('tag = "a" and tag = "b"', ('tag = "a" and tag = "b"',)),
        ("customer_tag is not empty", ('customer_tag = "x"',)),
        ('customer_kind = "consumer"', ('customer_kind = "consumer"',)),
        ('payment_method = "LCR" and number = "F-7"', ('number = "F-7"', 'payment_method = "LCR"')),
        ('customer = "C-9"', ('customer = "C-9"',)),
        ("issued_on < 2026-01-01", ("issued_on = 2025-12-31",)),
        ('commercial_state = "disputed"', ('commercial_state = "disputed"',)),
        ("due_on = 9999-12-31 or days_overdue >= 1", ()),
    ],
)
def test_an_invoice_that_suits_is_found_with_the_fewest_differences(text: str, traits: tuple[str, ...]) -> None:
    assert suiting(text) == traits


def test_what_lasts_is_varied_and_what_passes_is_not() -> None:
    asked = [parse_text('level = 2 and days_overdue > 90 and currency = "CHF"'), parse_text('currency = "USD"')]
    assert [one.traits for one in variants(PLAIN, asked)] == [(), ('currency = "CHF"',), ('currency = "USD"',)]


def test_a_filter_of_many_conditions_is_not_followed_for_ever() -> None:
    tags = " and ".join(
        f'{name} not in ("a", "b", "c", "d")' for name in ("tag", "customer_tag", "currency", "customer")
    )
    asked = [parse_text(f"{tags} and balance > {n} and total > {n}") for n in range(2)]
    assert len(list(moments(PLAIN, asked, TODAY))) == MOST_VARIANTS


def test_every_field_that_a_filter_may_ask_about_can_be_made_but_for_the_company() -> None:
    made = set()
    for name, field in FIELDS.items():
        value = next(
            raw for raw in ("x", 1, "2026-01-01", "level_1", "consumer", "paid") if field.kind.read(raw) is not None
        )
        shown = f'"{value}"' if isinstance(value, str) and not value.startswith("2026") else value
        asked = parse_text(f"{name} = {shown}")
        if len(list(islice(moments(PLAIN, [asked], TODAY), 2))) == 2:
            made.add(name)
    assert made == FIELDS.keys() - {"company"}


@given(filters(), filters())
def test_whatever_filters_ask_invoices_come_of_it(one: Filter, other: Filter) -> None:
    found = list(islice(moments(PLAIN, [one, other], TODAY), 300))
    assert found[0].facts == PLAIN
    for variant in found:
        assert isinstance(matches(one, variant.facts, TODAY), bool)
        assert (variant.facts == PLAIN) >= (variant.traits == ())


@given(filters())
def test_conditions_are_all_of_them(filter_: Filter) -> None:
    def count(part: Filter) -> int:
        return sum(count(one) for one in part.parts) if isinstance(part, Group) else 1

    assert len(list(conditions(filter_))) == count(filter_)
