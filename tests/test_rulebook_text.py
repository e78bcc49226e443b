"""A rulebook as text: what is read, what is refused with its line, and that nothing is lost on the way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from datetime import time
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.accounts import save_account
from operations.companies import save_company
from operations.evidence import check_evidence
from operations.mailboxes import check_mailbox
from operations.rulebook_text import SECTIONS, Refusal, read_book, text_parts, write_book
from operations.tags import save_category, save_tag
from tests.filter_strategies import filters
from workflow.errors import InvalidInput
from workflow.filter_text import to_text
from workflow.rules import Rule

LEAST = """\
rulebook: 1
rules:
  Relance 1:
    company: NORD
    account: comptabilité
    filter: level = 0
    texts:
      fr:
        subject: Relance
        header: Bonjour,
        footer: |
          Cordialement
"""


def refused(text: str) -> list[str]:
    return [str(one) for one in read_book(text).refusals]


def company(**values: str) -> dict[str, Any]:
    lines = "".join(f"\n    {name}: {value}" for name, value in values.items())
    read = read_book(f"rulebook: 1\ncompanies:\n  NORD:{lines}\n")
    assert read.refusals == ()
    return read.book["companies"]["NORD"]


def test_what_is_not_written_has_the_default_of_its_operation() -> None:
    (rule,) = read_book(LEAST).book["rules"].values()
    assert rule["texts"]["fr"] == {"subject": "Relance", "header": "Bonjour,", "footer": "Cordialement\n"}
    assert (rule["counts"], rule["schedule_lines"], rule["shared_with"], rule["owner"]) == (True, (), None, None)


def test_every_field_of_what_is_saved_has_its_place() -> None:
    operations = {
        "companies": (save_company, {"code"}),
        "accounts": (save_account, {"name"}),
        "categories": (save_category, {"title"}),
        "tags": (save_tag, {"title"}),
    }
    for section, (operation, key) in operations.items():
        known = set(signature(operation).parameters) - key - {"conn", "because", "by", "today"}
        assert known == set(SECTIONS[section].kinds)
    of_rules = {one.name for one in fields(Rule) if one.init} - {"title"}
    assert set(SECTIONS["rules"].kinds) == of_rules | {"company", "account", "owner"}


def test_norway_is_a_country_and_nothing_is_read_by_its_looks() -> None:
    read = company(name="on", country="NO", phone="0102030405", siren="732829320", legal_line="2026-01-01", web="1:30")
    assert (read["name"], read["country"], read["phone"], read["siren"]) == ("on", "NO", "0102030405", "732829320")
    assert (read["legal_line"], read["web"]) == ("2026-01-01", "1:30")


def test_values_are_read_by_what_their_field_is() -> None:
    read = company(
        name="Nord", send_from="7:05", send_until="null", send_weekdays="[5, 1, 1]", send_on_holidays="true",
        min_days_between_mails="3", iban="", bic='"~"',
    )  # fmt: skip
    assert (read["send_from"], read["send_until"], read["send_weekdays"]) == (time(7, 5), None, (1, 5))
    assert (read["send_on_holidays"], read["min_days_between_mails"]) == (True, 3)
    assert (read["iban"], read["bic"]) == (None, "~"), "what is quoted is text"


def test_a_filter_may_run_over_lines_and_is_kept_in_one_form() -> None:
    text = LEAST.replace("filter: level = 0", "filter: >\n      level=0\n      AND balance>10.00")
    assert read_book(text).book["rules"]["Relance 1"]["filter"] == "level = 0 and balance > 10.00"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rulebook: 1", "rulebook: 2", "line 1: must say rulebook: 1"),
        ("rulebook: 1\n", "", "line 1: must say rulebook: 1"),
        ("rules:", "rule:", "line 2: rule is no section; they are companies, accounts, categories, tags, rules"),
        ("account:", "acount:", "line 5, rules / Relance 1: acount is no field of a rule; the nearest is account"),
        ("    account: comptabilité\n", "", "line 3, rules / Relance 1: account: is missing"),
        ("level = 0", "level = 7", "line 6, rules / Relance 1: filter: at column 9: expected a whole number"),
        ("level = 0", "[level]", "line 6, rules / Relance 1: filter: must be a text (got 'a list')"),
        ("fr:", "de:", "line 8, rules / Relance 1: texts: is no language"),
        ("        header: Bonjour,\n", "", "line 8, rules / Relance 1: texts.fr: must have subject, header, footer"),
        ("    texts:", "    counts: no\n    texts:", "line 7, rules / Relance 1: counts: must be true or false"),
        ("    texts:", "    tags: Relance\n    texts:", "tags: must be a list (got 'Relance')"),
        ("    texts:", "    minimum_gap_days: soon\n    texts:", "must be a whole number (got 'soon')"),
        ("  Relance 1:", "  Relance 1: soon\n  Relance 2:", "line 3, rules / Relance 1: must be a mapping of fields"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert old in LEAST
    assert any(message in one for one in refused(LEAST.replace(old, new, 1))), refused(LEAST.replace(old, new, 1))


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = LEAST.replace("account:", "acount:").replace("level = 0", "nivel = 0")
    assert [one.line for one in read_book(text).refusals] == [5, 6, 3]
    assert read_book(text).book["rules"] == {}


def test_a_password_is_no_field_and_is_not_repeated() -> None:
    text = "rulebook: 1\naccounts:\n  a:\n    password: hunter2\n"
    (first, *_) = refused(text)
    assert first == (
        "line 4, accounts / a: password is not taken: a password never stands in a file; password_ref says where it is"
    )
    assert "hunter2" not in "".join(refused(text))


@pytest.mark.parametrize("text", ["", "# nothing", "- a list", "just words"])
def test_what_is_no_rulebook_at_all_is_said(text: str) -> None:
    assert any("must say rulebook: 1" in one for one in refused(text))


def test_an_error_of_yaml_itself_names_the_line() -> None:
    with pytest.raises(InvalidInput, match=r"line 3, column 1: is no YAML"):
        read_book("rulebook: 1\nrules: [\n")


def test_a_refusal_reads_as_place_and_reason() -> None:
    assert str(Refusal(place="rules / R", line=None, reason="no")) == "rules / R: no"
    assert str(Refusal(place="", line=3, reason="no")) == "line 3: no"


def test_text_parts_go_down_into_the_texts() -> None:
    values = {"counts": True, "texts": {"fr": {"subject": "S", "header": "H"}}}
    assert list(text_parts(values)) == [("counts", True), ("texts.fr.subject", "S"), ("texts.fr.header", "H")]


CHARACTERS = st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"])
WORDS = st.text(CHARACTERS, max_size=20)
NAMES = st.text(CHARACTERS, min_size=1, max_size=20)
LETTERS = st.text(CHARACTERS | st.sampled_from(" \n{}%#*'\":"), max_size=60)
IMAP = {"host": "imap.nord.example", "username": "retours", "password_ref": "env:NORD_IMAP"}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "TEXT": WORDS,
    "OPTIONAL_TEXT": st.none() | WORDS,
    "FLAG": st.booleans(),
    "OPTIONAL_FLAG": st.none() | st.booleans(),
    "NUMBER": st.integers(0, 65535),
    "OPTIONAL_NUMBER": st.none() | st.integers(1, 365),
    "TIME": st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    "OPTIONAL_TIME": st.none() | st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    "WORDS": st.lists(WORDS, max_size=3).map(tuple),
    "OPTIONAL_WORDS": st.none() | st.lists(WORDS, max_size=3).map(tuple),
    "WEEKDAYS": st.sets(st.integers(1, 7)).map(lambda days: tuple(sorted(days))),
    "FILTER": filters().map(to_text),
    "MAILBOX": st.none()
    | NAMES.map(str.strip).map(lambda name: {"maildir": f"/{name}"})
    | st.builds(
        lambda folder, port, ca_file: check_mailbox({**IMAP, "folder": folder, "port": port, "ca_file": ca_file}),
        NAMES.filter(str.strip),
        st.integers(1, 65535),
        st.sampled_from([None, "/etc/ssl/ca.pem"]),
    ),
    "EVIDENCE": st.none()
    | NAMES.map(str.strip).map(lambda name: {"kind": "postfix_log", "path": f"/{name}"})
    | st.builds(
        lambda folder, port: check_evidence({**IMAP, "kind": "imap", "folder": folder, "port": port}),
        NAMES.filter(str.strip),
        st.integers(1, 65535),
    ),
    "TEXTS": st.dictionaries(
        st.sampled_from(["fr", "en"]), st.fixed_dictionaries(dict.fromkeys(("subject", "header", "footer"), LETTERS))
    ),
}


def entries(section: str) -> st.SearchStrategy[dict[str, Any]]:
    from operations import rulebook_text

    names = {id(getattr(rulebook_text, name)): name for name in VALUES}
    return st.fixed_dictionaries({name: VALUES[names[id(kind)]] for name, kind in SECTIONS[section].kinds.items()})


@settings(deadline=None)
@given(st.fixed_dictionaries({name: st.dictionaries(NAMES, entries(name), max_size=2) for name in SECTIONS}))
def test_whatever_is_written_is_read_back_and_written_the_same(book: dict[str, Any]) -> None:
    text = write_book(book)
    read = read_book(text)
    assert read.refusals == ()
    assert read.book == {name: section for name, section in book.items() if section}
    assert write_book(read.book) == text


@settings(deadline=None)
@given(st.text(max_size=300) | st.text("rulebok: 1\n-[]{}'\"#&*!|>%@`", max_size=100))
def test_no_text_is_worse_than_refused(text: str) -> None:
    with suppress(InvalidInput):
        read_book(f"rulebook: 1\nrules:\n  {text}")
    with suppress(InvalidInput):
        read_book(text)
