"""The relay turns rows that wait into hints, and never more than the workers can soon take.

Redis holds two messages a worker thread at most, and a small constant waiting: flooding it with hints for all that is
due was measured to cut throughput to a third.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from store import hints
from store import settings as stored
from workers.identity import is_ours
from workers.steps import reached

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.connection import Pool
    from workers.settings import Settings

IDS_A_HINT = 50
EFFECTS_A_HINT = 100
_WAITING = {"runs": 16, "send": 16, "effects": 4}


class Hints(Protocol):
    """Where hints go: the broker, or a test's own worker."""

    def waiting(self, queue: str) -> int:
        """Messages that no worker has fetched yet."""

    def give(self, actor: str, *ids: object) -> None:
        """Enqueue one hint."""


def relay(pool: Pool, to: Hints, settings: Settings) -> int:
    """Give a round of hints for what is unfinished and has none alive. Returns how many were given.

    None where the database is another instance's.

    They are given once their rows are committed and free: a worker skips a row that is still locked, and the hint would
    be lost for as long as it is thought to be alive.
    """
    with pool.connection() as conn:
        if not is_ours(stored.read(conn), settings.instance):
            return 0
    room = {queue: _room(limit, to.waiting(queue)) for queue, limit in _WAITING.items()}
    found = _take(pool, room, alive_s=settings.hint_s, close_s=settings.close_s)
    if found:
        reached("hints_marked")
    for actor, ids in found:
        to.give(actor, *ids)
    return len(found)


def _take(
    pool: Pool, room: Mapping[str, int], *, alive_s: float, close_s: float
) -> list[tuple[str, tuple[object, ...]]]:
    """Mark what waits as hinted: (actor, its arguments) of each hint that is now to be given."""
    taken: list[tuple[str, tuple[object, ...]]] = []
    with pool.connection() as conn:
        if room["runs"] > 0:
            taken += [("rule_due", (run_id,)) for run_id in hints.due_runs(conn, alive_s=alive_s)]
            taken += [
                ("advance_chunk", chunk) for chunk in hints.open_chunks(conn, alive_s=alive_s, limit=room["runs"])
            ]
            closing = hints.closing_runs(conn, alive_s=alive_s, patience_s=close_s)
            taken += [("audit", (audit_id,)) for audit_id in hints.due_audits(conn)]
            taken += [("close_run", (run_id,)) for run_id in closing]
        if room["send"] > 0:
            found = hints.due_reminders(conn, alive_s=alive_s, limit=room["send"] * IDS_A_HINT)
            for ids in found.values():
                taken += [("send_reminders", (part,)) for part in _parts(ids, IDS_A_HINT)]
        if room["effects"] > 0:
            ids = hints.due_effects(conn, alive_s=alive_s, limit=room["effects"] * EFFECTS_A_HINT)
            taken += [("apply_effects", (part,)) for part in _parts(ids, EFFECTS_A_HINT)]
    return taken


def _room(limit: int, waiting: int) -> int:
    """How many hints to look for: none before half are gone, since looking costs the same for one as for many."""
    return limit - waiting if 2 * waiting <= limit else 0


def _parts(ids: list[int], size: int) -> list[list[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
