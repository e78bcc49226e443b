"""Mails in doubt: which of them their account's policy looks at now, what is known of them, who has been told.

A look is claimed by its row's not_before, so that any number of schedulers look once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection

_LOOK = """
UPDATE reminders SET not_before = clock_timestamp() + make_interval(secs => %(again_s)s::float8)
 WHERE id = ANY(ARRAY(SELECT r.id FROM reminders r
                        JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
                        JOIN mail_accounts a ON a.id = v.account_id
                       WHERE r.state = 'in_doubt' AND r.not_before <= clock_timestamp() AND r.armed_at IS NOT NULL
                         AND a.doubt_policy <> 'hold'
                       ORDER BY r.not_before, r.id LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED))
RETURNING id
"""
# Where an account leads is journaled with it; holding and releasing it changes nothing of that.
_KNOWN = """
SELECT r.id, r.fence, r.run_id, v.account_id, r.recipient, r.message_id, r.armed_at,
       coalesce((SELECT min(t.at) FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'armed'), r.armed_at)
           AS first_armed_at,
       (SELECT count(*) FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'resolved' AND t.actor = 'system')
           AS sent_again,
       r.problem IS NOT NULL AS came_back,
       (SELECT max(j.at) FROM journal j
         WHERE j.subject = 'account' AND j.subject_id = v.account_id
           AND j.change ?| '{host,port,username,evidence,key_header}') AS account_changed_at
  FROM reminders r JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
 WHERE r.id = ANY(%(ids)s::bigint[]) AND r.state = 'in_doubt'
 ORDER BY v.account_id, r.armed_at, r.id
"""
_LETTERS = "SELECT letter FROM mails WHERE reminder_id = %(reminder_id)s ORDER BY fence LIMIT 100"
# Only what a server's own 2xx ended bears witness. A run that was closed before holds none that left later.
_AFTER = """
SELECT r.message_id, r.recipient
  FROM runs n
  JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
  JOIN reminders r ON r.run_id = n.id
 WHERE v.account_id = %(account_id)s AND (n.closed_at IS NULL OR n.closed_at >= %(at)s::timestamptz)
   AND r.state = 'sent' AND r.armed_at >= %(at)s::timestamptz
   AND EXISTS (SELECT FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'accepted')
 ORDER BY r.armed_at LIMIT %(limit)s
"""
_BEFORE = """
SELECT r.message_id, r.recipient
  FROM (SELECT n.id FROM runs n JOIN rule_versions v ON v.rule_id = n.rule_id AND v.version = n.rule_version
         WHERE v.account_id = %(account_id)s AND n.opened_at < %(at)s::timestamptz
           AND (n.closed_at IS NULL OR n.closed_at >= %(since)s::timestamptz)
         ORDER BY n.id DESC LIMIT 20) AS n
  JOIN reminders r ON r.run_id = n.id
 WHERE r.state = 'sent' AND r.armed_at < %(at)s::timestamptz AND r.armed_at >= %(since)s::timestamptz
   AND EXISTS (SELECT FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'accepted')
 ORDER BY r.armed_at DESC LIMIT %(limit)s
"""
_LEAVE = """
UPDATE reminders
   SET not_before = clock_timestamp() + make_interval(secs => %(look_s)s::float8), doubt_reason = %(reason)s::text
 WHERE id = %(id)s AND fence = %(fence)s AND state = 'in_doubt'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """A reminder in doubt. `armed_at` and `first_armed_at`: when its last and its first dot may have left.

    `sent_again`: how often a policy did so; `came_back`: its last time out ended before another dot.
    """

    id: int
    fence: int
    run_id: int
    account_id: int
    recipient: str
    message_id: str
    armed_at: datetime
    first_armed_at: datetime
    sent_again: int
    came_back: bool
    account_changed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A mail of the same account that its server took for certain."""

    message_id: str
    recipient: str


def to_look_at(conn: Connection, *, again_s: float, limit: int) -> list[InDoubt]:
    """Take the reminders in doubt whose policy is to look now; nobody else does for `again_s`. By account and age."""
    ids = [row[0] for row in conn.execute(_LOOK, {"again_s": again_s, "limit": limit})]
    if not ids:
        return []
    with conn.cursor(row_factory=class_row(InDoubt)) as cursor:
        return cursor.execute(_KNOWN, {"ids": ids}).fetchall()


def letters(conn: Connection, reminder_id: int) -> list[bytes]:
    """Each letter of the reminder that was ever armed, as it was kept."""
    return [bytes(row[0]) for row in conn.execute(_LETTERS, {"reminder_id": reminder_id})]


def witnesses_after(conn: Connection, account_id: int, at: datetime, *, limit: int) -> list[Witness]:
    """The account's first mails whose dots left at that instant or later."""
    with conn.cursor(row_factory=class_row(Witness)) as cursor:
        return cursor.execute(_AFTER, {"account_id": account_id, "at": at, "limit": limit}).fetchall()


def witnesses_before(
    conn: Connection, account_id: int, at: datetime, *, since: datetime | None, limit: int
) -> list[Witness]:
    """The account's last mails whose dots left before that instant, and not before `since`."""
    parameters = {"account_id": account_id, "at": at, "since": since or "-infinity", "limit": limit}
    with conn.cursor(row_factory=class_row(Witness)) as cursor:
        return cursor.execute(_BEFORE, parameters).fetchall()


def leave(conn: Connection, reminder: InDoubt, *, reason: str, look_s: float) -> None:
    """It stays in doubt, for this reason; its policy looks again after `look_s`."""
    parameters = {"id": reminder.id, "fence": reminder.fence, "reason": reason, "look_s": look_s}
    conn.execute(_LEAVE, parameters)
