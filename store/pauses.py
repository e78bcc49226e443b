"""Pauses and promises: reasons to wait, on an invoice or on all of a customer's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from store.connection import Connection

_FIND = """
SELECT id FROM pauses
 WHERE invoice_id IS NOT DISTINCT FROM %(invoice_id)s::bigint
   AND customer_id IS NOT DISTINCT FROM %(customer_id)s::bigint
   AND promise = %(promise)s::bool AND reason = %(reason)s::text AND until_on = %(until_on)s::date AND lifted_at IS NULL
 ORDER BY id LIMIT 1
"""
_INSERT = """
INSERT INTO pauses (invoice_id, customer_id, promise, reason, until_on)
VALUES (%(invoice_id)s::bigint, %(customer_id)s::bigint, %(promise)s::bool, %(reason)s::text, %(until_on)s::date)
RETURNING id
"""
# A look-up by key for each invoice, whatever the statistics say: there are as many pauses as the last batch made.
_PAUSED_SO = """
SELECT id FROM unnest(%(ids)s::bigint[]) AS i (id)
 WHERE EXISTS (SELECT FROM pauses p
                WHERE p.invoice_id = i.id AND NOT p.promise AND p.reason = %(reason)s::text
                  AND p.until_on = %(until_on)s::date AND p.lifted_at IS NULL OFFSET 0)
"""
_INSERT_ALL = """
INSERT INTO pauses (invoice_id, reason, until_on)
SELECT id, %(reason)s::text, %(until_on)s::date FROM unnest(%(ids)s::bigint[]) AS i (id)
RETURNING invoice_id, id
"""
_LIFT_THESE = "UPDATE pauses SET lifted_at = now() WHERE id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL"
_LIFT = """
UPDATE pauses SET lifted_at = now()
 WHERE lifted_at IS NULL AND until_on >= %(today)s::date
   AND (invoice_id = %(invoice_id)s::bigint OR customer_id = %(customer_id)s::bigint)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPause:
    """One of invoice and customer, until the end of a day."""

    invoice_id: int | None
    customer_id: int | None
    promise: bool
    reason: str
    until_on: date


def save(conn: Connection, pause: NewPause) -> int:
    """Pause its subject, which is locked. Returns the pause's id; the same pause twice is one."""
    row = conn.execute(_FIND, asdict(pause)).fetchone()
    return row[0] if row else add(conn, pause)


def add(conn: Connection, pause: NewPause) -> int:
    """Pause its subject, which is locked, by a pause of its own. Returns the pause's id."""
    row = conn.execute(_INSERT, asdict(pause)).fetchone()
    return row[0] if row else 0


def paused_so(conn: Connection, invoice_ids: Sequence[int], *, reason: str, until_on: date) -> set[int]:
    """Those of the invoices that are paused for this reason until this day already."""
    found = conn.execute(_PAUSED_SO, {"ids": list(invoice_ids), "reason": reason, "until_on": until_on})
    return {row[0] for row in found}


def pause_all(conn: Connection, invoice_ids: Sequence[int], *, reason: str, until_on: date) -> dict[int, int]:
    """Pause locked invoices. Returns each one's new pause."""
    return dict(
        conn.execute(_INSERT_ALL, {"ids": list(invoice_ids), "reason": reason, "until_on": until_on}).fetchall()
    )


def lift_these(conn: Connection, pause_ids: Sequence[int]) -> None:
    """End those of these pauses that nobody has lifted; their subjects are locked."""
    conn.execute(_LIFT_THESE, {"ids": list(pause_ids)})


def lift(conn: Connection, *, invoice_id: int | None, customer_id: int | None, today: date) -> int:
    """End what still pauses this invoice, or this customer. Returns how many pauses were lifted."""
    parameters = {"invoice_id": invoice_id, "customer_id": customer_id, "today": today}
    return conn.execute(_LIFT, parameters).rowcount
