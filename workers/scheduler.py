"""The scheduler: from rows and the business clock, which rules are due. Any number may run; the database keeps one run.

A cron only wakes. An instant that was slept over makes no run of its own: the last one does, and says how many it
missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import audits, companies, rules, runs, settings
from workers.deliveries import boottime
from workers.identity import is_ours
from workers.log import log
from workers.steps import reached
from workflow.errors import RelanceError
from workflow.schedule import latest_due

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection, Pool

_JUMP_S = 120.0


def fire(conn: Connection) -> list[int]:
    """Make the runs that are due now. Returns their ids; none when called again."""
    made = []
    now = settings.read(conn).business_now
    sellers = companies.companies(conn)
    last = runs.latest_due(conn)
    waiting = runs.rules_waiting(conn)
    for saved in rules.saved(conn):
        if not saved.active or saved.held_because or saved.id in waiting or not saved.rule.schedule_lines:
            continue
        after = max(saved.counting_from, last.get(saved.id, saved.counting_from))
        if after >= now:
            continue
        try:
            missed = latest_due(saved.rule.schedule_lines, sellers[saved.company_id].clock, after, now)
        except RelanceError as error:
            log("schedule_unreadable", level="error", rule=saved.id, error=type(error).__name__)
            continue
        if missed is None:
            continue
        run_id = runs.insert(conn, saved.pinned, due_at=missed.due_at, missed=missed.count - 1)
        if run_id is not None:
            log("run_made", run=run_id, rule=saved.id, missed=missed.count - 1)
            made.append(run_id)
    return made


class ClockWatch:
    """Tells a jump of the database's wall clock from time that passed, sleep included."""

    def __init__(self, now: datetime) -> None:
        """Start watching at this instant of the wall clock."""
        self.accept(now)

    def accept(self, now: datetime) -> None:
        """What the clock says is right: watch from here on."""
        self._wall, self._boot = now, boottime()

    def jump_s(self, now: datetime) -> float:
        """Seconds by which the wall clock went ahead of (or behind) the time that passed since it was accepted."""
        return (now - self._wall).total_seconds() - (boottime() - self._boot)


def fire_unless_jumped(pool: Pool, watch: ClockWatch, *, instance: str = "") -> list[int]:
    """One round of the scheduler. A jump of the clock stops all mail until a person has looked.

    Nothing is fired where the database is not the instance that this host belongs to.
    """
    with pool.connection() as conn:
        here = settings.read(conn)
        if not is_ours(here, instance):
            return []
        now = settings.database_now(conn)
        jump = watch.jump_s(now)
        jumped = abs(jump) > _JUMP_S
        if jumped:
            settings.stop(conn, because=f"the clock jumped by {jump:.0f} s")
            log("clock_jumped", level="error", seconds=round(jump))
        made = [] if jumped or here.stopped_because else fire(conn)
        if made:
            reached("run_made")
    watch.accept(now)
    return made


def plan_audit(pool: Pool, *, instance: str = "") -> None:
    """Have the day's audit made, once for all schedulers, where the database is this host's instance."""
    with pool.connection() as conn:
        if is_ours(settings.read(conn), instance) and audits.plan(conn):
            log("audit_planned")
