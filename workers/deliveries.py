"""What the sender is given, what it answers, and a mail's own state on its way out."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import asyncio

    from store.companies import Account, Company
    from store.tick import Uploaded
    from workers.smtp import Reply

Fate = Literal["sent", "withdrawn", "not_started", "refused", "unreachable", "disarmed", "unfit", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A claimed and rendered mail. `stuffed`: its bytes for SMTP, all but the final dot."""

    mail: Uploaded
    account: Account
    password: str | None
    company: Company
    recipients: tuple[str, ...]
    stuffed: bytes
    deferrals: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a mail: all but `sent` and `unknown` surely did not leave.

    `unknown`: its dot may have left; nobody but the sweep, evidence or a person may touch it. `unfit`: the database
    refuses its values.
    """

    fate: Fate
    reply: Reply | None = None
    step: str = ""
    error: str = ""


@dataclass(slots=True, eq=False)
class Item:
    """A mail in the sender's hands. `late`: its actor waits for it no longer."""

    ready: Ready
    done: Future[Delivery] = field(default_factory=Future)
    started: bool = False
    late: bool = False
    moving_since: float = 0.0
    armed: asyncio.Future[bool] | None = None
    arming_since: float = 0.0
    reply: Reply | None = None

    @property
    def claim(self) -> tuple[int, int]:
        """The reminder under its fence: an older claim of the same reminder may still be in this process."""
        return self.ready.mail.reminder_id, self.ready.mail.fence


def boottime() -> float:
    """Seconds that go on while the machine sleeps, where it can tell; what the dot's budget is counted on."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
