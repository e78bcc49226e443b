"""The relay turns rows that wait into hints, and never more than the workers can soon take.

Redis holds two messages a worker thread at most, and a small constant waiting: flooding it with hints for all that
is due was
measured to cut throughput to a third.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from store import hints

if TYPE_CHECKING:
    from store.connection import Pool
    from workers.settings import Settings

IDS_A_HINT = 25
_WAITING = {"runs": 16, "send": 16, "effects": 4}


class Hints(Protocol):
    """Where hints go: the broker, or a test's own worker."""

    def waiting(self, queue: str) -> int:
        """Messages that no worker has fetched yet."""

    def give(self, actor: str, *ids: object) -> None:
        """Enqueue one hint."""


def relay(pool: Pool, to: Hints, settings: Settings) -> int:
    """Give a round of hints for what is unfinished and has none alive. Returns how many were given."""
    given = 0
    room = {queue: limit - to.waiting(queue) for queue, limit in _WAITING.items()}
    with pool.connection() as conn:
        if room["runs"] > 0:
            for run_id in hints.due_runs(conn, alive_s=settings.hint_s):
                to.give("rule_due", run_id)
                given += 1
            for run_id, number in hints.open_chunks(conn, alive_s=settings.hint_s, limit=room["runs"]):
                to.give("advance_chunk", run_id, number)
                given += 1
            for run_id in hints.closing_runs(conn, alive_s=settings.hint_s, patience_s=settings.close_s):
                to.give("close_run", run_id)
                given += 1
        if room["send"] > 0:
            found = hints.due_reminders(conn, alive_s=settings.hint_s, limit=room["send"] * IDS_A_HINT)
            for ids in found.values():
                for start in range(0, len(ids), IDS_A_HINT):
                    to.give("send_reminders", ids[start : start + IDS_A_HINT])
                    given += 1
        if room["effects"] > 0:
            ids = hints.due_effects(conn, alive_s=settings.hint_s, limit=room["effects"] * 100)
            for start in range(0, len(ids), 100):
                to.give("apply_effects", ids[start : start + 100])
                given += 1
    return given
