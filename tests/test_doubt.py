"""What a policy makes of a mail in doubt: never twice where evidence or a key forbids it, never for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.doubt import (
    KEY_MARGIN,
    MOST_AGAIN,
    POLICIES,
    REASONS,
    Decision,
    Doubt,
    Evidence,
    Key,
    Policy,
    decide,
    idempotency_key,
)

ARMED = datetime(2026, 11, 24, 9, tzinfo=UTC)
QUARANTINE = timedelta(minutes=30)
FREE = ARMED + QUARANTINE
DOUBT = Doubt(armed_at=ARMED, first_armed_at=ARMED)
ABSENT = Evidence(shows="nothing", earlier=True, gapless=True, later=True)
KEY = Key(hours=24, on_every_mail=True)


def decided(
    policy: Policy,
    now: datetime = FREE,
    doubt: Doubt = DOUBT,
    *,
    evidence: Evidence | None = ABSENT,
    key: Key | None = KEY,
) -> Decision:
    return decide(policy, doubt, now=now, quarantine=QUARANTINE, evidence=evidence, key=key)


def said(decision: Decision) -> tuple[str, str]:
    return decision.then, decision.reason


def test_under_hold_a_person_decides() -> None:
    assert said(decided("hold")) == ("person", "hold")
    assert said(decided("hold", doubt=replace(DOUBT, heard_of=True))) == ("person", "hold_heard_of")


@pytest.mark.parametrize("policy", ["evidence", "provider_key", "resend"])
@pytest.mark.parametrize("shows", ["nothing", "refused", "unreadable"])
def test_a_mail_about_which_something_came_back_has_left_whatever_the_policy(policy: Policy, shows: Any) -> None:  # noqa: ANN401 - one of Evidence's words
    doubt = replace(DOUBT, heard_of=True, came_back=True, sent_again=MOST_AGAIN)
    evidence = Evidence(shows=shows, earlier=True, later=True)
    assert said(decided(policy, ARMED, doubt, evidence=evidence)) == ("sent", "heard_of")


def test_a_mail_that_evidence_shows_was_accepted_is_sent_at_once() -> None:
    assert said(decided("evidence", ARMED, evidence=Evidence(shows="accepted"))) == ("sent", "found")


def test_a_refusal_waits_for_the_quarantine_since_it_may_be_an_earlier_tries() -> None:
    refused = Evidence(shows="refused")
    assert said(decided("evidence", FREE - timedelta(seconds=1), evidence=refused)) == ("wait", "quarantine")
    assert said(decided("evidence", evidence=refused)) == ("failed", "found_refused")
    assert said(decided("evidence", doubt=replace(DOUBT, came_back=True), evidence=refused)) == (
        "failed", "found_refused",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("evidence", "then"),
    [
        (ABSENT, ("again", "not_found")),
        (Evidence(shows="nothing", earlier=True), ("wait", "nothing_later")),
        (Evidence(shows="nothing", gapless=True, later=True), ("person", "nothing_earlier")),
        (Evidence(shows="nothing", earlier=True, later=True), ("person", "gaps")),
        (Evidence(shows="unreadable"), ("wait", "unreadable")),
        (None, ("wait", "unreadable")),
    ],
)
def test_no_trace_counts_only_between_traces_of_others(evidence: Evidence | None, then: tuple[str, str]) -> None:
    assert said(decided("evidence", evidence=evidence)) == then


def test_evidence_of_another_place_proves_no_absence() -> None:
    changed = replace(DOUBT, account_changed=True)
    assert said(decided("evidence", doubt=changed)) == ("person", "account_changed")
    assert said(decided("evidence", doubt=changed, evidence=Evidence(shows="accepted"))) == ("sent", "found")


@pytest.mark.parametrize(
    ("doubt", "key", "then"),
    [
        (DOUBT, KEY, ("again", "same_key")),
        (DOUBT, Key(hours=24, on_every_mail=False), ("person", "without_key")),
        (DOUBT, None, ("person", "without_key")),
        (replace(DOUBT, account_changed=True), KEY, ("person", "account_changed")),
        (replace(DOUBT, first_armed_at=ARMED - timedelta(hours=24)), KEY, ("person", "key_expired")),
    ],
)
def test_a_key_counts_where_each_dot_carried_it_and_its_time_is_not_over(
    doubt: Doubt, key: Key | None, then: tuple[str, str]
) -> None:
    assert said(decided("provider_key", doubt=doubt, key=key)) == then


def test_the_providers_time_runs_from_the_first_dot_and_ends_early() -> None:
    again = replace(DOUBT, armed_at=ARMED + timedelta(hours=5))
    decision = decided("provider_key", ARMED + timedelta(hours=6), again)
    assert decision.until == ARMED + timedelta(hours=24) - KEY_MARGIN
    assert decision.until
    assert said(decided("provider_key", decision.until, again)) == ("person", "key_expired")


def test_resend_sends_again() -> None:
    assert said(decided("resend")) == ("again", "resend")


def test_a_policy_that_is_none_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        decide(cast("Policy", "guess"), DOUBT, now=FREE, quarantine=QUARANTINE, evidence=None, key=None)
    with pytest.raises(AssertionError):
        decided("evidence", evidence=Evidence(shows=cast("Any", "tarot")))


@pytest.mark.parametrize("policy", ["evidence", "provider_key", "resend"])
def test_what_came_back_or_goes_again_and_again_is_a_persons(policy: Policy) -> None:
    assert said(decided(policy, doubt=replace(DOUBT, came_back=True))) == ("person", "came_back")
    assert said(decided(policy, doubt=replace(DOUBT, sent_again=MOST_AGAIN))) == ("person", "too_often")
    assert decided(policy, doubt=replace(DOUBT, sent_again=MOST_AGAIN - 1)).then == "again"


# ---------------------------------------------------------------- whatever is known

MOMENTS = st.integers(-90_000, 200_000).map(lambda seconds: ARMED + timedelta(seconds=seconds))
DOUBTS = st.builds(
    Doubt,
    armed_at=st.just(ARMED),
    first_armed_at=st.integers(0, 100_000).map(lambda seconds: ARMED - timedelta(seconds=seconds)),
    sent_again=st.integers(0, 5),
    came_back=st.booleans(),
    account_changed=st.booleans(),
    heard_of=st.booleans(),
)
EVIDENCE = st.none() | st.builds(
    Evidence,
    shows=st.sampled_from(["accepted", "refused", "nothing", "unreadable"]),
    earlier=st.booleans(),
    gapless=st.booleans(),
    later=st.booleans(),
)
KEYS = st.none() | st.builds(Key, hours=st.integers(1, 720), on_every_mail=st.booleans())


@given(st.sampled_from(POLICIES), MOMENTS, DOUBTS, EVIDENCE, KEYS)
def test_nothing_is_sent_again_too_early_too_often_or_against_what_is_known(
    policy: Policy, now: datetime, doubt: Doubt, evidence: Evidence | None, key: Key | None
) -> None:
    decision = decided(policy, now, doubt, evidence=evidence, key=key)
    assert decision.reason in REASONS
    if decision.then in {"again", "failed"}:
        assert now >= doubt.armed_at + QUARANTINE
    if decision.then == "again":
        assert policy != "hold"
        assert not doubt.came_back
        assert doubt.sent_again < MOST_AGAIN
    if decision.then == "again" and policy == "evidence":
        assert evidence == ABSENT
        assert not doubt.account_changed
    if decision.then == "again" and policy == "provider_key":
        assert key
        assert key.on_every_mail
        assert decision.until
        assert now < decision.until < doubt.first_armed_at + timedelta(hours=key.hours)
    if doubt.heard_of:
        assert decision.then == ("person" if policy == "hold" else "sent")
    elif decision.then in {"sent", "failed"}:
        assert policy == "evidence"
        assert evidence
        assert evidence.shows == {"sent": "accepted", "failed": "refused"}[decision.then]


@given(st.sampled_from(POLICIES), DOUBTS, EVIDENCE, KEYS)
def test_waiting_changes_no_decision_but_that_a_wait_ends_and_a_key_expires(
    policy: Policy, doubt: Doubt, evidence: Evidence | None, key: Key | None
) -> None:
    early, late = (decided(policy, now, doubt, evidence=evidence, key=key) for now in (FREE, FREE + timedelta(days=60)))
    assert late == early or late.reason == "key_expired"


def test_every_reason_is_said_in_french_and_english() -> None:
    assert all(set(words) == {"en", "fr"} and all(words.values()) for words in REASONS.values())
    assert set(POLICIES) == set(get_args(Policy))


def test_a_mails_key_is_the_same_at_each_try_and_no_other_mails() -> None:
    one = "<1.a@nord.example>"
    assert idempotency_key(one) == idempotency_key(one) != idempotency_key("<2.a@nord.example>")
    assert idempotency_key(one).isascii()
    assert len(idempotency_key(one)) < 64
