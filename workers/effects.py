"""What follows an accepted mail: each effect once, in the transaction that marks it done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from store import companies, effects, settings
from store.connection import on_day
from workers.log import log
from workers.steps import reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.office import Office


def apply_effects(office: Office, reminder_ids: Sequence[int]) -> None:
    """Put on the tags that these reminders' rules ask for.

    One that fails alone is kept with its error and tried later.
    """
    with office.pool.connection() as conn:
        sellers = companies.companies(conn)
        on_day(conn, sellers[min(sellers)].day(settings.read(conn).business_now))
        try:
            with conn.transaction():
                effects.apply_tags(conn, reminder_ids)
        except psycopg.errors.Error:
            for reminder_id in reminder_ids:
                try:
                    with conn.transaction():
                        effects.apply_tags(conn, [reminder_id])
                except psycopg.errors.Error as error:
                    log("effect_failed", level="error", reminder=reminder_id, error=type(error).__name__)
                    effects.postpone(conn, reminder_id, type(error).__name__, wait_s=300)
        reached("tagged")
