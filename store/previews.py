"""What a rule would take today: counted whole, and its first customers by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from store import runs
from store.runs import selected
from workflow.limits import too_large

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from store.companies import Company
    from store.connection import Connection
    from store.rules import PinnedRule
    from workflow.limits import TooLarge

# A left join, which is none where the filter asks nothing about the customer: every invoice has one.
# One pass over what the filter selects: all counted, the first by customer listed. With ties: the last one is whole.
_CANDIDATES = """
WITH selected AS MATERIALIZED (
    SELECT i.id, i.customer_id, i.currency, i.balance
      FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id
     WHERE {selected})
SELECT currency, count(*), sum(balance), NULL::bigint FROM selected GROUP BY currency
UNION ALL
SELECT NULL, NULL, NULL, id
  FROM (SELECT id FROM selected ORDER BY customer_id FETCH FIRST (%(size)s::bigint) ROWS WITH TIES) AS first
"""


def size_problem(
    conn: Connection, pinned: PinnedRule, company: Company, count: int, *, before: int | None = None
) -> TooLarge | None:
    """Why a run of the rule with so many candidates would wait for a person, None where it would not.

    `before`: it is run number so and so; None: one that is still to come.
    """
    if company.run_limits.never_waits(count):
        return None
    return too_large(
        count,
        company.run_limits,
        last_runs=runs.last_sizes(conn, pinned.id, before),
        open_invoices=runs.open_invoices(conn, company.id),
    )


def candidates(
    conn: Connection, pinned: PinnedRule, today: date, *, first: int
) -> tuple[dict[str, tuple[int, Decimal]], list[int]]:
    """The filter's candidates: (count, balance) by currency of all, and the ids of the first, whole customers only."""
    where, parameters = selected(pinned.rule.filter, pinned.company_id, today)
    query = sql.SQL(_CANDIDATES).format(selected=where)
    rows = conn.execute(query, parameters | {"size": first}).fetchall()
    counted = {currency: (count, balance) for currency, count, balance, _ in rows if currency is not None}
    return dict(sorted(counted.items())), [row[3] for row in rows if row[3] is not None]
