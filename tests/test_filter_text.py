"""What a person types, and what is refused with the place and what was expected there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filter_strategies import filters
from workflow.filter_grammar import Joined
from workflow.filter_text import parse_text, to_text
from workflow.filters import EVERYTHING, Condition, Filter, FilterError, Group

LEVEL_0 = Condition(field="level", op="=", values=(0,))
OVERDUE = Condition(field="days_overdue", op=">=", values=(15,))
NO_DISPUTE = Condition(field="tag", op="not in", values=("litige",))


def group(joined: Joined, *parts: Filter) -> Group:
    return Group(joined=joined, parts=parts)


@given(filters(anything=True))
def test_a_filter_written_as_text_is_read_back_equal(filter_: Filter) -> None:
    assert parse_text(to_text(filter_)) == filter_


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EVERYTHING),
        ("  ", EVERYTHING),
        ('level = 0 and days_overdue >= 15 and tag not in ("litige")', group("all", LEVEL_0, OVERDUE, NO_DISPUTE)),
        ("level=0", LEVEL_0),
        ("((level = 0))", LEVEL_0),
        ("Not level = 0", group("not", LEVEL_0)),
        ("level = 0 OR level = 0 AND days_overdue >= 15", group("any", LEVEL_0, group("all", LEVEL_0, OVERDUE))),
        ("not level = 0 and level = 0", group("all", group("not", LEVEL_0), LEVEL_0)),
        ("not (level = 0 and level = 0)", group("not", group("all", LEVEL_0, LEVEL_0))),
        ("(level = 0 and level = 0) and level = 0", group("all", group("all", LEVEL_0, LEVEL_0), LEVEL_0)),
        ("level\u00a0=\u202f0", LEVEL_0),
        ("due_on is empty", Condition(field="due_on", op="is empty")),
        ("due_on is not empty", Condition(field="due_on", op="is not empty")),
        (r'tag = "a \"b\" \\ c"', Condition(field="tag", op="=", values=(r'a "b" \ c',))),
        ("days_overdue > -5", Condition(field="days_overdue", op=">", values=(-5,))),
    ],
)
def test_a_person_types_a_filter(text: str, expected: Filter) -> None:
    assert parse_text(text) == expected


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("levle = 0", 1, "a known field, the nearest is level"),
        ("level = 0 and days_ovrdue > 3", 15, "a known field, the nearest is days_overdue"),
        ("level", 6, "one of =, !=, <, <=, >, >=, in, not in"),
        ("level is empty", 7, "one of =, !=, <, <=, >, >=, in, not in"),
        ("level not 3", 7, "one of =, !=, <, <=, >, >=, in, not in"),
        ('customer < "C-1"', 10, "one of =, !=, in, not in"),
        ("due_on is 3", 8, "one of =, !=, <, <=, >, >=, in, not in, is empty, is not empty"),
        ("level = 4", 9, "a whole number from 0 to 3"),
        ('level = "0"', 9, "a whole number from 0 to 3"),
        ("level = 1.5", 9, "a whole number from 0 to 3"),
        ("level = ", 9, "a whole number from 0 to 3"),
        ("days_overdue = " + "9" * 9000, 16, "a whole number from -36500 to 36500"),
        ("balance > 1.23456", 11, 'an amount such as 12.50 (in JSON "12.50"), with at most four decimals'),
        ("due_on < 2026-02-30", 10, 'a day such as 2026-01-31 (in JSON "2026-01-31")'),
        ("currency = EUR", 12, 'a text in quotes, such as "A", of at most 200 characters'),
        ('commercial_state = "late"', 20, 'one of "open", "paid", "cancelled", "disputed", "refused"'),
        ('tag in "a"', 8, "("),
        ('tag in ("a" "b")', 13, ", or )"),
        ('tag in ("a",)', 13, 'a text in quotes, such as "A", of at most 200 characters'),
        ("tag in ()", 9, 'a text in quotes, such as "A", of at most 200 characters'),
        ("(level = 0", 11, "and, or, or )"),
        ("level = 0)", 10, "and, or, or the end"),
        ("level = 0 15", 11, "and, or, or the end"),
        ("level = 0 and", 14, "a field, not or ("),
        ("and level = 0", 1, "a field, not or ("),
        ('"level" = 0', 1, "a field, not or ("),
        ('tag = "open', 7, 'a field, an operator, a number, a day or a closed "text"'),
        ("level == 0", 8, "a whole number from 0 to 3"),
        ("level = 0 ;", 11, 'a field, an operator, a number, a day or a closed "text"'),
        ("not (" * 9 + "level = 0" + ")" * 9, 35, "a condition here: parentheses and not go 12 deep"),
        ("not not not not level = 0", 1, "groups at most 3 deep"),
        ("level = 1 or (level = 0 and not not level = 2)", 1, "groups at most 3 deep"),
        (" or ".join(["level = 0"] * 21), 1, "at most 20 conditions"),
        ("level = 0 and level in (" + ",".join("0" * 501) + ")", 24, "at most 500 values"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, column: int, expected: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse_text(text)
    assert (refused.value.field, refused.value.at, refused.value.expected) == ("filter", column, expected)
    assert f"at column {column}: expected {expected}" in str(refused.value)


def test_twenty_conditions_and_five_hundred_values_are_allowed() -> None:
    text = " and ".join(["level in (" + ", ".join("0" * 500) + ")"] * 20)
    assert to_text(parse_text(text)) == text


PIECES = [
    '"',
    "\\",
    "(",
    ")",
    " ",
    "not ",
    "level ",
    "tag ",
    "= ",
    "0",
    "and ",
    "or ",
    "in ",
    "is empty ",
    ",",
    "\x00",
    "é",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    try:
        filter_ = parse_text(text)
    except FilterError as refused:
        column = int(refused.at)
    else:
        column = 1
        assert parse_text(to_text(filter_)) == filter_
    assert 1 <= column <= len(text) + 1
