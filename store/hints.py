"""What is unfinished and has no live hint: the relay's questions. A hint is alive for as long as hinted_until says.

The rows are the truth; losing every hint loses time, never a mail. What is to be hinted is found once, in an array:
as a join, a plan made on a small table looked for it again for each row of a grown one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.claims import GATES, REACHABLE
from store.freshness import STALE

if TYPE_CHECKING:
    from typing import LiteralString

    from store.connection import Connection


def decidable(run: LiteralString) -> LiteralString:
    """Whether the candidates of a run, an alias, may be decided: nobody holds it, payment data are fresh enough."""
    return f"""
    {run}.held_because IS NULL
    AND NOT EXISTS (SELECT FROM rules u JOIN rule_versions v ON v.rule_id = u.id
                     WHERE u.id = {run}.rule_id AND v.version = {run}.rule_version AND v.needs_fresh AND {STALE})
    """


# Rules due at one instant decide the highest level first: a lower one waits until nothing of the higher is undecided.
_RUNS = f"""
UPDATE runs SET hinted_until = clock_timestamp() + make_interval(secs => %(alive_s)s::float8)
 WHERE id = ANY(ARRAY(SELECT n.id FROM runs n JOIN rules u ON u.id = n.rule_id
               WHERE n.closed_at IS NULL AND n.state = 'due' AND n.held_because IS NULL
                 AND n.hinted_until < clock_timestamp()
                 AND NOT EXISTS (SELECT FROM runs h JOIN rules hu ON hu.id = h.rule_id
                                  WHERE h.closed_at IS NULL AND h.due_at = n.due_at AND hu.company_id = u.company_id
                                    AND h.level > n.level AND {decidable("h")}
                                    AND (h.state = 'due' OR EXISTS (SELECT FROM chunks c WHERE c.run_id = h.id AND
                                    c.open)))
               ORDER BY n.id LIMIT %(limit)s FOR UPDATE OF n SKIP LOCKED))
RETURNING id
"""
_CHUNKS = f"""
WITH found AS MATERIALIZED (SELECT c.run_id, c.number FROM chunks c
                             WHERE c.open AND c.hinted_until < clock_timestamp()
                               AND EXISTS (SELECT FROM runs n WHERE n.id = c.run_id AND {decidable("n")})
                             ORDER BY c.run_id, c.number LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED)
UPDATE chunks k SET hinted_until = clock_timestamp() + make_interval(secs => %(alive_s)s::float8)
  FROM found
 WHERE k.run_id = found.run_id AND k.number = found.number
RETURNING k.run_id, k.number
"""
# Each open run has its turn: a run of a hundred mails does not wait behind one of a hundred thousand. Whether it has
# anything due is asked by the order of an index: as EXISTS it was a walk through the table's head, which is all sent
# (44 ms a round after fifteen thousand mails of a run).
_REMINDERS = f"""
WITH fair AS (SELECT r.run_id FROM (SELECT id AS run_id, rule_id, rule_version FROM runs
                                     WHERE closed_at IS NULL AND state = 'open') AS r
               WHERE {GATES} AND {REACHABLE}
                 AND (SELECT d.id FROM reminders d
                       WHERE d.run_id = r.run_id AND d.open AND d.state = 'due'
                         AND d.hinted_until < clock_timestamp() AND d.not_before <= clock_timestamp()
                       ORDER BY d.run_id, d.id LIMIT 1) IS NOT NULL
               ORDER BY random() LIMIT 16)
UPDATE reminders SET hinted_until = clock_timestamp() + make_interval(secs => %(alive_s)s::float8)
 WHERE id = ANY(ARRAY(SELECT r.id
                FROM fair
               CROSS JOIN LATERAL
                     (SELECT d.id FROM reminders d
                       WHERE d.run_id = fair.run_id AND d.open AND d.state = 'due'
                         AND d.hinted_until < clock_timestamp() AND d.not_before <= clock_timestamp()
                       ORDER BY d.id LIMIT greatest(25, %(limit)s::bigint / (SELECT greatest(count(*), 1) FROM fair))
                         FOR UPDATE SKIP LOCKED) AS r
               LIMIT %(limit)s))
RETURNING run_id, id
"""
_EFFECTS = """
UPDATE effects SET hinted_until = clock_timestamp() + make_interval(secs => %(alive_s)s::float8)
 WHERE open AND reminder_id = ANY(ARRAY(SELECT reminder_id FROM effects
                                WHERE open AND hinted_until < clock_timestamp() AND not_before <= clock_timestamp()
                                ORDER BY reminder_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING reminder_id
"""
# A run is to be closed when every candidate is decided and every mail has ended, or reported after two hours at the
# latest.
_CLOSING = """
UPDATE runs SET hinted_until = clock_timestamp() + make_interval(secs => %(alive_s)s::float8)
 WHERE id = ANY(ARRAY(SELECT n.id FROM runs n
               WHERE n.closed_at IS NULL AND n.state = 'open' AND n.hinted_until < clock_timestamp()
                 AND ((NOT EXISTS (SELECT FROM chunks c WHERE c.run_id = n.id AND c.open)
                       AND (SELECT r.id FROM reminders r WHERE r.run_id = n.id AND r.open
                             ORDER BY r.run_id, r.id LIMIT 1) IS NULL)
                      OR (n.reported_at IS NULL AND n.opened_at < now() - make_interval(secs =>
                      %(patience_s)s::float8)))
               ORDER BY n.id LIMIT %(limit)s FOR UPDATE OF n SKIP LOCKED))
RETURNING id
"""
_REPORTS = """
UPDATE runs SET hinted_until = clock_timestamp() + make_interval(secs => %(alive_s)s::float8)
 WHERE id = ANY(ARRAY(SELECT id FROM runs WHERE reported_at IS NULL AND hinted_until < clock_timestamp()
                AND (closed_at IS NOT NULL OR (state = 'due' AND held_because IS NOT NULL))
               ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id
"""

# An audit of many invoices takes minutes: it is not given to another worker before it must have failed.
_AUDITS = """
UPDATE audits SET hinted_until = clock_timestamp() + interval '1 hour'
 WHERE id = ANY(ARRAY(SELECT id FROM audits WHERE finished_at IS NULL AND hinted_until < clock_timestamp()
                       ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING id
"""


def due_audits(conn: Connection) -> list[int]:
    """An audit that is to be made, if there is one."""
    return [row[0] for row in conn.execute(_AUDITS)]


def due_runs(conn: Connection, *, alive_s: float, limit: int = 20) -> list[int]:
    """Runs whose candidates are to be fixed."""
    return [row[0] for row in conn.execute(_RUNS, {"alive_s": alive_s, "limit": limit})]


def open_chunks(conn: Connection, *, alive_s: float, limit: int) -> list[tuple[int, int]]:
    """(run, number) of chunks with undecided candidates."""
    return [(row[0], row[1]) for row in conn.execute(_CHUNKS, {"alive_s": alive_s, "limit": limit})]


def due_reminders(conn: Connection, *, alive_s: float, limit: int) -> dict[int, list[int]]:
    """By run: reminders that may leave now, each open run in its turn, `limit` in all."""
    found: dict[int, list[int]] = {}
    for run_id, reminder_id in conn.execute(_REMINDERS, {"alive_s": alive_s, "limit": limit}):
        found.setdefault(run_id, []).append(reminder_id)
    return {run_id: sorted(ids) for run_id, ids in found.items()}


def due_effects(conn: Connection, *, alive_s: float, limit: int) -> list[int]:
    """Reminders whose effects are due."""
    return [row[0] for row in conn.execute(_EFFECTS, {"alive_s": alive_s, "limit": limit})]


def closing_runs(conn: Connection, *, alive_s: float, patience_s: float, limit: int = 20) -> list[int]:
    """Runs to be closed, or to be reported before their end, or closed and not yet reported."""
    parameters = {"alive_s": alive_s, "patience_s": patience_s, "limit": limit}
    return [row[0] for query in (_CLOSING, _REPORTS) for row in conn.execute(query, parameters)]
