"""YAML without its traps."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.yaml_text import LARGEST, Block, dump, load, read
from workflow.errors import InvalidInput


def test_every_plain_value_is_text() -> None:
    text = "country: NO\nactive: on\nnumber: 007\nday: 2026-11-24\nnothing: ~\nempty:\n"
    assert load(text) == {
        "country": "NO",
        "active": "on",
        "number": "007",
        "day": "2026-11-24",
        "nothing": "~",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: is given twice"),
        ("a: &x [1]\nb: *x", "line 2, column 4: an alias is not taken"),
        ("a: !!int 3", "line 1, column 4: a tag is not taken"),
        ("!!python/object/apply:os.system ['true']", "line 1, column 1: a tag is not taken"),
        ("a: [", "line 1, column 5: is no YAML"),
        ("\x00", "file: is no YAML"),
        ('"\\UFFFFFFFF"', "file: is no YAML"),
        ("%YAML 1." + "9" * 5000 + "\n---\na", "file: is no YAML"),
        ("- " * 50, "line 1, column 41: is nested too deeply"),
        ("? [a]\n: b", "line 1, column 3: a key must be a word"),
        ("a" * (LARGEST + 1), "file: is larger than 1 MiB"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(text)


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2: \n",
        "a: 1\npassword: 'hunter2",
        "password: @hunter2",
        "password: hunter2\npassword: hunter2",
        "password: &hunter2 x\nb: *hunter2",
        "password: !hunter2 x",
        "hunter2: \x00",
        'hunter2: "\\UFFFFFFFF"',
        "%YAML hunter2",
    ],
)
def test_what_is_wrong_is_said_without_what_stands_there(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(text)
    assert "hunter2" not in str(refused.value)
    assert refused.value.value is None


@given(st.text(max_size=200))
def test_no_text_is_worse_than_refused(text: str) -> None:
    with suppress(InvalidInput):
        load(text)


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]))


@given(
    st.recursive(
        PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3), max_leaves=8
    )
)
def test_what_is_written_is_read_back(value: object) -> None:
    assert load(dump(value)) == value


def test_nodes_know_their_lines_and_are_refused_alike() -> None:
    node = read("a: 1\nb:\n  c: 2\n")
    assert node is not None
    assert [key.start_mark.line + 1 for key, _ in node.value] == [1, 2]
    assert read("# nothing") is None
    with pytest.raises(InvalidInput, match="line 2, column 1: is given twice"):
        read("a: 1\na: 2")


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"]) | st.sampled_from(" \n#-:'\""))


@given(st.dictionaries(PLAIN, TEXTS | TEXTS.map(Block)))
def test_texts_of_several_lines_are_read_back_to_the_last_space(value: object) -> None:
    assert load(dump(value)) == value


def test_a_text_of_several_lines_is_written_as_it_stands() -> None:
    assert dump({"a": "to be continued  \nhere\n", "b": Block("one")}) == (
        "a: |\n  to be continued  \n  here\nb: |-\n  one\n"
    )
