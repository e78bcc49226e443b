"""Effects of accepted mails: the tags that their rules put on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.connection import Connection

_LOCK_DUE = """
SELECT reminder_id FROM effects
 WHERE reminder_id = ANY(%(ids)s::bigint[]) AND kind = 'tags' AND open ORDER BY reminder_id FOR UPDATE SKIP LOCKED
"""
_ACCEPTED = """
SELECT invoice_id FROM reminder_invoices WHERE reminder_id = ANY(%(ids)s::bigint[]) AND outcome = 'accepted'
"""
# Invoices first, in id order, as everywhere: the tagging triggers raise their versions.
_LOCK_INVOICES = "SELECT id FROM invoices WHERE id = ANY(%(invoice_ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE"
_REPLACE = """
DELETE FROM taggings g
 USING reminder_invoices ri
  JOIN effects e ON e.reminder_id = ri.reminder_id AND e.kind = 'tags'
 CROSS JOIN LATERAL unnest(e.tag_ids) AS added (id)
  JOIN tags t ON t.id = added.id
  JOIN tag_categories k ON k.id = t.category_id AND k.one_only
  JOIN tags other ON other.category_id = k.id AND other.id <> t.id
 WHERE ri.reminder_id = ANY(%(ids)s::bigint[]) AND ri.outcome = 'accepted'
   AND g.invoice_id = ri.invoice_id AND g.tag_id = other.id
"""
_ADD = """
INSERT INTO taggings (invoice_id, tag_id)
SELECT DISTINCT ri.invoice_id, added.id
  FROM reminder_invoices ri
  JOIN effects e ON e.reminder_id = ri.reminder_id AND e.kind = 'tags'
 CROSS JOIN LATERAL unnest(e.tag_ids) AS added (id)
 WHERE ri.reminder_id = ANY(%(ids)s::bigint[]) AND ri.outcome = 'accepted'
ON CONFLICT DO NOTHING
"""
_DONE = """
UPDATE effects SET state = 'done', last_error = NULL
 WHERE reminder_id = ANY(%(ids)s::bigint[]) AND kind = 'tags' AND state = 'due'
"""
_POSTPONE = """
UPDATE effects SET last_error = %(error)s::text, hinted_until = '-infinity',
       not_before = now() + make_interval(secs => %(wait_s)s::float8)
 WHERE reminder_id = %(reminder_id)s AND kind = 'tags' AND state = 'due'
"""


def apply_tags(conn: Connection, reminder_ids: Sequence[int]) -> int:
    """Tag the invoices of these accepted mails; in a category that allows one tag the others go.

    Returns effects done.
    """
    ids = {"ids": [row[0] for row in conn.execute(_LOCK_DUE, {"ids": list(reminder_ids)})]}
    if not ids["ids"]:
        return 0
    accepted = [row[0] for row in conn.execute(_ACCEPTED, ids)]
    conn.execute(_LOCK_INVOICES, {"invoice_ids": accepted})
    # Two reminders of one invoice: each in its turn, so that in a category of one tag the later one's stays.
    together = [ids] if len(set(accepted)) == len(accepted) else [{"ids": [one]} for one in sorted(ids["ids"])]
    for batch in together:
        conn.execute(_REPLACE, batch)
        conn.execute(_ADD, batch)
    return conn.execute(_DONE, ids).rowcount


def postpone(conn: Connection, reminder_id: int, error: str, *, wait_s: float) -> None:
    """Try this one again later."""
    conn.execute(_POSTPONE, {"reminder_id": reminder_id, "error": error, "wait_s": wait_s})
