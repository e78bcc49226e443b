"""What follows a mail server's refusal: the mail tries again later, fails, or its account is held.

RFC 5321 section 4.2.1: 4xx may pass later, 5xx will not. Before MAIL it is the account's trouble, not the mail's. Only
evidence that nobody is there suppresses the address: see workflow.bounces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from workflow.bounces import Failure, judge

# Seconds: 1, 5, 15 and 60 minutes, then every four hours; five days at most (store.outcomes.give_back).
_LADDER_S: Final = (60, 300, 900, 3600)
_LONGEST_S: Final = 4 * 3600
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`suppresses`: why the recipient's address takes no more mail, empty where it may."""

    then: Literal["later", "failed", "account_held"]
    suppresses: str = ""


def after_refusal(step: str, code: int, text: str, *, by_token: bool = False) -> Refusal:
    """What a refusal means. `step`: connect, ehlo, auth, mail, rcpt, data or dot; `code`: 400 to 599.

    `by_token`: the login was by an access token, which lapses within the hour; what renews it may be late.
    """
    if step == "auth" and code >= 500 and not by_token:
        return Refusal(then="account_held")
    if code < 500 or step in {"connect", "ehlo", "auth"}:
        return Refusal(then="later")
    if step != "rcpt":
        return Refusal(then="failed")
    status = _STATUS.search(text)
    said = judge(Failure(action="failed", status=status[0] if status else "", reply=str(code), diagnostic=text))
    # Its code alone: the journal keeps the reason for ever, and the server's words may name the reader.
    why = f"{code} {status[0]}" if status else str(code)
    return Refusal(then="failed", suppresses=why if said.kind == "hard" else "")


def wait_s(deferrals: int) -> int:
    """Seconds until a mail tries again that was deferred this many times before."""
    return _LADDER_S[deferrals] if deferrals < len(_LADDER_S) else _LONGEST_S
