"""What a report about a mail means: whether the address is dead, or only this mail did not arrive this time.

A hard bounce suppresses an address, so the balance is uneven on purpose: everything is soft until the words of the
server that answered, its enhanced status code (RFC 3463) and the moment of its answer (RFC 5321) say together that
the mailbox or its domain does not exist.

- x.1.1, x.1.2, x.1.3, x.1.6 and x.1.10 are about the recipient's address and are evidence by themselves, unless the
  words tell of something else: many servers say 5.1.1 to whatever they refuse.
- x.1.7 and x.1.8 are about the sender's address; x.2.2 and x.2.3 about space and size; x.3, x.4, x.5 and x.6 about
  systems, routes, protocol and content; x.7 about policy, even where it names a user. None says that nobody is there.
- x.2.1, a mailbox disabled, "may be a permanent error if the mailbox will never be re-enabled or a transient error"
  (RFC 3463 section 3.3): no evidence without words that say more.
- "User unknown" without a code counts where it is told to have answered RCPT, or where the reporting system speaks of
  its own users. Elsewhere it counts for nothing: filters say it after they have seen the content, of recipients that
  were accepted before. A code that is not of x.1 outweighs the words beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from workflow.refusals import (
    CODE,
    EDGE_BLOCKING,
    NO_DOMAIN,
    NO_DOMAIN_FOR_SURE,
    NO_MAILBOX,
    NO_MAILBOX_FOR_SURE,
    SOFT,
    Stage,
    plain,
    stage,
)

if TYPE_CHECKING:
    from workflow.facts import Language

Kind = Literal["hard", "soft", "auto_reply", "complaint", "none"]
KINDS: Final[tuple[Kind, ...]] = ("hard", "soft", "auto_reply", "complaint", "none")

REASONS: Final[dict[str, dict[Language, str]]] = {
    "no_mailbox": {"en": "no such mailbox", "fr": "boîte inexistante"},
    "no_domain": {"en": "no such domain", "fr": "domaine inexistant"},
    "moved": {"en": "mailbox moved away", "fr": "boîte déplacée"},
    "delayed": {"en": "delayed, still tried", "fr": "retardé, encore en cours d'envoi"},
    "mailbox_full": {"en": "mailbox full", "fr": "boîte pleine"},
    "suspended": {"en": "mailbox disabled for now", "fr": "boîte désactivée pour l'instant"},
    "too_large": {"en": "mail too large", "fr": "message trop volumineux"},
    "spam": {"en": "taken for spam", "fr": "pris pour du spam"},
    "virus": {"en": "taken for a virus", "fr": "pris pour un virus"},
    "content": {"en": "content or headers refused", "fr": "contenu ou en-têtes refusés"},
    "sender_refused": {"en": "sender refused", "fr": "expéditeur refusé"},
    "authentication": {"en": "SPF, DKIM, DMARC or DNS of the sender", "fr": "SPF, DKIM, DMARC ou DNS de l'expéditeur"},
    "policy": {"en": "refused by policy", "fr": "refusé par une règle du destinataire"},
    "relaying": {"en": "server does not relay for the domain", "fr": "serveur ne relayant pas pour ce domaine"},
    "rate": {"en": "too many mails or connections", "fr": "trop de messages ou de connexions"},
    "loop": {"en": "mail goes round in circles", "fr": "message tournant en rond"},
    "unreachable": {"en": "server not reached in time", "fr": "serveur non joint à temps"},
    "temporary": {"en": "temporary failure", "fr": "échec temporaire"},
    "system": {"en": "fault of a mail system", "fr": "défaut d'un système de messagerie"},
    "undelivered": {"en": "not delivered, without a clear reason", "fr": "non remis, sans raison claire"},
    "delivered": {"en": "delivered or handed on", "fr": "remis ou transmis"},
    "automatic_answer": {"en": "automatic answer", "fr": "réponse automatique"},
    "receipt": {"en": "receipt by the reader's program", "fr": "accusé du logiciel de lecture"},
    "complained": {"en": "reader reported it as spam", "fr": "signalé comme spam par le lecteur"},
    "about_sending": {"en": "report that is no complaint", "fr": "rapport qui n'est pas une plainte"},
    "other_address": {"en": "not delivered at another address", "fr": "non remis à une autre adresse"},
    "answered": {"en": "somebody answered", "fr": "quelqu'un a répondu"},
    "not_a_report": {"en": "no report about a mail", "fr": "pas un rapport sur un message"},
    "not_readable": {"en": "file cannot be read", "fr": "fichier illisible"},
    "too_large_to_read": {"en": "larger than 25 MiB: not read", "fr": "plus de 25 Mio : non lu"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`reason` is a key of REASONS."""

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a report says of one recipient.

    `action` and `status` as in RFC 3464 section 2.3, `reply` the SMTP reply code, each empty where it says none;
    `diagnostic` what the server answered, `around` what the reporting system wrote about it in its own words;
    `own_user` tells that the recipient is of the reporting system's domain.
    """

    action: str = ""
    status: str = ""
    reply: str = ""
    diagnostic: str = ""
    around: str = ""
    own_user: bool = False


def judge(failure: Failure) -> Verdict:
    """Hard only with evidence; see the head of this file."""
    action, code = failure.action.lower(), failure.status
    if action in {"delivered", "relayed", "expanded"} or (code.startswith("2.") and action != "failed"):
        return Verdict(kind="none", reason="delivered")
    if action == "delayed":
        return Verdict(kind="soft", reason="delayed")
    said = plain(failure.diagnostic)
    if not said and code not in _ABOUT_THE_MAILBOX | _ABOUT_THE_DOMAIN:
        said = plain(failure.around)
    softer = _softer(said, code) or ("mailbox_full" if SOFT["mailbox_full"].search(plain(failure.around)) else "")
    if softer:
        return Verdict(kind="soft", reason=softer)
    dead = _dead(failure, said)
    if dead:
        return Verdict(kind="hard", reason=dead)
    return Verdict(kind="soft", reason=_by_code(code, failure.reply))


def tells_something(text: str) -> bool:
    """Whether these words give any known reason why a mail did not arrive."""
    said = plain(text)
    return bool(_softer(said, "") or NO_MAILBOX.search(said) or NO_DOMAIN.search(said))


def _softer(said: str, code: str) -> str:
    """What the words tell instead of a dead address, or nothing.

    Words of policy do not weaken a code about the mailbox: "rejected", "denied" and "inactive" stand beside it.
    """
    by_code = code in _ABOUT_THE_MAILBOX or _by_edge(said, code)
    asked = (reason for reason in SOFT if not (by_code and reason in {"suspended", "policy"}))
    return next((reason for reason in asked if SOFT[reason].search(said)), "")


def _dead(failure: Failure, said: str) -> str:
    """Why nobody is there, or nothing."""
    code, answered = failure.status, stage(f"{failure.diagnostic}\n{failure.around}")
    if answered in {"connect", "mail"}:
        return ""
    if failure.reply == "556" or NO_DOMAIN_FOR_SURE.search(said):  # RFC 7504, RFC 7505, RFC 2308
        return "no_domain"
    if "4" in {code[:1], failure.reply[:1]}:
        return ""
    if code == "5.1.6":
        return "moved"
    if code in _ABOUT_THE_DOMAIN or (answered != "data" and NO_DOMAIN.search(said)):
        return "no_domain"
    by_code = code in _ABOUT_THE_MAILBOX or _by_edge(said, code)
    return "no_mailbox" if by_code or _nobody(failure, said, answered) else ""


def _nobody(failure: Failure, said: str, answered: Stage) -> bool:
    """Whether words alone tell of a missing mailbox, and by whom and when they were said makes them evidence."""
    if NO_MAILBOX_FOR_SURE.search(said):
        return True
    if not NO_MAILBOX.search(said):
        return False
    if answered == "rcpt":
        return failure.status in _WITH_WORDS or not CODE.search(failure.diagnostic)
    return failure.own_user and not failure.reply and not failure.status


def _by_edge(said: str, code: str) -> bool:
    return code == "5.4.1" and bool(EDGE_BLOCKING.search(said))


def _by_code(code: str, reply: str) -> str:
    """The nearest reason to a code of RFC 3463, by its subject and detail."""
    known = _REASONS_BY_CODE.get(code[2:]) or _REASONS_BY_SUBJECT.get(code[2:3], "")
    if known:
        return known
    return "temporary" if code[:1] == "4" or reply[:1] == "4" else "undelivered"


_ABOUT_THE_MAILBOX: Final = frozenset({"5.1.1", "5.1.3", "5.1.10"})
_ABOUT_THE_DOMAIN: Final = frozenset({"5.1.2"})
# Codes that say too little alone and do not contradict words about a missing mailbox.
_WITH_WORDS: Final = frozenset({"5.1.0", "5.1.4", "5.2.1"})

_REASONS_BY_CODE: Final = {
    "1.7": "sender_refused",
    "1.8": "sender_refused",
    "2.1": "suspended",
    "2.2": "mailbox_full",
    "2.3": "too_large",
    "3.4": "too_large",
    "4.6": "loop",
}
_REASONS_BY_SUBJECT: Final = {"3": "system", "4": "unreachable", "6": "content", "7": "policy"}
