"""Each reminder as it left: in a list, as its reader has it, or its exact bytes assembled again."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from letters.letter import letter_from_stored, read_stored
from operations.lookup import Unknown
from store import outbox as stored
from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from store.connection import Connection
    from store.outbox import Posted


class BytesDiffer(RelanceError):  # noqa: N818 - a fact about a mail
    """A mail whose bytes cannot be made again as they left."""

    def __init__(self, *, reminder: int, reason: str) -> None:
        """Name the reminder and what is wrong."""
        self.reminder = reminder
        super().__init__(f"reminder {reminder}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMail:
    """A mail as its reader has it. `sender`, `recipient`, `cc`: `Name <address>`; `text`: the plain part."""

    sender: str
    recipient: str
    cc: tuple[str, ...]
    subject: str
    text: str
    attachments: tuple[str, ...]


def outbox(conn: Connection, *, state: str | None = None, run_id: int | None = None, limit: int = 50) -> list[Posted]:
    """Reminders, newest first. Raises InvalidInput for a state that is none."""
    if state is not None and state not in stored.REMINDER_STATES:
        reason = f"must be one of {', '.join(stored.REMINDER_STATES)}"
        raise InvalidInput(field="state", value=state, reason=reason)
    return stored.posted(conn, state=state, run_id=run_id, limit=limit)


def one(conn: Connection, reminder_id: int) -> Posted:
    """One reminder. Raises Unknown."""
    found = stored.posted(conn, reminder_id=reminder_id, limit=1)
    if not found:
        raise Unknown(kind="reminder", name=str(reminder_id))
    return found[0]


def read(conn: Connection, reminder_id: int) -> ReadMail | None:
    """The reminder's mail as it left, or as it was last armed; None where it never was."""
    mail = stored.mail(conn, reminder_id)
    if mail is None:
        return None
    kept = read_stored(mail.letter)
    return ReadMail(
        sender=_mailbox(kept["sender"]),
        recipient=_mailbox(kept["recipient"]),
        cc=tuple(_mailbox(each) for each in kept["cc"]),
        subject=kept["subject"],
        text=kept["text"],
        attachments=tuple(each["name"] for each in kept["attachments"]),
    )


def _mailbox(kept: list[str]) -> str:
    name, address = kept
    return f"{name} <{address}>" if name else address


def eml(conn: Connection, reminder_id: int) -> bytes:
    """The mail's exact bytes, made again from its parts and proven by their hash.

    Raises Unknown, InvalidInput for a reminder that was never armed, BytesDiffer where the bytes would not be the same.
    """
    if not stored.exists(conn, reminder_id):
        raise Unknown(kind="reminder", name=str(reminder_id))
    mail = stored.mail(conn, reminder_id)
    if mail is None:
        raise InvalidInput(field="reminder", value=reminder_id, reason="has no mail yet: it was never about to leave")
    hashes = [attached["sha256"] for attached in read_stored(mail.letter)["attachments"]]
    kept = stored.contents(conn, hashes)
    missing = [one for one in hashes if one not in kept]
    if missing:
        raise BytesDiffer(reminder=reminder_id, reason=f"the attachment {missing[0]} is no longer kept")
    content = letter_from_stored(mail.letter, kept).content()
    if sha256(content).digest() != mail.sha256:
        raise BytesDiffer(reminder=reminder_id, reason="assembled again, its bytes are not those that left")
    return content
