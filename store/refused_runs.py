"""A held run that a person lets end: what of it has not been decided or has not left is let go.

One of which nothing is fixed yet ends at once (runs.end). Of an open one the undecided candidates are written down as
refused here; its queued mails are cancelled by the sweep (outcomes.cancel_long_held), and it closes as any does when
the last of its mails has ended: what was armed before it was held may still be on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.connection import Connection

_LOCK_CHUNKS = "SELECT number FROM chunks WHERE run_id = %(run_id)s AND open ORDER BY number FOR UPDATE"
_LEFT_OUT = """
INSERT INTO candidates (run_id, invoice_id, reason, detail)
SELECT run_id, unnest(invoice_ids), 'run_refused', %(because)s::text FROM chunks WHERE run_id = %(run_id)s AND open
"""
_EMPTY = "UPDATE chunks SET invoice_ids = '{}' WHERE run_id = %(run_id)s AND open"
_REFUSED = """
UPDATE runs SET refused_by = %(by)s::text, held_because = %(because)s::text, hinted_until = '-infinity'
 WHERE id = %(run_id)s AND state = 'open' AND held_because IS NOT NULL
"""


def refuse_open(conn: Connection, run_id: int, *, because: str, by: str) -> None:
    """Let go of what is left of an open, held run, which the caller has locked.

    Waits for a chunk that is being decided.
    """
    parameters = {"run_id": run_id, "because": because, "by": by}
    for statement in (_LOCK_CHUNKS, _LEFT_OUT, _EMPTY, _REFUSED):
        conn.execute(statement, parameters)
