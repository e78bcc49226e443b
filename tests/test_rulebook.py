"""The rulebook against the database: what it changes, what it refuses, what it leaves alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operations.rulebook import as_imported, export, import_text
from operations.rules import activate, save_rule
from operations.tags import save_category, save_tag
from operations.users import save_user
from store import companies, people, rules
from store.connection import connect
from tests.trade import open_account, open_trade, written
from workflow.filter_text import parse_text
from workflow.filters import filter_to_json

if TYPE_CHECKING:
    from operations.rulebook import Outcome
    from store.connection import Connection

REFERENCE = "env:ARCHIVES_PASSWORD"
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
WORDS = {"subject": "Facture impayée", "header": "Bonjour {{ customer.name }},\n\nencore", "footer": "Cordialement"}


@pytest.fixture
def conn(database: Connection) -> Connection:
    return furnished(database)


def furnished(conn: Connection) -> Connection:
    """A company, its account with a login, tags in a category, two rules."""
    open_trade(conn)
    open_account(conn, "archives", username="archives", password_ref=REFERENCE, per_minute=30)
    open_account(conn, "marie", company=None, user="marie", host="127.0.0.1", port=2525, security="plain")
    save_category(conn, title="Relances", collapsed=True, by="user:marie")
    save_tag(conn, title="Relance 1", colour="#2f855a", category="Relances", by="user:marie")
    save_tag(conn, title="NO", by="user:marie")
    for level in (0, 1):
        save_rule(
            conn,
            {
                "title": f"Relance {level + 1}",
                "filter": filter_to_json(parse_text(f'level = {level} and tag != "NO"')),
                "texts": {"fr": WORDS},
                "schedule_lines": ["0 9 * * 1-5", "30 14 1 * *"],
                "tags": ["Relance 1"],
                "shared_with": ["marie"] if level else None,
            },
            company="NORD",
            account="archives",
            by="user:marie",
            now=NOW,
        )  # fmt: skip
    return conn


def imported(conn: Connection, text: str, **changes: Any) -> Outcome:  # noqa: ANN401 - as import_text takes them
    values: dict[str, Any] = {"because": "firmer", "yes": True, "by": "user:marie", "now": NOW}
    return import_text(conn, text, **values | changes)


def became(outcome: Outcome, name: str) -> str:
    return next(one.became for one in outcome.changes if one.name == name)


def test_exported_and_imported_into_an_empty_database_it_is_the_same_to_the_byte(
    database_url: str, database: Connection
) -> None:
    with connect(database_url) as conn:
        text = export(furnished(conn), by="system").text
    save_user(database, login="marie", name="Marie Curie", email="marie@nord.example", by="system")
    outcome = imported(database, text, by="system")
    assert outcome.refusals == ()
    assert {one.became for one in outcome.changes} == {"created"}
    assert export(database, by="system").text == text
    assert [saved.active for saved in rules.saved(database)] == [False, False]


def test_importing_it_twice_changes_nothing_and_writes_nothing(conn: Connection) -> None:
    text = export(conn, by="system").text
    before = written(conn)
    outcome = imported(conn, text)
    assert {one.became for one in outcome.changes} == {"unchanged"}
    assert written(conn) == before
    assert [saved.version for saved in rules.saved(conn)] == [1, 1]


def test_what_only_looks_different_is_no_change(conn: Connection) -> None:
    text = export(conn, by="system").text.replace(
        "    name: Nord SAS", "    name: ' Nord SAS '\n    siren: 732 829 320"
    )
    assert became(imported(conn, text), "NORD") == "changed"
    before = written(conn)
    assert became(imported(conn, text), "NORD") == "unchanged"
    assert written(conn) == before


def test_a_changed_rule_gets_a_version_and_says_old_and_new(conn: Connection) -> None:
    text = export(conn, by="system").text.replace("level = 0 and", "level = 0 and days_overdue >= 10 and")
    text = text.replace("encore", "toujours", 1)
    outcome = imported(conn, text)
    (change,) = [one for one in outcome.changes if one.became == "changed"]
    assert (change.section, change.name) == ("rules", "Relance 1")
    assert change.fields == {
        "filter": ('level = 0 and tag != "NO"', 'level = 0 and days_overdue >= 10 and tag != "NO"'),
        "texts.fr.header": ("Bonjour {{ customer.name }},\n\nencore", "Bonjour {{ customer.name }},\n\ntoujours"),
    }
    assert {saved.title: saved.version for saved in rules.saved(conn)} == {"Relance 1": 2, "Relance 2": 1}


def test_an_active_rule_stays_active_and_a_held_one_held(conn: Connection) -> None:
    activate(conn, rule="Relance 1", by="user:marie", now=NOW)
    conn.execute("UPDATE rules SET held_because = 'talks', held_at = now() WHERE title = 'Relance 2'")
    text = export(conn, by="system").text
    assert "talks" not in text
    imported(conn, text.replace("level = ", "days_overdue > 3 and level = "))
    assert [(saved.active, saved.held_because, saved.version) for saved in rules.saved(conn)] == [
        (True, None, 2), (False, "talks", 2),
    ]  # fmt: skip


def test_without_yes_all_is_told_and_nothing_done(conn: Connection) -> None:
    text = export(conn, by="system").text.replace("Relance 1:", "Relance 0:").replace("'#2f855a'", "'#000000'")
    before = written(conn)
    outcome = imported(conn, text, yes=False)
    assert outcome.named("created", "rules") == ["Relance 0"]
    assert outcome.named("left alone", "rules") == ["Relance 1"], "another title is another rule"
    assert written(conn) == before
    assert "Relance 0" not in {saved.title for saved in rules.saved(conn)}


def test_with_one_refusal_nothing_is_kept_and_all_refusals_are_told(conn: Connection) -> None:
    text = export(conn, by="system").text
    wrong = text.replace("    name: Nord SAS", "    name: Nord\n    iban: FR00").replace("2f855a", "000000")
    wrong = wrong.replace("account: archives", "account: autre")
    before = written(conn)
    outcome = imported(conn, wrong)
    places = [(one.place, one.reason.partition(":")[0]) for one in outcome.refusals]
    assert places == [("companies / NORD", "iban"), ("rules / Relance 1", "account"), ("rules / Relance 2", "account")]
    lines = wrong.split("\n")
    assert [lines[(one.line or 0) - 1].strip() for one in outcome.refusals] == [
        "iban: FR00", "account: autre", "account: autre",
    ]  # fmt: skip
    assert written(conn) == before


def test_what_the_file_does_not_name_is_left_alone(conn: Connection) -> None:
    outcome = imported(conn, "rulebook: 1\ntags:\n  Neu:\n")
    assert became(outcome, "Neu") == "created"
    assert {one.became for one in outcome.changes if one.name != "Neu"} == {"left alone"}


def test_a_secret_is_a_reference_or_nothing(conn: Connection) -> None:
    text = export(conn, by="system").text
    assert "password_ref: env:ARCHIVES_PASSWORD" in text
    (refusal,) = imported(conn, text.replace("env:ARCHIVES_PASSWORD", "hunter2")).refusals
    assert "must say where the password is: env:NAME or file:/PATH" in refusal.reason
    assert "hunter2" not in str(refusal)


def test_a_login_that_the_file_leaves_out_is_forgotten_and_half_of_one_refused(conn: Connection) -> None:
    text = export(conn, by="system").text
    half = text.replace("    password_ref: env:ARCHIVES_PASSWORD\n", "")
    assert [one.reason.partition(":")[0] for one in imported(conn, half).refusals] == ["password_ref"]
    imported(conn, half.replace("    username: archives\n", ""))
    account = next(one for one in companies.accounts(conn).values() if one.name == "archives")
    assert (account.username, account.password_ref) == (None, None)


def test_a_rule_of_a_file_without_owner_is_the_importers_and_an_old_one_stays_whose_it_was(conn: Connection) -> None:
    save_user(conn, login="paul", name="Paul", email="paul@nord.example", role="administrator", by="system")
    text = export(conn, by="system").text.replace("    owner: marie\n", "").replace("Relance 2:", "Relance 3:")
    outcome = imported(conn, text, by="user:paul")
    assert outcome.refusals == ()
    owners = {saved.title: people.rule_owner(conn, saved.id) for saved in rules.saved(conn)}
    assert owners["Relance 1"] == owners["Relance 2"] != owners["Relance 3"]
    (refusal,) = imported(conn, export(conn, by="system").text.replace("owner: paul", "owner: marie")).refusals
    assert "owner: the rule is paul's and stays so" in refusal.reason


def test_a_rule_of_somebody_else_is_refused_like_anywhere(conn: Connection) -> None:
    save_user(conn, login="paul", name="Paul", email="paul@nord.example", by="system")
    text = export(conn, by="system").text.replace("level = 0", "days_overdue > 9 and level = 0")
    (refusal,) = imported(conn, text, by="user:paul").refusals
    assert "a rule is edited by its owner and by administrators" in refusal.reason


def test_warnings_of_a_saved_rule_are_handed_on(conn: Connection) -> None:
    outcome = imported(conn, export(conn, by="system").text.replace('tag != "NO"', 'tag != "Norge"'))
    assert "Relance 1: the filter names the tag Norge, which does not exist" in outcome.warnings


def test_it_is_journaled_with_who_and_why(conn: Connection) -> None:
    before = written(conn)
    imported(
        conn,
        export(conn, by="system").text
        .replace("level = 0", "days_overdue > 9 and level = 0")
        .replace("name: Nord SAS", "name: Nord SA")
        .replace("port: 465", "port: 587")
        .replace("collapsed: true", "collapsed: false")
        .replace("2f855a", "000000"),
    )  # fmt: skip
    rows = conn.execute("SELECT subject, actor, because FROM journal ORDER BY id OFFSET %s", [before]).fetchall()
    assert {(actor, because) for _, actor, because in rows} == {("user:marie", "firmer")}
    assert {subject for subject, _, _ in rows} == {"company", "account", "tag_category", "tag", "rule"}


def test_one_may_look_at_the_database_as_if_a_file_were_imported(conn: Connection) -> None:
    text = export(conn, by="system").text.replace("Relance 2:", "Relance 3:")
    with as_imported(conn, text, by="user:marie", now=NOW) as outcome:
        assert outcome.refusals == ()
        assert "Relance 3" in {saved.title for saved in rules.saved(conn)}
    assert "Relance 3" not in {saved.title for saved in rules.saved(conn)}


def test_a_rule_that_cannot_be_read_is_left_out_and_told(conn: Connection) -> None:
    conn.execute('UPDATE rule_versions SET definition = definition || \'{"colour": "red"}\'')
    left = export(conn, by="system")
    assert set(left.left_out) == {"Relance 1", "Relance 2"}
    assert "rules:" not in left.text


def test_the_rulebook_of_the_readme_can_be_imported_as_it_stands(database: Connection) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(rulebook: .*?)```", readme, re.DOTALL)
    save_user(database, login="marie", name="Marie Curie", email="marie@nord.example", by="system")
    outcome = imported(database, text)
    assert (outcome.refusals, outcome.warnings) == ((), ())
    assert {one.became for one in outcome.changes} == {"created"}
    assert {one.became for one in imported(database, text).changes} == {"unchanged"}
