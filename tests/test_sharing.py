"""A rule is seen and run by those with whom it is shared, by its owner and by administrators; by the system always."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.explain import explain
from operations.lookup import find_invoice
from operations.preview import preview
from operations.rules import may_run
from operations.run import run_by_hand
from operations.users import save_user
from store import runs
from tests.chasing import RULE, open_chase, open_rule
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
