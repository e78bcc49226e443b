"""Reports that mail systems write in words of their own, as they did before RFC 3464 and as some still do.

Nothing is a report for its words alone: its sender or its subject must say so too, since people quote reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflow.bounces import Failure, tells_something

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.incoming import Part

MAX_REPORT_CHARACTERS: Final = 20_000

_ADDRESS = re.compile(
    r"(?<![^\s<>()\[\]\"',;:=|])([^\s<>()\[\]\"',;:@|\x00-\x1f\x7f]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})",
    re.UNICODE,
)
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
# A reply code where replies stand: it begins a line or a clause, or a status follows. Amounts and years do not.
_REPLY = re.compile(
    r"(?m)(?:^|[:<>;(\[']|\bsaid|\bwas|-\s)[ \t]{0,12}([2345][0-5]\d)(?=[ \-:,#;]|$)|"
    r"(?<![\d.])([245][0-5]\d)[ \-:]{1,3}#?[245]\.\d{1,3}\.\d{1,3}"
)
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")

_DAEMON = re.compile(
    r"(?i)mailer-?daemon|post[-_]?master|mail(?:er)? (?:delivery|system|administrator)|delivery (?:sub)?system|"
    r"mail delivery"
)
_ANSWER_TO_SOMEBODY = re.compile(r"(?i)^\s*(?:re|fwd?|tr|aw|wg|antw|rv|rif)\s*:")
_SUBJECT = re.compile(
    r"(?i)undeliver|not (?:be )?deliver|deliver\w*\b.{0,30}\b(?:fail|error|problem|delay|status|notif)|"
    r"fail\w*\b.{0,30}\bdeliver|"
    r"return(?:ed|ing) (?:mail|message|to sender)|mail(?: system)? (?:failure|failed|error)|failure notice|"
    r"could not be (?:delivered|sent)|error sending|problem delivering|"
    r"non[- ](?:remis|distribu|recapitabile|entregado)|"
    r"[ée]chec.{0,30}(?:remise|distribution|envoi)|unzustellbar|nicht zugestellt|не ?доставлен|"
    r"メールエラー|配信(?:でき|不能)|送信でき|退信"
)
_FAILED = re.compile(
    r"(?i)(?:could|can|was|were|has|have|been)(?: ?n[o']t| unable).{0,60}(?:deliver|sent|relayed)|undeliver|"
    r"unable to deliver|"
    r"cannot be delivered|fail(?:ed|ure)\b.{0,40}\b(?:deliver|permanently|address)|"
    r"deliver\w*\b.{0,60}\b(?:fail|delayed|error|problem)|"
    r"(?:fatal|delivery|permanent) (?:errors?|failure)|did not reach|failed addresses|rejected by|trouble delivering|"
    r"transcript of session|was(?: automatically)? rejected|non remis|"
    r"n'a pas pu [êe]tre (?:remis|distribu|envoy)|送信でき|配信でき"
)
# Where the report ends and the mail it is about begins.
_ORIGINAL = re.compile(
    r"(?im)^[ \t|>*]{0,10}(?:[-=_*|]{2,}[ \t]{0,5}.{0,60}\b(?:original|copy of|copie|below this line|unsent|"
    r"returned message|message text|header|message body|undelivered)\b.{0,80}|"
    r"(?:message headers|original message|the original message|below is a copy).{0,60}(?:follow|:).{0,40}|"
    r"(?:received|return-path|x-received|dkim-signature|message-id|mime-version)[ \t]{0,3}:.{0,500})$"
)
_NAMED = re.compile(r"(?i)(?:rcpt[ _]to|recipients?(?: address)?|address(?:es)?|to|user(?:id)?|for|errors)\W{1,6}$")
_REPLY_BEFORE = re.compile(r"^\s*[245]\d\d[ -]\W{0,3}$")
_NOT_NAMED = re.compile(
    r"(?i)(?:mail from|from|sender|contact|send (?:e-?)?mail to|mailto|return-path|support|hello|dear|helo|ehlo|please|"
    r"\bid|by|message-id)"
    r"\W{0,6}$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InWords:
    """A recipient that a report in words names, and what it says of it."""

    address: str
    failure: Failure


def report_text(parts: Sequence[Part]) -> str:
    """What the report's own author wrote: its first text, up to the mail that it returns."""
    own = [part for part in parts if part.returned == 0 and part.media_type in {"text/plain", "text/html"}]
    for part in own:
        text = part.text()[:MAX_REPORT_CHARACTERS]
        if text.strip():
            return _before_original(text)
    return ""


def read_words(parts: Sequence[Part]) -> list[InWords]:
    """Each recipient that a report in words tells of, in order; empty where it is no such report.

    The address is empty where the report names none.
    """
    head, text = parts[0], report_text(parts)
    if not _is_report(head, text):
        return []
    named = _recipients(head, text)
    if not named:
        return [InWords(address="", failure=_failure(text, own_user=False))]
    domains = [address.rpartition("@")[2].lower() for address in addresses_in(head.first("from"))]
    return [
        InWords(address=each, failure=_failure(said_of(text, each, named), own_user=_is_of(each, domains)))
        for each in named
    ]


def said_of(text: str, address: str, all_addresses: Sequence[str]) -> str:
    """What a report says of one of its recipients: the lines from where it names that one until it names another."""
    if len(all_addresses) < 2:
        return text
    lines, about = [], ""
    names = {each.lower() for each in all_addresses}
    for line in text.split("\n"):
        named = [each.lower() for each in addresses_in(line) if each.lower() in names]
        about = named[0] if named else about
        if about == address.lower():
            lines.append(line)
    return "\n".join(lines)


def _failure(text: str, *, own_user: bool) -> Failure:
    """What a piece of a report says: its first codes, the words of the server beside them, and all its words."""
    return Failure(
        status=status_in(text), reply=reply_in(text), diagnostic=_answer(text), around=text, own_user=own_user
    )


def _is_of(address: str, domains: Sequence[str]) -> bool:
    """Whether an address is of one of the domains, or of one above or below it."""
    domain = f".{address.rpartition('@')[2].lower()}"
    return any(domain.endswith(f".{each}") or f".{each}".endswith(domain) for each in domains)


def _answer(text: str) -> str:
    """The server's answer within a report: from the line with the first code to the next empty line."""
    codes = [found.start() for found in (_STATUS.search(text), _refusal(text)) if found]
    if not codes:
        return ""
    begun = text.rfind("\n", 0, min(codes)) + 1
    end = _EMPTY_LINE.search(text, min(codes))
    return text[begun : end.start() if end else len(text)]


def _refusal(text: str) -> re.Match[str] | None:
    return next((found for found in _REPLY.finditer(text) if (found[1] or found[2])[0] in "45"), None)


def status_in(text: str) -> str:
    """The first enhanced status code, or nothing."""
    found = _STATUS.search(text)
    return found[1] if found else ""


def reply_in(text: str) -> str:
    """The first SMTP reply code that refuses, or nothing."""
    found = _refusal(text)
    return (found[1] or found[2]) if found else ""


def addresses_in(text: str) -> list[str]:
    """The mail addresses of a text, in order."""
    return [found[1].rstrip(".") for found in _ADDRESS.finditer(text)]


def by_daemon(head: Part) -> bool:
    """Whether a mail system is the sender, by the mail's own headers."""
    return bool(
        _DAEMON.search(head.first("from"))
        or _DAEMON.search(head.first("return-path"))
        or "x-failed-recipients" in head.headers
        or head.first("from").endswith("<>")
    )


def _is_report(head: Part, text: str) -> bool:
    subject = head.first("subject")
    tells = bool(_FAILED.search(text))
    daemon, titled = by_daemon(head), bool(_SUBJECT.search(subject)) and not _ANSWER_TO_SOMEBODY.match(subject)
    if daemon and titled:
        return True  # in whatever language it goes on
    if daemon or titled:
        return tells or bool(status_in(text)) or bool(reply_in(text)) or tells_something(text)
    nobody = head.first("return-path") in {"<>", "<null>"}
    return nobody and tells and (bool(status_in(text) or reply_in(text)) or tells_something(text))


def _recipients(head: Part, text: str) -> list[str]:
    """Whom the report is about: as its header says, else the addresses that stand where failed ones do."""
    failed = addresses_in(head.first("x-failed-recipients"))
    if failed:
        return _once(failed)
    plain, named = [], []
    for found in _ADDRESS.finditer(text):
        before = text[max(found.start() - 60, 0) : found.start()]
        line = before.rpartition("\n")[2]
        if _NOT_NAMED.search(line):
            continue
        plain.append(found[1])
        if not re.search(r"\w", line) or _REPLY_BEFORE.search(line) or _NAMED.search(line):
            named.append(found[1])
    own = {address.lower() for name in ("from", "to", "return-path") for address in addresses_in(head.first(name))}
    others = [each for each in named if each.lower() not in own] or [each for each in plain if each.lower() not in own]
    return _once(others if named else others[:1]) or named[:1]


def _once(addresses: Sequence[str]) -> list[str]:
    return list({address.rstrip(".").lower(): address.rstrip(".") for address in reversed(addresses)}.values())[::-1]


def _before_original(text: str) -> str:
    """Up to the returned mail; all of it where nothing stands before that."""
    for found in _ORIGINAL.finditer(text):
        if text[: found.start()].strip():
            return text[: found.start()]
    return text
