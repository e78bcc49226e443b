"""Claiming: a reminder becomes one worker's for the time of a lease, under a new fence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.freshness import STALE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from store.connection import Connection

# A reminder leaves only while every gate is open; the relay, the claim and the arm ask the same.
GATES = f"""
    NOT EXISTS (SELECT FROM settings WHERE stopped_because IS NOT NULL)
    AND NOT EXISTS (SELECT FROM rules u JOIN rule_versions v ON v.rule_id = u.id JOIN mail_accounts a ON a.id =
    v.account_id
                             JOIN runs n ON n.id = r.run_id
                     WHERE u.id = r.rule_id AND v.version = r.rule_version
                       AND (u.held_because IS NOT NULL OR a.held_because IS NOT NULL OR n.held_because IS NOT NULL
                            OR (v.needs_fresh AND {STALE})
                            OR (NOT u.active AND n.request_key IS NULL)
                            OR CASE WHEN (SELECT test_instance FROM settings)
                                    THEN (v.definition ->> 'on_test_instance') IS DISTINCT FROM 'true' END))
"""
# And it is not tried at all while its account's breaker is open; once its probe is due, one is (store.breakers).
REACHABLE = """
    NOT EXISTS (SELECT FROM rule_versions v JOIN account_breakers b ON b.account_id = v.account_id
                 WHERE v.rule_id = r.rule_id AND v.version = r.rule_version AND b.probe_at > clock_timestamp())
"""
_COMPANIES = """
SELECT DISTINCT company_id FROM reminders WHERE id = ANY(%(ids)s::bigint[]) AND state = 'due'
"""
_WAIT_FOR_WINDOW = """
UPDATE reminders SET not_before = clock_timestamp() + make_interval(secs => %(wait_s)s::float8), waits_for = 'window',
       hinted_until = '-infinity'
 WHERE id = ANY(ARRAY(SELECT id FROM reminders
                       WHERE id = ANY(%(ids)s::bigint[]) AND company_id = %(company_id)s AND state = 'due'
                       ORDER BY id FOR UPDATE SKIP LOCKED))
"""
# Where an account leads is journaled with it; holding and releasing it changes nothing of that, nor does its making.
ACCOUNT_CHANGED = """
    j.subject = 'account' AND j.subject_id = v.account_id AND j.change ?| '{host,port,username,evidence,key_header}'
    AND NOT (j.change ? 'host' AND j.change -> 'host' ->> 0 IS NULL)
"""
_CLAIM = f"""
UPDATE reminders
   SET state = 'claimed', fence = fence + 1, lease_until = clock_timestamp() + make_interval(secs =>
   %(lease_s)s::float8),
       waits_for = NULL
 WHERE id = ANY(ARRAY(SELECT r.id FROM reminders r
               WHERE r.id = ANY(%(ids)s::bigint[]) AND r.state = 'due' AND r.not_before <= clock_timestamp() AND {GATES}
                 AND {REACHABLE}
               ORDER BY r.id FOR UPDATE OF r SKIP LOCKED))
RETURNING id, fence, run_id, rule_id, rule_version, company_id, customer_id, currency, level, message_id, deferrals,
          ever_in_doubt,
          CASE WHEN again_until IS NULL THEN false
               ELSE again_until <= clock_timestamp()
                    OR EXISTS (SELECT FROM rule_versions v JOIN journal j ON {ACCOUNT_CHANGED}
                                WHERE v.rule_id = reminders.rule_id AND v.version = reminders.rule_version
                                  AND j.at >= reminders.armed_at - make_interval(secs => %(quarantine_s)s::float8))
               END AS too_late
"""
_INVOICES = """
SELECT reminder_id, invoice_id, amount FROM reminder_invoices
 WHERE reminder_id = ANY(%(ids)s::bigint[]) AND outcome = 'planned'
 ORDER BY reminder_id, invoice_id
"""
_RENEW = """
UPDATE reminders r SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s::float8)
  FROM unnest(%(ids)s::bigint[], %(fences)s::int[]) AS u (id, fence)
 WHERE r.id = u.id AND r.fence = u.fence AND r.state = 'claimed' AND r.lease_until > clock_timestamp()
"""
_ORIGINALS = """
SELECT ia.invoice_id, ia.name, a.media_type, a.sha256, a.content
  FROM invoice_attachments ia JOIN attachments a ON a.sha256 = ia.sha256
 WHERE ia.invoice_id = ANY(%(ids)s::bigint[])
"""
_THREAD = """
SELECT r.message_id FROM reminder_invoices ri JOIN reminders r ON r.id = ri.reminder_id
 WHERE ri.invoice_id = ANY(%(ids)s::bigint[]) AND ri.outcome = 'accepted' AND r.state = 'sent'
 GROUP BY r.id ORDER BY r.id LIMIT 10
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A reminder in this worker's hands, under `fence`. `too_late`: sent again, its provider may not know its key."""

    id: int
    fence: int
    run_id: int
    rule_id: int
    rule_version: int
    company_id: int
    customer_id: int
    currency: str
    level: int | None
    message_id: str
    deferrals: int
    ever_in_doubt: bool
    too_late: bool


def companies_of(conn: Connection, ids: Sequence[int]) -> list[int]:
    """The companies whose send windows these due reminders obey."""
    return [row[0] for row in conn.execute(_COMPANIES, {"ids": list(ids)})]


def wait_for_window(conn: Connection, ids: Sequence[int], company_id: int, wait_s: float) -> None:
    """Let the company's due reminders among these wait for its next window."""
    conn.execute(_WAIT_FOR_WINDOW, {"ids": list(ids), "company_id": company_id, "wait_s": wait_s})


def claim(conn: Connection, ids: Sequence[int], *, lease_s: float, quarantine_s: float) -> list[Claimed]:
    """Claim those that are due and whose gates are open; what somebody else has is left out quietly.

    A change of its account counts from `quarantine_s` before its last dot: it was claimed before it was armed.
    """
    rows = conn.execute(_CLAIM, {"ids": list(ids), "lease_s": lease_s, "quarantine_s": quarantine_s}).fetchall()
    return [
        Claimed(
            id=row[0],
            fence=row[1],
            run_id=row[2],
            rule_id=row[3],
            rule_version=row[4],
            company_id=row[5],
            customer_id=row[6],
            currency=row[7],
            level=row[8],
            message_id=row[9],
            deferrals=row[10],
            ever_in_doubt=row[11],
            too_late=row[12],
        )
        for row in rows
    ]


def invoices(conn: Connection, ids: Sequence[int]) -> dict[int, dict[int, Decimal]]:
    """By reminder: the invoices it still holds, with the amount claimed when it was reserved."""
    found: dict[int, dict[int, Decimal]] = {reminder_id: {} for reminder_id in ids}
    for reminder_id, invoice_id, amount in conn.execute(_INVOICES, {"ids": list(ids)}):
        found[reminder_id][invoice_id] = amount
    return found


def renew(conn: Connection, held: Sequence[tuple[int, int]], *, lease_s: float) -> None:
    """Keep what waits in this worker's queue, as (reminder, fence); a lease that has lapsed is not revived."""
    ids, fences = zip(*held, strict=True)
    conn.execute(_RENEW, {"ids": list(ids), "fences": list(fences), "lease_s": lease_s})


def originals(conn: Connection, invoice_ids: Sequence[int]) -> dict[int, tuple[str, str, bytes, bytes]]:
    """The archived original of each invoice that has one: (name, media type, sha256, content)."""
    found = conn.execute(_ORIGINALS, {"ids": list(invoice_ids)})
    return {row[0]: (row[1], row[2], bytes(row[3]), bytes(row[4])) for row in found}


def thread(conn: Connection, invoice_ids: Sequence[int]) -> list[str]:
    """Message-IDs of the mails sent before about these invoices, oldest first: what the next one refers to."""
    return [row[0] for row in conn.execute(_THREAD, {"ids": list(invoice_ids)})]
