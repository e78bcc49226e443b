"""A heartbeat: whoever books a company's payments says that all until now are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.acting import acting, existing
from store import companies, freshness, lookups, settings

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection
    from store.freshness import Freshness


def heartbeat(conn: Connection, *, company: str, at: datetime | None = None, by: str) -> Freshness:
    """All payments of the company until now, or `at`, are booked; what waited may leave. Raises InvalidInput."""
    company_id = existing(lookups.companies(conn).get(company), company, field="company")
    today = companies.companies(conn)[company_id].day(settings.read(conn).business_now)
    with acting(conn, by=by, today=today):
        freshness.heard(conn, [company_id], "heartbeat", at=at)
    return freshness.of_companies(conn)[company_id]
