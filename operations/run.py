"""Run a rule by hand: one request, one run, whoever clicks twice."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import acting, line, sensible_day
from operations.rules import require_may_run
from store import companies, journal, runs, settings
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection
    from store.rules import SavedRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The request's run. `made`: now; False where the same request had made it before."""

    run_id: int
    request_key: str
    made: bool


def on_clock(conn: Connection, saved: SavedRule, at: datetime) -> datetime:
    """The instant that a wall clock's time means for the rule's company; an instant with a time zone stays itself.

    Raises InvalidInput for a year that nobody means.
    """
    sensible_day(at.date(), field="now")
    clock = companies.companies(conn)[saved.company_id].clock
    return at.astimezone(clock) if at.tzinfo else at.replace(tzinfo=clock)


def check_may_set_clock(conn: Connection, now: datetime) -> None:
    """Raise InvalidInput unless this is a test instance: nobody else has a business clock of its own."""
    if not settings.read(conn).test_instance:
        reason = "only a test instance has a business clock of its own"
        raise InvalidInput(field="now", value=now.isoformat(), reason=reason)


def set_business_clock(conn: Connection, now: datetime, *, by: str) -> None:
    """Set what time business has, from an aware instant. Raises InvalidInput unless this is a test instance."""
    check_may_set_clock(conn, now)
    with acting(conn, by=by, today=now.date()):
        settings.set_clock(conn, now)


def run_by_hand(conn: Connection, saved: SavedRule, *, by: str, request_key: str | None = None) -> Started:
    """Make the request's run of the rule as it stands, active or not; workers take it from there.

    Without a key the request is one of its own. The same key gives the same run. Raises InvalidInput, also for a rule
    that is not shared with who asks.
    """
    require_may_run(conn, saved, by=by)
    key = line(request_key, field="request") if request_key else f"hand:{secrets.token_hex(8)}"
    now = settings.read(conn).business_now
    with acting(conn, by=by, today=companies.companies(conn)[saved.company_id].day(now)):
        made = runs.insert(conn, saved.pinned, due_at=now, request_key=key)
        if made is not None:
            journal.write(conn, "run", made, {"requested": [None, key]})
            return Started(run_id=made, request_key=key, made=True)
        found = runs.by_request(conn, saved.id, key)
    if found is None:
        raise LookupError(f"the run of request {key} is neither made nor found")
    return Started(run_id=found, request_key=key, made=False)
