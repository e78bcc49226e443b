"""A whole mail as values: what is kept of it when it is armed, and what its bytes are made from, then and later."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from letters.headers import MAX_TEXT_CHARACTERS, Mailbox
from letters.mail import MailParts
from letters.mime import Attachment, assemble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflow.facts import Language

# Before the subject of a redirected mail, in every language.
TEST_MARK: Final = "[Test]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """The same letter always makes the same bytes. `key`: the header by which a provider knows the mail again.

    `redirected_from`: see `redirected`.
    """

    parts: MailParts
    message_id: str
    date: datetime
    sender: Mailbox
    recipient: Mailbox
    language: Language
    reminder_id: int
    reply_to: Mailbox | None = None
    cc: tuple[Mailbox, ...] = ()
    references: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    key: tuple[str, str] | None = None
    redirected_from: tuple[str, ...] = ()

    def content(self) -> bytes:
        """Its bytes. Raises InvalidInput, naming the field, for a value that has no place in a header."""
        return assemble(
            self.parts,
            message_id=self.message_id,
            date=self.date,
            sender=self.sender,
            recipient=self.recipient,
            language=self.language,
            reminder_id=self.reminder_id,
            reply_to=self.reply_to,
            cc=self.cc,
            references=self.references,
            attachments=self.attachments,
            key=self.key,
            redirected_from=self.redirected_from,
        )

    def redirected(self, address: str, *, besides: tuple[str, ...] = ()) -> Letter:
        """It as a test instance sends it: to one address alone. To whom it would have gone, `besides` too, is told."""
        everybody = (self.recipient.address, *(each.address for each in self.cc), *besides)
        return replace(
            self,
            parts=replace(self.parts, subject=f"{TEST_MARK} {self.parts.subject}"[:MAX_TEXT_CHARACTERS]),
            recipient=replace(self.recipient, address=address),
            cc=(),
            redirected_from=tuple(dict.fromkeys(everybody)),
        )

    def stored(self) -> bytes:
        """It as JSON, its attachments by their sha256 alone, compressed by zlib: a quarter of its size."""
        kept = json.dumps(
            {
                "subject": self.parts.subject,
                "text": self.parts.text,
                "html": self.parts.html,
                "message_id": self.message_id,
                "date": self.date.isoformat(),
                "sender": [self.sender.name, self.sender.address],
                "recipient": [self.recipient.name, self.recipient.address],
                "language": self.language,
                "reminder": self.reminder_id,
                "reply_to": self.reply_to and [self.reply_to.name, self.reply_to.address],
                "cc": [[each.name, each.address] for each in self.cc],
                "references": list(self.references),
                "attachments": [
                    {"name": each.name, "media_type": each.media_type, "sha256": sha256(each.content).hexdigest()}
                    for each in self.attachments
                ],
                **({"key": list(self.key)} if self.key else {}),
                **({"redirected_from": list(self.redirected_from)} if self.redirected_from else {}),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        return zlib.compress(kept.encode("utf-8"), 1)


def read_stored(kept: bytes) -> dict[str, Any]:
    """What `Letter.stored` kept: subject, text, html, the headers' values, and attachments by name and sha256."""
    stored: dict[str, Any] = json.loads(zlib.decompress(kept))
    return stored


def letter_from_stored(kept: bytes, contents: Mapping[str, bytes]) -> Letter:
    """Make the letter again that `Letter.stored` kept; `contents` is by hexadecimal sha256.

    Raises KeyError for an attachment that is missing.
    """
    stored = read_stored(kept)
    return Letter(
        parts=MailParts(subject=stored["subject"], text=stored["text"], html=stored["html"]),
        message_id=stored["message_id"],
        date=datetime.fromisoformat(stored["date"]),
        sender=_mailbox(stored["sender"]),
        recipient=_mailbox(stored["recipient"]),
        language=stored["language"],
        reminder_id=stored["reminder"],
        reply_to=_mailbox(stored["reply_to"]) if stored["reply_to"] else None,
        cc=tuple(_mailbox(each) for each in stored["cc"]),
        references=tuple(stored["references"]),
        attachments=tuple(
            Attachment(name=each["name"], media_type=each["media_type"], content=contents[each["sha256"]])
            for each in stored["attachments"]
        ),
        key=key_of(stored),
        redirected_from=tuple(stored.get("redirected_from", ())),
    )


def key_of(stored: Mapping[str, Any]) -> tuple[str, str] | None:
    """The idempotency header of a letter as it was kept, name and value; None where it had none."""
    name, value = stored.get("key", (None, None))
    return (name, value) if name else None


def _mailbox(stored: list[str]) -> Mailbox:
    name, address = stored
    return Mailbox(name=name, address=address)
