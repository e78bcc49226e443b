"""What the mail server saw: each mail read back, and the promises judged from them, never from our tables alone."""

from __future__ import annotations

import email
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from email import policy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import EmailMessage, Message

    from scripts.sink import Sink
    from store.connection import Connection

# The first column of the statement in the text part: invoices of tests are numbered FA-1, others stand before a day.
_LISTED = re.compile(r"^(FA-\d+\b|\S+(?= +\d\d/\d\d/\d{4} ))", re.MULTILINE)
_LEVEL = re.compile(r"Relance ([1-3])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as its reader has it. `reminder` is None for a report; `level`: which reminder its subject says it is."""

    to: tuple[str, ...]
    message_id: str
    sha256: str
    reminder: int | None
    subject: str
    text: str
    level: int | None
    invoices: tuple[str, ...]
    attachments: dict[str, bytes]


def read(raw: bytes, to: tuple[str, ...]) -> Mail:
    message: EmailMessage = email.message_from_bytes(raw, policy=policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    text = str(body.get_content())
    subject = str(message["Subject"])
    level = _LEVEL.search(subject)
    header = message["X-Relance-Reminder"]
    return Mail(
        to=to,
        message_id=str(message["Message-ID"]),
        sha256=hashlib.sha256(raw).hexdigest(),
        reminder=int(header) if header else None,
        subject=subject,
        text=text,
        level=int(level[1]) if level else None,
        invoices=tuple(_LISTED.findall(text)) if header else (),
        attachments={str(part.get_filename()): _bytes(part) for part in message.iter_attachments()},
    )


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def mails(sink: Sink, after: int = 0) -> list[Mail]:
    """The accepted mails from the one numbered `after` on. The journal is written last: it says how many there are."""
    journal = sink.mails(after)
    kept = sink.kept(after)[: len(journal)] if journal else []
    return [read(raw, line.to) for raw, line in zip(kept, journal, strict=True)]


def check_promises(conn: Connection, sink: Sink, accepted: list[Mail]) -> None:
    """Nothing twice, nothing in secret: I1, I4 and I5 of the design.

    A mail that the server took is sent in the database or in doubt, in the bytes that were frozen when it was armed;
    what is sent in the database was taken by the server; no level of an invoice's cycle was taken twice.
    """
    assert sink.duplicates() == {}
    reminders = [mail for mail in accepted if mail.reminder is not None]
    states: dict[str, str] = dict(
        conn.execute("SELECT message_id, state FROM reminders WHERE state IN ('sent', 'in_doubt')").fetchall()
    )
    taken = {mail.message_id for mail in reminders}
    assert taken <= states.keys(), "a mail was taken that is neither sent nor in doubt"
    assert {message_id for message_id, state in states.items() if state == "sent"} <= taken, "sent, and never taken"

    frozen = set(conn.execute("SELECT reminder_id, encode(sha256, 'hex') FROM mails").fetchall())
    assert {(mail.reminder, mail.sha256) for mail in reminders} <= frozen, "a mail left in bytes that were never armed"

    places: dict[tuple[int, str], tuple[str, int | None, int]] = {
        (reminder_id, number): (outcome, level + 1 if counts else None, cycle)
        for reminder_id, number, outcome, counts, level, cycle in conn.execute(
            "SELECT ri.reminder_id, i.number, ri.outcome, ri.counts, ri.level, ri.cycle"
            "  FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id"
        )
    }
    once: Counter[tuple[str, int, int]] = Counter()
    for mail in reminders:
        for number in mail.invoices:
            assert mail.reminder is not None
            outcome, level, cycle = places[mail.reminder, number]
            assert outcome in {"accepted", "in_doubt"}, f"{number} was claimed by a mail, and is {outcome}"
            assert mail.level == level, f"{number} was claimed as reminder {mail.level}, and stands as {level}"
            if level is not None:
                once[number, level, cycle] += 1
    assert [key for key, count in once.items() if count > 1] == []
