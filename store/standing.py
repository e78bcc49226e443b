"""How the instance stands: queues, open runs and their pace, what is held and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection

# What has ended is counted over the whole table, once a look: a plan by key would read it row by row.
_SCAN = "SELECT set_config('enable_seqscan', 'on', true)"
_BY_STATE = "SELECT state, count(*) FROM reminders GROUP BY state"
_QUEUES = """
SELECT (SELECT count(*) FROM runs WHERE closed_at IS NULL AND state = 'due') AS due_runs,
       (SELECT coalesce(sum(cardinality(invoice_ids)), 0) FROM chunks WHERE open) AS undecided,
       (SELECT count(*) FROM effects WHERE open) AS due_effects,
       (SELECT min(r.created_at) FROM reminders r WHERE r.open AND r.state = 'due') AS oldest_due_at,
       (SELECT count(*) FROM reminders WHERE open AND state = 'due' AND waits_for = 'window') AS waiting_for_window,
       (SELECT count(*) FROM reminders WHERE open AND state = 'due' AND waits_for = 'server') AS waiting_for_server
"""
_PACE = """
SELECT n.id AS run_id,
       count(r.id) FILTER (WHERE r.state = 'sent' AND r.ended_at > clock_timestamp() - interval '1 minute')
  FROM runs n LEFT JOIN reminders r ON r.run_id = n.id
 WHERE n.closed_at IS NULL AND n.state = 'open'
 GROUP BY n.id ORDER BY n.id LIMIT 100
"""
_HELD = """
SELECT 'rule' AS kind, title AS name, held_because AS because, held_at FROM rules WHERE held_because IS NOT NULL
UNION ALL
SELECT 'account', name, held_because, held_at FROM mail_accounts WHERE held_because IS NOT NULL
UNION ALL
SELECT 'customer', number, held_because, held_at FROM customers WHERE held_because IS NOT NULL
UNION ALL
SELECT 'invoice', number, held_because, held_at FROM invoices WHERE held_because IS NOT NULL
 ORDER BY held_at DESC LIMIT 200
"""
_VERSION = "SELECT coalesce(max(number), 0) FROM migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """What waits: runs, candidates, effects, mails for a window or a server; the mail that has waited longest."""

    due_runs: int
    undecided: int
    due_effects: int
    oldest_due_at: datetime | None
    waiting_for_window: int
    waiting_for_server: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something that a person holds back, by its name."""

    kind: str
    name: str
    because: str
    held_at: datetime


def reminders_by_state(conn: Connection) -> dict[str, int]:
    """How many reminders are in each state, ended ones included."""
    with conn.transaction():
        conn.execute(_SCAN)
        return dict(conn.execute(_BY_STATE).fetchall())


def queues(conn: Connection) -> Queues:
    """What waits now."""
    with conn.cursor(row_factory=class_row(Queues)) as cursor:
        found = cursor.execute(_QUEUES).fetchone()
    if found is None:
        raise LookupError("the queues could not be counted")
    return found


def pace(conn: Connection) -> dict[int, int]:
    """Mails sent in the last minute by each open run."""
    return dict(conn.execute(_PACE).fetchall())


def held(conn: Connection) -> list[Held]:
    """What is held, latest first."""
    with conn.transaction(), conn.cursor(row_factory=class_row(Held)) as cursor:
        conn.execute(_SCAN)
        return cursor.execute(_HELD).fetchall()


def schema_version(conn: Connection) -> int:
    """The last migration applied."""
    row = conn.execute(_VERSION).fetchone()
    return row[0] if row else 0
