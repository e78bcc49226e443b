"""Failed mails again: which they are, which of their invoices may still be reminded, and the run that will decide."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from psycopg import sql
from psycopg.rows import class_row

from store import runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from store.connection import Connection
    from store.rules import PinnedRule

ErrorClass = Literal["4xx", "5xx", "unreachable", "template", "attachment", "no_address", "lost", "other"]

# Still where the failed mail left it, and no later mail took its place: one that counts stands at its level and cycle
# with nothing out; where mails do not count, the level says nothing and the rule's own later mails do.
_STANDS = """
    NOT EXISTS (SELECT FROM reminder_invoices l
                 WHERE l.invoice_id = ri.invoice_id AND l.reminder_id > ri.reminder_id AND l.outcome <> 'dropped'
                   AND CASE WHEN ri.counts THEN l.counts ELSE l.rule_id = ri.rule_id END)
    AND (NOT ri.counts OR (i.level = ri.level AND i.cycle = ri.cycle AND i.state = 'level_' || ri.level))
"""
# What a mail failed of. The server's own code stands first in its words, after the step: what else they quote may be
# another server's. `template`: it could not be composed for any other reason than its attachment.
_CLASS = """
    CASE WHEN r.problem IN ('refused', 'expired') AND r.last_error ~ '^([a-z]+: )?4[0-9][0-9]( |$)' THEN '4xx'
         WHEN r.problem IN ('refused', 'expired') AND r.last_error ~ '^([a-z]+: )?5[0-9][0-9]( |$)' THEN '5xx'
         WHEN r.problem = 'expired' THEN 'unreachable'
         WHEN r.problem = 'not_rendered' AND starts_with(r.last_error, 'attachment: ') THEN 'attachment'
         WHEN r.problem = 'not_rendered' THEN 'template'
         WHEN r.problem IN ('no_recipient', 'suppressed') THEN 'no_address'
         WHEN r.problem = 'lost' THEN 'lost'
         ELSE 'other' END
"""
_FAILED = f"""
SELECT r.id, r.rule_id, r.rule_version, n.id AS being_replayed_in,
       ARRAY(SELECT ri.invoice_id FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome = 'failed' AND n.id IS NULL AND ({_STANDS})
              ORDER BY i.id) AS standing,
       ARRAY(SELECT i.number FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
              WHERE ri.reminder_id = r.id AND ri.outcome = 'failed' AND NOT (n.id IS NULL AND ({_STANDS}))
              ORDER BY i.number) AS elsewhere
  FROM reminders r LEFT JOIN runs n ON n.id = r.replayed_in AND n.closed_at IS NULL
 WHERE r.state = 'failed' AND r.id > %(after)s::bigint
   AND (%(run_id)s::bigint IS NULL OR r.run_id = %(run_id)s::bigint)
   AND (%(rule_id)s::bigint IS NULL OR r.rule_id = %(rule_id)s::bigint)
   AND (%(account_id)s::bigint IS NULL
        OR %(account_id)s::bigint = (SELECT v.account_id FROM rule_versions v
                                      WHERE v.rule_id = r.rule_id AND v.version = r.rule_version))
   AND (%(since)s::date IS NULL OR r.ended_on >= %(since)s::date)
   AND (%(until)s::date IS NULL OR r.ended_on <= %(until)s::date)
   AND (%(error_class)s::text IS NULL OR {_CLASS} = %(error_class)s::text)
   AND (%(error)s::text IS NULL OR strpos(lower(concat_ws(' ', r.problem, r.last_error)), lower(%(error)s::text)) > 0)
 ORDER BY r.id LIMIT %(limit)s
"""
# Replays come one after the other: the second sees what the first has taken.
_TURN = "SELECT pg_advisory_xact_lock(hashtext('relance.replays'))"
_TAKEN = "UPDATE reminders SET replayed_in = %(run_id)s::bigint WHERE id = ANY(%(ids)s::bigint[])"
_CHOSEN = sql.SQL("i.id = ANY(%(ids)s::bigint[])").format()


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which failed mails; what is None does not matter.

    `since` and `until` are business days of the failure, both included. `error` is part of the problem's class or of
    the server's words, whatever the case.
    """

    run_id: int | None = None
    rule_id: int | None = None
    account_id: int | None = None
    since: date | None = None
    until: date | None = None
    error_class: ErrorClass | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A failed mail. `standing`: ids of its invoices still where it left them; `elsewhere`: the others' numbers.

    `being_replayed_in`: a run that is deciding about it again; then none stands.
    """

    id: int
    rule_id: int
    rule_version: int
    being_replayed_in: int | None
    standing: list[int]
    elsewhere: list[str]


def take_turn(conn: Connection) -> None:
    """Wait for any other replay's transaction to end; until this one does, none begins."""
    conn.execute(_TURN)


def failed(conn: Connection, which: Which, *, after: int, limit: int) -> list[Failed]:
    """Failed mails beyond the id `after`, in their order: oldest first."""
    parameters = asdict(which) | {"after": after, "limit": limit}
    with conn.cursor(row_factory=class_row(Failed)) as cursor:
        return cursor.execute(_FAILED, parameters).fetchall()


def taken(conn: Connection, reminder_ids: Sequence[int], run_id: int) -> None:
    """Write on these failed mails which run decides about them again."""
    conn.execute(_TAKEN, {"ids": list(reminder_ids), "run_id": run_id})


def insert_run(
    conn: Connection, pinned: PinnedRule, invoice_ids: Sequence[int], *, due_at: datetime, request_key: str
) -> int:
    """Make an open run of this rule version whose candidates are these invoices; its chunks are decided as any's."""
    run_id = runs.insert(conn, pinned, due_at=due_at, request_key=request_key)
    if run_id is None:
        raise LookupError(f"the request {request_key} has its run already")
    runs.fix(conn, run_id, _CHOSEN, {"ids": list(invoice_ids)})
    return run_id
