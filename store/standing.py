"""How the instance stands: what waits, what moves and how fast, what has no due date, what is held and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from workflow.machine import LAST_LEVEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from store.connection import Connection

# All that ever ended is counted over the whole table: a plan by key would read it row by row.
_SCAN = "SELECT set_config('enable_seqscan', 'on', true)"
_EVER = "SELECT state, count(*) FROM reminders WHERE replayed_in IS NULL GROUP BY state"
_NOW = """
SELECT state, count(*) FROM reminders WHERE open GROUP BY state
UNION ALL
SELECT 'failed', count(*) FROM reminders WHERE state = 'failed' AND replayed_in IS NULL
"""
_QUEUES = """
SELECT (SELECT count(*) FROM runs WHERE closed_at IS NULL AND state = 'due') AS due_runs,
       (SELECT coalesce(sum(cardinality(invoice_ids)), 0) FROM chunks WHERE open) AS undecided,
       (SELECT count(*) FROM effects WHERE open) AS due_effects,
       (SELECT min(r.created_at) FROM reminders r WHERE r.open AND r.state = 'due') AS oldest_due_at,
       (SELECT count(*) FROM reminders WHERE open AND state = 'due' AND waits_for = 'window') AS waiting_for_window,
       (SELECT count(*) FROM reminders WHERE open AND state = 'due' AND waits_for = 'server') AS waiting_for_server
"""
# A run closes after its last mail: what was sent today is in a run that is open or was closed since the day began.
_MOVING = """
SELECT n.id AS run_id, n.state = 'open' AS open, v.account_id,
       count(*) FILTER (WHERE r.state = 'sent' AND r.ended_at > clock_timestamp() - interval '1 minute') AS last_minute,
       count(*) FILTER (WHERE r.state = 'sent' AND r.ended_on = d.day) AS sent_today,
       count(*) FILTER (WHERE r.open AND r.waits_for = 'window') AS waiting_for_window,
       count(*) FILTER (WHERE r.open AND r.waits_for = 'server') AS waiting_for_server,
       min(r.not_before) FILTER (WHERE r.open AND r.waits_for = 'server') AS next_try_at,
       max(r.id) FILTER (WHERE r.last_error IS NOT NULL AND (r.open OR r.ended_on = d.day)) AS in_error
  FROM runs n
  JOIN rules u ON u.id = n.rule_id
  JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
  JOIN unnest(%(company_ids)s::bigint[], %(days)s::date[]) AS d (company_id, day) ON d.company_id = u.company_id
  LEFT JOIN reminders_of_runs r ON r.run_id = n.id
 WHERE n.closed_at IS NULL OR n.closed_at >= %(since)s::timestamptz
 GROUP BY n.id, v.account_id ORDER BY n.id LIMIT 10000
"""
_ERRORS = "SELECT id, last_error FROM reminders WHERE id = ANY(%(ids)s::bigint[])"
_UNDATED = """
SELECT co.code, count(*)
  FROM companies co
  JOIN invoices i ON i.company_id = co.id AND i.level = ANY(%(levels)s::smallint[]) AND i.due_on IS NULL
 WHERE i.open AND i.kind = 'invoice'
 GROUP BY co.code ORDER BY co.code LIMIT 1000
"""
_HELD = """
SELECT 'run' AS kind, n.id || ' of ' || u.title AS name, n.held_because AS because, n.held_at
  FROM runs n JOIN rules u ON u.id = n.rule_id WHERE n.closed_at IS NULL AND n.held_because IS NOT NULL
   AND n.refused_by IS NULL
UNION ALL
SELECT 'rule', title, held_because, held_at FROM rules WHERE held_because IS NOT NULL
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
class Moving:
    """The mails of one run: how many left in the last minute and today, what waits, and until when for the server.

    `in_error`: its latest mail with an error that is still open or ended today.
    """

    run_id: int
    open: bool
    account_id: int
    last_minute: int
    sent_today: int
    waiting_for_window: int
    waiting_for_server: int
    next_try_at: datetime | None
    in_error: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something that a person holds back, by its name."""

    kind: str
    name: str
    because: str
    held_at: datetime


def reminders_by_state(conn: Connection, *, ever: bool = True) -> dict[str, int]:
    """How many reminders are in each state; failed ones that a run decided about again are none any more.

    All that ended is counted only where `ever`: it takes a look at the whole table.
    """
    if not ever:
        return dict(conn.execute(_NOW).fetchall())
    with conn.transaction():
        conn.execute(_SCAN)
        return dict(conn.execute(_EVER).fetchall())


def queues(conn: Connection) -> Queues:
    """What waits now."""
    with conn.cursor(row_factory=class_row(Queues)) as cursor:
        found = cursor.execute(_QUEUES).fetchone()
    if found is None:
        raise LookupError("the queues could not be counted")
    return found


def moving(conn: Connection, days: Mapping[int, date], *, since: datetime) -> list[Moving]:
    """The runs that are not closed, or were since that instant, by id. `days`: each company's business day."""
    parameters = {"company_ids": list(days), "days": list(days.values()), "since": since}
    with conn.cursor(row_factory=class_row(Moving)) as cursor:
        return cursor.execute(_MOVING, parameters).fetchall()


def errors(conn: Connection, reminder_ids: list[int]) -> dict[int, str]:
    """What each of these mails' server said last."""
    return dict(conn.execute(_ERRORS, {"ids": reminder_ids}).fetchall())


def undated(conn: Connection) -> dict[str, int]:
    """By company's code: open invoices that no reminder will follow for want of a due date."""
    return dict(conn.execute(_UNDATED, {"levels": list(range(LAST_LEVEL))}).fetchall())


def held(conn: Connection) -> list[Held]:
    """What is held, latest first."""
    with conn.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(_HELD).fetchall()


def schema_version(conn: Connection) -> int:
    """The last migration applied."""
    row = conn.execute(_VERSION).fetchone()
    return row[0] if row else 0
