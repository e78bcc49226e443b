"""What a filter says of an invoice, what is certain from the filter alone, and its JSON form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filter_strategies import INVOICES, TAGS, TODAY, customer, filters
from workflow.facts import InvoiceFacts
from workflow.filter_grammar import EMPTINESS
from workflow.filter_text import parse_text
from workflow.filters import (
    EVERYTHING,
    FIELDS,
    Clause,
    Condition,
    ConditionClause,
    FilterError,
    GroupClause,
    clauses,
    excludes_tag,
    filter_from_json,
    filter_to_json,
    fixed_level,
    loosened,
    matches,
    minimum_gap,
)

if TYPE_CHECKING:
    from workflow.filters import Filter

INVOICE = InvoiceFacts(
    id=1,
    number="FA-1",
    company="NORD",
    customer=customer("C-1", tags=frozenset({"vip"})),
    state="level_1",
    level=1,
    cycle=1,
    row_version=1,
    commercial_state="open",
    currency="EUR",
    total=Decimal("120.00"),
    balance=Decimal("100.00"),
    issued_on=date(2026, 10, 1),
    due_on=TODAY - timedelta(days=20),
    last_reminded_on=TODAY - timedelta(days=10),
    payment_method="transfer",
    tags=frozenset({"Relance 1", "litige"}),
)
BARE = replace(INVOICE, due_on=None, last_reminded_on=None, payment_method=None, tags=frozenset())


def selected(text: str, invoice: InvoiceFacts = INVOICE) -> bool:
    return matches(parse_text(text), invoice, TODAY)


@pytest.mark.parametrize(
    "text",
    [
        "level = 1 and level in (1, 2) and level != 0 and level not in (0, 2)",
        "days_overdue = 20 and days_overdue >= 20 and days_overdue > 19 and days_overdue <= 20 and days_overdue < 21",
        "days_since_reminder = 10",
        'state = "level_1" and commercial_state = "open"',
        "balance = 100 and total = 120.00 and balance < 100.01",
        'currency = "EUR" and company = "NORD" and number = "FA-1" and payment_method = "transfer"',
        'customer = "C-1" and customer_kind = "professional" and customer_tag = "vip"',
        "issued_on = 2026-10-01 and due_on = 2026-11-04 and last_reminded_on = 2026-11-14",
        'tag = "litige" and tag in ("litige", "b") and tag != "b" and tag not in ("b") and tag is not empty',
        "due_on is not empty and last_reminded_on is not empty and payment_method is not empty",
        "not level = 0 and (level = 0 or level = 1)",
        "",
    ],
)
def test_an_invoice_is_selected(text: str) -> None:
    assert selected(text)


@pytest.mark.parametrize(
    "text",
    [
        "level = 0",
        "days_overdue > 20",
        'tag != "litige"',
        'tag not in ("other", "litige")',
        'tag = "other"',
        "tag is empty",
        "due_on is empty",
        "not level = 1",
        "level = 1 and level = 2",
    ],
)
def test_an_invoice_is_left_out(text: str) -> None:
    assert not selected(text)


@pytest.mark.parametrize("comparison", ["= 3", "!= 3", "< 3", ">= 3", "in (3)", "not in (3)"])
@pytest.mark.parametrize("field", ["days_overdue", "days_since_reminder"])
def test_comparing_an_absent_day_is_false_whatever_the_operator(field: str, comparison: str) -> None:
    assert not selected(f"{field} {comparison}", BARE)
    assert selected(f"not {field} {comparison}", BARE)


def test_absence_can_be_asked_for() -> None:
    assert selected(
        "due_on is empty and days_since_reminder is empty and payment_method is empty and tag is empty", BARE
    )
    assert not selected("payment_method is not empty or tag is not empty", BARE)


def test_an_invoice_without_tags_has_none_of_them() -> None:
    assert selected('tag != "litige" and tag not in ("litige")', BARE)
    assert not selected('tag = "litige"', BARE)


def test_an_explanation_keeps_the_structure_and_tells_every_actual_value() -> None:
    filter_ = parse_text('level = 0 and (days_overdue >= 15 or not tag = "litige")')
    assert clauses(filter_, INVOICE, TODAY) == GroupClause(
        joined="all",
        holds=False,
        parts=(
            ConditionClause(text="level = 0", actual=1, holds=False),
            GroupClause(
                joined="any",
                holds=True,
                parts=(
                    ConditionClause(text="days_overdue >= 15", actual=20, holds=True),
                    GroupClause(
                        joined="not",
                        holds=False,
                        parts=(ConditionClause(text='tag = "litige"', actual=INVOICE.tags, holds=True),),
                    ),
                ),
            ),
        ),
    )


@given(filters(), INVOICES)
def test_the_explanation_and_the_selection_agree(filter_: Filter, invoice: InvoiceFacts) -> None:
    assert clauses(filter_, invoice, TODAY).holds == matches(filter_, invoice, TODAY)


@given(filters(), INVOICES)
def test_a_group_holds_as_its_parts_say(filter_: Filter, invoice: InvoiceFacts) -> None:
    def check(clause: Clause) -> bool:
        if isinstance(clause, GroupClause):
            parts = [check(part) for part in clause.parts]
            expected = {"all": False not in parts, "any": True in parts, "not": parts == [False]}[clause.joined]
            assert clause.holds == expected
        return clause.holds

    check(clauses(filter_, invoice, TODAY))


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("level = 0", 0),
        ("level = 2 and days_overdue >= 15", 2),
        ("level in (1)", 1),
        ("level < 1", 0),
        ("not level != 3", 3),
        ("level in (0, 1) and level != 1", 0),
        ("(level = 1 and balance > 5) and days_overdue > 3", 1),
        ("not (level != 2 or balance < 5)", 2),
        ("", None),
        ("level in (0, 1)", None),
        ("level = 0 or level = 1", None),
        ("level = 0 or balance > 5", None),
        ("not (level != 0 and balance > 5)", None),
        ("level = 0 and level = 1", None),
        ("days_overdue >= 15", None),
    ],
)
def test_the_level_that_a_filter_fixes(text: str, level: int | None) -> None:
    assert fixed_level(parse_text(text)) == level


@given(filters(), INVOICES)
def test_no_selected_invoice_has_another_level_than_the_fixed_one(filter_: Filter, invoice: InvoiceFacts) -> None:
    level = fixed_level(filter_)
    assert level is None or not matches(filter_, replace(invoice, level=(level + 1) % 4), TODAY)


@pytest.mark.parametrize(
    ("text", "excluded"),
    [
        ('tag != "A"', True),
        ('tag not in ("B", "A") and level = 0', True),
        ("tag is empty", True),
        ('not tag = "A"', True),
        ('not tag in ("A", "B")', True),
        ('not (tag = "A" or tag = "B")', True),
        ("not tag is not empty", True),
        ("", False),
        ("level = 0", False),
        ('tag != "B"', False),
        ('tag = "B"', False),
        ('tag = "A"', False),
        ('not tag != "B"', False),
        ('not tag = "B"', False),
        ("tag is not empty", False),
        ('tag != "A" or level = 0', False),
        ('not (tag = "A" and level = 0)', False),
        ('customer_tag != "A"', False),
    ],
)
def test_whether_a_filter_certainly_leaves_a_tag_out(text: str, excluded: bool) -> None:  # noqa: FBT001 - a table's column
    assert excludes_tag(parse_text(text), "A") is excluded


@given(filters(), INVOICES, st.sampled_from(TAGS))
def test_an_excluded_tag_is_never_selected(filter_: Filter, invoice: InvoiceFacts, tag: str) -> None:
    assert not excludes_tag(filter_, tag) or not matches(filter_, replace(invoice, tags=invoice.tags | {tag}), TODAY)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("days_since_reminder >= 15", 15),
        ("days_since_reminder > 15 and level = 0", 16),
        ("days_since_reminder > 0", 1),
        ("days_since_reminder >= 3 and days_since_reminder >= 8", 8),
        ("", None),
        ("days_since_reminder >= 0", None),
        ("days_since_reminder < 15", None),
        ("days_since_reminder >= 15 or days_since_reminder is empty", None),
        ("not days_since_reminder < 15", None),
        ("days_overdue >= 15", None),
    ],
)
def test_the_gap_since_the_last_reminder_that_a_filter_keeps(text: str, days: int | None) -> None:
    assert minimum_gap(parse_text(text)) == days


@given(filters(anything=True))
def test_a_filter_written_as_json_is_read_back_equal(filter_: Filter) -> None:
    assert filter_from_json(json.loads(json.dumps(filter_to_json(filter_)))) == filter_


def test_json_says_amounts_and_days_as_text() -> None:
    filter_ = parse_text("balance >= 12.50 and due_on in (2026-01-31) and not due_on is empty")
    assert filter_to_json(filter_) == {
        "all": [
            {"field": "balance", "op": ">=", "value": "12.50"},
            {"field": "due_on", "op": "in", "value": ["2026-01-31"]},
            {"not": {"field": "due_on", "op": "is empty"}},
        ]
    }


def test_a_group_of_one_is_that_one() -> None:
    one = {"field": "level", "op": "=", "value": 0}
    assert filter_from_json({"all": [{"any": [one]}]}) == Condition(field="level", op="=", values=(0,))


def test_an_amount_may_come_as_a_number_without_a_fraction_or_as_a_decimal() -> None:
    for raw in (12, Decimal(12), "12", Decimal("1.2E1")):
        filter_ = filter_from_json({"field": "balance", "op": "=", "value": raw})
        assert filter_ == Condition(field="balance", op="=", values=(Decimal(12),))
        assert str(filter_) == "balance = 12"


LEVEL_0 = {"field": "level", "op": "=", "value": 0}


@pytest.mark.parametrize(
    ("document", "at", "expected"),
    [
        (None, "", '{"all": […]}, {"any": […]}, {"not": {…}} or {"field": …, "op": …, "value": …}'),
        ({"any": []}, "", '{"all": […]}, {"any": […]}'),
        ({"all": [{"all": []}]}, "/all/0", '{"all": […]}, {"any": […]}'),
        ({"all": [LEVEL_0], "any": [LEVEL_0]}, "", '{"all": […]}, {"any": […]}'),
        ({"any": [LEVEL_0], "x": 1}, "", '{"all": […]}'),
        ({"not": LEVEL_0, "x": 1}, "", '{"all": […]}'),
        ({**LEVEL_0, "x": 1}, "", '{"all": […]}'),
        ({"any": [LEVEL_0, {"field": 3, "op": "=", "value": 0}]}, "/any/1", '{"all": […]}'),
        ({"not": {"field": "levels", "op": "=", "value": 0}}, "/not/field", "a known field, the nearest is level"),
        ({"field": "level", "op": "~", "value": 0}, "/op", "one of =, !=, <, <=, >, >=, in, not in"),
        ({"field": "level", "op": ["="], "value": 0}, "/op", "one of ="),
        ({"field": "level", "op": "="}, "", "a value: a whole number from 0 to 3"),
        ({"field": "level", "op": "=", "value": True}, "/value", "a whole number from 0 to 3"),
        ({"field": "level", "op": "=", "value": 1.0}, "/value", "a whole number from 0 to 3"),
        ({"field": "level", "op": "=", "value": Decimal("NaN")}, "/value", "a whole number from 0 to 3"),
        ({"field": "level", "op": "=", "value": [0]}, "/value", "a whole number from 0 to 3"),
        ({"field": "level", "op": "in", "value": 0}, "/value", "a list of 1 to 500 values"),
        ({"field": "level", "op": "in", "value": []}, "/value", "a list of 1 to 500 values"),
        ({"field": "level", "op": "in", "value": [0] * 501}, "/value", "a list of 1 to 500 values"),
        ({"field": "level", "op": "in", "value": [0, 4]}, "/value/1", "a whole number from 0 to 3"),
        ({"field": "due_on", "op": "is empty", "value": None}, "/value", "no value after is empty"),
        ({"field": "due_on", "op": "<", "value": "20260131"}, "/value", "a day such as 2026-01-31"),
        ({"field": "due_on", "op": "<", "value": "2026-01-31T00:00"}, "/value", "a day such as 2026-01-31"),
        ({"field": "balance", "op": "<", "value": 0.1}, "/value", "an amount such as 12.50"),
        ({"field": "balance", "op": "<", "value": 10**15}, "/value", "an amount such as 12.50"),
        ({"field": "balance", "op": "<", "value": Decimal("1E-999999")}, "/value", "an amount such as 12.50"),
        ({"field": "balance", "op": "<", "value": Decimal("1E+999999")}, "/value", "an amount such as 12.50"),
        ({"field": "balance", "op": "<", "value": "1e3"}, "/value", "an amount such as 12.50"),
        ({"field": "tag", "op": "=", "value": ""}, "/value", "a text in quotes"),
        ({"field": "tag", "op": "=", "value": "x" * 201}, "/value", "a text in quotes"),
        ({"field": "tag", "op": "=", "value": "a\x00"}, "/value", "a text in quotes"),
        ({"field": "tag", "op": "=", "value": "\ud800"}, "/value", "a text in quotes"),
        ({"field": "state", "op": "=", "value": 3}, "/value", 'one of "settled", "level_0"'),
        ({"not": {"not": {"not": {"not": LEVEL_0}}}}, "/not/not/not/not", "a condition here: groups go 3 deep"),
        ({"any": [LEVEL_0] * 21}, "", "at most 20 conditions"),
    ],
)
def test_a_bad_document_is_refused_with_its_place(document: object, at: str, expected: str) -> None:
    with pytest.raises(FilterError) as refused:
        filter_from_json(document)
    assert (refused.value.field, refused.value.at) == ("filter", at)
    assert refused.value.expected.startswith(expected)


def test_a_document_nested_beyond_reason_is_refused_and_not_followed() -> None:
    document: object = LEVEL_0
    for _ in range(100_000):
        document = {"not": [document]}
    with pytest.raises(FilterError):
        filter_from_json({"not": {"not": {"not": document}}})
    with pytest.raises(FilterError):
        filter_from_json({"field": "level", "op": "in", "value": [document]})


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_explained_in_french_and_english_in_one_sentence(name: str) -> None:
    field = FIELDS[name]
    for sentence in (field.help_fr, field.help_en):
        assert sentence.endswith(".")
        assert sentence.count(". ") == 0
    assert field.help_fr != field.help_en


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_takes_is_empty_exactly_when_it_can_be_empty(name: str) -> None:
    bare = replace(BARE, customer=customer("C-1"))
    can_be_empty = FIELDS[name].of(bare, TODAY) in (None, frozenset())
    assert set(EMPTINESS).issubset(FIELDS[name].ops) == can_be_empty


def test_everything_is_everything() -> None:
    assert matches(EVERYTHING, INVOICE, TODAY)
    assert filter_from_json({"all": []}) == EVERYTHING


DUE_DATE = frozenset({"due_on", "days_overdue"})


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("level = 0 and days_overdue >= 15", {0}),
        ("level = 0 and not days_overdue < 15", {0}),
        ("level = 0 and not (level = 0 and days_overdue < 15)", {0}),
        ("level = 1 or due_on is not empty", {0, 1}),
        ("not (level = 1 or due_on is empty)", {0}),
        ("level = 1", {1}),
    ],
)
def test_what_a_filter_would_take_had_it_a_due_date(text: str, left: set[int]) -> None:
    loose = loosened(parse_text(text), DUE_DATE)
    assert {level for level in (0, 1) if matches(loose, replace(BARE, level=level), TODAY)} == left


@given(filters(), INVOICES)
def test_whatever_the_due_date_a_loosened_filter_takes_what_the_filter_takes(
    filter_: Filter, invoice: InvoiceFacts
) -> None:
    if matches(filter_, invoice, TODAY):
        assert matches(loosened(filter_, DUE_DATE), replace(invoice, due_on=None), TODAY)
