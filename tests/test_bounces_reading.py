"""From a mail's bytes to what it tells: reports by the RFCs and in words, complaints, automatic answers, people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.bounces import MAX_RECIPIENTS, Bounce, read_bounces
from workflow.bounces import KINDS, REASONS

OURS = f"<42.{'0a1b2c3d4e' * 2}@compta.example.fr>"
EARLIER = f"<7.{'f' * 20}@compta.example.fr>"

RECIPIENT = """Final-Recipient: rfc822; paul@client.example
Original-Recipient: rfc822;Paul.Durand@client.example
Action: failed
Status: 5.0.0
Diagnostic-Code: smtp; 550 5.1.1 <paul@client.example>:
    User unknown
"""
RETURNED = f"""From: compta@example.fr
To: Paul.Durand@client.example
Subject: Relance FA-1
References: {EARLIER}
Message-ID:
 {OURS}

Bonjour
"""


def report(*recipients: str, kind: str = "message/delivery-status", text: str = "", returned: str = RETURNED) -> bytes:
    fields = "\n".join(recipients)
    return f"""Return-Path: <>
From: MAILER-DAEMON@relay.example (Mail Delivery System)
To: compta@example.fr
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Message-ID: <9.{"a" * 20}@relay.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b=_1"

This is MIME.

--b=_1
Content-Type: text/plain; charset=utf-8

{text or "This is the mail system. Your message could not be delivered."}

--b=_1
Content-Type: {kind}

Reporting-MTA: dns; relay.example

{fields}
--b=_1
Content-Type: message/rfc822

{returned}
--b=_1--
""".encode()


def mail(body: str, **headers: str) -> bytes:
    lines = {"from": "MAILER-DAEMON@relay.example", "to": "compta@example.fr", "subject": "failure notice"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return ("".join(f"{name}: {value}\n" for name, value in lines.items()) + "\n" + body).encode()


def only(content: bytes) -> Bounce:
    (found,) = read_bounces(content)
    return found


def test_a_delivery_report_tells_who_what_and_which_reminder() -> None:
    found = only(report(RECIPIENT))
    assert (found.kind, found.reason) == ("hard", "no_mailbox")
    assert (found.status, found.reply) == ("5.1.1", "550")
    assert found.address == "Paul.Durand@client.example"
    assert (found.reminder, found.message_id) == (42, OURS)
    assert found.said == "550 5.1.1 <paul@client.example>: User unknown"


def test_each_recipient_of_a_report_is_told_apart() -> None:
    full = (
        RECIPIENT.replace("paul", "anne")
        .replace("Paul", "Anne")
        .replace("5.1.1", "5.2.2")
        .replace("User unknown", "full")
    )
    first, second = read_bounces(report(RECIPIENT, full))
    assert (first.address, first.kind) == ("Paul.Durand@client.example", "hard")
    assert (second.address, second.kind, second.reason) == ("Anne.Durand@client.example", "soft", "mailbox_full")


def test_a_report_of_success_is_no_bounce() -> None:
    delivered = "Final-Recipient: rfc822; paul@client.example\nAction: delivered\nStatus: 2.1.5\n"
    assert only(report(delivered)).kind == "none"


def test_a_report_with_the_wrong_boundary_is_still_read() -> None:
    broken = report(RECIPIENT).replace(b'boundary="b=_1"', b'boundary="another"')
    assert only(broken).kind == "hard"
    assert only(broken).reminder == 42


def test_a_report_that_breaks_off_is_still_read() -> None:
    whole = report(RECIPIENT)
    assert only(whole[: whole.index(b"    User unknown")]).status == "5.1.1"


def test_fields_of_a_report_in_its_text_are_read() -> None:
    assert only(mail("Technical report:\nReporting-MTA: dns; relay.example\n" + RECIPIENT)).kind == "hard"


def test_fields_of_a_report_that_a_person_quotes_are_not() -> None:
    quoted = mail("I got this:\n\n" + RECIPIENT, **{"from": "anne@client.example"}, subject="Fwd: failure notice")
    assert only(quoted).kind == "none"


def test_a_report_within_the_returned_mail_is_not_about_ours() -> None:
    other = RECIPIENT.replace("paul", "other").replace("Paul.Durand", "other").replace("5.1.1", "5.2.2")
    nested = report(RECIPIENT, returned=report(other).decode().replace("b=_1", "inner"))
    assert [found.address for found in read_bounces(nested)] == ["Paul.Durand@client.example"]


def test_a_complaint_is_tied_to_its_reminder_and_recipient() -> None:
    fields = "Feedback-Type: abuse\nVersion: 1\nUser-Agent: Loop/1\n"
    found = only(report(fields, kind="message/feedback-report").replace(b"Reporting-MTA: dns; relay.example\n\n", b""))
    assert (found.kind, found.reminder, found.address) == ("complaint", 42, "Paul.Durand@client.example")


@pytest.mark.parametrize("kind", ["auth-failure", "not-spam"])
def test_a_report_about_signatures_or_of_no_spam_is_no_complaint(kind: str) -> None:
    content = report(f"Feedback-Type: {kind}\n", kind="message/feedback-report")
    assert only(content.replace(b"Reporting-MTA: dns; relay.example\n\n", b"")).kind == "none"


def test_a_report_in_words_is_read_up_to_the_mail_it_returns() -> None:
    found = only(
        mail(
            "Hi. This is the qmail-send program at relay.example.\n"
            "I'm afraid I wasn't able to deliver your message to the following addresses.\n\n"
            "<paul@client.example>:\n192.0.2.1 does not like recipient.\n"
            "Remote host said: 550 5.1.1 unknown\n\n"
            "--- Below this line is a copy of the message.\n\n"
            f"Message-ID: {OURS}\nReferences: {EARLIER}\nTo: paul@client.example\n\nmailbox full, quota, spam\n"
        )
    )
    assert (found.kind, found.address, found.reminder) == ("hard", "paul@client.example", 42)


def test_a_report_in_words_of_two_recipients_gives_each_its_own() -> None:
    first, second = read_bounces(
        mail(
            "Delivery failed for these addresses:\n\n"
            '"paul@client.example":\nSMTP error after RCPT command:\n550 5.1.1 User unknown\n\n'
            '"anne@client.example":\nSMTP error after RCPT command:\n552 5.2.2 Mailbox full\n'
        )
    )
    assert (first.address, first.kind) == ("paul@client.example", "hard")
    assert (second.address, second.kind) == ("anne@client.example", "soft")


def test_a_daemon_s_failure_in_an_unknown_language_is_noted_without_judging() -> None:
    found = only(mail("Przesyłka nie dotarła.\n", x_failed_recipients="paul@client.example"))
    assert (found.kind, found.address) == ("soft", "paul@client.example")


@pytest.mark.parametrize(
    "headers",
    [
        {"auto_submitted": "auto-replied; owner-email=anne@client.example"},
        {"auto_submitted": "auto-generated", "in_reply_to": OURS},
        {"x_autoreply": "yes"},
        {"precedence": "auto_reply"},
        {"subject": "Réponse automatique : Relance FA-1"},
        {"subject": "=?utf-8?q?R=C3=A9ponse_automatique=C2=A0=3A_x?="},
        {"subject": "Automatic reply: Relance"},
    ],
)
def test_an_automatic_answer_is_told_from_a_person_s(headers: dict[str, str]) -> None:
    said = "I left the company, my mailbox is full and I no longer work here. 550,00 EUR was due."
    found = only(mail(said, **({"from": "anne@client.example", "subject": "Re: Relance FA-1"} | headers)))
    assert (found.kind, found.address) == ("auto_reply", "anne@client.example")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"in_reply_to": OURS, "subject": "Re: Relance FA-1"},
        {"auto_submitted": "no"},
        {"auto_submitted": "auto-generated", "subject": "Your weekly statistics"},
        {"precedence": "bulk", "list_id": "news.example"},
        {"subject": "Re: Automatic reply: Relance"},
        {"return_path": "<>"},
        {"subject": "Absences du personnel en mai"},
    ],
)
def test_what_people_and_lists_write_is_none(headers: dict[str, str]) -> None:
    said = "Bonjour, la facture de 550 EUR ne nous a pas été remise, votre boîte est-elle pleine ? User unknown, haha."
    assert only(mail(said, **({"from": "anne@client.example", "subject": "Facture"} | headers))).kind == "none"


def test_a_person_s_answer_is_tied_by_what_it_answers_first() -> None:
    reply = {"from": "anne@client.example", "subject": "Re: Relance"}
    assert only(mail("oui", **reply, in_reply_to=OURS, references=EARLIER)).reminder == 42
    assert only(mail("oui", **reply, references=f"{EARLIER}\n {OURS}")).reminder == 42


def test_a_read_receipt_is_an_automatic_answer() -> None:
    content = report(
        "Disposition: automatic-action/MDN-sent-automatically; displayed\n", kind="message/disposition-notification"
    )
    assert (
        only(content.replace(b"MAILER-DAEMON", b"anne").replace(b"Undelivered Mail Returned to Sender", b"Lu")).reason
        == "receipt"
    )


@pytest.mark.parametrize(
    "identity", ["<42.0a1b@x.fr>", "42.0a1b2c3d4e0a1b2c3d4e@x.fr", "<0.0a1b2c3d4e0a1b2c3d4e@x.fr>"]
)
def test_another_s_message_id_names_no_reminder(identity: str) -> None:
    found = only(mail("oui", **{"from": "anne@client.example"}, subject="Re: x", in_reply_to=identity))
    assert (found.reminder, found.message_id) == (None, "")


def test_a_notice_by_json_is_read() -> None:
    body = (
        '{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"paul@client.example",'
        '"action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user!\n unknown"}]}}\n'
    )
    found = only(mail(body, **{"from": "no-reply@sns.example"}, subject="AWS Notification Message"))
    assert (found.kind, found.address, found.status) == ("hard", "paul@client.example", "5.1.1")


def test_a_report_of_a_thousand_recipients_is_read_in_part() -> None:
    assert len(read_bounces(report(*[RECIPIENT] * 1000))) == MAX_RECIPIENTS


SAMPLES = [
    report(RECIPIENT),
    report(RECIPIENT, RECIPIENT, text="<b>550</b> 5.1.1 user unknown").replace(b"text/plain", b"text/html"),
    report("Feedback-Type: abuse\n", kind="message/feedback-report"),
    mail("550 5.1.1 <paul@client.example> user unknown\n", content_transfer_encoding="base64"),
    mail('{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"status":[1]},3]}}', subject="x"),
    mail('{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"diagnosticCode":"\\ud800\\u0000"}]}}'),
]


def holds(found: list[Bounce]) -> None:
    assert found
    for each in found:
        assert each.kind in KINDS
        assert each.reason in REASONS
        written = f"{each.address}{each.said}{each.status}"
        assert written.encode().isascii() == written.isascii()  # no half characters
        assert "\x00" not in written
        assert (each.reminder is None) == (not each.message_id)


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(content: bytes) -> None:
    holds(read_bounces(content))


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """Pieces of a mail cut out, doubled, moved or replaced."""
    for _ in range(draw(st.integers(1, 5))):
        left = draw(st.integers(0, len(sample)))
        right = draw(st.integers(left, min(len(sample), left + 300)))
        piece = draw(st.one_of(st.just(b""), st.just(sample[left:right] * 2), st.binary(max_size=20)))
        at = draw(st.one_of(st.just(left), st.integers(0, left)))
        sample = sample[:at] + piece + sample[at:left] + sample[right:]
    return sample


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES).flatmap(mutated))
def test_a_damaged_report_is_read(content: bytes) -> None:
    holds(read_bounces(content))
