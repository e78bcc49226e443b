"""Why, or why not: an invoice that is due, a paid, a disputed and an address-less one, and what happened to each."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

import pytest

from operations.explain import GUARDS, explain
from operations.holds import hold
from operations.lookup import Ambiguous, Unknown, find_invoice
from operations.rules import activate
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import NOW, RULE, committed_chase, decided_run, doubt, open_chase, open_rule, pay, send_all
from tests.trade import TODAY, open_company
from workflow import decision
from workflow.errors import InvalidInput
from workflow.filters import ConditionClause, GroupClause

if TYPE_CHECKING:
    from pathlib import Path

    from operations.explain import Explanation, RuleExplanation
    from store.connection import Connection


def explained(conn: Connection, number: str) -> Explanation:
    return explain(conn, find_invoice(conn, number), by="system", rule=RULE)


def answer(conn: Connection, number: str) -> RuleExplanation:
    (one,) = explained(conn, number).rules
    return one


def refused(one: RuleExplanation) -> dict[str, str]:
    return {check.guard: check.reason for check in one.checks if check.reason}


def conditions(one: RuleExplanation) -> list[tuple[str, object, bool]]:
    assert isinstance(one.clause, GroupClause)
    return [(part.text, part.actual, part.holds) for part in one.clause.parts if isinstance(part, ConditionClause)]


def test_a_due_invoice_is_to_be_reminded_and_every_clause_says_why(database: Connection) -> None:
    open_chase(database)
    one = answer(database, "FA-1")
    assert one.reason == "reminded"
    assert refused(one) == {}
    assert conditions(one) == [("level = 0", 0, True), ("days_overdue >= 15", 24, True)]


def test_an_invoice_that_is_not_due_long_enough_fails_one_clause(database: Connection) -> None:
    open_chase(database)
    one = answer(database, "FA-3")
    assert refused(one) == {"filter": "filter", "due_date": "not_due"}
    assert conditions(one) == [("level = 0", 0, True), ("days_overdue >= 15", -21, False)]


def test_a_paid_invoice_is_refused_by_its_state(database: Connection) -> None:
    open_chase(database)
    found = explained(database, "FA-4")
    assert {"paid", "no_balance"} <= set(refused(found.rules[0]).values())
    assert [payment.reference for payment in found.payments] == ["VIR-FA-4"]
    assert any("balance" in change.change for change in found.changes)


def test_a_disputed_invoice_says_so_and_the_journal_says_who_and_why(database: Connection) -> None:
    open_chase(database)
    found = explained(database, "FA-5")
    assert refused(found.rules[0]) == {"commercial_state": "disputed"}
    (change,) = [change for change in found.changes if "commercial_state" in change.change]
    assert (change.actor, change.because, change.today) == ("user:marie", "wrong price", TODAY)


def test_an_address_less_customer_has_nobody_at_any_link(database: Connection) -> None:
    open_chase(database)
    one = answer(database, "FA-6")
    assert refused(one) == {"recipient": "no_recipient"}
    assert [(link.contact, link.chosen) for link in one.chain] == [(None, False)] * 4


def test_the_chain_shows_who_was_chosen(database: Connection) -> None:
    open_chase(database)
    chosen = [link for link in answer(database, "FA-1").chain if link.chosen]
    assert [(link.link, link.contact and link.contact.email) for link in chosen] == [
        ("preferred contact", "ana@dupont.example")
    ]


def test_credit_on_account_is_weighed_against_all_of_the_customer_s_due_invoices(database: Connection) -> None:
    open_chase(database)
    pay(database, "FA-2", "0.50")
    database.execute(
        "INSERT INTO payments (company_id, customer_id, kind, reference, currency, amount, received_on)"
        " SELECT company_id, customer_id, 'payment', 'ACOMPTE', 'EUR', 120, %s FROM invoices WHERE number = 'FA-1'",
        [TODAY],
    )
    assert answer(database, "FA-1").reason == "reminded", "120 do not cover FA-1 and FA-2 together"
    hold(database, company="NORD", invoice="FA-2", because="talks", by="user:marie")
    assert answer(database, "FA-1").reason == "unallocated_credit"


def test_active_rules_come_first(database: Connection) -> None:
    open_chase(database)
    second = open_rule(database, "Relance 2", 1)
    activate(database, rule=second.title, by="user:marie", now=NOW)
    found = explain(database, find_invoice(database, "FA-1"), by="system")
    assert [one.rule.title for one in found.rules] == ["Relance 2", RULE]


def test_a_rule_of_another_company_is_refused(database: Connection) -> None:
    open_chase(database)
    other = open_company(database, "SUD")
    database.execute("UPDATE rules SET company_id = %s", [other])
    with pytest.raises(InvalidInput, match="another company than NORD"):
        explained(database, "FA-1")


def test_a_reminded_invoice_tells_its_run_its_mail_and_the_server_s_words(database_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        run_id = decided_run(database_url, rule)
        send_all(database_url, run_id)
    with connect(database_url) as conn:
        found = explained(conn, "FA-1")
    (mail,) = found.reminders
    assert (mail.state, mail.outcome, mail.level, mail.ended_on) == ("sent", "accepted", 0, TODAY)
    steps = [(attempt.step, attempt.detail) for attempt in found.attempts[mail.id]]
    assert [step for step, _ in steps] == ["armed", "accepted"]
    assert steps[1][1] is not None
    assert steps[1][1].startswith("250")
    assert [(run.run_id, run.reason, run.reminder_id) for run in found.runs] == [(run_id, "reminded", mail.id)]
    levels = [change for change in found.changes if "level" in change.change]
    assert [(change.change["level"], change.actor) for change in levels] == [([0, 1], "worker:test:1")]
    assert any(change.change.get("tag") == [None, "Relance 1"] for change in found.changes)


def test_an_invoice_in_doubt_is_to_be_checked(database_url: str) -> None:
    rule = committed_chase(database_url)
    decided_run(database_url, rule)
    with connect(database_url) as conn:
        assert answer(conn, "FA-1").reason == "on_its_way"
        doubt(conn, explained(conn, "FA-1").reminders[0].id)
        assert answer(conn, "FA-1").reason == "in_doubt"


def test_an_unknown_number_names_the_nearest(database: Connection) -> None:
    open_chase(database)
    with pytest.raises(Unknown, match="FA-1"):
        find_invoice(database, "FA1")


def test_a_number_that_two_companies_have_asks_which(database: Connection) -> None:
    open_chase(database)
    other = open_company(database, "SUD")
    database.execute(
        "INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on)"
        " SELECT %s, customer_id, number, currency, total, balance, issued_on FROM invoices WHERE number = 'FA-1'",
        [other],
    )
    with pytest.raises(Ambiguous, match="NORD, SUD"):
        find_invoice(database, "FA-1")
    assert find_invoice(database, "FA-1", "SUD").company == "SUD"
    with pytest.raises(Unknown, match="no company 'SUT'; the nearest: SUD"):
        find_invoice(database, "FA-1", "SUT")


def test_every_guard_of_the_decision_has_words() -> None:
    asked = {
        call.args[0].value
        for call in ast.walk(ast.parse(inspect.getsource(decision)))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Check"
        and isinstance(call.args[0], ast.Constant)
    }
    assert asked == set(GUARDS)
    assert all(set(words) == {"en", "fr"} for words in GUARDS.values())
