"""The decision: each guard alone, the order of reasons, credit on account, and how invoices share mails."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filter_strategies import INVOICES, filters
from workflow.decision import REASONS, REMINDED, as_released, decide, decide_customer, mails
from workflow.facts import Contact, CustomerFacts, InvoiceFacts, Pause
from workflow.filter_text import parse_text
from workflow.filters import EVERYTHING, Condition, matches
from workflow.machine import STATES, is_idle
from workflow.rules import Rule

if TYPE_CHECKING:
    from workflow.filters import Filter

TODAY = date(2026, 11, 24)
YESTERDAY = TODAY - timedelta(days=1)
TOMORROW = TODAY + timedelta(days=1)


def contact(name: str = "dunning", email: str | None = None) -> Contact:
    return Contact(id=1, name=name, email=email or f"{name}@client.example")


FACTS = InvoiceFacts(
    id=1,
    number="FA-1",
    company="NORD",
    customer=CustomerFacts(
        id=1, number="C-1", name="Dupont", kind="professional", row_version=1, contacts={"dunning": contact()}
    ),
    state="level_0",
    level=0,
    cycle=1,
    row_version=1,
    commercial_state="open",
    currency="EUR",
    total=Decimal("100.00"),
    balance=Decimal("100.00"),
    issued_on=TODAY - timedelta(days=54),
    due_on=TODAY - timedelta(days=24),
)
RULE = Rule(title="Relance 1", filter=Condition(field="level", op="=", values=(0,)), texts={})
NOT_COUNTING = Rule(title="Envoi", filter=EVERYTHING, texts={}, counts=False, minimum_gap_days=7)

# A fact, and the reason that it gives when everything else is in order.
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"commercial_state": "paid"}, "paid"),
    ({"commercial_state": "cancelled"}, "cancelled"),
    ({"commercial_state": "disputed"}, "disputed"),
    ({"commercial_state": "refused"}, "refused"),
    ({"balance": Decimal(0)}, "no_balance"),
    ({"balance": Decimal("-0.01")}, "no_balance"),
    ({"state": "level_0_sending"}, "on_its_way"),
    ({"state": "level_0_in_doubt"}, "in_doubt"),
    ({"due_on": None}, "no_due_date"),
    ({"due_on": TODAY}, "not_due"),
    ({"due_on": TOMORROW}, "not_due"),
    ({"last_reminded_on": TODAY}, "today"),
    ({"last_reminded_on": TOMORROW}, "today"),
    ({"pause": Pause(reason="litige", until_on=TODAY)}, "paused"),
    ({"pause": Pause(reason="virement", until_on=TODAY, promise=True)}, "promised"),
    ({"held_because": "à voir"}, "held"),
    ({"factored": True}, "factored"),
    ({"undelivered": {"dunning@client.example": 12}}, "undelivered"),
]
CUSTOMER_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"pause": Pause(reason="congés", until_on=TOMORROW)}, "customer_paused"),
    ({"pause": Pause(reason="virement", until_on=TOMORROW, promise=True)}, "promised"),
    ({"excluded": True}, "excluded"),
    ({"held_because": "à voir"}, "held"),
    ({"last_mail_on": YESTERDAY, "min_days_between_mails": 2}, "gap"),
    ({"contacts": {}}, "no_recipient"),
    ({"contacts": {"dunning": replace(contact(), suppressed=True)}}, "suppressed"),
]
# Facts at the edge of a guard that still agrees.
AGREED: list[dict[str, Any]] = [
    {"due_on": YESTERDAY},
    {"last_reminded_on": YESTERDAY},
    {"pause": Pause(reason="litige", until_on=YESTERDAY)},
    {"pause": Pause(reason="virement", until_on=YESTERDAY, promise=True)},
    {"balance": Decimal("0.01")},
    {"rule_live": True, "rule_mailed_on": TODAY},
    {"undelivered": {"former@client.example": 12}},
]


def of_customer(**changes: object) -> InvoiceFacts:
    changed: Any = changes
    return replace(FACTS, customer=replace(FACTS.customer, **changed))


def invoice(number: int, **changes: object) -> InvoiceFacts:
    changed: Any = changes
    return replace(FACTS, id=number, number=f"FA-{number}", **changed)


def reasons(facts: InvoiceFacts, rule: Rule = RULE) -> list[str]:
    return [check.reason for check in decide(facts, rule, TODAY).checks if check.reason]


def test_an_unpaid_overdue_invoice_is_reminded() -> None:
    verdict = decide(FACTS, RULE, TODAY)
    assert (verdict.reason, verdict.detail) == (REMINDED, "")
    assert verdict.recipient is not None
    assert verdict.recipient.contact == contact()


@pytest.mark.parametrize(("changes", "reason"), REFUSALS)
def test_each_guard_alone_keeps_an_invoice_from_its_reminder(changes: dict[str, Any], reason: str) -> None:
    assert reasons(replace(FACTS, **changes)) == [reason]


@pytest.mark.parametrize(("changes", "reason"), CUSTOMER_REFUSALS)
def test_each_guard_alone_keeps_a_customer_from_all_reminders(changes: dict[str, Any], reason: str) -> None:
    assert reasons(of_customer(**changes)) == [reason]


@pytest.mark.parametrize("changes", AGREED)
def test_at_its_edge_each_guard_agrees(changes: dict[str, Any]) -> None:
    assert reasons(replace(FACTS, **changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"last_mail_on": TODAY - timedelta(days=2), "min_days_between_mails": 2},
        {"last_mail_on": TODAY},
        {"min_days_between_mails": 2},
    ],
)
def test_the_gap_between_two_mails_counts_where_the_company_sets_one(changes: dict[str, Any]) -> None:
    assert reasons(of_customer(**changes)) == []


def test_an_invoice_that_the_filter_leaves_out_says_so() -> None:
    assert reasons(FACTS, replace(RULE, filter=Condition(field="number", op="=", values=("FA-2",)))) == ["filter"]


def test_after_the_third_reminder_nothing_follows() -> None:
    sent = replace(FACTS, state="level_3", level=3)
    assert reasons(sent, replace(RULE, filter=EVERYTHING)) == ["all_sent"]


def test_a_rule_reminds_at_its_own_level_only() -> None:
    assert reasons(replace(FACTS, state="level_1", level=1)) == ["filter", "other_level"]


def test_a_rule_of_any_level_takes_each_invoice_from_where_it_is() -> None:
    any_level = replace(RULE, filter=EVERYTHING, any_level=True)
    assert [reasons(replace(FACTS, state=f"level_{level}", level=level), any_level) for level in range(3)] == [[]] * 3


def test_the_first_guard_that_refuses_is_the_reason_and_all_are_told() -> None:
    facts = of_customer(excluded=True, contacts={})
    facts = replace(facts, commercial_state="disputed", due_on=None, factored=True)
    verdict = decide(facts, RULE, TODAY)
    assert [check.guard for check in verdict.checks] == [
        "filter", "commercial_state", "balance", "state", "due_date", "once_a_day", "pause", "excluded", "held",
        "factored", "gap", "fresh_payments", "delivered", "recipient",
    ]  # fmt: skip
    assert [check.reason for check in verdict.checks if check.reason] == [
        "disputed", "no_due_date", "excluded", "factored", "no_recipient",
    ]  # fmt: skip
    assert verdict.reason == "disputed"


@pytest.mark.parametrize(
    ("level", "needs", "reason"),
    [
        (0, None, []),
        (1, None, ["stale_payments"]),
        (2, None, ["stale_payments"]),
        (0, True, ["stale_payments"]),
        (2, False, []),
    ],
)
def test_old_payment_data_keep_second_and_third_reminders_unless_the_rule_says_otherwise(
    level: int, reason: list[str], *, needs: bool | None
) -> None:
    rule = replace(RULE, filter=parse_text(f"level = {level}"), needs_fresh_payments=needs)
    facts = replace(FACTS, level=level, state=f"level_{level}", stale_payments="never heard of")
    assert reasons(facts, rule) == reason


def test_the_detail_is_what_the_refusing_guard_saw() -> None:
    paused = replace(FACTS, pause=Pause(reason="litige", until_on=TOMORROW))
    assert decide(paused, RULE, TODAY).detail == "litige, until 2026-11-25"


def test_an_invoices_own_pause_is_told_before_its_customers() -> None:
    facts = of_customer(pause=Pause(reason="congés", until_on=TOMORROW))
    assert reasons(replace(facts, pause=Pause(reason="litige", until_on=TODAY))) == ["paused"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"state": "level_3", "level": 3}, []),
        ({"due_on": None}, []),
        ({"factored": True}, []),
        ({"last_reminded_on": TODAY}, []),
        ({"state": "level_1_sending", "level": 1}, []),
        ({"commercial_state": "paid", "balance": Decimal(0)}, ["paid", "no_balance"]),
        ({"held_because": "à voir"}, ["held"]),
        ({"pause": Pause(reason="litige", until_on=TODAY)}, ["paused"]),
        ({"rule_live": True}, ["on_its_way"]),
        ({"rule_mailed_on": TODAY - timedelta(days=6)}, ["sent_before"]),
        ({"rule_mailed_on": TODAY - timedelta(days=7)}, []),
    ],
)
def test_a_mail_that_does_not_count_has_guards_of_its_own(changes: dict[str, Any], found: list[str]) -> None:
    assert reasons(replace(FACTS, **changes), NOT_COUNTING) == found


def test_without_a_gap_a_mail_that_does_not_count_may_follow_at_once() -> None:
    rule = replace(NOT_COUNTING, minimum_gap_days=None)
    assert reasons(replace(FACTS, rule_mailed_on=TODAY), rule) == []


@pytest.mark.parametrize(("credit", "covered"), [("150.00", True), ("150.01", True), ("149.99", False)])
def test_credit_on_account_that_covers_the_claim_holds_it(credit: str, covered: bool) -> None:  # noqa: FBT001
    customer = replace(FACTS.customer, unallocated={"EUR": Decimal(credit)})
    invoices = [invoice(1, customer=customer), invoice(2, customer=customer, balance=Decimal("50.00"))]
    verdicts = decide_customer(invoices, RULE, TODAY)
    assert [verdict.reason for verdict in verdicts] == ["unallocated_credit" if covered else REMINDED] * 2
    assert [verdict.checks[-1].detail for verdict in verdicts] == [f"{credit} EUR"] * 2


def test_credit_covers_what_would_be_claimed_not_what_stays_silent() -> None:
    customer = replace(FACTS.customer, unallocated={"EUR": Decimal("100.00")})
    invoices = [invoice(1, customer=customer), invoice(2, customer=customer, due_on=TOMORROW)]
    assert [verdict.reason for verdict in decide_customer(invoices, RULE, TODAY)] == ["unallocated_credit", "not_due"]


def test_credit_in_one_currency_covers_nothing_in_another() -> None:
    customer = replace(FACTS.customer, unallocated={"CHF": Decimal(1000)})
    invoices = [invoice(1, customer=customer), invoice(2, customer=customer, currency="CHF")]
    verdicts = decide_customer(invoices, RULE, TODAY)
    assert [verdict.reason for verdict in verdicts] == [REMINDED, "unallocated_credit"]


def test_credit_does_not_hold_a_mail_that_does_not_count() -> None:
    customer = replace(FACTS.customer, unallocated={"EUR": Decimal(1000)})
    (verdict,) = decide_customer([invoice(1, customer=customer)], NOT_COUNTING, TODAY)
    assert verdict.reason == REMINDED


def test_without_credit_a_customers_invoices_are_decided_one_by_one() -> None:
    invoices = [invoice(1), invoice(2, commercial_state="paid")]
    assert decide_customer(invoices, RULE, TODAY) == [decide(facts, RULE, TODAY) for facts in invoices]
    assert decide_customer([], RULE, TODAY) == []


def test_the_invoices_of_one_recipient_and_currency_share_a_mail() -> None:
    other = {"billing": contact("billing")}
    alone = replace(FACTS.customer, contacts={})
    invoices = [
        invoice(1),
        invoice(2, balance=Decimal("50.50")),
        invoice(3, currency="CHF"),
        invoice(4, customer=alone, interlocutors=other),
        invoice(5, commercial_state="paid"),
    ]
    made = mails([decide(facts, RULE, TODAY) for facts in invoices], RULE)
    assert [[verdict.invoice.id for verdict in mail.verdicts] for mail in made] == [[1, 2], [3], [4]]
    assert [(mail.recipient.contact.name, mail.currency) for mail in made] == [
        ("dunning", "EUR"), ("dunning", "CHF"), ("billing", "EUR"),
    ]  # fmt: skip
    assert made[0].amount == Decimal("150.50")


def test_the_same_address_in_other_capitals_is_one_recipient() -> None:
    customer = replace(FACTS.customer, contacts={"dunning": contact(email="DUNNING@client.example")})
    made = mails([decide(facts, RULE, TODAY) for facts in (invoice(1), invoice(2, customer=customer))], RULE)
    assert [mail.recipient.contact.email for mail in made] == ["dunning@client.example"]
    assert len(made[0].verdicts) == 2


def test_a_rule_may_ask_for_one_mail_an_invoice() -> None:
    rule = replace(RULE, grouping="invoice")
    made = mails([decide(invoice(number), rule, TODAY) for number in (1, 2)], rule)
    assert [[verdict.invoice.id for verdict in mail.verdicts] for mail in made] == [[1], [2]]


@pytest.mark.parametrize("state", STATES)
def test_a_claim_decides_as_if_its_own_reminder_had_never_been(state: str) -> None:
    freed = as_released(replace(FACTS, state=state, rule_live=True))
    assert freed.state == ("settled" if state == "settled" else state[: len("level_0")])
    assert is_idle(freed.state) == (state != "settled")
    assert not freed.rule_live


def test_every_reason_is_said_in_both_languages() -> None:
    assert all(words.keys() == {"en", "fr"} and all(words.values()) for words in REASONS.values())
    given = {reason for _, reason in REFUSALS + CUSTOMER_REFUSALS}
    elsewhere = {
        "filter",
        "all_sent",
        "other_level",
        "sent_before",
        "unallocated_credit",
        "other_recipient",
        "error",
        "stale_payments",
        "run_refused",
    }
    assert given | elsewhere | {REMINDED} == REASONS.keys()


@given(filters(), st.lists(INVOICES, max_size=4), st.booleans())
def test_whoever_is_reminded_was_selected_and_has_something_to_pay(
    filter_: Filter,
    invoices: list[InvoiceFacts],
    counts: bool,  # noqa: FBT001
) -> None:
    rule = Rule(title="Relance", filter=filter_, texts={}, counts=counts)
    for verdict in decide_customer(invoices, rule, TODAY):
        assert verdict.reason in REASONS
        if verdict.reason == REMINDED:
            assert matches(filter_, verdict.invoice, TODAY)
            assert verdict.invoice.balance > 0
            assert verdict.recipient is not None
