"""Hard only with evidence: what a report's codes, words and moment mean together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.bounces import KINDS, REASONS, Failure, Verdict, judge

# Words are those that real servers say; names and hosts are made up.
AFTER_RCPT = "host mx.example.fr said: 550 no such user (in reply to RCPT TO command)"
AFTER_DATA = "host mx.example.fr said: 550 no such user (in reply to end of DATA command)"


def failed(
    status: str = "", said: str = "", *, reply: str = "550", around: str = "", own_user: bool = False
) -> Verdict:
    return judge(
        Failure(action="failed", status=status, reply=reply, diagnostic=said, around=around, own_user=own_user)
    )


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        ("5.1.1", "550 5.1.1 <a@example.fr>: Recipient address rejected: User unknown in local table", "no_mailbox"),
        ("5.1.1", "550 5.1.1 Adresse d au moins un destinataire invalide. OFR_416", "no_mailbox"),
        ("5.1.1", "", "no_mailbox"),
        ("5.1.1", "550 5.1.1 <a@example.fr>: inactive email address", "no_mailbox"),
        ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", "no_mailbox"),
        ("5.1.3", "501 5.1.3 Bad destination mailbox address syntax", "no_mailbox"),
        ("5.5.0", "550 5.5.0 Adresse destinataire invalide. Invalid recipient. LPN007_416", "no_mailbox"),
        ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "no_mailbox"),
        ("5.1.6", "550 5.1.6 moved", "moved"),
        ("5.1.2", "", "no_domain"),
        ("5.4.4", "Host or domain name not found. Name service error", "unreachable"),
        ("", "550 Host unknown (Authoritative answer from name server)", "no_domain"),
        ("4.0.0", "DNS Error: DNS type 'mx' lookup of example.fr responded with code NXDOMAIN", "no_domain"),
        ("5.7.27", "556 Domain does not accept mail", "no_domain"),
    ],
)
def test_the_reason_is_read_from_code_and_words(status: str, said: str, reason: str) -> None:
    assert failed(status, said).reason == reason


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        ("5.1.1", "550 5.1.1 mailbox full", "mailbox_full"),
        ("5.1.1", "x-unix; procmail: Couldn't create /var/spool/mail/a: No such user", "system"),
        ("5.1.3", "553 http://www.spamhaus.org/query/bl?ip=192.0.2.1", "spam"),
        ("5.2.2", "552 5.2.2 Over quota", "mailbox_full"),
        ("5.2.2", "", "mailbox_full"),
        ("5.2.1", "550 5.2.1 mailbox disabled", "suspended"),
        ("5.2.3", "552 5.2.3 Message length exceeds administrative limit", "too_large"),
        (
            "5.7.1",
            "550 5.7.1 <a@example.fr>: Recipient address rejected: User a@example.fr temporary locked",
            "temporary",
        ),
        ("5.7.1", "554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org", "spam"),
        ("5.7.1", "550 5.7.1 SPF fail, user unknown", "authentication"),
        ("5.7.1", "554 5.7.1 <a@example.fr>: Relay access denied", "relaying"),
        ("5.1.8", "553 5.1.8 Domain of sender address does not exist", "sender_refused"),
        ("5.4.6", "554 5.4.6 Too many hops", "loop"),
        ("5.4.1", "541 5.4.1 Mail rejected by destination domain", "unreachable"),
        ("5.6.0", "550 5.6.0 Header error", "content"),
        ("5.3.0", "", "system"),
        ("5.0.0", "550 Requested action not taken: mailbox unavailable", "undelivered"),
        ("4.4.7", "message expired", "unreachable"),
        ("4.1.1", "450 4.1.1 <a@example.fr>: User unknown in virtual alias table", "temporary"),
        ("", "", "undelivered"),
    ],
)
def test_whatever_is_about_something_else_than_the_address_is_soft(status: str, said: str, reason: str) -> None:
    assert failed(status, said) == Verdict(kind="soft", reason=reason)


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "Delivered"])
def test_good_news_is_no_bounce(action: str) -> None:
    assert judge(Failure(action=action, status="2.1.5")).kind == "none"


def test_a_delay_is_soft_whatever_it_says() -> None:
    assert judge(Failure(action="delayed", status="5.1.1", diagnostic="550 5.1.1 User unknown")).kind == "soft"


def test_words_without_a_code_count_when_they_answer_the_recipient() -> None:
    assert failed("5.0.0", "550 no such user", around=AFTER_RCPT).kind == "hard"


@pytest.mark.parametrize("said", ["450 4.1.1 no such user", "450 no such user", "451 4.1.2 host unknown"])
def test_whoever_may_be_there_later_is_not_gone(said: str) -> None:
    code = said[4:9] if said[4] == "4" else ""
    assert failed(code, said, reply=said[:3], around=AFTER_RCPT).kind == "soft"


def test_words_without_a_code_count_for_nothing_once_the_content_was_seen() -> None:
    assert failed("5.0.0", "550 no such user", around=AFTER_DATA).kind == "soft"


def test_words_without_a_code_count_for_nothing_when_nobody_tells_what_they_answered() -> None:
    assert failed("5.0.0", "550 no such user").kind == "soft"


def test_a_code_outweighs_the_words_beside_it() -> None:
    assert failed("5.0.0", "550 5.0.0 no such user", around=AFTER_RCPT).kind == "soft"


def test_a_system_speaks_for_its_own_users_only() -> None:
    said = "User Dupont not listed in Domino Directory"
    assert failed(around=said, reply="", own_user=True).kind == "hard"
    assert failed(around=said, reply="").kind == "soft"


def test_what_was_refused_before_the_recipient_was_named_is_about_the_sender() -> None:
    before = "SMTP error from remote mail server after MAIL FROM:<b@example.com>: 553 5.1.2 example.com does not exist"
    assert failed("5.1.2", "553 5.1.2 example.com does not exist", around=before).kind == "soft"


def test_a_full_mailbox_in_the_report_s_own_words_is_believed() -> None:
    around = "Your message to Dupont was automatically rejected: Not enough disk space"
    assert failed("5.1.1", "550 5.1.1 User Unknown", around=around) == Verdict(kind="soft", reason="mailbox_full")


def test_addresses_and_links_are_no_words() -> None:
    said = "550 5.1.1 <spam-full@blocked.example.fr>: User unknown, see https://example.fr/mailbox-full/spam"
    assert failed("5.1.1", said).kind == "hard"


@given(st.builds(Failure, **dict.fromkeys(("action", "status", "reply", "diagnostic", "around"), st.text())))
def test_any_failure_has_a_verdict_that_can_be_said(failure: Failure) -> None:
    verdict = judge(failure)
    assert verdict.kind in KINDS
    assert verdict.reason in REASONS


@given(st.text(), st.sampled_from(["", "5.0.0", "5.2.2", "5.3.0", "5.4.7", "5.5.0", "5.6.1", "5.7.1", "4.1.1"]))
def test_no_words_but_those_of_missing_people_make_a_bounce_hard(words: str, status: str) -> None:
    assert failed(status, words).kind == "soft"


def test_every_reason_is_said_in_french_and_english() -> None:
    for words in REASONS.values():
        assert set(words) == {"en", "fr"}
        assert all(words.values())
