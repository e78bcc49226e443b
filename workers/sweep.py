"""The sweep: whatever was left unfinished by somebody who is gone goes on, or is shown to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import outcomes, settings
from workers.log import log

if TYPE_CHECKING:
    from store.connection import Pool


def sweep(pool: Pool) -> None:
    """One round, each part in its own transaction, so that one that fails stops no other round."""
    with pool.connection() as conn:
        freed = outcomes.free_lapsed(conn)
    with pool.connection() as conn:
        doubted = outcomes.doubt_lapsed(conn)
    with pool.connection() as conn:
        cancelled = outcomes.cancel_long_held(conn, settings.read(conn).business_now.date())
    if freed or doubted or cancelled:
        log("swept", freed=freed, in_doubt=doubted, cancelled=cancelled)
