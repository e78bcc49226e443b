"""How fresh what we know of payments is: who has paid since would be reminded for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from store.connection import Connection

Source = Literal["import", "heartbeat"]

# Of company u.company_id: older than it allows. store.claims and store.hints ask it for rules that need them fresh.
STALE = """
    EXISTS (SELECT FROM companies c LEFT JOIN payment_sources s ON s.company_id = c.id
             WHERE c.id = u.company_id AND c.payments_fresh_hours IS NOT NULL
               AND coalesce(s.heard_at, '-infinity') < (SELECT coalesce(business_now, clock_timestamp()) FROM settings)
                                                       - make_interval(hours => c.payments_fresh_hours))
"""
_HEARD = """
INSERT INTO payment_sources AS s (company_id, heard_at, heard_from)
SELECT c.id, coalesce(g.business_now, least(now(), %(at)s::timestamptz)), %(source)s::text
  FROM companies c CROSS JOIN settings g
 WHERE c.id = ANY(%(ids)s::bigint[])
ON CONFLICT (company_id) DO UPDATE SET heard_at = excluded.heard_at, heard_from = excluded.heard_from
 WHERE s.heard_at < excluded.heard_at
"""
_ALL = f"""
SELECT u.company_id, u.code, u.payments_fresh_hours AS fresh_hours, p.heard_at, p.heard_from, {STALE} AS stale
  FROM (SELECT id AS company_id, code, payments_fresh_hours FROM companies) AS u
  LEFT JOIN payment_sources p ON p.company_id = u.company_id
 WHERE u.payments_fresh_hours IS NOT NULL OR p.heard_at IS NOT NULL
 ORDER BY u.code LIMIT 10000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What a company's payment data are worth: when and from what they were heard of last, and how old they may be.

    `fresh_hours` None: however old. `stale`: older than that.
    """

    company_id: int
    code: str
    fresh_hours: int | None
    heard_at: datetime | None
    heard_from: Source | None
    stale: bool

    @property
    def detail(self) -> str:
        """What is known, in words."""
        allowed = "" if self.fresh_hours is None else f", {self.fresh_hours} h are allowed"
        if self.heard_at is None:
            return f"never heard of{allowed}"
        return f"last heard of on {self.heard_at:%Y-%m-%d %H:%M} UTC{allowed}"


def heard(conn: Connection, company_ids: Iterable[int], source: Source, *, at: datetime | None = None) -> None:
    """What these companies' customers have paid until now, or until `at`, is known."""
    conn.execute(_HEARD, {"ids": sorted(set(company_ids)), "source": source, "at": at})


def of_companies(conn: Connection) -> dict[int, Freshness]:
    """By company, those that ask for fresh payment data or have ever heard of some."""
    with conn.cursor(row_factory=class_row(Freshness)) as cursor:
        return {one.company_id: one for one in cursor.execute(_ALL)}


def stale(conn: Connection, company_id: int) -> str | None:
    """What is wrong with the company's payment data, None where nothing is."""
    found = of_companies(conn).get(company_id)
    return found.detail if found and found.stale else None
