"""A received mail as what it tells of the mails sent: one finding for each recipient it reports about.

Read in the order of trust: feedback reports (RFC 5965), delivery reports (RFC 3464, RFC 6533), receipts (RFC 8098),
reports in words (workers.bounce_words), automatic answers (RFC 3834). A mail of a person is none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from workers.bounce_notices import read_notice
from workers.bounce_words import addresses_in, by_daemon, read_words, reply_in, report_text, said_of, status_in
from workers.incoming import MAX_TEXT_BYTES, read_fields, read_parts
from workflow.bounces import Failure, Kind, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from workers.incoming import Headers, Part

MAX_RECIPIENTS: Final = 100
MAX_SAID_CHARACTERS: Final = 300
MAX_TEXTS: Final = 10  # of a mail, that are read for what may stand anywhere

_OUR_MESSAGE_ID = re.compile(r"<([1-9]\d{0,17})\.[0-9a-f]{20}@[A-Za-z0-9.-]{1,253}>")
_MESSAGE_ID = re.compile(r"<[^<>\s\x00-\x1f]{3,500}>")
_RETURNED_ID = re.compile(r"(?im)^[> \t]{0,20}(?:x-)?(?:original-)?message-id[ \t]*:\s{0,20}(<[^<>\s]{3,500}>)")
_DIAGNOSTIC_KIND = re.compile(r"^\s*[\w-]{1,30}\s*;\s*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_DELIVERY_STATUS: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
_FIELDS_OF_A_RECIPIENT: Final = frozenset({"final-recipient", "original-recipient", "action", "status"})
_REPORTED_AS: Final = frozenset({"auth-failure", "not-spam", "dmarc"})
_AUTOMATIC_SUBJECT = re.compile(
    r"(?i)^\s*(?:automatic (?:reply|answer)|auto(?:matic)?[- ]?(?:reply|response)|r[ée]ponse automatique|vacation|"
    r"out of (?:the )?office|absence(?: du bureau)?|automatische antwort|abwesenheit|risposta automatica|"
    r"respuesta autom[aá]tica)\b"
)
_AUTOMATIC_HEADERS: Final = ("x-autoreply", "x-autorespond", "x-auto-reply-from", "x-apple-action", "x-vacation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """What a mail tells of one recipient of another one.

    `status` is an enhanced code such as 5.1.1, `reply` an SMTP reply code such as 550, `reason` a key of
    workflow.bounces.REASONS, `said` what the server answered, shortened. `message_id` is that of the mail it is about
    where that is one of ours, and `reminder` the id in it. Whoever acts on it compares the whole message id with the
    reminder's own: an id is easily guessed, its random part is not. Empty or None where unknown.
    """

    kind: Kind
    status: str
    reply: str
    address: str
    reminder: int | None
    message_id: str
    reason: str
    said: str


_NOTHING_SAID: Final = Failure()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    verdict: Verdict
    address: str = ""
    failure: Failure = _NOTHING_SAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Who wrote a mail, by its own word, and its own message id; empty where it says neither."""

    sender: str
    message_id: str


def read_head(content: bytes) -> Head:
    """Read the headers of any mail."""
    head = read_parts(content[:MAX_TEXT_BYTES])[0]
    named = _MESSAGE_ID.search(head.first("message-id"))
    return Head(sender=_sender(head), message_id=named[0] if named else "")


def read_bounces(content: bytes) -> list[Bounce]:
    """Read any mail; at least one finding, of kind `none` where it reports nothing. Raises InvalidInput by size."""
    parts = read_parts(content)
    message_id, reminder = _about(parts)
    return [
        Bounce(
            kind=one.verdict.kind,
            status=one.failure.status,
            reply=one.failure.reply,
            address=one.address or _only_recipient(parts, one.verdict.kind),
            reminder=reminder,
            message_id=message_id,
            reason=one.verdict.reason,
            said=_short(one.failure),
        )
        for one in _read(parts)[:MAX_RECIPIENTS]
    ]


def _read(parts: Sequence[Part]) -> list[_Found]:
    return _complaints(parts) or _reports(parts) or _receipts(parts) or _in_words(parts) or [_answer(parts[0])]


def _complaints(parts: Sequence[Part]) -> list[_Found]:
    for part in parts:
        if part.media_type == "message/feedback-report" and not part.returned:
            return [_feedback(read_fields(part.text()))]
    named = _hotmail_complaint(parts)
    return [_Found(verdict=Verdict(kind="complaint", reason="complained"), address=named)] if named else []


def _reports(parts: Sequence[Part]) -> list[_Found]:
    reported = list(_delivery_reports(parts))
    if reported:
        return [_Found(verdict=judge(failure), address=address, failure=failure) for address, failure in reported]
    return [
        _Found(verdict=judge(one.failure), address=one.address, failure=one.failure)
        if one.failure
        else _Found(verdict=Verdict(kind="complaint", reason="complained"), address=one.address)
        for one in read_notice(report_text(parts))
    ]


def _receipts(parts: Sequence[Part]) -> list[_Found]:
    if any(part.media_type.endswith("disposition-notification") for part in parts if not part.returned):
        return [_Found(verdict=Verdict(kind="auto_reply", reason="receipt"), address=_sender(parts[0]))]
    return []


def _in_words(parts: Sequence[Part]) -> list[_Found]:
    return [_Found(verdict=judge(one.failure), address=one.address, failure=one.failure) for one in read_words(parts)]


def _answer(head: Part) -> _Found:
    if _answers_by_itself(head):
        return _Found(verdict=Verdict(kind="auto_reply", reason="automatic_answer"), address=_sender(head))
    return _Found(verdict=Verdict(kind="none", reason="not_a_report"))


def _sender(head: Part) -> str:
    return (addresses_in(head.first("from")) or [""])[0]


def _feedback(fields: Headers) -> _Found:
    """A reader's complaint; `auth-failure` (RFC 6591) and `not-spam` are machines' or satisfied readers' reports."""
    kind = _first(fields, "feedback-type").lower()
    named = addresses_in(_first(fields, "original-rcpt-to") or _first(fields, "removal-recipient"))
    if kind in _REPORTED_AS:
        verdict = Verdict(kind="none", reason="about_sending")
    else:
        verdict = Verdict(kind="complaint", reason="complained")
    return _Found(verdict=verdict, address=(named or [""])[0])


def _hotmail_complaint(parts: Sequence[Part]) -> str:
    """Who complained at Outlook.com: its feedback loop returns the mail with a header of its own, without a report."""
    for part in parts:
        named = addresses_in(part.first("x-hmxmroriginalrecipient")) if part.returned else []
        if named and parts[0].first("subject").lower().startswith("complaint about message"):
            return named[0]
    return ""


def _delivery_reports(parts: Sequence[Part]) -> Iterator[tuple[str, Failure]]:
    """Recipients as RFC 3464 tells them, wherever a mail system has put its fields: some put them in the text."""
    own, text = [part for part in parts if part.returned == 0], report_text(parts)
    every = _reported(part for part in own if part.media_type in _DELIVERY_STATUS)
    if not every and by_daemon(parts[0]):
        every = _reported(part for part in own if part.media_type in {"text/plain", "text/html"})
        # A gateway may have put the report into one of its own.
        every = every or _reported(part for part in parts if part.media_type in _DELIVERY_STATUS)
    named = list({address.lower() for address, _ in every})
    for address, fields in every:
        yield address, _failure(fields, said_of(text, address, named))


def _reported(reports: Iterable[Part]) -> list[tuple[str, Headers]]:
    every = [fields for report in islice(reports, MAX_TEXTS) for fields in _recipients_of(report.text())]
    return [(_recipient(fields), fields) for fields in every[:MAX_RECIPIENTS]]


def _recipients_of(report: str) -> list[Headers]:
    """The groups of fields that each name a recipient and what became of it.

    Groups are parted by empty lines, or where a field comes again that a recipient has once.
    """
    groups: list[list[str]] = [[]]
    seen: set[str] = set()
    for line in report.split("\n"):
        name = line.partition(":")[0].strip().lower()
        if not line.strip() or (name in _FIELDS_OF_A_RECIPIENT and name in seen):
            groups.append([])
            seen = set()
        groups[-1].append(line)
        if name in _FIELDS_OF_A_RECIPIENT:
            seen.add(name)
    every = [read_fields("\n".join(group)) for group in groups if group]
    return [
        fields
        for fields in every
        if (fields.keys() & {"final-recipient", "original-recipient"}) and (fields.keys() & {"action", "status"})
    ]


def _recipient(fields: Headers) -> str:
    """The address that was written to: the original one before the one it was forwarded to."""
    for name in ("original-recipient", "final-recipient", "x-actual-recipient"):
        found = addresses_in(_first(fields, name))
        if found:
            return found[0]
    return ""


def _failure(fields: Headers, around: str) -> Failure:
    said = _DIAGNOSTIC_KIND.sub("", _first(fields, "diagnostic-code"))
    told, answered = status_in(_first(fields, "status")), status_in(said)
    # Servers' own code is the exact one; a report's is often x.0.0, or tells that it gave up.
    return Failure(
        action=(_first(fields, "action").split() or [""])[0],
        status=answered if answered and (not told or answered[0] == told[0] or told.endswith(".0.0")) else told,
        reply=reply_in(said),
        diagnostic=said,
        around=around,
    )


def _answers_by_itself(head: Part) -> bool:
    """Whether nobody wrote it: RFC 3834 section 5, then the headers of older programs, then plain subjects.

    Mail of lists and in bulk is automatic too, but answers nothing.
    """
    automatic = (head.first("auto-submitted").split(";")[0].split() or ["no"])[0].lower()
    if automatic != "no":
        return automatic == "auto-replied" or bool(head.headers.keys() & {"in-reply-to", "references"})
    if any(name in head.headers for name in _AUTOMATIC_HEADERS):
        return True
    if head.first("precedence").lower() in {"auto_reply", "auto-reply"}:
        return True
    return bool(_AUTOMATIC_SUBJECT.match(head.first("subject")))


def _about(parts: Sequence[Part]) -> tuple[str, int | None]:
    """Our message id that the mail is about, and the reminder in it.

    The returned mail's own id first, then what a reply names, the latest before the earlier ones, then texts: a
    returned mail names the reminders before it as well.
    """
    head = parts[0]
    for candidates in (
        _returned_ids(parts),
        head.headers.get("in-reply-to", []),
        _references(head),
        _ids_in_texts(parts),
    ):
        for candidate in candidates:
            found = _OUR_MESSAGE_ID.search(candidate)
            if found:
                return found[0], int(found[1])
    return "", None


def _returned_ids(parts: Sequence[Part]) -> list[str]:
    named = []
    for part in parts:
        if part.returned:
            named += part.headers.get("message-id", [])
        elif part.media_type in {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}:
            named += read_fields(part.text()).get("message-id", [])
        elif part.media_type in _DELIVERY_STATUS:
            named += read_fields(part.text()).get("x-original-message-id", [])
    return named


def _references(head: Part) -> list[str]:
    return [one for line in head.headers.get("references", []) for one in reversed(line.split())]


def _ids_in_texts(parts: Sequence[Part]) -> Iterator[str]:
    for part in islice((part for part in parts if part.media_type.startswith("text/")), MAX_TEXTS):
        yield from _RETURNED_ID.findall(part.text())


def _only_recipient(parts: Sequence[Part], kind: Kind) -> str:
    """Whom the returned mail was for, where a report names nobody and that was one person."""
    if kind not in {"hard", "soft", "complaint"}:
        return ""
    for part in parts:
        fields = (
            part.headers if part.returned else read_fields(part.text()) if "rfc822-headers" in part.media_type else {}
        )
        named = addresses_in(_first(fields, "to"))
        if len(named) == 1 and "cc" not in fields:
            return named[0]
    return ""


def _short(failure: Failure) -> str:
    words = " ".join(_CONTROLS.sub(" ", failure.diagnostic or failure.around).split())
    return words if len(words) <= MAX_SAID_CHARACTERS else f"{words[: MAX_SAID_CHARACTERS - 1]}…"


def _first(fields: Headers, name: str) -> str:
    return fields[name][0] if name in fields else ""
