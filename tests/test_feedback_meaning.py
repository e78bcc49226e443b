"""What a report means for the reminder that it quotes: believed as far as it speaks of where that very mail went."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.bounces import KINDS, REASONS, Kind
from workflow.feedback import FeedbackKind, Meaning, Sent, meaning

ANA = "ana@dupont.example"
SENT = Sent(recipient=ANA, left=True, diverted=False)


def test_a_hard_bounce_of_the_very_address_ends_mail_there_and_asks_for_a_person() -> None:
    found = meaning("hard", "no_mailbox", "Ana@Dupont.example", SENT)
    assert found == Meaning(kind="hard", reason="no_mailbox", suppresses=True, task="undelivered")


@pytest.mark.parametrize("address", ["", "ben@dupont.example", "ana@dupont.example.evil.example"])
def test_a_hard_bounce_of_another_address_silences_nobody(address: str) -> None:
    assert meaning("hard", "no_mailbox", address, SENT) == Meaning(kind="soft", reason="other_address")


@pytest.mark.parametrize("address", ["", ANA])
def test_a_complaint_ends_mail_to_whom_it_went(address: str) -> None:
    found = meaning("complaint", "complained", address, SENT)
    assert found == Meaning(kind="complaint", reason="complained", suppresses=True, task="complaint")


def test_a_complaint_of_a_reader_of_the_copy_is_noted() -> None:
    assert meaning("complaint", "complained", "chef@nord.example", SENT) == Meaning(
        kind="complaint", reason="complained"
    )


@pytest.mark.parametrize(("kind", "reason"), [("soft", "mailbox_full"), ("auto_reply", "automatic_answer")])
def test_what_will_pass_is_noted(kind: Literal["soft", "auto_reply"], reason: str) -> None:
    assert meaning(kind, reason, ANA, SENT) == Meaning(kind=kind, reason=reason)


def test_a_person_s_answer_is_noted_and_a_receipt_of_delivery_is_not() -> None:
    assert meaning("none", "not_a_report", "", SENT) == Meaning(kind="answer", reason="answered")
    assert meaning("none", "delivered", ANA, SENT) is None


@given(kind=st.sampled_from(KINDS), reason=st.sampled_from(sorted(REASONS)), address=st.text(max_size=30))
def test_a_mail_that_never_left_came_back_from_nowhere(kind: Kind, reason: str, address: str) -> None:
    assert meaning(kind, reason, address, replace(SENT, left=False)) is None


@given(
    kind=st.sampled_from(KINDS), reason=st.sampled_from(sorted(REASONS)), address=st.sampled_from(["", ANA, "b@c.d"])
)
def test_a_test_s_own_mailbox_is_nobody_s_customer(kind: Kind, reason: str, address: str) -> None:
    found = meaning(kind, reason, address, replace(SENT, diverted=True))
    assert found is None or (not found.suppresses and found.task is None)


@given(kind=st.sampled_from(KINDS), reason=st.sampled_from(sorted(REASONS)), address=st.text(max_size=30))
def test_only_the_very_address_is_ever_silenced(kind: Kind, reason: str, address: str) -> None:
    found = meaning(kind, reason, address, SENT)
    if found is None:
        return
    assert found.kind in get_args(FeedbackKind)
    assert found.reason in REASONS
    if found.suppresses:
        assert address.strip().lower() == ANA or (kind == "complaint" and not address.strip())
        assert found.task is not None, "nobody is silenced without a person hearing of it"
