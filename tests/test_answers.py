"""What follows a mail server's refusal."""

import pytest

from workflow.answers import after_refusal, wait_s


@pytest.mark.parametrize(
    ("step", "code", "text", "then"),
    [
        ("connect", 421, "too busy", "later"),
        ("connect", 554, "no service here", "later"),
        ("ehlo", 550, "who are you", "later"),
        ("auth", 454, "4.7.0 later", "later"),
        ("auth", 535, "5.7.8 wrong password", "account_held"),
        ("mail", 451, "4.3.0 later", "later"),
        ("mail", 550, "5.7.1 sender refused", "failed"),
        ("rcpt", 450, "4.2.1 greylisted", "later"),
        ("rcpt", 550, "5.7.1 relaying denied", "failed"),
        ("data", 554, "5.5.1 no", "failed"),
        ("dot", 452, "4.3.1 disk full", "later"),
        ("dot", 552, "5.3.4 too big", "failed"),
    ],
)
def test_what_may_pass_later_waits_and_what_will_not_fails(step: str, code: int, text: str, then: str) -> None:
    refusal = after_refusal(step, code, text)
    assert (refusal.then, refusal.suppresses) == (then, "")


def test_a_token_that_lapsed_is_renewed_by_somebody_and_holds_no_account() -> None:
    assert after_refusal("auth", 535, "5.7.8 token expired", by_token=True).then == "later"


def test_only_an_address_where_nobody_is_takes_no_more_mail() -> None:
    assert after_refusal("rcpt", 550, "5.1.1 <ana@dupont.example>: user unknown").suppresses == "550 5.1.1"
    assert after_refusal("rcpt", 550, "no such user here: ana@dupont.example").suppresses in {"", "550"}
    assert not after_refusal("dot", 550, "5.1.1 user unknown").suppresses, "a filter that has read it may say so too"
    assert not after_refusal("rcpt", 552, "5.2.2 mailbox full").suppresses
    assert not after_refusal("rcpt", 550, "no").suppresses


def test_a_mail_that_is_deferred_waits_longer_each_time_and_four_hours_at_most() -> None:
    assert [wait_s(deferrals) // 60 for deferrals in range(7)] == [1, 5, 15, 60, 240, 240, 240]
