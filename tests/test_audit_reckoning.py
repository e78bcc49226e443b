"""What the audit reckons, from values alone: what was owed, which reason was so, what became of an invoice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from workflow.audit import Became, Pause, Record, as_of, fate, holds, owed, stood, was_owed
from workflow.filter_text import parse_text
from workflow.rules import Rule, Texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflow.audit import Past

OPENED = datetime(2026, 11, 25, 8, tzinfo=UTC)
DAY = date(2026, 11, 25)
HOUR = timedelta(hours=1)
TITLES = {1: "litige", 2: "VIP"}
RULE = Rule(
    title="Relance 1",
    filter=parse_text('level = 0 and days_overdue >= 15 and tag not in ("litige")'),
    texts={"fr": Texts(subject="s", header="h", footer="f")},
)
MAILING = replace(RULE, counts=False, minimum_gap_days=9)
COLUMNS: dict[str, Any] = {
    "number": "FA-1", "company": "NORD", "customer_id": 1, "state": "level_0", "before_settled": None, "cycle": 1,
    "commercial_state": "open", "currency": "EUR", "total": Decimal(100), "balance": Decimal(100),
    "issued_on": "2026-10-01", "due_on": "2026-10-31", "last_reminded_on": None, "payment_method": None,
    "factored": False, "held_because": None,
}  # fmt: skip
CUSTOMER: dict[str, Any] = {"number": "C-1", "kind": "professional", "excluded": False, "held_because": None}


def record(
    columns: dict[str, Any] | None = None,
    customer: dict[str, Any] | None = None,
    **values: Any,  # noqa: ANN401 - as Record takes it
) -> Record:
    given: dict[str, Any] = {
        "id": 1, "number": "FA-1", "created_at": OPENED - 24 * HOUR, "columns": COLUMNS | (columns or {}),
        "customer": CUSTOMER | (customer or {}), "tags": frozenset(), "customer_tags": frozenset(), "payments": (),
        "pauses": (), "changes": (), "customer_changes": (),
    }  # fmt: skip
    return Record(**given | values)


def past(one: Record, at: datetime = OPENED) -> Past:
    found = as_of(one, at, TITLES)
    assert found
    return found


def pause(*, lifted_at: datetime | None = None, until_on: date = DAY, made_at: datetime = OPENED - HOUR) -> Pause:
    return Pause(created_at=made_at, lifted_at=lifted_at, until_on=until_on)


# ---------------------------------------------------------------- what was owed


def test_an_overdue_invoice_that_nobody_is_against_was_owed_a_reminder() -> None:
    assert owed(past(record()), RULE, DAY)


AGAINST: dict[str, Record] = {
    "paid": record(payments=((OPENED - HOUR, Decimal(100)),)),
    "disputed": record({"commercial_state": "disputed"}),
    "customer excluded": record(customer={"excluded": True}),
    "held": record({"held_because": "talks"}),
    "customer held": record(customer={"held_because": "talks"}),
    "paused": record(pauses=(pause(),)),
    "tagged": record(tags=frozenset({1})),
    "on its way": record({"state": "level_0_sending"}),
    "at the next level": record({"state": "level_1"}),
    "all sent": record({"state": "level_3"}),
    "without a due date": record({"due_on": None}),
    "not due": record({"due_on": "2026-11-25"}),
    "reminded that day": record({"last_reminded_on": "2026-11-25"}),
    "factored": record({"factored": True}),
}


@pytest.mark.parametrize("why", AGAINST)
def test_it_was_not_owed_where_something_was_against_it(why: str) -> None:
    wide = replace(RULE, filter=parse_text('balance > 0 and tag not in ("litige")'), any_level=True)
    for rule in (RULE, wide) if why != "at the next level" else (RULE,):
        assert not owed(past(AGAINST[why]), rule, DAY)


@pytest.mark.parametrize("why", ["on its way", "reminded that day", "factored"])
def test_a_mail_that_does_not_count_was_owed_whatever_the_reminders_say(why: str) -> None:
    assert owed(past(AGAINST[why]), MAILING, DAY)


@pytest.mark.parametrize(
    "over", [pause(until_on=DAY - timedelta(days=1)), pause(lifted_at=OPENED), pause(made_at=OPENED + HOUR)]
)
def test_a_pause_that_was_over_lifted_or_still_to_come_held_nobody(over: Pause) -> None:
    assert owed(past(record(pauses=(over,))), RULE, DAY)


def test_what_changed_since_is_taken_back() -> None:
    one = record(
        {"commercial_state": "disputed", "due_on": "2026-12-31"},
        tags=frozenset({1}),
        changes=(
            (OPENED + 3 * HOUR, {"commercial_state": ["open", "disputed"], "unknown": [1, 2]}),
            (OPENED + 2 * HOUR, {"tag": [None, 1]}),
            (OPENED + HOUR, {"tag": [2, None], "due_on": ["2026-10-31", "2026-12-31"]}),
            (OPENED - HOUR, {"due_on": ["2026-01-01", "2026-10-31"]}),
        ),
    )
    then = past(one).facts
    assert (then.commercial_state, then.due_on, then.tags) == ("open", date(2026, 10, 31), frozenset({"VIP"}))
    assert past(one, OPENED + HOUR).facts.tags == frozenset()


def test_the_balance_is_what_the_ledger_says() -> None:
    one = record({"balance": Decimal(1)}, payments=((OPENED, Decimal(30)), (OPENED, Decimal("-0.5"))))
    assert (one.balance, past(one).facts.balance) == (Decimal("70.5"), Decimal("70.5"))


def test_it_was_owed_only_if_it_was_at_every_moment_that_the_run_may_have_seen() -> None:
    moments = (OPENED - HOUR, OPENED + HOUR)
    assert was_owed(record(), RULE, DAY, moments, TITLES)
    assert not was_owed(record(created_at=OPENED), RULE, DAY, moments, TITLES)
    assert not was_owed(record(payments=((OPENED, Decimal(100)),)), RULE, DAY, moments, TITLES)


# ---------------------------------------------------------------- how it stood while the run decided


def test_it_is_seen_at_each_of_its_changes_on_each_of_the_days() -> None:
    one = record(
        payments=((OPENED + HOUR, Decimal(40)), (OPENED + 9 * HOUR, Decimal(60))),
        pauses=(pause(made_at=OPENED + 2 * HOUR, lifted_at=OPENED + 3 * HOUR), pause()),
        customer_changes=((OPENED + 4 * HOUR, {"excluded": [True, False]}),),
    )
    days = (DAY, DAY + timedelta(days=1))
    seen = list(stood(one, OPENED, OPENED + 5 * HOUR, days, titles=TITLES))
    assert len(seen) == 6 * 2
    assert [day for _, day in seen[:2]] == list(days)
    first_day = [one for one, day in seen if day == DAY]
    assert [each.facts.balance for each in first_day] == [100, 60, 60, 60, 60, 60]
    assert [each.paused_until == DAY for each in first_day] == [True] * 6
    assert [each.facts.customer.excluded for each in first_day] == [True] * 4 + [False] * 2


def test_it_is_seen_with_the_tags_that_each_of_its_mails_would_have_put_on() -> None:
    one = record(tags=frozenset({2}))
    mails = (frozenset({"Relance 1"}), frozenset({"litige", "Relevé"}))
    seen = stood(one, OPENED, OPENED, [DAY], titles=TITLES, mail_tags=mails)
    assert {each.facts.tags for each, _ in seen} == {
        frozenset({"VIP"}), frozenset({"VIP", "Relance 1"}), frozenset({"VIP", "litige", "Relevé"}),
    }  # fmt: skip


def test_it_is_not_seen_before_it_was_there() -> None:
    late = record(created_at=OPENED + HOUR)
    assert list(stood(late, OPENED, OPENED, [DAY], titles=TITLES)) == []


# ---------------------------------------------------------------- what became of it


def reminded(state: str | None, outcome: str | None = "planned") -> Became:
    return Became(reason="reminded", state=state, outcome=outcome)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (reminded("sent", "accepted"), "reminded"),
        (reminded("sent", "dropped"), "withdrawn"),
        (reminded("due"), "waiting"),
        (reminded("claimed"), "waiting"),
        (reminded("armed"), "waiting"),
        (reminded("in_doubt"), "in_doubt"),
        (reminded("failed"), "failed"),
        (reminded("cancelled"), "cancelled"),
    ],
)
def test_what_became_of_a_mail_is_what_became_of_its_invoice(said: Became, found: str) -> None:
    def nothing() -> Iterator[tuple[Past, date]]:
        raise AssertionError("a reminder that was planned needs no reason to be checked")
        yield

    assert fate(said, RULE, nothing(), seen=True, seen_later=True) == found


@pytest.mark.parametrize(
    ("seen", "seen_later", "found"),
    [(True, False, "waiting"), (False, True, "by_a_later_run"), (False, False, "missing")],
)
def test_one_of_whom_the_run_says_nothing_waits_or_was_missed(*, seen: bool, seen_later: bool, found: str) -> None:
    assert fate(None, RULE, [], seen=seen, seen_later=seen_later) == found


def test_a_reason_that_was_so_at_any_moment_is_one() -> None:
    pasts = [(past(record()), DAY), (past(AGAINST["disputed"]), DAY)]
    disputed, paid = (Became(reason=reason, state=None, outcome=None) for reason in ("disputed", "paid"))
    assert fate(disputed, RULE, pasts, seen=True, seen_later=False) == "left_out"
    assert fate(paid, RULE, pasts, seen=True, seen_later=True) == "unfounded", "though a later run looked"


SO: dict[str, Record] = {
    "filter": AGAINST["tagged"],
    "other_level": AGAINST["at the next level"],
    "paid": AGAINST["paid"],
    "no_balance": AGAINST["paid"],
    "cancelled": record({"commercial_state": "cancelled"}),
    "disputed": AGAINST["disputed"],
    "refused": record({"commercial_state": "refused"}),
    "no_due_date": AGAINST["without a due date"],
    "not_due": AGAINST["not due"],
    "today": AGAINST["reminded that day"],
    "excluded": AGAINST["customer excluded"],
    "held": AGAINST["customer held"],
    "factored": AGAINST["factored"],
    "all_sent": AGAINST["all sent"],
    "paused": record(pauses=(pause(lifted_at=OPENED - HOUR),)),
    "promised": AGAINST["paused"],
    "customer_paused": AGAINST["paused"],
}


@pytest.mark.parametrize("reason", SO)
def test_a_reason_is_checked_against_the_facts(reason: str) -> None:
    assert holds(reason, past(SO[reason]), RULE, DAY)
    assert not holds(reason, past(record()), RULE, DAY)


def test_a_filter_says_no_on_one_day_and_yes_on_another() -> None:
    on_the_day = replace(RULE, filter=parse_text("level = 0 and days_overdue = 25"))
    assert not holds("filter", past(record()), on_the_day, DAY)
    assert holds("filter", past(record()), on_the_day, DAY + timedelta(days=1))


def test_a_rule_without_a_level_leaves_nobody_out_for_theirs() -> None:
    assert not holds("other_level", past(AGAINST["at the next level"]), MAILING, DAY)


def test_a_fault_in_deciding_is_no_reason_and_what_cannot_be_looked_into_is() -> None:
    assert not holds("error", past(record()), RULE, DAY)
    assert holds("no_recipient", past(record()), RULE, DAY)
