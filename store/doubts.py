"""Mails in doubt: which of them their account's policy looks at now, what is known of them, who has been told.

A look is claimed by its row's not_before, and an alert by its alert_at, so that any number of schedulers do each once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from store.claims import ACCOUNT_CHANGED
from store.reports import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from store.connection import Connection

# How many attempts, before and after a mail's, are gone through for mails of its account.
_MOST_ATTEMPTS = 5000

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
# Feedback is noted of what quotes the whole message id only.
_HEARD_OF = "EXISTS (SELECT FROM feedback f WHERE f.reminder_id = r.id)"
_KNOWN = f"""
SELECT r.id, r.fence, r.company_id, v.account_id, r.recipient, r.message_id, r.armed_at,
       coalesce((SELECT min(t.at) FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'armed'), r.armed_at)
           AS first_armed_at,
       ARRAY(SELECT t.at FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'armed' ORDER BY t.id) AS dots,
       (SELECT count(*) FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'resolved'
           AND starts_with(t.actor, 'policy:')) AS sent_again,
       r.problem IS NOT NULL AS came_back,
       (SELECT max(j.at) FROM journal j WHERE {ACCOUNT_CHANGED}) AS account_changed_at, {_HEARD_OF} AS heard_of
  FROM reminders r JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
 WHERE r.id = ANY(%(ids)s::bigint[]) AND r.state = 'in_doubt'
 ORDER BY v.account_id, r.armed_at, r.id
"""
_HEARD_OF_ONE = f"SELECT {_HEARD_OF} FROM reminders r WHERE r.id = %(id)s"
_LETTERS = "SELECT letter FROM mails WHERE reminder_id = %(reminder_id)s ORDER BY fence LIMIT 100"
# Attempts are numbered as they are made: where an instant lies among them is found by halving, since nothing else is
# written about a mail that could be searched by time.
_POSITION = """
WITH RECURSIVE halved (low, high) AS (
    SELECT 0::bigint, coalesce((SELECT max(id) FROM attempts WHERE id > 0), 0) + 1
    UNION ALL
    SELECT CASE WHEN early THEN middle + 1 ELSE low END, CASE WHEN early THEN high ELSE middle END
      FROM (SELECT low, high, (low + high) / 2 AS middle,
                   (SELECT t.at FROM attempts t WHERE t.id >= (low + high) / 2 ORDER BY t.id LIMIT 1)
                       < %(at)s::timestamptz AS early
              FROM halved WHERE low < high) AS half
)
SELECT low FROM halved WHERE low >= high
"""
# Only what a server's own 2xx ended bears witness.
_FOLLOWING = """
SELECT reminder_id FROM (SELECT reminder_id, step FROM attempts WHERE id >= %(position)s::bigint
                          ORDER BY id LIMIT %(most)s) AS t WHERE step = 'accepted'
UNION
SELECT reminder_id FROM (SELECT reminder_id, step FROM attempts WHERE id >= %(position)s::bigint
                          ORDER BY id DESC LIMIT %(most)s) AS t WHERE step = 'accepted'
"""
_NEXT = """
SELECT CASE step WHEN 'accepted' THEN reminder_id END, at FROM attempts WHERE id >= %(position)s::bigint
 ORDER BY id LIMIT %(most)s
"""
_PRECEDING = """
SELECT CASE step WHEN 'accepted' THEN reminder_id END FROM attempts WHERE id < %(position)s::bigint
 ORDER BY id DESC LIMIT %(most)s
"""
_AFTER = """
SELECT r.message_id, r.recipient, r.armed_at
  FROM reminders r JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
 WHERE r.id = ANY(%(ids)s::bigint[]) AND v.account_id = %(account_id)s AND r.state = 'sent'
   AND r.armed_at >= %(at)s::timestamptz
 ORDER BY r.armed_at LIMIT %(limit)s
"""
_WITHIN = """
SELECT r.message_id, r.recipient, r.armed_at
  FROM reminders r JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
 WHERE r.id = ANY(%(ids)s::bigint[]) AND v.account_id = %(account_id)s AND r.state = 'sent'
   AND r.armed_at >= %(since)s::timestamptz AND r.armed_at < %(until)s::timestamptz
 ORDER BY r.armed_at LIMIT %(limit)s
"""
_BEFORE = """
SELECT r.message_id, r.recipient, r.armed_at
  FROM reminders r JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
 WHERE r.id = ANY(%(ids)s::bigint[]) AND v.account_id = %(account_id)s AND r.state = 'sent'
   AND r.armed_at < %(at)s::timestamptz AND r.armed_at >= %(since)s::timestamptz
 ORDER BY r.armed_at DESC LIMIT %(limit)s
"""
_LEAVE = """
UPDATE reminders
   SET not_before = clock_timestamp() + make_interval(secs => %(look_s)s::float8), doubt_reason = %(reason)s::text,
       alert_at = CASE WHEN %(alert_at)s::timestamptz IS NULL THEN alert_at
                       ELSE greatest(coalesce(alert_at, '-infinity'), %(alert_at)s::timestamptz) END
 WHERE id = %(id)s AND fence = %(fence)s AND state = 'in_doubt'
"""
_SINCE = "(SELECT max(t.at) FROM attempts t WHERE t.reminder_id = r.id AND t.step = 'in_doubt')"
# A mail under policy *hold* has no reason of its own.
_WHY = f"""
CASE WHEN a.doubt_policy <> 'hold' THEN coalesce(r.doubt_reason, 'not_looked')
     WHEN {_HEARD_OF} THEN 'hold_heard_of' ELSE 'hold' END
"""
_TO_ALERT = f"""
UPDATE reminders SET alert_at = clock_timestamp() + make_interval(secs => %(again_s)s::float8)
 WHERE id = ANY(ARRAY(SELECT r.id FROM reminders r
                       WHERE r.state = 'in_doubt'
                         AND coalesce(r.alert_at, {_SINCE} + make_interval(secs => %(after_s)s::float8))
                             <= clock_timestamp()
                       ORDER BY r.id LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED))
RETURNING id
"""
_ALERTED = "UPDATE reminders SET alert_at = 'infinity' WHERE id = ANY(%(ids)s::bigint[]) AND state = 'in_doubt'"
_DOUBTFUL = f"""
SELECT r.id, u.title AS rule, v.account_id, r.recipient, {_SINCE} AS since, {_WHY} AS reason, c.zone,
       ARRAY(SELECT i.number FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome = 'in_doubt' ORDER BY i.number) AS invoices
  FROM reminders r
  JOIN rules u ON u.id = r.rule_id
  JOIN companies c ON c.id = r.company_id
  JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
  JOIN mail_accounts a ON a.id = v.account_id
 WHERE r.id = ANY(%(ids)s::bigint[]) AND r.state = 'in_doubt'
 ORDER BY r.id
"""
# Read from the JSON itself, as the report of a run does.
_TOLD = """
SELECT w.id, w.name, w.email, w.language, array_agg(r.id ORDER BY r.id)
  FROM users w
  JOIN reminders r ON r.id = ANY(%(ids)s::bigint[])
  JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
 WHERE w.active AND (w.role = 'administrator' OR v.definition -> 'report_to' ? w.login)
 GROUP BY w.id ORDER BY w.id LIMIT 1000
"""
_STANDING = f"""
SELECT {_WHY} AS reason, count(*) AS mails, min({_SINCE}) AS since
  FROM reminders r
  JOIN rule_versions v ON v.rule_id = r.rule_id AND v.version = r.rule_version
  JOIN mail_accounts a ON a.id = v.account_id
 WHERE r.state = 'in_doubt' AND {_SINCE} < clock_timestamp() - make_interval(secs => %(after_s)s::float8)
 GROUP BY 1 ORDER BY 2 DESC, 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """A reminder in doubt. `armed_at` and `first_armed_at`: when its last and first dot may have left; `dots`: each.

    `sent_again`: how often a policy did so; `came_back`: its last time out ended before another dot; `heard_of`:
    something came back about it.
    """

    id: int
    fence: int
    company_id: int
    account_id: int
    recipient: str
    message_id: str
    armed_at: datetime
    first_armed_at: datetime
    dots: list[datetime]
    sent_again: int
    came_back: bool
    account_changed_at: datetime | None
    heard_of: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A mail of the same account that its server took for certain."""

    message_id: str
    recipient: str
    armed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """A mail in doubt as a person is told of it. `reason`: why it is left so, one of workflow.doubt.REASONS."""

    id: int
    rule: str
    account_id: int
    recipient: str
    since: datetime
    reason: str
    zone: str
    invoices: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many mails have been in doubt for too long for this reason, and since when the oldest."""

    reason: str
    mails: int
    since: datetime


def to_look_at(conn: Connection, *, again_s: float, limit: int) -> list[InDoubt]:
    """Take the reminders in doubt whose policy is to look now; nobody else does for `again_s`. By account and age."""
    ids = [row[0] for row in conn.execute(_LOOK, {"again_s": again_s, "limit": limit})]
    if not ids:
        return []
    with conn.cursor(row_factory=class_row(InDoubt)) as cursor:
        return cursor.execute(_KNOWN, {"ids": ids}).fetchall()


def heard_of(conn: Connection, reminder_id: int) -> bool:
    """Whether something came back about it by now."""
    row = conn.execute(_HEARD_OF_ONE, {"id": reminder_id}).fetchone()
    return bool(row and row[0])


def letters(conn: Connection, reminder_id: int) -> list[bytes]:
    """Each letter of the reminder that was ever armed, as it was kept."""
    return [bytes(row[0]) for row in conn.execute(_LETTERS, {"reminder_id": reminder_id})]


def witnesses_after(conn: Connection, account_id: int, at: datetime, *, limit: int) -> list[Witness]:
    """Mails of the account whose dots left at that instant or later, of those just after it and the latest."""
    found = conn.execute(_FOLLOWING, {"position": _position(conn, at), "most": _MOST_ATTEMPTS})
    parameters = {"ids": [row[0] for row in found], "account_id": account_id, "at": at, "limit": limit}
    with conn.cursor(row_factory=class_row(Witness)) as cursor:
        return cursor.execute(_AFTER, parameters).fetchall()


def witnesses_before(
    conn: Connection, account_id: int, at: datetime, *, since: datetime | None, limit: int
) -> tuple[list[Witness], bool]:
    """The account's last mails whose dots left before that instant, and not before `since`; the latest first.

    And whether these are all: with none, there may be some too far back to be found.
    """
    rows = conn.execute(_PRECEDING, {"position": _position(conn, at), "most": _MOST_ATTEMPTS}).fetchall()
    parameters = {
        "ids": [row[0] for row in rows if row[0] is not None],
        "account_id": account_id,
        "at": at,
        "since": since or "-infinity",
        "limit": limit,
    }
    with conn.cursor(row_factory=class_row(Witness)) as cursor:
        return cursor.execute(_BEFORE, parameters).fetchall(), len(rows) < _MOST_ATTEMPTS


def witnesses_within(
    conn: Connection, account_id: int, since: datetime, until: datetime, *, limit: int
) -> tuple[list[Witness], bool]:
    """The account's next mails whose dots left from `since` on and before `until`, the first first.

    And whether these are all: with none, there may be some behind too many others to be found.
    """
    rows = conn.execute(_NEXT, {"position": _position(conn, since), "most": _MOST_ATTEMPTS}).fetchall()
    parameters = {
        "ids": [row[0] for row in rows if row[0] is not None],
        "account_id": account_id,
        "since": since,
        "until": until,
        "limit": limit,
    }
    all_of_them = len(rows) < _MOST_ATTEMPTS or rows[-1][1] >= until
    with conn.cursor(row_factory=class_row(Witness)) as cursor:
        return cursor.execute(_WITHIN, parameters).fetchall(), all_of_them


def _position(conn: Connection, at: datetime) -> int:
    """The number of the first attempt made at that instant or later."""
    row = conn.execute(_POSITION, {"at": at}).fetchone()
    return int(row[0]) if row else 0


def leave(
    conn: Connection, reminder_id: int, fence: int, *, reason: str, look_s: float, alert_at: datetime | None
) -> None:
    """It stays in doubt, for this reason; its policy looks again after `look_s`, nobody is told before `alert_at`."""
    parameters = {"id": reminder_id, "fence": fence, "reason": reason, "look_s": look_s, "alert_at": alert_at}
    conn.execute(_LEAVE, parameters)


def to_alert(conn: Connection, *, after_s: float, again_s: float, limit: int) -> list[Doubtful]:
    """Take the mails in doubt for `after_s` of which nobody has been told; nobody else does for `again_s`."""
    ids = [row[0] for row in conn.execute(_TO_ALERT, {"after_s": after_s, "again_s": again_s, "limit": limit})]
    with conn.cursor(row_factory=class_row(Doubtful)) as cursor:
        return cursor.execute(_DOUBTFUL, {"ids": ids}).fetchall() if ids else []


def alerted(conn: Connection, reminder_ids: Sequence[int]) -> None:
    """A person has been told of these."""
    conn.execute(_ALERTED, {"ids": list(reminder_ids)})


def readers(conn: Connection, reminder_ids: Sequence[int]) -> list[tuple[Reader, list[int]]]:
    """Who is to be told of which of these mails: administrators of all, who has a rule's reports of that rule's."""
    rows = conn.execute(_TOLD, {"ids": list(reminder_ids)})
    return [(Reader(id=row[0], name=row[1], email=row[2], language=row[3]), row[4]) for row in rows]


def standing(conn: Connection, *, after_s: float) -> list[Standing]:
    """The mails that have been in doubt for longer, by reason."""
    with conn.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(_STANDING, {"after_s": after_s}).fetchall()
