"""The sweep: whatever was left unfinished by somebody who is gone goes on, or is shown to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store import outcomes, settings
from store.companies import companies
from workers import feedback
from workers.log import log
from workers.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.connection import Pool


def free_lapsed(pool: Pool) -> None:
    """Claimed by a worker that is gone: due again."""
    with pool.connection() as conn:
        if freed := outcomes.free_lapsed(conn):
            log("freed", reminders=freed)
            reached("swept")


def doubt_lapsed(pool: Pool) -> None:
    """Armed, and no answer can come any more: in doubt."""
    with pool.connection() as conn:
        if doubted := outcomes.doubt_lapsed(conn):
            log("in_doubt", level="warning", reminders=doubted)
            reached("swept")


def cancel_long_held(pool: Pool) -> None:
    """Queued for a rule that was held or inactive for a day: cancelled."""
    with pool.connection() as conn:
        now = settings.read(conn).business_now
        days = {company.id: company.day(now) for company in companies(conn).values()}
        if cancelled := outcomes.cancel_long_held(conn, days):
            log("cancelled", reminders=cancelled)


def act_on_early_bounces(pool: Pool) -> None:
    """What came back of a mail while nobody knew that it had left is acted upon once it counts as sent."""
    with pool.connection() as conn:
        if caught_up := feedback.catch_up(conn, by="scheduler"):
            log("bounces_caught_up", reminders=caught_up)


# Each in its own transaction, so that one that fails stops no other.
PARTS: Final[dict[str, Callable[[Pool], None]]] = {
    "free_lapsed": free_lapsed,
    "doubt_lapsed": doubt_lapsed,
    "cancel_long_held": cancel_long_held,
    "act_on_early_bounces": act_on_early_bounces,
}


def sweep(pool: Pool) -> None:
    """One round of all."""
    for part in PARTS.values():
        part(pool)
