"""The tick: one transaction in which every answered mail becomes sent and every uploaded mail is armed.

Three facts carry the promise. No dot leaves before the commit that armed (reminder, fence) is acknowledged. A dot
that may
have left is followed by another only through in_doubt. Sent is written only after a 2xx was read. Nothing in here
waits for a
row lock: a statement that waited keeps its old snapshot, and would miss a gate closed meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store import outcomes
from store.claims import GATES
from store.settings import GATES_LOCK
from workflow.machine import Position
from workflow.windows import is_open

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from store.companies import Company
    from store.connection import Connection

_BEGIN = f"""
SELECT pg_try_advisory_xact_lock_shared({GATES_LOCK}), coalesce(business_now, now()) FROM settings
"""
_TODAY = "SELECT set_config('relance.today', %(today)s::text, true)"
_LOCK_REMINDERS = """
SELECT id, fence, state FROM reminders WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
_LOCK_INVOICES = """
SELECT id, row_version, state, before_settled FROM invoices
 WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
_LOCK_CUSTOMERS = """
SELECT id, row_version FROM customers WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR SHARE SKIP LOCKED
"""
_ARM = f"""
UPDATE reminders r
   SET state = 'armed', armed_at = clock_timestamp(), recipient = u.recipient,
       lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s::float8)
  FROM unnest(%(ids)s::bigint[], %(fences)s::int[], %(recipients)s::text[]) AS u (id, fence, recipient)
 WHERE r.id = u.id AND r.fence = u.fence AND r.state = 'claimed' AND {GATES}
   AND NOT EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(u.recipient))
RETURNING r.id
"""
_MAILS = """
INSERT INTO mails (reminder_id, fence, subject, letter, sha256)
SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::int[], %(subjects)s::text[], %(letters)s::bytea[],
                     %(hashes)s::bytea[])
ON CONFLICT (reminder_id, fence) DO NOTHING
"""
_SENT = """
UPDATE reminders r
   SET state = 'sent', ended_at = clock_timestamp(), ended_on = u.day, lease_until = NULL, problem = NULL
  FROM unnest(%(ids)s::bigint[], %(days)s::date[]) AS u (id, day)
 WHERE r.id = u.id AND r.open
RETURNING r.id
"""
_COUNTED = """
SELECT ri.reminder_id, ri.invoice_id
  FROM reminder_invoices ri
 WHERE ri.reminder_id = ANY(%(ids)s::bigint[]) AND ri.counts AND ri.outcome IN ('planned', 'in_doubt')
"""
_ACCEPTED = """
UPDATE reminder_invoices SET outcome = 'accepted'
 WHERE reminder_id = ANY(%(ids)s::bigint[]) AND outcome IN ('planned', 'in_doubt')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A mail of which all but the final dot is with the server.

    `versions`: row_version of each invoice that it lists.
    """

    reminder_id: int
    fence: int
    company_id: int
    customer_id: int
    customer_version: int
    versions: Mapping[int, int]
    recipient: str
    subject: str
    letter: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A mail whose dot was answered by a 2xx."""

    reminder_id: int
    fence: int
    company_id: int
    invoice_ids: tuple[int, ...]
    reply: str


@dataclass(slots=True)
class Ticked:
    """What one tick decided. `withdrawn`: not to be sent as it stands; what is named nowhere comes again next tick.

    `ended`: a 2xx came for a reminder that had ended otherwise: an alert.
    """

    armed: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)


def tick(
    conn: Connection,
    uploaded: Sequence[Uploaded],
    answered: Sequence[Answered],
    *,
    lease_s: float,
    companies: Mapping[int, Company],
) -> Ticked:
    """Send what was answered and arm what was uploaded, in one transaction of this connection.

    The caller releases the dots only after this has returned. Raises psycopg.Error: then nothing of it is known to have
    happened, and an uploaded mail must be given up without its dot.
    """
    done = Ticked()
    with conn.transaction():
        free, now = conn.execute(_BEGIN).fetchone() or (False, None)
        any_company = companies[(uploaded[0] if uploaded else answered[0]).company_id]
        conn.execute(_TODAY, {"today": any_company.day(now).isoformat()})
        ids = sorted({mail.reminder_id for mail in uploaded} | {mail.reminder_id for mail in answered})
        reminders = {row[0]: (row[1], row[2]) for row in conn.execute(_LOCK_REMINDERS, {"ids": ids})}
        wanted = {invoice_id for mail in uploaded for invoice_id in mail.versions}
        wanted.update(invoice_id for mail in answered for invoice_id in mail.invoice_ids)
        invoices = {row[0]: row for row in conn.execute(_LOCK_INVOICES, {"ids": sorted(wanted)})}
        if answered:
            free_to_end = [
                mail
                for mail in answered
                if mail.reminder_id in reminders and all(one in invoices for one in mail.invoice_ids)
            ]
            days = {mail.reminder_id: companies[mail.company_id].day(now) for mail in free_to_end}
            positions = {row[0]: Position(row[2], row[3]) for row in invoices.values()}
            _send(conn, free_to_end, days, positions, done)
        if uploaded and free:
            closed = {mail.company_id for mail in uploaded if not is_open(companies[mail.company_id].window, now)}
            versions = {row[0]: row[1] for row in invoices.values()}
            _arm(conn, uploaded, reminders, versions, closed=closed, lease_s=lease_s, done=done)
    return done


def _send(
    conn: Connection,
    answered: Sequence[Answered],
    days: Mapping[int, date],
    positions: Mapping[int, Position],
    done: Ticked,
) -> None:
    parameters = {"ids": list(days), "days": list(days.values())}
    done.sent = {row[0] for row in conn.execute(_SENT, parameters)}
    done.ended = set(days) - done.sent
    outcomes.note(
        conn,
        [
            (mail.reminder_id, mail.fence, "accepted", mail.reply if mail.reminder_id in done.sent else "too late")
            for mail in answered
        ],
    )
    sent = {"ids": sorted(done.sent)}
    counted = {row[1]: row[0] for row in conn.execute(_COUNTED, sent)}
    outcomes.move(
        conn,
        {invoice_id: positions[invoice_id] for invoice_id in counted},
        "confirm",
        {invoice_id: days[reminder_id] for invoice_id, reminder_id in counted.items()},
    )
    conn.execute(_ACCEPTED, sent)
    outcomes.effects_due(conn, sorted(done.sent))


def _arm(
    conn: Connection,
    uploaded: Sequence[Uploaded],
    reminders: Mapping[int, tuple[int, str]],
    versions: Mapping[int, int],
    *,
    closed: set[int],
    lease_s: float,
    done: Ticked,
) -> None:
    ids = sorted({mail.customer_id for mail in uploaded})
    customers = {row[0]: row[1] for row in conn.execute(_LOCK_CUSTOMERS, {"ids": ids})}
    ready: dict[int, Uploaded] = {}
    for mail in uploaded:
        busy = (
            mail.reminder_id not in reminders
            or mail.customer_id not in customers
            or any(invoice_id not in versions for invoice_id in mail.versions)
        )
        if busy:
            continue
        unchanged = (
            reminders[mail.reminder_id] == (mail.fence, "claimed")
            and mail.company_id not in closed
            and customers[mail.customer_id] == mail.customer_version
            and all(versions[invoice_id] == version for invoice_id, version in mail.versions.items())
        )
        if unchanged:
            ready[mail.reminder_id] = mail
        else:
            done.withdrawn.add(mail.reminder_id)
    if not ready:
        return
    mails = list(ready.values())
    parameters = {
        "ids": list(ready),
        "fences": [mail.fence for mail in mails],
        "recipients": [mail.recipient for mail in mails],
        "lease_s": lease_s,
    }
    done.armed = {row[0] for row in conn.execute(_ARM, parameters)}
    done.withdrawn |= set(ready) - done.armed
    armed = [ready[reminder_id] for reminder_id in sorted(done.armed)]
    parts = {
        "ids": [mail.reminder_id for mail in armed],
        "fences": [mail.fence for mail in armed],
        "subjects": [mail.subject for mail in armed],
        "letters": [mail.letter for mail in armed],
        "hashes": [mail.sha256 for mail in armed],
    }
    conn.execute(_MAILS, parts)
    outcomes.note(conn, [(mail.reminder_id, mail.fence, "armed", None) for mail in armed])
