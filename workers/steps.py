"""Named moments in the life of a run and of a mail: where tests/faults kills a process, or lets it stand still.

Nothing watches in production, and no setting makes anything watch: a test puts its watcher into WATCHERS itself, in the
process that it started. A moment that nobody watches costs some 50 ns, a dozen of them a mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Step = Literal[
    "run_made", "hints_marked", "swept", "run_opened", "reserved", "claiming", "claimed", "rendered", "connected",
    "uploaded", "ticking", "armed", "at_dot", "dot_written", "answered", "sent", "settling", "settled", "tagged",
    "reported", "settling_doubt",
]  # fmt: skip

# In the order in which a run and its mails meet them. "Uncommitted": inside the transaction, its statements executed.
STEPS: Final[dict[Step, str]] = {
    "run_made": "a scheduler has made the runs that are due, uncommitted",
    "hints_marked": "rows are marked as hinted, their hints not given yet",
    "swept": "the sweep has freed what lapsed, or put it in doubt, uncommitted",
    "run_opened": "a run's candidates are fixed, uncommitted",
    "reserved": "a chunk is decided and its mails reserved, uncommitted",
    "claiming": "reminders are claimed and decided again, uncommitted",
    "claimed": "the claim is committed",
    "rendered": "the mails are rendered and not handed to the sender yet",
    "connected": "there is a connection to the server, nothing of the mail is on it",
    "uploaded": "all but the final dot is with the server",
    "ticking": "a tick is about to begin its transaction",
    "armed": "a tick has committed, the mails that it armed do not know of it yet",
    "at_dot": "the next thing to happen is the final dot",
    "dot_written": "the dot is on its way, its answer not read",
    "answered": "a 2xx was read and is written nowhere",
    "sent": "a tick has committed what was sent, its actors do not know of it yet",
    "settling": "it is known that a mail did not leave, and written nowhere",
    "settled": "what became of such a mail is committed",
    "tagged": "the effects of accepted mails are done, uncommitted",
    "reported": "a run's report was accepted and is not marked so yet",
    "settling_doubt": "a policy has settled a mail in doubt, uncommitted",
}

WATCHERS: Final[list[Callable[[Step], None]]] = []


def reached(step: Step) -> None:
    """Tell whoever watches that this process is at a step."""
    for watcher in WATCHERS:
        watcher(step)
