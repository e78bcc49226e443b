"""A mail as the bytes that leave: assembled here, by the same values always to the same bytes.

CRLF only, 7-bit clean, no line past 76 octets in a body. The boundaries come from the message id, and contain `=_`,
which neither quoted-printable nor base64 can produce: no body can forge one.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import b2a_qp
from dataclasses import dataclass
from email.utils import format_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from letters.headers import (
    Mailbox,
    check_header_name,
    check_header_text,
    check_message_id,
    file_name,
    file_name_parameter,
    mailboxes_header,
    references_header,
    text_header,
)
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from letters.mail import MailParts
    from workflow.facts import Language

_MEDIA_TYPE = re.compile(r"(?!multipart/|message/)[a-z]+/[a-z0-9][a-z0-9.+-]{0,100}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?")
_ENCODED_LINE_OCTETS: Final = 57  # make 76 characters of base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that goes with the mail, byte for byte; its name is sanitised when it is attached."""

    name: str
    media_type: str
    content: bytes


def assemble(
    parts: MailParts,
    *,
    message_id: str,
    date: datetime,
    sender: Mailbox,
    recipient: Mailbox,
    language: Language,
    reminder_id: int | None,
    reply_to: Mailbox | None = None,
    cc: Sequence[Mailbox] = (),
    references: Sequence[str] = (),
    attachments: Sequence[Attachment] = (),
    key: tuple[str, str] | None = None,
    redirected_from: Sequence[str] = (),
) -> bytes:
    """Make the bytes of one mail. A blind copy is the envelope's alone, so it has no place here.

    `key` is the header, name and value, by which a provider knows the mail again; `redirected_from`: to whom it would
    have gone, had it not been a test instance's.

    `date` is an aware instant, `message_id` and `references` carry their angle brackets. Raises InvalidInput, naming
    the field, for any value that has no place in a header.
    """
    if date.tzinfo is None:
        raise InvalidInput(field="date", value=date, reason="has no time zone")
    if not _LANGUAGE.fullmatch(language):
        raise InvalidInput(field="language", value=language, reason="is not a language tag such as fr")
    identity = check_message_id(message_id, field="message_id")
    head = [
        f"Date: {format_datetime(date)}\r\n",
        mailboxes_header("From", [sender], field="sender"),
        mailboxes_header("Reply-To", [reply_to], field="reply_to") if reply_to else "",
        mailboxes_header("To", [recipient], field="recipient"),
        mailboxes_header("Cc", cc, field="cc") if cc else "",
        text_header("Subject", parts.subject, field="subject"),
        f"Message-ID: {identity}\r\n",
        f"{check_header_name(key[0], field='key')}: {check_header_text(key[1], field='key')}\r\n" if key else "",
        mailboxes_header(
            "X-Relance-Original-To", [Mailbox(address=one) for one in redirected_from], field="redirected_from"
        )
        if redirected_from
        else "",
        references_header("In-Reply-To", references[-1:], field="references") if references else "",
        references_header("References", references, field="references") if references else "",
        "Auto-Submitted: auto-generated\r\n",
        f"Content-Language: {language}\r\n",
        "" if reminder_id is None else f"X-Relance-Reminder: {reminder_id:d}\r\n",
        "MIME-Version: 1.0\r\n",
    ]
    mark = sha256(identity.encode("ascii")).hexdigest()[:32]
    body = _multipart("alternative", f"=_alt_{mark}", [_text_part("plain", parts.text), _text_part("html", parts.html)])
    if attachments:
        body = _multipart("mixed", f"=_mix_{mark}", [body, *(_attachment_part(each) for each in attachments)])
    return "".join(head).encode("ascii") + body


def _multipart(kind: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    delimiter = f"--{boundary}".encode("ascii")
    lines = [f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii")]
    for part in parts:
        lines += [delimiter, b"\r\n", part, b"\r\n"]
    return b"".join([*lines, delimiter, b"--\r\n"])


def _text_part(kind: str, text: str) -> bytes:
    """Encode a text in whichever of quoted-printable and base64 is shorter."""
    octets = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode("utf-8")
    # b2a_qp breaks long lines as the first line ends; where none does, it would break them with a bare LF.
    printable = b2a_qp(octets, quotetabs=False, istext=True, header=False)
    if b"\n" not in octets:
        printable = printable.replace(b"\n", b"\r\n")
    if len(printable) <= len(octets) * 4 // 3 + len(octets) // _ENCODED_LINE_OCTETS * 2 + 4:
        encoding, body = "quoted-printable", printable
    else:
        encoding, body = "base64", _base64(octets)
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("ascii") + body


def _attachment_part(attachment: Attachment) -> bytes:
    if not _MEDIA_TYPE.fullmatch(attachment.media_type):
        raise InvalidInput(
            field="attachments.media_type",
            value=attachment.media_type,
            reason="is not a media type such as application/pdf",
        )
    head = (
        f"Content-Type: {attachment.media_type}\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment;{file_name_parameter(file_name(attachment.name))}\r\n\r\n"
    )
    return head.encode("ascii") + _base64(attachment.content)


def _base64(octets: bytes) -> bytes:
    encoded = b64encode(octets)
    return b"\r\n".join(encoded[start : start + 76] for start in range(0, len(encoded), 76))
