"""A rule is seen and run by those with whom it is shared, by its owner and by administrators; by the system always."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.explain import explain
from operations.lookup import find_invoice
from operations.preview import preview
from operations.rulebook import export, import_text
from operations.rulebook_checks import chase_said, check_rules, said
from operations.rulebook_shown import calendar, listed
from operations.rules import activate, may_run
from operations.run import run_by_hand
from operations.users import save_user
from store import runs
from tests.chasing import NOW, RULE, open_chase, open_rule
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection
    from store.rules import SavedRule

NOT_SHARED = "by: the rule Relance 2 is not shared with them"
REFUSED = ["user:paul", "user:nobody"]
ALLOWED = ["user:marie", "user:nadia", "user:chef", "system", "worker:host:1"]


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_chase(database)
    for login in ("paul", "nadia"):
        save_user(database, login=login, name=login.title(), email=f"{login}@nord.example", by="system")
    save_user(database, login="chef", name="Chef", email="chef@nord.example", role="administrator", by="system")
    return database


@pytest.fixture
def rule(conn: Connection) -> SavedRule:
    """Marie's, shared with Nadia."""
    return open_rule(conn, "Relance 2", shared_with=["nadia"])


@pytest.mark.parametrize("by", ALLOWED)
def test_those_with_whom_a_rule_is_shared_preview_run_and_explain_it(
    conn: Connection, rule: SavedRule, by: str
) -> None:
    assert preview(conn, rule, by=by).candidates == 4
    assert run_by_hand(conn, rule, by=by).made
    found = explain(conn, find_invoice(conn, "FA-1"), by=by)
    assert [one.rule.title for one in found.rules] == [RULE, "Relance 2"]


@pytest.mark.parametrize("by", REFUSED)
def test_nobody_else_previews_runs_or_explains_it(conn: Connection, rule: SavedRule, by: str) -> None:
    with pytest.raises(InvalidInput, match=NOT_SHARED):
        preview(conn, rule, by=by)
    with pytest.raises(InvalidInput, match=NOT_SHARED):
        run_by_hand(conn, rule, by=by)
    assert runs.latest(conn) == []
    invoice = find_invoice(conn, "FA-1")
    with pytest.raises(InvalidInput, match=NOT_SHARED):
        explain(conn, invoice, by=by, rule="Relance 2")
    assert [one.rule.title for one in explain(conn, invoice, by=by).rules] == [RULE]


def test_a_rule_shared_with_everybody_is_everybodys_to_run(conn: Connection) -> None:
    assert preview(conn, open_rule(conn, "Relance 2", shared_with=None), by="user:paul").candidates == 4


def test_a_rule_that_names_nobody_is_its_owners(conn: Connection) -> None:
    alone = open_rule(conn, "Relance 2", shared_with=[])
    assert [by for by in ALLOWED + REFUSED if may_run(conn, alone, by=by)] == [
        "user:marie", "user:chef", "system", "worker:host:1",
    ]  # fmt: skip


def test_who_no_longer_works_here_sees_no_rule_of_theirs(conn: Connection, rule: SavedRule) -> None:
    conn.execute("UPDATE users SET inactive_since = now()")
    assert [by for by in ALLOWED if may_run(conn, rule, by=by)] == ["system", "worker:host:1"]


def told(conn: Connection, by: str) -> str:
    """All that the commands about rules tell somebody."""
    report = check_rules(conn, by=by)
    words = [
        " ".join((one.rule, *said(one, "en"), *(chase_said(c, "en") for c in one.examples))) for one in report.findings
    ]
    chases = [chase_said(one, "en") for found in report.chases.values() for one in found]
    text = export(conn, by=by)
    changes = import_text(conn, EMPTY, because="looked", yes=False, by=by, now=NOW).changes
    lists = [one.title for one in listed(conn, "en", by=by)] + [
        one.rule for one in calendar(conn, days=9, by=by).instants
    ]
    return "\n".join((text.text, str(text.left_out), *words, *chases, *lists, *(one.name for one in changes)))


EMPTY = "rulebook: 1\n"


@pytest.mark.parametrize(("by", "sees"), [(by, True) for by in ALLOWED] + [(by, False) for by in REFUSED])
def test_no_list_export_check_or_import_names_a_rule_to_whom_it_is_not_shared_with(
    conn: Connection, by: str, *, sees: bool
) -> None:
    open_rule(conn, RULE, schedule_lines=["0 9 * * *"])
    open_rule(conn, "Relance 2", 1, schedule_lines=["0 9 * * *"], shared_with=["nadia"])
    open_rule(conn, "Relance 3", 1, schedule_lines=["0 9 * * *"])
    for title in (RULE, "Relance 2", "Relance 3"):
        activate(conn, rule=title, by="system", now=NOW)
    found = told(conn, by)
    assert ("Relance 2" in found, "Relance 3" in found) == (sees, True)
    assert ("takes the same invoices as a rule that is not shared with you" in found) == (not sees)


@pytest.mark.parametrize(("by", "sees"), [("system", True), ("user:marie", True), ("user:nadia", False)])
def test_a_rule_that_cannot_be_read_is_told_to_who_answers_for_it(
    conn: Connection, rule: SavedRule, by: str, *, sees: bool
) -> None:
    query = 'UPDATE rule_versions SET definition = definition || \'{"colour": "red"}\' WHERE rule_id = %s'
    conn.execute(query, [rule.id])
    assert ("Relance 2" in export(conn, by=by).left_out) == sees
    assert ("Relance 2" in {one.rule for one in check_rules(conn, by=by).findings}) == sees
