"""Mails in doubt under a policy: which it may still settle by itself, and what it has settled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection

# What a person has to settle, evidence never will.
_UNSETTLED: Final = """
SELECT count(*), max(armed_at) + make_interval(secs => %(quarantine_s)s::float8) FROM reminders
 WHERE state = 'in_doubt'
   AND coalesce(doubt_reason, '') NOT IN ('came_back', 'too_often', 'nothing_earlier', 'gaps', 'account_changed')
"""
_SETTLED: Final = """
SELECT split_part(detail, ':', 1), count(*) FROM attempts
 WHERE step = 'resolved' AND actor = 'policy:evidence' GROUP BY 1 ORDER BY 1
"""
_EVER: Final = "SELECT count(DISTINCT reminder_id) FROM attempts WHERE step = 'in_doubt'"


def unsettled(conn: Connection, quarantine_s: float) -> tuple[int, datetime | None]:
    """How many mails evidence may still settle, and when the last one's quarantine is over."""
    ((waiting, free_at),) = conn.execute(_UNSETTLED, {"quarantine_s": quarantine_s}).fetchall()
    return waiting, free_at


def settled(conn: Connection) -> Counter[str]:
    """What the policy has decided, and how often."""
    return Counter({f"evidence: {what}": count for what, count in conn.execute(_SETTLED)})


def ever_in_doubt(conn: Connection) -> int:
    ((count,),) = conn.execute(_EVER).fetchall()
    return int(count)
