"""What a worker process keeps at hand: connections, pinned rules, the letters' stationery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from letters.mail import Stationery
from store import rules
from store.shipped import shipped

if TYPE_CHECKING:
    from store.connection import Connection, Pool
    from store.rules import PinnedRule
    from workers.settings import Settings


def _stationery() -> Stationery:
    return Stationery.from_folder(shipped("templates") / "mail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Shared by the actors of one process. A pinned rule version never changes, so it is read once."""

    pool: Pool
    settings: Settings
    stationery: Stationery = field(default_factory=_stationery)
    _pinned: dict[tuple[int, int], PinnedRule] = field(default_factory=dict)

    def pinned(self, conn: Connection, rule_id: int, version: int) -> PinnedRule:
        """A rule as a run pinned it."""
        found = self._pinned.get((rule_id, version))
        if found is None:
            found = self._pinned[rule_id, version] = rules.pinned(conn, rule_id, version)
        return found
