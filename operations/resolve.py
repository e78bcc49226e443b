"""Resolve a mail in doubt by hand: it arrived, it is sent again, or it is lost. What was sent is never touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, assert_never

from operations.acting import acting, line
from operations.lookup import Unknown
from store import companies, resolutions, settings
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import date, datetime

    from store.connection import Connection
    from store.resolutions import Doubtful

Answer = Literal["arrived", "send again", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What the answer does, or did. `day`: the business day on which the reminder counts, where it arrived."""

    reminder: Doubtful
    answer: Answer
    day: date | None
    done: bool


def resolve(
    conn: Connection,
    reminder_id: int,
    answer: Answer,
    *,
    because: str,
    quarantine_s: float,
    dry_run: bool,
    by: str,
) -> Resolution:
    """Resolve one reminder that is in doubt. A dry run checks the same and changes nothing.

    Raises Unknown; InvalidInput without a reason, for a reminder that is not in doubt, and for *send again* or *lost*
    within the quarantine: until then a process that died, or a slow network, may still deliver the first one.
    """
    because = line(because, field="because")
    here = settings.read(conn)
    sellers = companies.companies(conn)
    today = next((one.day(here.business_now) for one in sellers.values()), None)
    with acting(conn, by=by, because=because, today=today):
        reminder = resolutions.read(conn, reminder_id, lock=not dry_run)
        if reminder is None:
            raise Unknown(kind="reminder", name=str(reminder_id))
        if reminder.state != "in_doubt" or reminder.armed_at is None:
            reason = f"is {reminder.state.replace('_', ' ')}: only a reminder in doubt is resolved"
            raise InvalidInput(field="reminder", value=reminder_id, reason=reason)
        day = None
        match answer:
            case "arrived":
                day = resolutions.day_it_left(reminder, sellers[reminder.company_id], here)
                if not dry_run:
                    resolutions.arrived(conn, reminder, day, because)
            case "send again":
                _check_quarantine(conn, reminder, reminder.armed_at + timedelta(seconds=quarantine_s))
                if not dry_run:
                    resolutions.send_again(conn, reminder, because)
            case "lost":
                _check_quarantine(conn, reminder, reminder.armed_at + timedelta(seconds=quarantine_s))
                if not dry_run:
                    resolutions.lost(conn, reminder, sellers[reminder.company_id].day(here.business_now), because)
            case _:
                assert_never(answer)
    return Resolution(reminder=reminder, answer=answer, day=day, done=not dry_run)


def _check_quarantine(conn: Connection, reminder: Doubtful, free_at: datetime) -> None:
    if settings.database_now(conn) < free_at:
        reason = f"may still arrive: it can be sent again from {free_at:%Y-%m-%d %H:%M:%S %Z} on"
        raise InvalidInput(field="reminder", value=reminder.id, reason=reason)
