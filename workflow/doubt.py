"""What becomes of a mail in doubt, by its account's policy: pure, from what is known of it and what evidence shows.

Whatever the policy, nothing is sent again before the quarantine is over: until then a process that died, or a slow
network, may still deliver the first dot. And a policy never tries for ever: what it cannot settle is a person's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, assert_never

if TYPE_CHECKING:
    from datetime import datetime

Policy = Literal["hold", "evidence", "provider_key", "resend"]
POLICIES: Final[tuple[Policy, ...]] = ("hold", "evidence", "provider_key", "resend")
# After so long a person is told of a mail in doubt.
ALERT_AFTER: Final = timedelta(minutes=15)
Then = Literal["wait", "sent", "failed", "again", "person"]

# A policy sends one mail again so many times; a server that swallows every answer is not to fill somebody's mailbox.
MOST_AGAIN: Final = 3
# Clocks differ, and the provider's may have begun to count before ours.
KEY_MARGIN: Final = timedelta(minutes=10)

REASONS: Final[dict[str, dict[str, str]]] = {
    "hold": {
        "en": "its mail account leaves doubts to a person",
        "fr": "son compte d'envoi laisse les doutes à une personne",
    },
    "hold_heard_of": {
        "en": "something came back about it, so it left; its mail account leaves doubts to a person",
        "fr": "un retour le cite, donc il est parti ; son compte d'envoi laisse les doutes à une personne",
    },
    "heard_of": {
        "en": "something came back about it, so it left",
        "fr": "un retour le cite, donc il est parti",
    },
    "not_looked": {"en": "nobody has looked for it yet", "fr": "personne n'en a encore cherché la trace"},
    "quarantine": {
        "en": "it may still arrive: nothing is sent again before its quarantine is over",
        "fr": "il peut encore arriver : rien n'est renvoyé avant la fin de sa quarantaine",
    },
    "found": {"en": "evidence shows that it was accepted", "fr": "une trace montre qu'il a été accepté"},
    "found_refused": {"en": "evidence shows that it was refused", "fr": "une trace montre qu'il a été refusé"},
    "unreadable": {
        "en": "what should show whether it arrived cannot be read",
        "fr": "ce qui doit montrer s'il est arrivé ne peut pas être lu",
    },
    "nothing_later": {
        "en": "no trace of it, nor yet of any mail after its quarantine: that proves nothing",
        "fr": "aucune trace de lui, ni encore d'un message postérieur à sa quarantaine : cela ne prouve rien",
    },
    "nothing_earlier": {
        "en": "no trace of it, nor of the mails just before it: what is shown does not reach back far enough",
        "fr": "aucune trace de lui, ni des messages juste avant : ce qui est montré ne remonte pas assez loin",
    },
    "gaps": {
        "en": "no trace of it, nor of a mail that left just after it: what is shown has gaps",
        "fr": "aucune trace de lui, ni d'un message parti juste après : ce qui est montré a des trous",
    },
    "not_found": {
        "en": "evidence shows the mails before and after it, and not this one",
        "fr": "les messages d'avant et d'après ont laissé une trace, et pas celui-ci",
    },
    "account_changed": {
        "en": "its mail account was changed after it left: what it shows now proves nothing about then",
        "fr": "son compte d'envoi a changé depuis son départ : ce qu'il montre ne prouve rien sur ce moment-là",
    },
    "without_key": {
        "en": "it left without the idempotency key that the account uses now",
        "fr": "il est parti sans la clé d'idempotence que le compte utilise maintenant",
    },
    "key_expired": {
        "en": "its provider may have forgotten the idempotency key",
        "fr": "son prestataire a pu oublier la clé d'idempotence",
    },
    "same_key": {
        "en": "its provider drops a second mail with the same idempotency key",
        "fr": "son prestataire écarte un second message portant la même clé d'idempotence",
    },
    "resend": {
        "en": "its mail account sends again, at the risk of a duplicate",
        "fr": "son compte d'envoi renvoie, au risque d'un doublon",
    },
    "came_back": {
        "en": "it was to be sent again, and could not be as it was",
        "fr": "il devait être renvoyé, et ne pouvait plus l'être tel quel",
    },
    "too_often": {
        "en": f"it was sent again {MOST_AGAIN} times, and is in doubt again",
        "fr": f"il a été renvoyé {MOST_AGAIN} fois, et reste incertain",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A mail in doubt. `armed_at`: when its last dot may have left, `first_armed_at`: its first.

    `sent_again`: how often a policy did so. `came_back`: it is in doubt again without another dot, since its facts had
    changed or it was refused. `account_changed`: its account leads elsewhere than when its first dot left.
    `heard_of`: a bounce or an answer quotes its message id, which nobody has of a mail that did not leave.
    """

    armed_at: datetime
    first_armed_at: datetime
    sent_again: int = 0
    came_back: bool = False
    account_changed: bool = False
    heard_of: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a channel shows of a mail, and of itself.

    `earlier`: the mails that left just before each of its dots are shown, or there are none to show; `gapless`: so are
    those that left just after, within the quarantine. `later`: one is shown that left after its quarantine, so the
    channel was looking at the right place, and has caught up.
    """

    shows: Literal["accepted", "refused", "nothing", "unreadable"]
    earlier: bool = False
    gapless: bool = False
    later: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The idempotency key of an account's provider. `on_every_mail`: each dot that may have left carried it."""

    hours: int
    on_every_mail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`reason` is one of REASONS. `until`: the instant after which it may not be sent again any more."""

    then: Then
    reason: str
    until: datetime | None = None


def decide(
    policy: Policy, doubt: Doubt, *, now: datetime, quarantine: timedelta, evidence: Evidence | None, key: Key | None
) -> Decision:
    """Decide what becomes of a mail in doubt. `evidence` and `key` are given where the policy is theirs.

    What came back about it counts before whatever a channel shows or hides: it left, delivered or not.
    """
    match policy:
        case "hold":
            return Decision(then="person", reason="hold_heard_of" if doubt.heard_of else "hold")
        case _ if doubt.heard_of:
            decision = Decision(then="sent", reason="heard_of")
        case "evidence":
            decision = _by_evidence(doubt, evidence or Evidence(shows="unreadable"))
        case "provider_key":
            decision = _by_key(doubt, now, key or Key(hours=0, on_every_mail=False))
        case "resend":
            decision = Decision(then="again", reason="resend")
        case _:
            assert_never(policy)
    if decision.then == "sent":
        return decision
    if decision.then != "failed" and doubt.came_back:
        return Decision(then="person", reason="came_back")
    if decision.then == "again" and doubt.sent_again >= MOST_AGAIN:
        return Decision(then="person", reason="too_often")
    # A refusal waits too: what was refused may be an earlier try, and the last one still on its way.
    if decision.then != "person" and decision.reason != "unreadable" and now < doubt.armed_at + quarantine:
        return Decision(then="wait", reason="quarantine")
    return decision


def _by_evidence(doubt: Doubt, evidence: Evidence) -> Decision:
    match evidence.shows:
        case "accepted":
            return Decision(then="sent", reason="found")
        case "refused":
            return Decision(then="failed", reason="found_refused")
        case "unreadable":
            return Decision(then="wait", reason="unreadable")
        case "nothing":
            return _by_absence(doubt, evidence)
        case _:
            assert_never(evidence.shows)


def _by_absence(doubt: Doubt, evidence: Evidence) -> Decision:
    """No trace of it counts only where the mails before and after it have left theirs."""
    if doubt.account_changed:
        return Decision(then="person", reason="account_changed")
    if not evidence.later:
        return Decision(then="wait", reason="nothing_later")
    if not evidence.earlier:
        return Decision(then="person", reason="nothing_earlier")
    if not evidence.gapless:
        return Decision(then="person", reason="gaps")
    return Decision(then="again", reason="not_found")


def _by_key(doubt: Doubt, now: datetime, key: Key) -> Decision:
    """The provider counts from the first mail that it may have accepted."""
    until = doubt.first_armed_at + timedelta(hours=key.hours) - KEY_MARGIN
    if doubt.account_changed:
        return Decision(then="person", reason="account_changed")
    if not key.on_every_mail:
        return Decision(then="person", reason="without_key")
    if now >= until:
        return Decision(then="person", reason="key_expired")
    return Decision(then="again", reason="same_key", until=until)


def idempotency_key(message_id: str) -> str:
    """The key of a mail: the same at each attempt of it, and no other mail's."""
    return f"relance-{sha256(message_id.encode('ascii')).hexdigest()[:32]}"
