"""A rule as data: what is read, what is refused, and that nothing is lost on the way to the database and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filter_strategies import filters
from workflow.errors import InvalidInput
from workflow.rules import Rule, Texts, check, rule_from_json, rule_to_json

if TYPE_CHECKING:
    from workflow.filters import Filter

WORDS = {"subject": "Facture impayée", "header": "Bonjour,", "footer": "Cordialement"}
LEVEL_0 = {"field": "level", "op": "=", "value": 0}
OVERDUE = {"field": "days_overdue", "op": ">=", "value": 10}


def rule(**changes: object) -> dict[str, Any]:
    return {"title": "Relance 1", "filter": {"all": [LEVEL_0, OVERDUE]}, "texts": {"fr": WORDS}} | changes


def checked(**changes: object) -> Rule:
    read = rule_from_json(rule(**changes))
    check(read)
    return read


def test_the_least_rule_is_a_first_reminder_by_hand() -> None:
    read = checked()
    assert read.texts == {"fr": Texts(subject="Facture impayée", header="Bonjour,", footer="Cordialement")}
    assert (read.level, read.counts, read.schedule_lines) == (0, True, ())
    assert (read.preferred_contact, read.interlocutor, read.grouping) == ("dunning", "billing", "customer")
    assert read.shared_with is None


def test_every_field_comes_back_as_it_was_saved() -> None:
    whole = rule(
        texts={"fr": WORDS, "en": WORDS},
        schedule_lines=["0 9 * * 1-5"],
        preferred_contact="billing",
        interlocutor="dunning",
        attach_invoices=True,
        tags=["Relance 1"],
        grouping="invoice",
        reply_to="compta@nord.example",
        cc=["vente@nord.example"],
        bcc=["archive@nord.example"],
        report_to=["marie"],
        shared_with=["paul"],
        on_test_instance=True,
        counts=False,
        any_level=True,
        minimum_gap_days=7,
        needs_fresh_payments=True,
    )
    assert rule_to_json(rule_from_json(whole)) == whole
    assert whole.keys() == set(Rule.__dataclass_fields__) - {"level"}


@given(filters(), st.booleans(), st.none() | st.lists(st.text(max_size=5), max_size=2))
def test_any_rule_survives_its_json(filter_: Filter, counts: bool, shared: list[str] | None) -> None:  # noqa: FBT001
    made = Rule(
        title="Relance", filter=filter_, texts={}, counts=counts, shared_with=None if shared is None else tuple(shared)
    )
    assert rule_from_json(json.loads(json.dumps(rule_to_json(made)))) == made


@pytest.mark.parametrize(
    ("definition", "field", "reason"),
    [
        (None, "rule", "must be an object"),
        (rule(titel="Relance 1"), "titel", "is no field of a rule"),
        (rule(level=0), "level", "is no field of a rule"),
        ({"title": "Relance 1", "texts": {"fr": WORDS}}, "filter", "is missing"),
        ({"title": "Relance 1", "filter": LEVEL_0}, "texts", "is missing"),
        ({"filter": LEVEL_0, "texts": {"fr": WORDS}}, "title", "is missing"),
        (rule(title=3), "title", "must be text"),
        (rule(reply_to=["a@b.example"]), "reply_to", "must be text"),
        (rule(tags="Relance 1"), "tags", "must be a list of texts"),
        (rule(cc=["a@b.example", None]), "cc", "must be a list of texts"),
        (rule(counts=1), "counts", "must be true or false"),
        (rule(attach_invoices="yes"), "attach_invoices", "must be true or false"),
        (rule(preferred_contact="sales"), "preferred_contact", "must be one of dunning, billing"),
        (rule(interlocutor=["billing"]), "interlocutor", "must be one of dunning, billing"),
        (rule(grouping="company"), "grouping", "must be one of customer, invoice"),
        (rule(minimum_gap_days=0), "minimum_gap_days", "from 1 to 3650"),
        (rule(minimum_gap_days=3651), "minimum_gap_days", "from 1 to 3650"),
        (rule(minimum_gap_days=True), "minimum_gap_days", "from 1 to 3650"),
        (rule(minimum_gap_days="7"), "minimum_gap_days", "from 1 to 3650"),
        (rule(texts=[WORDS]), "texts", "must be an object by language"),
        (rule(texts={"de": WORDS}), "texts", "is no language; they are fr, en"),
        (rule(texts={"fr": "Bonjour"}), "texts.fr", "must have subject, header and footer"),
        (rule(texts={"fr": {"subject": "Facture"}}), "texts.fr", "must have subject, header and footer"),
        (rule(texts={"fr": WORDS | {"body": "…"}}), "texts.fr", "must have subject, header and footer"),
        (rule(texts={"fr": WORDS | {"header": None}}), "texts.fr.header", "must be text"),
    ],
)
def test_a_definition_that_cannot_be_read_names_its_field(definition: object, field: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rule_from_json(definition)
    assert refused.value.field == field
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"title": "  "}, "title", "a title of 1 to 200 characters"),
        ({"title": "x" * 201}, "title", "a title of 1 to 200 characters"),
        ({"texts": {}}, "texts", "in one language at least"),
        ({"schedule_lines": ["0 9 30 2 *"]}, "schedule line", "never"),
        ({"filter": OVERDUE}, "filter", "would take an invoice from 0 to 3 in three days"),
        ({"filter": {"field": "level", "op": "=", "value": 3}}, "filter", "nothing follows this level"),
        ({"minimum_gap_days": 7}, "minimum_gap_days", "mails do not count"),
        ({"counts": False, "filter": OVERDUE}, "filter", "the same invoices every day"),
        ({"counts": False, "filter": OVERDUE, "tags": ["Envoyée"]}, "filter", "the same invoices every day"),
    ],
)
def test_a_rule_that_would_chase_wrongly_is_refused(changes: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(**changes)
    assert refused.value.field == field
    assert reason in refused.value.reason


def test_a_rule_of_any_level_must_be_confirmed() -> None:
    assert checked(filter=OVERDUE, any_level=True).level is None


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_counting_rule_takes_the_level_that_its_filter_fixes(level: int) -> None:
    assert checked(filter={"field": "level", "op": "=", "value": level}).level == level


def test_a_rule_that_does_not_count_has_no_level() -> None:
    assert checked(counts=False, minimum_gap_days=7).level is None


def test_a_first_sending_excludes_its_own_tag_or_keeps_a_gap() -> None:
    not_sent = {"field": "tag", "op": "!=", "value": "Envoyée"}
    assert checked(counts=False, filter=not_sent, tags=["Envoyée"]).tags == ("Envoyée",)
    assert checked(counts=False, filter=OVERDUE, minimum_gap_days=30).minimum_gap_days == 30
