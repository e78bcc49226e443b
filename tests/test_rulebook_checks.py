"""What is wrong around the rules: accounts, texts, tags, invoices; as they stand, and as a file would have them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from operations import holds
from operations.rulebook import export
from operations.rulebook_checks import Report, chase_said, check_rules, check_text_of, said, value_said
from operations.rules import activate
from operations.tags import save_category, save_tag
from store import rules
from tests.chasing import NOW, open_chase, open_rule
from tests.trade import written
from workflow.rule_findings import Chase, Finding, Step

if TYPE_CHECKING:
    from store.connection import Connection

DAILY = ["0 9 * * 1-5"]


@pytest.fixture
def conn(database: Connection) -> Connection:
    """The small chase with three active rules of which nothing is wrong."""
    open_chase(database)
    open_rule(database, schedule_lines=DAILY)
    for level in (1, 2):
        open_rule(database, f"Relance {level + 1}", level, schedule_lines=DAILY, filter=since(level))
    for level in (1, 2, 3):
        activate(database, rule=f"Relance {level}", by="user:marie", now=NOW)
    return database


def since(level: int) -> dict[str, object]:
    fields = {"level": ("=", level), "days_overdue": (">=", 15 + 8 * level), "days_since_reminder": (">=", 8)}
    return {"all": [{"field": name, "op": op, "value": value} for name, (op, value) in fields.items()]}


def codes(report: Report) -> set[tuple[str, str]]:
    return {(one.code, one.rule) for one in report.findings}


def spoil(conn: Connection, title: str, **changes: object) -> None:
    """As another version may have saved it, or as it became since."""
    conn.execute(
        "UPDATE rule_versions SET definition = definition || %s::jsonb"
        " WHERE rule_id = (SELECT id FROM rules WHERE title = %s)",
        [json.dumps(changes), title],
    )


def test_of_sound_rules_only_that_nothing_is_selected_today(conn: Connection) -> None:
    report = check_rules(conn, by="system")
    assert codes(report) == {("selects_none", "Relance 2"), ("selects_none", "Relance 3")}
    assert report.counts == {"error": 0, "warning": 0, "info": 2}
    ((chase,),) = report.chases.values()
    assert [(step.level, step.on) for step in chase.steps] == [
        (1, date(2026, 12, 9)), (2, date(2026, 12, 17)), (3, date(2026, 12, 28)),
    ]  # fmt: skip


def test_a_held_rule_and_a_held_account_are_told(conn: Connection) -> None:
    holds.hold(conn, rule="Relance 1", because="new texts", by="user:marie")
    holds.hold(conn, account="sortie", because="refused", by="user:marie")
    found = codes(check_rules(conn, by="system"))
    assert ("held", "Relance 1") in found
    assert {("account_held", f"Relance {level}") for level in (1, 2, 3)} <= found


def test_an_account_whose_password_is_not_here_is_told_without_it(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute(
        "UPDATE mail_accounts SET username = 'x', password_ref = 'env:RELANCE_TEST_PASSWORD', security = 'implicit-tls'"
        " WHERE name = 'sortie'"
    )
    assert ("no_password", "Relance 1") in codes(check_rules(conn, by="system"))
    monkeypatch.setenv("RELANCE_TEST_PASSWORD", "hunter2")
    report = check_rules(conn, by="system")
    assert ("no_password", "Relance 1") not in codes(report)
    assert "hunter2" not in repr(report)


def test_a_rule_that_may_not_run_on_this_test_instance_is_told(conn: Connection) -> None:
    spoil(conn, "Relance 1", on_test_instance=False)
    assert ("not_on_test", "Relance 1") in codes(check_rules(conn, by="system"))


def test_texts_that_do_not_render_or_lack_the_companys_language_are_errors(conn: Connection) -> None:
    words = {"subject": "{{ custmer.name }}", "header": "ok", "footer": "{{ totals.due"}
    spoil(conn, "Relance 1", texts={"en": words})
    report = check_rules(conn, by="system")
    places = {one.values["place"] for one in report.findings if one.code == "text"}
    assert places == {"texts.en.subject", "texts.en.footer"}
    assert ("no_language", "Relance 1") in codes(report)
    assert report.counts["error"] == 3


def test_tags_that_are_not_there_or_replace_each_other_are_told(conn: Connection) -> None:
    save_category(conn, title="Relances", one_only=True, by="user:marie")
    save_tag(conn, title="Relance 1", category="Relances", by="user:marie")
    spoil(conn, "Relance 1", tags=["Relance 1", "Relance 9"], filter={
        "all": [{"field": "level", "op": "=", "value": 0}, {"field": "tag", "op": "!=", "value": "Litige"}],
    })  # fmt: skip
    found = {one.code: one.values for one in check_rules(conn, by="system").findings if one.rule == "Relance 1"}
    assert found["no_tag"] == {"tag": "Relance 9"}
    assert found["no_filter_tag"] == {"tag": "Litige"}
    assert found["one_only"] == {"tag": "Relance 1", "category": "Relances"}


def test_a_rule_that_cannot_be_read_is_an_error(conn: Connection) -> None:
    spoil(conn, "Relance 3", colour="red")
    report = check_rules(conn, by="system")
    assert ("refused", "Relance 3") in codes(report)
    assert ("ends_early", "") in codes(report)
    assert report.findings[0].severity == "error", "the worst comes first"


def test_rules_that_are_not_active_reach_no_level(database: Connection) -> None:
    open_chase(database)
    assert codes(check_rules(database, by="system")) == {("none_active", "")}


def test_a_file_is_checked_as_if_it_were_imported_and_active(conn: Connection) -> None:
    text = (
        export(conn, by="system")
        .text.replace("  Relance 3:", "  Relance 4:")
        .replace("days_since_reminder >= 8", "level = 1", 1)
    )
    before = written(conn)
    report = check_text_of(conn, text, by="user:marie", now=NOW)
    assert {("no_gap", "Relance 2"), ("overlap", "Relance 3")} <= codes(report)
    assert written(conn) == before
    assert "Relance 4" not in {saved.title for saved in rules.saved(conn)}


def test_what_a_file_would_be_refused_for_is_found_with_its_line(conn: Connection) -> None:
    text = export(conn, by="system").text.replace("account: sortie", "account: autre", 1)
    (finding,) = check_text_of(conn, text, by="user:marie", now=NOW).findings
    line = text[: text.index("account: autre")].count("\n") + 1
    wrong, todo = said(finding, "en")
    assert (finding.rule, todo) == ("rules / Relance 1", "correct it")
    assert wrong == f"refused: line {line}, account: does not exist (got 'autre')"


def test_findings_are_said_in_french_and_english_with_their_days() -> None:
    finding = Finding(
        code="skips",
        company="NORD",
        rule="R",
        values={"bad": date(2026, 11, 28), "good": date(2026, 11, 24), "level": 2},
    )
    assert said(finding, "en")[0] == (
        "skips invoices by the calendar: one due on Sat 28 Nov 2026 never gets level 2, one due on Tue 24 Nov 2026 does"
    )
    assert "échue le sam. 28 nov. 2026" in said(finding, "fr")[0]
    instant = datetime(2026, 11, 28, 9, 5, tzinfo=UTC)
    assert [value_said(instant, language) for language in ("en", "fr")] == [
        "Sat 28 Nov 2026 09:05", "sam. 28 nov. 2026 09:05",
    ]  # fmt: skip


def test_an_example_is_a_sentence() -> None:
    step = Step(level=1, on=date(2026, 11, 30), rule="Relance 1")
    chase = Chase(due_on=date(2026, 11, 24), traits=('currency = "CHF"',), steps=(step,))
    assert chase_said(chase, "en") == (
        'an invoice due on Tue 24 Nov 2026 with currency = "CHF" would get level 1 on Mon 30 Nov 2026 (Relance 1)'
    )
    assert chase_said(chase, "fr") == (
        'une facture échue le mar. 24 nov. 2026 avec currency = "CHF" atteindrait le niveau 1 le lun. 30 nov. 2026'
        " (Relance 1)"
    )
    assert chase_said(Chase(due_on=chase.due_on, traits=(), steps=()), "en").endswith("would get no reminder")
