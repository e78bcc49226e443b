"""What a check finds in a company's rules, each time with an example that can be reckoned by hand."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.filter_strategies import filters
from workflow.filter_text import parse_text
from workflow.rule_checks import Checked, CompanyRules, check_company
from workflow.rule_findings import FINDINGS, SEVERITIES, Chase
from workflow.rules import Rule, Texts
from workflow.windows import SendWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflow.facts import Language
    from workflow.filters import Filter

TEXTS: Mapping[Language, Texts] = {"fr": Texts(subject="Relance", header="Bonjour,", footer="Cordialement")}
NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
TODAY = date(2026, 11, 24)
WINDOW = SendWindow(zone=ZoneInfo("Europe/Paris"), country="FR")
WEEKDAYS = "0 9 * * 1-5"


def rule(title: str, filter_: str, *lines: str, **changes: Any) -> Rule:  # noqa: ANN401 - as Rule takes them
    return Rule(title=title, filter=parse_text(filter_), texts=TEXTS, schedule_lines=lines or (WEEKDAYS,), **changes)


FIRST = rule("R1", "level = 0 and days_overdue >= 5")
SECOND = rule("R2", "level = 1 and days_overdue >= 15 and days_since_reminder >= 8")
THIRD = rule("R3", "level = 2 and days_overdue >= 30 and days_since_reminder >= 10")


def checked(*active: Rule, **changes: Any) -> Checked:  # noqa: ANN401 - as CompanyRules takes them
    values: dict[str, Any] = {"company": "NORD", "window": WINDOW, "now": NOW, "active": active, "replaced": {}}
    return check_company(CompanyRules(**values | changes))


def codes(found: Checked) -> list[tuple[str, str]]:
    return [(one.code, one.rule) for one in found.findings]


def steps(chase: Chase) -> list[tuple[int, str]]:
    return [(step.level, step.on.isoformat()) for step in chase.steps]


def test_nothing_is_wrong_with_the_tutorials_rules_and_the_days_are_told() -> None:
    found = checked(FIRST, SECOND, THIRD)
    assert found.findings == ()
    (chase,) = found.chases
    assert chase.due_on == TODAY
    assert steps(chase) == [(1, "2026-11-30"), (2, "2026-12-09"), (3, "2026-12-24")]
    assert [step.rule for step in chase.steps] == ["R1", "R2", "R3"]


@pytest.mark.parametrize(
    ("active", "code"),
    [
        ((SECOND, THIRD), "no_first"),
        ((FIRST, THIRD), "stuck"),
        ((FIRST, SECOND), "ends_early"),
        ((FIRST,), "ends_early"),
    ],
)
def test_a_level_that_no_rule_takes_is_found(active: tuple[Rule, ...], code: str) -> None:
    assert code in [name for name, _ in codes(checked(*active))]


def test_a_rule_by_hand_takes_its_level_and_is_not_simulated() -> None:
    by_hand = replace(SECOND, schedule_lines=())
    assert codes(checked(FIRST, by_hand, THIRD)) == [("by_hand", "R2")]


def test_rules_that_wait_are_named_as_what_is_missing() -> None:
    assert codes(checked(waiting=(FIRST, SECOND))) == [("none_active", "")]
    assert codes(checked()) == [("no_rules", "")]
    plain = rule("Envoi", "", counts=False, minimum_gap_days=30)
    assert codes(checked(plain)) == [("none_active", "")]


def test_a_rule_that_fixes_no_level_takes_an_invoice_through_all_in_three_days() -> None:
    found = checked(rule("Tout", "days_overdue >= 5", any_level=True))
    assert codes(found) == [("any_level", "Tout")]
    (example,) = found.findings[0].examples
    assert steps(example) == [(1, "2026-11-30"), (2, "2026-12-01"), (3, "2026-12-02")]


def test_a_rule_for_two_levels_reaches_both_and_no_more() -> None:
    found = checked(rule("Deux", "level <= 1 and days_since_reminder >= 9 or level = 0", any_level=True), THIRD)
    assert ("ends_early", "") not in codes(found)
    assert ("stuck", "") not in codes(found)
    found = checked(rule("Une", "level < 1", any_level=True), THIRD)
    assert ("stuck", "") in codes(found)


def test_without_days_since_the_last_reminder_the_next_may_follow_on_the_morrow() -> None:
    found = checked(FIRST, rule("R2", "level = 1 and days_overdue >= 15"), THIRD)
    assert codes(found) == [("no_gap", "R2")]
    (example,) = found.findings[0].examples
    assert steps(example)[:2] == [(1, "2026-11-24"), (2, "2026-11-25")]
    assert example.due_on < date(2025, 12, 1), "a debt that is old when the rules begin"


def test_thresholds_that_lie_close_let_two_levels_go_on_consecutive_days() -> None:
    found = checked(FIRST, rule("R2", "level = 1 and days_overdue >= 6 and days_since_reminder >= 1"), THIRD)
    (finding,) = found.findings
    assert (finding.code, finding.rule, finding.values) == ("hurried", "R2", {"days": 1})
    assert steps(finding.examples[0])[:2] == [(1, "2026-11-30"), (2, "2026-12-01")]


def test_a_company_that_keeps_days_between_mails_is_not_hurried() -> None:
    fast = rule("R2", "level = 1 and days_overdue >= 6 and days_since_reminder >= 1")
    assert codes(checked(FIRST, fast, THIRD, min_days_between_mails=7)) == []


def test_an_exact_day_skips_the_invoices_for_which_it_falls_on_a_weekend() -> None:
    found = checked(FIRST, rule("R2", "level = 1 and days_since_reminder = 9"), THIRD)
    assert codes(found) == [("skips", "R2")]
    (finding,) = found.findings
    bad, good = finding.examples
    # Due on Monday 30 November: reminded on Monday 7 December; nine days later is a Wednesday. Due on Tuesday 24:
    # reminded on Monday 30, nine days later is Wednesday 9 December. Due on Thursday 26: reminded on Tuesday 1
    # December, nine days later is Thursday. Due on Friday 27: Wednesday 2, Friday 11. Due on Saturday 28: Thursday 3,
    # Saturday 12: never.
    assert (bad.due_on, good.due_on) == (date(2026, 11, 28), date(2026, 11, 24))
    assert steps(bad) == [(1, "2026-12-03")]
    assert finding.values == {"bad": bad.due_on, "good": good.due_on, "level": 2}


def test_two_rules_for_one_level_overlap_where_one_invoice_suits_both_on_a_day_of_both() -> None:
    vip = rule("VIP", 'level = 1 and customer_tag = "VIP" and days_since_reminder >= 20')
    (finding,) = [one for one in checked(FIRST, SECOND, THIRD, vip).findings if one.code == "overlap"]
    assert (finding.rule, finding.values["other"], finding.values["day"]) == ("R2", "VIP", TODAY)
    assert finding.values["traits"] == ('level = 1, days_overdue = 30, days_since_reminder = 20, customer_tag = "VIP"')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('level = 0 and customer_kind = "professional"', 'level = 0 and customer_kind in ("consumer", "unknown")'),
        ('level = 0 and tag not in ("x")', 'level = 0 and tag in ("x")'),
        ("level = 0 and balance >= 1000", "level = 0 and balance < 1000"),
        ("level = 0 and days_overdue < 10", "level = 0 and days_overdue >= 10"),
    ],
)
def test_two_rules_for_one_level_that_share_it_out_are_fine(one: str, other: str) -> None:
    found = checked(rule("A", one), rule("B", other), SECOND, THIRD)
    assert [code for code, _ in codes(found)] == []


def test_rules_told_apart_by_tags_that_one_customer_may_bear_together_draw_a_warning_each() -> None:
    regions = [rule(name, f'level = 0 and customer_tag = "{name}"') for name in ("Nord", "Sud", "Ouest")]
    found = [one for one in checked(*regions, SECOND, THIRD).findings if one.severity == "warning"]
    assert [(one.code, one.rule, one.values["other"]) for one in found] == [
        ("may_overlap", "Nord", "Sud"), ("may_overlap", "Sud", "Ouest"),
    ]  # fmt: skip
    assert 'customer_tag = "Nord" and customer_tag = "Sud"' in str(found[0].values["traits"])


def test_tags_of_a_category_that_allows_one_never_meet() -> None:
    regions = [rule(name, f'level = 0 and tag = "{name}"') for name in ("Nord", "Sud")]
    assert ("may_overlap", "Nord") in codes(checked(*regions, SECOND, THIRD))
    apart = {"Nord": {"Sud"}, "Sud": {"Nord"}}
    assert codes(checked(*regions, SECOND, THIRD, replaced=apart)) == []


def test_each_rule_that_begins_a_chase_has_its_own_example() -> None:
    professional = rule("Pro", 'level = 0 and customer_kind = "professional" and days_overdue > 3')
    others = rule("Autres", 'level = 0 and customer_kind != "professional" and days_overdue > 10')
    found = checked(professional, others, SECOND, THIRD)
    assert [(chase.traits, steps(chase)[0]) for chase in found.chases] == [
        ((), (1, "2026-11-30")),
        (('customer_kind = "public_body"',), (1, "2026-12-07")),
    ]


def test_rules_of_one_level_that_never_fire_on_one_day_do_not_overlap() -> None:
    monday, friday = (rule(day, "level = 0", f"0 9 * * {day}") for day in ("1", "5"))
    assert [code for code, _ in codes(checked(monday, friday, SECOND, THIRD))] == []


def test_a_rule_to_which_no_invoice_comes_is_found() -> None:
    never = rule("R2", "level = 1 and days_since_reminder >= 8 and days_overdue < 5")
    found = checked(FIRST, never, THIRD)
    assert ("unreached", "R2") in codes(found)


def test_a_line_outside_the_hours_says_when_its_mails_leave() -> None:
    found = checked(replace(FIRST, schedule_lines=("0 20 * * 5",)), SECOND, THIRD)
    (finding,) = found.findings
    assert (finding.code, finding.rule) == ("never_open", "R1")
    assert {name: f"{at:%a %d %H:%M}" for name, at in finding.values.items() if name != "line"} == {
        "due": "Fri 27 20:00", "leaves": "Mon 30 08:00",
    }  # fmt: skip
    half = replace(FIRST, schedule_lines=("* * * * *",))
    assert codes(checked(half, SECOND, THIRD)) == []


@pytest.mark.parametrize("line", ["0 9 30 2 *", "61 * * * *", "noon"])
def test_a_line_that_never_fires_is_refused_and_the_others_are_checked_without_it(line: str) -> None:
    found = checked(replace(FIRST, schedule_lines=(line,)), SECOND, THIRD)
    assert codes(found)[0] == ("refused", "R1")
    assert ("no_first", "") in codes(found)


def test_every_finding_is_said_in_both_languages_with_the_same_values() -> None:
    for code, words in FINDINGS.items():
        assert words.severity in SEVERITIES
        for told in (words.wrong, words.todo):
            assert set(told) == {"en", "fr"}
            named = {
                language: {name for _, name, _, _ in string.Formatter().parse(text) if name}
                for language, text in told.items()
            }
            assert named["en"] == named["fr"], code
            assert all(told.values())


RULES = st.builds(
    lambda title, filter_, line, counts: Rule(
        title=title, filter=filter_, texts=TEXTS, schedule_lines=line, counts=counts, any_level=True,
        minimum_gap_days=None if counts else 9,
    ),
    st.sampled_from(["A", "B", "C"]), filters(), st.sampled_from([(), (WEEKDAYS,), ("0 9 1 * *",), ("*/30 * * * *",)]),
    st.booleans(),
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.lists(RULES, max_size=3, unique_by=lambda one: one.title))
def test_no_rules_are_too_odd_to_be_checked(rules: list[Rule]) -> None:
    found = checked(*rules)
    for finding in found.findings:
        assert FINDINGS[finding.code].wrong["fr"].format(**finding.values)


def test_a_filter_that_nothing_meets_is_followed_to_an_end(nowhere: Filter) -> None:
    found = checked(FIRST, replace(SECOND, filter=nowhere, schedule_lines=("0 8-18 * * *",)), THIRD)
    assert ("unreached", "R2") in codes(found)


@pytest.fixture
def nowhere() -> Filter:
    return parse_text(
        'level = 1 and days_since_reminder >= 8 and days_overdue < 5 and balance > 1000 and payment_method = "LCR"'
        ' and tag not in ("litige", "x") and customer_tag != "y" and currency = "USD"'
    )
