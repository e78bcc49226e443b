"""Breakers of mail accounts, shared by all workers: what workflow.limits decides about each, as a row.

An account without a row has never had any trouble.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from store import journal, settings
from workflow.limits import CLOSED, Breaker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from store.connection import Connection

_COLUMNS = "failures, openings, opened_at, probe_at, probing, halvings, slowed_at"
_ALL = f"SELECT account_id, last_error, {_COLUMNS} FROM account_breakers ORDER BY account_id LIMIT 10000"
_MAKE = """
INSERT INTO account_breakers (account_id) SELECT id FROM mail_accounts WHERE id = %(account_id)s ON CONFLICT DO NOTHING
"""
_LOCK = f"SELECT {_COLUMNS} FROM account_breakers WHERE account_id = %(account_id)s FOR UPDATE"
_KEEP = """
UPDATE account_breakers
   SET failures = %(failures)s::integer, openings = %(openings)s::integer, opened_at = %(opened_at)s::timestamptz,
       probe_at = %(probe_at)s::timestamptz, probing = %(probing)s::boolean, halvings = %(halvings)s::integer,
       slowed_at = %(slowed_at)s::timestamptz, last_error = %(error)s::text
 WHERE account_id = %(account_id)s
"""
# One worker has the probe; should it die with it, another takes one when its lease would have ended.
_TAKE_PROBE = """
UPDATE account_breakers
   SET probing = true, probe_at = clock_timestamp() + make_interval(secs => %(patience_s)s::float8)
 WHERE account_id = %(account_id)s AND probe_at <= clock_timestamp()
"""
_TROUBLED = """
SELECT account_id FROM account_breakers
 WHERE account_id = ANY(%(ids)s::bigint[]) AND (failures > 0 OR opened_at IS NOT NULL)
 ORDER BY account_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBreaker(Breaker):
    """An account's breaker, and what its server said last."""

    account_id: int
    last_error: str | None


def breakers(conn: Connection) -> dict[int, AccountBreaker]:
    """By account: those that have had trouble."""
    with conn.cursor(row_factory=class_row(AccountBreaker)) as cursor:
        return {one.account_id: one for one in cursor.execute(_ALL)}


def move(
    conn: Connection, account_id: int, then: Callable[[Breaker, datetime], Breaker], *, error: str | None = None
) -> tuple[Breaker, Breaker]:
    """Lock an account's breaker and take it where `then` says; returns it before and after.

    That it opened, or closed, is journaled.
    """
    conn.execute(_MAKE, {"account_id": account_id})
    with conn.cursor(row_factory=class_row(Breaker)) as cursor:
        before = cursor.execute(_LOCK, {"account_id": account_id}).fetchone()
    if before is None:
        return CLOSED, CLOSED  # no such account any more: nothing of it is tried
    after = then(before, settings.database_now(conn))
    if after != before:
        conn.execute(_KEEP, asdict(after) | {"account_id": account_id, "error": error})
    if after.probe_at != before.probe_at:
        until = [one.probe_at.isoformat() if one.probe_at else None for one in (before, after)]
        journal.write(conn, "account", account_id, {"breaker_open_until": until})
    return before, after


def take_probe(conn: Connection, account_id: int, *, patience_s: float) -> bool:
    """Let one mail of an account whose breaker is open try. False where another does, or it is not time yet."""
    return conn.execute(_TAKE_PROBE, {"account_id": account_id, "patience_s": patience_s}).rowcount == 1


def troubled(conn: Connection, account_ids: Sequence[int]) -> list[int]:
    """Those of these accounts whose last word was a failure."""
    return [row[0] for row in conn.execute(_TROUBLED, {"ids": list(account_ids)})]
