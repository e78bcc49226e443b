"""What a rule would take today: counted whole, and its first customers by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from store.runs import selected

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from store.connection import Connection
    from store.rules import PinnedRule

_FROM = "FROM invoices i JOIN customers c ON c.id = i.customer_id WHERE {selected}"
_COUNT = f"SELECT i.currency, count(*), sum(i.balance) {_FROM} GROUP BY i.currency ORDER BY i.currency"
# With ties: the last customer is whole.
_FIRST = f"SELECT i.id {_FROM} ORDER BY i.customer_id FETCH FIRST (%(size)s::bigint) ROWS WITH TIES"
# A generic plan for a filter over everything would walk an index row by row; these two run once a preview.
_PLAN_FRESHLY = "SELECT set_config('plan_cache_mode', 'auto', true), set_config('enable_seqscan', 'on', true)"
_PLAN_BY_KEY = "SELECT set_config('plan_cache_mode', %(plan)s, true), set_config('enable_seqscan', %(scan)s, true)"
_PLANNING = "SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan')"


def candidates(
    conn: Connection, pinned: PinnedRule, today: date, *, first: int
) -> tuple[dict[str, tuple[int, Decimal]], list[int]]:
    """The filter's candidates: (count, balance) by currency of all, and the ids of the first, whole customers only."""
    where, parameters = selected(pinned.rule.filter, pinned.company_id, today)
    with conn.transaction():
        before = conn.execute(_PLANNING).fetchone() or ("auto", "on")
        conn.execute(_PLAN_FRESHLY)
        counted = conn.execute(sql.SQL(_COUNT).format(selected=where), parameters).fetchall()
        ids = conn.execute(sql.SQL(_FIRST).format(selected=where), parameters | {"size": first}).fetchall()
        conn.execute(_PLAN_BY_KEY, {"plan": before[0], "scan": before[1]})
    return {currency: (count, balance) for currency, count, balance in counted}, [row[0] for row in ids]
