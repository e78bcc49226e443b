"""What is an event: CloudEvents around data that its type's published schema describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.telling import CONTACT, CUSTOMER, INVOICE, PAYMENT, REVERSAL, THIS, event
from workflow.event_types import TYPES, Kind, data_faults, schema
from workflow.events import Malformed, identity, parse, read

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "events" / "v1"
README = (FOLDER.parents[2] / "README.md").read_text(encoding="utf-8")
WORD = {**THIS, "version": 3, "because": "wrong price"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "customer.upserted": CUSTOMER | {"payment_terms_days": 30, "postal_address": "1 rue X\n75002 Paris"},
    "contact.upserted": CONTACT,
    "invoice.issued": INVOICE | {"interlocutors": {"billing": "eve@lefevre.example"}},
    "invoice.updated": {**THIS, "version": 2, "due_on": None},
    "invoice.cancelled": WORD,
    "invoice.disputed": WORD,
    "invoice.dispute_resolved": WORD,
    "invoice.refused": WORD,
    "payment.recorded": PAYMENT,
    "payment.reversed": REVERSAL,
    "credit_note.issued": {k: v for k, v in PAYMENT.items() if k != "received_on"} | {"issued_on": "2026-11-20"},
    "dunning.paused": {"customer": "C-7", "version": 1, "until_on": "2026-12-31", "because": "audit"},
    "dunning.resumed": {"company": "NORD", "invoice": "F-1", "version": 2},
    "source.heartbeat": {"company": "NORD"},
}


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_is_published_as_it_is_checked(kind: str) -> None:
    published = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    assert published == schema(kind)
    Draft202012Validator.check_schema(published)


def test_nothing_else_is_published() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(TYPES) == set(EXAMPLES)


@pytest.mark.parametrize(("kind", "found"), TYPES.items())
def test_every_type_is_in_the_readme_with_what_it_says(kind: str, found: Kind) -> None:
    assert f"| `{kind}` | {found.says} |" in README


@pytest.mark.parametrize("kind", TYPES)
def test_a_whole_event_of_each_type_is_read(kind: str) -> None:
    told = read(event(kind, EXAMPLES[kind], time="2026-11-24T09:30:00.123456789Z", dataschema=schema(kind)["$id"]))
    assert told.data == {name: one for name, one in EXAMPLES[kind].items() if name != "version"}
    assert told.version == EXAMPLES[kind].get("version")
    assert told.subject


@pytest.mark.parametrize("kind", TYPES)
def test_each_value_that_is_needed_is_missed(kind: str) -> None:
    for name in schema(kind)["required"]:
        without = {key: one for key, one in EXAMPLES[kind].items() if key != name}
        with pytest.raises(Malformed, match="is missing"):
            read(event(kind, without))


# A `$` of Python takes a line end after it, that of ECMA 262 does not: the other validator is not asked about that.
WORDS = ["2026-02-30", "2026-03-01", "20260301", "1.50", "1,50", "-1", "1e3", "EUR", "fr", "a@b"]
SHORT = st.text(max_size=5).filter(lambda text: not text.endswith("\n"))
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), SHORT, st.lists(SHORT, max_size=3),
    st.sampled_from(WORDS), st.sampled_from([{}, {"dunning": "a@b"}, {"dunning": 1}, ["dunning"], 1.5]),
)  # fmt: skip
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(TYPES)))
def test_what_is_checked_is_what_the_schema_says(data: st.DataObject, kind: str) -> None:
    given_ = dict(EXAMPLES[kind])
    for name in data.draw(
        st.lists(st.sampled_from([*TYPES[kind].values, "due_date", "company", "invoice"]), max_size=3)
    ):
        given_[name] = data.draw(JUNK)
    valid = Draft202012Validator(schema(kind), format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid(given_)
    assert (not list(data_faults(kind, given_))) == valid


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"specversion": None}, "/specversion"),
        ({"source": ""}, "/source"),
        ({"source": "/erp?x=1"}, "/source"),
        ({"source": 7}, "/source"),
        ({"id": ""}, "/id"),
        ({"id": "a\x00b"}, "/id"),
        ({"id": "x" * 201}, "/id"),
        ({"type": "invoice.isued"}, "/type"),
        ({"type": ["x"]}, "/type"),
        ({"time": "yesterday"}, "/time"),
        ({"time": None}, "/time"),
        ({"time": "2026-13-01T00:00:00Z"}, "/time"),
        ({"datacontenttype": "text/xml"}, "/datacontenttype"),
        ({"dataschema": "urn:relance:events:v2:source.heartbeat"}, "/dataschema"),
        ({"data_base64": "e30="}, "/data_base64"),
        ({"Sequence": "1"}, "/Sequence"),
        ({"sequence": 1.5}, "/sequence"),
        ({"data": None}, "/data"),
        ({"data": []}, "/data"),
        ({"data": {"company": "NORD", "companny": "X"}}, "/data/companny"),
        ({"data": {"company": "N\x00RD"}}, "/data/company"),
    ],
)
def test_each_fault_of_an_event_is_told_by_its_place(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(event("source.heartbeat", {"company": "NORD"}, **({"time": "2026-01-01T00:00:00Z"} | change)))
    assert [one.pointer for one in refused.value.faults] == [pointer]


@pytest.mark.parametrize("text", ["\n", "C-7\n", "C\t7", ""])
def test_a_line_has_no_end_in_it(text: str) -> None:
    with pytest.raises(Malformed, match="one line"):
        read(event("customer.upserted", CUSTOMER | {"number": text}))


def test_a_mistyped_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(Malformed, match=r"did you mean invoice\.issued"):
        read(event("invoice.isued", INVOICE))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": NaN}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", b"\xff\xfe", "\ud800"]
)
def test_what_is_no_json_is_refused_in_words(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        read(parse(text))


@settings(max_examples=300, deadline=None)
@given(NESTED)
def test_no_value_makes_the_reader_break(value: object) -> None:
    identity(value)
    with pytest.raises(Malformed):
        read(value)
