"""What a worker process keeps at hand: connections, pinned rules, the letters' stationery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from letters.mail import Stationery
from store import rules
from store import settings as stored
from store.shipped import shipped
from workers import identity

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

    def is_ours(self) -> bool:
        """Whether the database is this host's instance, so that its mail may leave from here."""
        with self.pool.connection() as conn:
            return identity.is_ours(stored.read(conn), self.settings.instance)

    def pinned(self, conn: Connection, rule_id: int, version: int) -> PinnedRule:
        """A rule as a run pinned it."""
        found = self._pinned.get((rule_id, version))
        if found is None:
            found = self._pinned[rule_id, version] = rules.pinned(conn, rule_id, version)
        return found
