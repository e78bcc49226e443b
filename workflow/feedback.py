"""What a report or an answer means for the reminder that it is about, from what the classifier read and what we sent.

Anybody may mail us a report. It is believed for the message id that it quotes, whose random part nobody guesses, and as
far as it speaks of the address to which that very mail went: a stranger silences no customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from workflow.bounces import Kind

FeedbackKind = Literal["hard", "soft", "auto_reply", "complaint", "answer"]
TaskKind = Literal["undelivered", "complaint"]
AfterBounce = Literal["task", "next_contact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The reminder that a mail quotes. `left`: it may have; `diverted`: to a test's mailbox, which is no customer's."""

    recipient: str
    left: bool
    diverted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What is noted, and what follows: the address gets no more mail, and a task is made.

    `reason` is a key of workflow.bounces.REASONS. With the task `undelivered` the reminder counts as undelivered.
    """

    kind: FeedbackKind
    reason: str
    suppresses: bool = False
    task: TaskKind | None = None


def meaning(kind: Kind, reason: str, address: str, sent: Sent) -> Meaning | None:
    """What one finding of the classifier means; None where it is to be left alone.

    `address`: of whom it speaks, empty where it names nobody. A hard bounce needs the very address; a complaint, which
    providers strip of it, only no other.
    """
    if not sent.left:
        return None
    named = address.strip().lower()
    ours = named == sent.recipient.lower()
    follows = not sent.diverted
    match kind:
        case "hard" if ours:
            return Meaning(kind="hard", reason=reason, suppresses=follows, task="undelivered" if follows else None)
        case "hard":
            return Meaning(kind="soft", reason="other_address")
        case "complaint" if ours or not named:
            return Meaning(kind="complaint", reason=reason, suppresses=follows, task="complaint" if follows else None)
        case "soft" | "auto_reply" | "complaint":
            return Meaning(kind=kind, reason=reason)
        case "none":
            return Meaning(kind="answer", reason="answered") if reason == "not_a_report" else None
