"""The audit on demand: who should have been reminded by now, and was not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from operations.acting import number
from store import settings
from workers import auditing

if TYPE_CHECKING:
    from store.connection import Connection
    from workflow.audit import Audit

MOST_DAYS = 92


def audit(conn: Connection, *, days: int = 7) -> Audit:
    """Look at the rules' instants of the last days, up to an hour ago, and change nothing. Raises InvalidInput.

    The connection must not be in a transaction.
    """
    number(days, range(1, MOST_DAYS + 1), field="days")
    since = settings.read(conn).business_now - timedelta(days=days)
    conn.commit()
    return auditing.audit(conn, since=since)
