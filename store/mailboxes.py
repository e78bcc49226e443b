"""Where bounces and answers arrive, and up to where each mailbox has been read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from store.connection import Connection

_MAILBOXES = """
SELECT id AS account_id, name AS account, mailbox FROM mail_accounts
 WHERE mailbox IS NOT NULL AND (%(account)s::text IS NULL OR name = %(account)s::text)
 ORDER BY name LIMIT 1000
"""
# Any number of schedulers ask; each mailbox is one's until its next look.
_TAKE = """
INSERT INTO mailboxes (account_id, next_look_at)
SELECT a.id, clock_timestamp() + make_interval(secs => %(every_s)s::float8)
  FROM mail_accounts a LEFT JOIN mailboxes m ON m.account_id = a.id
 WHERE a.mailbox IS NOT NULL AND coalesce(m.next_look_at, '-infinity') <= clock_timestamp()
 ORDER BY coalesce(m.next_look_at, '-infinity'), a.id LIMIT %(most)s
ON CONFLICT (account_id) DO UPDATE SET next_look_at = excluded.next_look_at
 WHERE mailboxes.next_look_at <= clock_timestamp()
RETURNING account_id
"""
_POSITION = """
SELECT uid_validity, last_uid FROM mailboxes WHERE account_id = %(account_id)s AND place = %(place)s::text
"""
_MOVE_ON = """
INSERT INTO mailboxes AS m (account_id, place, uid_validity, last_uid)
VALUES (%(account_id)s, %(place)s::text, %(uid_validity)s::bigint, %(last_uid)s::bigint)
ON CONFLICT (account_id) DO UPDATE
   SET place = excluded.place, uid_validity = excluded.uid_validity, last_uid = excluded.last_uid
 WHERE (m.place, m.uid_validity) IS DISTINCT FROM (excluded.place, excluded.uid_validity)
    OR m.last_uid < excluded.last_uid
"""
_STUCK = """
INSERT INTO mailboxes AS m (account_id, stuck_uid, stuck) VALUES (%(account_id)s, %(uid)s::bigint, 1)
ON CONFLICT (account_id) DO UPDATE
   SET stuck_uid = excluded.stuck_uid, stuck = CASE WHEN m.stuck_uid = excluded.stuck_uid THEN m.stuck + 1 ELSE 1 END
RETURNING stuck
"""
_KNOWN = """
SELECT name FROM mails_read WHERE account_id = %(account_id)s AND name = ANY(%(names)b::bytea[])
"""
_REMEMBER = """
INSERT INTO mails_read (account_id, name) VALUES (%(account_id)s, %(name)b::bytea) ON CONFLICT DO NOTHING
"""
_FORGET = """
DELETE FROM mails_read WHERE account_id = %(account_id)s AND name <> ALL(%(names)b::bytea[])
"""
_LOOKED = """
INSERT INTO mailboxes AS m (account_id, looked_at) VALUES (%(account_id)s, clock_timestamp())
ON CONFLICT (account_id) DO UPDATE
   SET looked_at = excluded.looked_at, failures = 0, error = NULL,
       next_look_at = CASE WHEN %(more)s::bool THEN clock_timestamp() ELSE m.next_look_at END
"""
# A login that is refused every minute locks an account: ever more seldom, half an hour at most.
_FAILED = """
INSERT INTO mailboxes AS m (account_id, failures, error) VALUES (%(account_id)s, 1, %(error)s::text)
ON CONFLICT (account_id) DO UPDATE
   SET failures = m.failures + 1, error = excluded.error,
       next_look_at = clock_timestamp() + make_interval(secs =>
           least(1800, %(every_s)s::float8 * 2 ^ least(m.failures, 10)))
"""
_STANDING = """
SELECT a.name AS account, m.looked_at, coalesce(m.failures, 0) AS failures, m.error
  FROM mail_accounts a LEFT JOIN mailboxes m ON m.account_id = a.id
 WHERE a.mailbox IS NOT NULL ORDER BY a.name LIMIT 1000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Where an account's bounces arrive: the fields of operations.mailboxes."""

    account_id: int
    account: str
    mailbox: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStanding:
    """When a mailbox was last read, and what went wrong since, so many times in a row."""

    account: str
    looked_at: datetime | None
    failures: int
    error: str | None


def mailboxes(conn: Connection, account: str | None = None) -> list[Mailbox]:
    """Every mailbox, or one account's."""
    with conn.cursor(row_factory=class_row(Mailbox)) as cursor:
        return cursor.execute(_MAILBOXES, {"account": account}).fetchall()


def take(conn: Connection, *, every_s: float, most: int) -> list[int]:
    """The accounts whose mailboxes are to be looked at now, by nobody else until `every_s` from now."""
    return [row[0] for row in conn.execute(_TAKE, {"every_s": every_s, "most": most})]


def position(conn: Connection, account_id: int, place: str) -> tuple[int | None, int]:
    """UIDVALIDITY and the last UID read there; None and 0 for a place that was not read yet."""
    row = conn.execute(_POSITION, {"account_id": account_id, "place": place}).fetchone()
    return (row[0], row[1]) if row else (None, 0)


def move_on(conn: Connection, account_id: int, place: str, uid_validity: int, last_uid: int) -> None:
    """Up to there it has been read. A slower reader never moves it back."""
    parameters = {"account_id": account_id, "place": place, "uid_validity": uid_validity, "last_uid": last_uid}
    conn.execute(_MOVE_ON, parameters)


def stuck(conn: Connection, account_id: int, uid: int) -> int:
    """A look ended at this mail. Returns how many have, one after the other."""
    row = conn.execute(_STUCK, {"account_id": account_id, "uid": uid}).fetchone()
    return int(row[0]) if row else 0


def known(conn: Connection, account_id: int, names: Sequence[bytes]) -> set[bytes]:
    """Those of a maildir's mails that have been read."""
    return {bytes(row[0]) for row in conn.execute(_KNOWN, {"account_id": account_id, "names": list(names)})}


def remember(conn: Connection, account_id: int, name: bytes) -> None:
    """This mail has been read."""
    conn.execute(_REMEMBER, {"account_id": account_id, "name": name})


def forget_others(conn: Connection, account_id: int, names: Collection[bytes]) -> None:
    """Of mails that are no longer there nothing is kept."""
    conn.execute(_FORGET, {"account_id": account_id, "names": list(names)})


def looked(conn: Connection, account_id: int, *, more: bool) -> None:
    """It could be read; `more`: not to its end, so that the next look comes at once."""
    conn.execute(_LOOKED, {"account_id": account_id, "more": more})


def failed(conn: Connection, account_id: int, error: str, *, every_s: float) -> None:
    """It could not be read."""
    conn.execute(_FAILED, {"account_id": account_id, "error": error, "every_s": every_s})


def standing(conn: Connection) -> list[MailboxStanding]:
    """How each mailbox stands."""
    with conn.cursor(row_factory=class_row(MailboxStanding)) as cursor:
        return cursor.execute(_STANDING).fetchall()
