"""How far a run is, how fast it goes and when it will be done: from counts of its rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from store.runs import Progress, Run

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`done` of `mails` have ended; `mails` is an estimate while candidates are undecided, None before any is decided.

    `per_s`: mails that left each second, over the last minute. `left_s`: seconds until the last one leaves at that
    pace, None where none leaves or nobody can say.
    """

    done: int
    mails: int | None
    per_s: float
    left_s: float | None

    def done_of(self, *, estimate: bool) -> str:
        """`12 of 40`, or `12 of ~40` where that is an estimate."""
        return f"{self.done} of {'~' if estimate else ''}{'?' if self.mails is None else self.mails}"


def pace(run: Run, progress: Progress, *, last_minute: int, now: datetime) -> Pace:
    """Tell a run's pace. Mails in doubt wait for a person, so they are never counted as left to be sent."""
    done = progress.sent + progress.failed + progress.cancelled
    to_leave = progress.waiting + progress.leaving
    made = done + to_leave + progress.in_doubt
    candidates = run.candidates or 0
    decided = candidates - progress.undecided
    to_make = round(progress.undecided * made / decided) if decided > 0 else None
    opened_s = (now - run.opened_at).total_seconds() if run.opened_at else 0.0
    per_s = last_minute / max(1.0, min(MINUTE_S, opened_s))
    mails = None if to_make is None else made + to_make
    left_s = None if to_make is None or not per_s else (to_leave + to_make) / per_s
    return Pace(done=done, mails=mails, per_s=per_s, left_s=left_s)
