from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from letters.headers import Mailbox
from letters.letter import Letter, letter_from_stored
from letters.mail import MailParts
from letters.mime import Attachment, assemble
from workflow.errors import InvalidInput

PARTS = MailParts(
    subject="Rappel\u00a0: facture FA-1 — Société Générale d'Ébénisterie",
    text="Bonjour,\n\n1\u202f234,50\u00a0€\n.\nFrom la suite \n",
    html='<!DOCTYPE html>\n<html lang="fr"><body><p>Bonjour = é</p></body></html>\n',
)
ENVELOPE: dict[str, Any] = {
    "message_id": "<relance.42@ateliers.example>",
    "date": datetime(2026, 11, 24, 9, 30, tzinfo=timezone(timedelta(hours=1))),
    "sender": Mailbox(name="Ateliers Morvan, comptabilité", address="compta@ateliers.example"),
    "recipient": Mailbox(name="Doe, evil@x.y", address="anne@legoff.example"),
    "language": "fr",
    "reminder_id": 42,
}
PDF = Attachment(name="Facture été FA-1.pdf", media_type="application/pdf", content=bytes(range(256)) * 20)
STRICT = policy.default.clone(raise_on_defect=True)


def mail(parts: MailParts = PARTS, **changed: Any) -> bytes:  # noqa: ANN401 - any part of the envelope
    return assemble(parts, **{**ENVELOPE, **changed})


def opened(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=STRICT)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == []
        assert all(value.defects == () for value in part.values())
    return message


def body(message: EmailMessage, kind: str) -> str:
    """A part's text; every line of it must have come with CRLF."""
    part = message.get_body((kind,))
    assert part is not None
    text = part.get_content()
    assert isinstance(text, str)
    assert "\n" not in text.replace("\r\n", "")
    return text.replace("\r\n", "\n")


def test_the_headers_say_what_they_were_given() -> None:
    message = opened(
        mail(
            reply_to=Mailbox(name="Anne", address="anne@ateliers.example"),
            cc=[Mailbox(name="Le Gall, Yann", address="yann@ateliers.example"), Mailbox(address="b@x.fr")],
            references=["<relance.7@ateliers.example>", "<relance.21@ateliers.example>"],
        )
    )
    assert message["Subject"] == PARTS.subject
    assert message["From"].addresses[0].display_name == "Ateliers Morvan, comptabilité"
    assert [(to.display_name, to.addr_spec) for to in message["To"].addresses] == [
        ("Doe, evil@x.y", "anne@legoff.example")
    ]
    assert [cc.addr_spec for cc in message["Cc"].addresses] == ["yann@ateliers.example", "b@x.fr"]
    assert message["Reply-To"].addresses[0].addr_spec == "anne@ateliers.example"
    assert message["Date"].datetime == ENVELOPE["date"]
    assert message["Message-ID"] == "<relance.42@ateliers.example>"
    assert message["In-Reply-To"] == "<relance.21@ateliers.example>"
    assert message["References"].split() == ["<relance.7@ateliers.example>", "<relance.21@ateliers.example>"]
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "fr"
    assert message["X-Relance-Reminder"] == "42"
    assert message["MIME-Version"] == "1.0"


def test_no_header_comes_twice_and_none_is_a_blind_copy() -> None:
    names = opened(mail(cc=[Mailbox(address="b@x.fr")], references=["<a@x.fr>"], attachments=[PDF])).keys()
    assert len(names) == len(set(names))
    assert "Bcc" not in names


def test_the_key_of_its_provider_is_a_header_that_is_kept_with_the_letter() -> None:
    assert opened(mail(key=("Idempotency-Key", "relance-1")))["Idempotency-Key"] == "relance-1"
    with pytest.raises(InvalidInput, match="something else"):
        mail(key=("Bcc", "evil@x.example"))
    letter = Letter(parts=PARTS, **ENVELOPE, key=("Idempotency-Key", "relance-1"))
    assert letter_from_stored(letter.stored(), {}).content() == letter.content()
    plain = replace(letter, key=None)
    assert letter_from_stored(plain.stored(), {}).content() == mail()


@pytest.mark.parametrize("read_as", [policy.default, policy.SMTP, policy.compat32, policy.strict, STRICT])
@pytest.mark.parametrize("attachments", [[], [PDF]], ids=["bare", "with a file"])
def test_every_parser_reads_the_mail_without_a_defect(read_as: Any, attachments: list[Attachment]) -> None:  # noqa: ANN401
    message = message_from_bytes(mail(attachments=attachments), policy=read_as)
    kinds = [part.get_content_type() for part in message.walk()]
    assert all(part.defects == [] for part in message.walk())
    assert kinds[-3:] == (
        ["multipart/alternative", "text/plain", "text/html"]
        if not attachments
        else ["text/plain", "text/html", "application/pdf"]
    )


def test_the_bodies_arrive_as_they_were_composed() -> None:
    message = opened(mail())
    assert body(message, "plain") == PARTS.text
    assert body(message, "html") == PARTS.html


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")),
)
@example("=_alt_", "--=_alt_")
@example(".\n..\n \n\t\nFrom x\n", "é" * 5_000)
@example("word " * 60, "mot " * 60)
@example("a" * 5_000 + " " * 100 + "\n" * 100, "\n.\n")
def test_any_text_arrives_as_it_was_composed(text: str, html: str) -> None:
    content = mail(replace(PARTS, text=text, html=html), attachments=[PDF])
    message = opened(content)
    assert body(message, "plain") == text
    assert body(message, "html") == html
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert content.isascii()
    assert max(map(len, content.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 77


def test_line_ends_of_any_kind_leave_as_crlf() -> None:
    message = opened(mail(replace(PARTS, text="a\r\nb\rc\nd")))
    assert body(message, "plain") == "a\nb\nc\nd"


def test_the_shorter_encoding_is_taken() -> None:
    assert b"Content-Transfer-Encoding: base64" not in mail()
    assert b"Content-Transfer-Encoding: base64" in mail(replace(PARTS, text="中文" * 200))
    assert len(mail(replace(PARTS, text="中" * 1_000))) < len(mail()) + 4_300


def test_the_attachments_arrive_byte_for_byte_under_their_names() -> None:
    files = [
        PDF,
        Attachment(name="../FA-2.pdf", media_type="application/pdf", content=b"%PDF-"),
        replace(PDF, content=b""),
    ]
    received = list(opened(mail(attachments=files)).iter_attachments())
    assert [part.get_content() for part in received] == [file.content for file in files]
    assert [part.get_filename() for part in received] == ["Facture été FA-1.pdf", "FA-2.pdf", "Facture été FA-1.pdf"]
    assert {part.get_content_type() for part in received} == {"application/pdf"}
    assert {part.get_content_disposition() for part in received} == {"attachment"}


def test_the_same_mail_is_always_the_same_bytes() -> None:
    assert mail(attachments=[PDF]) == mail(attachments=[PDF])
    boundaries = {mail(message_id=f"<{number}@x.fr>").partition(b"boundary=")[2][:45] for number in range(9)}
    assert len(boundaries) == 9


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"sender": Mailbox(name="a\nBcc: x@y.z", address="a@x.fr")}, "sender.name"),
        ({"sender": Mailbox(address="a@x.fr, b@x.fr")}, "sender.address"),
        ({"recipient": Mailbox(name="=?utf-8?Q?a=0ABcc:_x@y?=", address="a@x.fr")}, "recipient.name"),
        ({"recipient": Mailbox(address="a@x.fr\r\nBcc: x@y.z")}, "recipient.address"),
        ({"reply_to": Mailbox(name="\0", address="a@x.fr")}, "reply_to.name"),
        ({"cc": [Mailbox(address="b@x.fr"), Mailbox(address="x y@x.fr")]}, "cc.address"),
        ({"message_id": "<a@x.fr>\r\nBcc: x@y.z"}, "message_id"),
        ({"references": ["<a@x.fr>", "b"]}, "references"),
        ({"language": "fr\r\nBcc: x@y.z"}, "language"),
        ({"date": datetime(2026, 11, 24, 9, 30)}, "date"),  # noqa: DTZ001 - what is refused
        ({"attachments": [replace(PDF, media_type="text/plain\r\nX: y")]}, "attachments.media_type"),
        ({"attachments": [replace(PDF, media_type="multipart/mixed")]}, "attachments.media_type"),
    ],
)
def test_what_has_no_place_in_a_header_is_refused_by_field(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        mail(**changed)
    assert refused.value.field == field


@pytest.mark.parametrize("subject", ["a\r\nBcc: x@y.z", "a\0", "=?utf-8?Q?a=0ABcc:_x@y?=", "x" * 201])
def test_a_subject_cannot_bring_a_header(subject: str) -> None:
    with pytest.raises(InvalidInput, match="subject"):
        mail(replace(PARTS, subject=subject))


def test_a_date_is_written_in_its_own_zone() -> None:
    assert b"Date: Tue, 24 Nov 2026 09:30:00 +0100\r\n" in mail()
    assert b"Date: Tue, 24 Nov 2026 08:30:00 +0000\r\n" in mail(date=datetime(2026, 11, 24, 8, 30, tzinfo=UTC))
