"""Rules saved in versions, checked against everything that they name, activated and deactivated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operations.companies import save_company
from operations.rules import Saved, activate, deactivate, save_rule
from operations.tags import save_category, save_tag
from operations.users import save_user
from store import rules
from tests.trade import TODAY, but, journal, open_account, open_trade, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
MARIE: dict[str, Any] = {"company": "NORD", "account": "comptabilité", "by": "user:marie", "now": NOW}
LEVEL_0 = {"field": "level", "op": "=", "value": 0}
WORDS = {"subject": "Facture impayée", "header": "Bonjour {{ customer.name }},", "footer": "Cordialement"}


def definition(**changes: object) -> dict[str, Any]:
    return {
        "title": "Relance 1",
        "filter": LEVEL_0,
        "texts": {"fr": WORDS},
        "schedule_lines": ["0 9 * * 1-5"],
        "tags": ["Relance 1"],
    } | changes


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    save_tag(database, title="Relance 1", by="user:marie")
    return database


def test_a_new_rule_waits_to_be_activated(conn: Connection) -> None:
    saved = save_rule(conn, definition(), **MARIE)
    (rule,) = rules.saved(conn)
    assert (saved, rule.active, rule.counting_from) == (Saved(id=rule.id, version=1, warnings=()), False, NOW)
    assert rule.rule.tags == ("Relance 1",)


def test_a_rule_saved_twice_has_not_changed(conn: Connection) -> None:
    saved = save_rule(conn, definition(), **MARIE)
    before = written(conn)
    assert save_rule(conn, definition(), **but(MARIE, {"now": LATER})) == saved
    assert written(conn) == before
    assert rules.saved(conn)[0].counting_from == NOW


def test_what_changes_makes_a_version_and_the_old_one_stays(conn: Connection) -> None:
    saved = save_rule(conn, definition(), **MARIE)
    changed = save_rule(conn, definition(attach_invoices=True), **but(MARIE, {"now": LATER}))
    assert (changed.id, changed.version) == (saved.id, 2)
    assert rules.saved(conn)[0].counting_from == NOW
    assert rules.pinned(conn, saved.id, 1).rule.attach_invoices is False
    assert rules.pinned(conn, saved.id, 2).rule.attach_invoices is True


def test_another_account_is_a_change(conn: Connection) -> None:
    save_rule(conn, definition(), **MARIE)
    account_id = open_account(conn, "autre")
    assert save_rule(conn, definition(), **but(MARIE, {"account": "autre"})).version == 2
    assert rules.saved(conn)[0].account_id == account_id


def test_a_changed_schedule_counts_from_its_change(conn: Connection) -> None:
    save_rule(conn, definition(), **MARIE)
    save_rule(conn, definition(schedule_lines=["0 8 * * *"]), **but(MARIE, {"now": LATER}))
    assert rules.saved(conn)[0].counting_from == LATER


def test_activation_counts_from_now_and_says_when_nothing_changed(conn: Connection) -> None:
    saved = save_rule(conn, definition(), **MARIE)
    assert activate(conn, rule="Relance 1", by="user:marie", now=LATER) is True
    assert activate(conn, rule="Relance 1", by="user:marie", now=LATER + timedelta(days=1)) is False
    (rule,) = rules.saved(conn)
    assert (rule.active, rule.counting_from) == (True, LATER)
    assert deactivate(conn, rule="Relance 1", by="user:marie", now=LATER) is True
    assert deactivate(conn, rule="Relance 1", by="user:marie", now=LATER) is False
    assert rules.saved(conn)[0].active is False
    assert [change["active"] for change in journal(conn, "rule", saved.id)[1:]] == [[False, True], [True, False]]
    assert conn.execute("SELECT DISTINCT today FROM journal WHERE subject = 'rule'").fetchall() == [(TODAY,)]


def test_a_rule_is_edited_by_its_owner_and_by_administrators(conn: Connection) -> None:
    save_rule(conn, definition(), **MARIE)
    paul: dict[str, Any] = {"login": "paul", "name": "Paul", "email": "paul@nord.example", "by": "system"}
    save_user(conn, **paul)
    as_paul = but(MARIE, {"by": "user:paul"})
    for edit in (
        lambda: save_rule(conn, definition(grouping="invoice"), **as_paul),
        lambda: activate(conn, rule="Relance 1", by="user:paul", now=NOW),
        lambda: deactivate(conn, rule="Relance 1", by="user:paul", now=NOW),
    ):
        with pytest.raises(InvalidInput, match="by: a rule is edited by its owner and by administrators"):
            edit()
    save_user(conn, **paul, role="administrator")
    assert save_rule(conn, definition(grouping="invoice"), **as_paul).version == 2
    assert activate(conn, rule="Relance 1", by="system", now=NOW) is True


def test_the_system_saves_a_rule_for_an_owner(conn: Connection) -> None:
    assert save_rule(conn, definition(), **but(MARIE, {"by": "system", "owner": "marie"})).version == 1
    with pytest.raises(InvalidInput, match="owner: a new rule needs a user as its owner"):
        save_rule(conn, definition(title="Relance 2"), **but(MARIE, {"by": "system"}))
    with pytest.raises(InvalidInput, match="owner: does not exist"):
        save_rule(conn, definition(title="Relance 2"), **but(MARIE, {"owner": "paul"}))
    with pytest.raises(InvalidInput, match="by: is no user"):
        save_rule(conn, definition(), **but(MARIE, {"by": "user:paul"}))


def test_a_rule_may_send_from_its_owners_account_and_from_no_other_users(conn: Connection) -> None:
    open_account(conn, "marie", company=None, user="marie")
    assert save_rule(conn, definition(), **but(MARIE, {"account": "marie"})).version == 1
    save_user(conn, login="paul", name="Paul", email="paul@nord.example", by="system")
    open_account(conn, "paul", company=None, user="paul")
    with pytest.raises(InvalidInput, match="account: belongs neither to the company nor to the rule's owner"):
        save_rule(conn, definition(), **but(MARIE, {"account": "paul"}))


def test_a_rule_stays_with_its_company(conn: Connection) -> None:
    save_rule(conn, definition(), **MARIE)
    save_company(conn, code="SUD", name="Sud", by="system")
    open_account(conn, "sud", company="SUD")
    with pytest.raises(InvalidInput, match="company: the rule of this title is another company's"):
        save_rule(conn, definition(), **but(MARIE, {"company": "SUD", "account": "sud"}))


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"tags": ["Relance 1", "Relance 9", "VIP"]}, "tags", "there is no Relance 9, VIP"),
        ({"report_to": ["marie", "paul"]}, "report_to", "there is no paul"),
        ({"shared_with": ["paul"]}, "shared_with", "there is no paul"),
        ({"texts": {"en": WORDS}}, "texts", "fr is needed"),
        ({"texts": {"fr": WORDS | {"subject": "{{ custmer.name }}"}}}, "texts.fr.subject", "unknown variable"),
        ({"texts": {"fr": WORDS | {"header": "{{ invoices.__class__ }}"}}}, "texts.fr.header", ""),
        ({"texts": {"fr": WORDS | {"footer": "{% if %}"}}}, "texts.fr.footer", ""),
        ({"reply_to": "compta"}, "reply_to", "exactly one @"),
        ({"cc": ["vente@nord.example", "x@y@z.example"]}, "cc", "exactly one @"),
        ({"bcc": ["Archive <archive@nord.example>"]}, "bcc", ""),
        ({"title": "Relance\n1"}, "title", "U+000A"),
        ({"filter": {"field": "balance", "op": ">", "value": "1"}}, "filter", "does not fix one level"),
        ({"colour": "red"}, "colour", "is no field of a rule"),
    ],
)
def test_a_rule_that_names_what_is_not_is_refused_whole(
    conn: Connection, changes: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_rule(conn, definition(**changes), **MARIE)
    assert refused.value.field == field
    assert reason in refused.value.reason
    assert rules.saved(conn) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"company": "SUD"}, "company"), ({"account": "autre"}, "account"), ({"by": "Marie"}, "by")],
)
def test_company_and_account_must_exist(conn: Connection, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_rule(conn, definition(), **but(MARIE, changes))
    assert refused.value.field == field


def test_an_unknown_rule_is_not_activated(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="rule: does not exist"):
        activate(conn, rule="Relance 9", by="user:marie", now=NOW)


def test_a_reminder_tag_in_a_category_that_allows_one_draws_a_warning(conn: Connection) -> None:
    save_category(conn, title="Relances", one_only=True, by="user:marie")
    save_tag(conn, title="Relance 1", category="Relances", by="user:marie")
    (warning,) = save_rule(conn, definition(), **MARIE).warnings
    assert warning.startswith("the tag Relance 1 is in the category Relances, which allows one tag")
    plain = definition(title="Envoi", counts=False, minimum_gap_days=30)
    assert save_rule(conn, plain, **MARIE).warnings == ()


def test_a_filter_on_a_tag_that_does_not_exist_draws_a_warning(conn: Connection) -> None:
    named = {"field": "tag", "op": "not in", "value": ["Relance 1", "Litige"]}
    saved = save_rule(conn, definition(filter={"all": [LEVEL_0, {"not": named}]}), **MARIE)
    assert saved.warnings == ("the filter names the tag Litige, which does not exist",)
