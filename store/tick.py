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

import psycopg

from store import outcomes
from store.claims import GATES
from store.connection import on_day
from store.settings import GATES_LOCK
from workflow.errors import RelanceError
from workflow.machine import Position
from workflow.windows import is_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from store.companies import Company
    from store.connection import Connection
    from store.outcomes import Attempt

_SHARE_GATES = f"SELECT pg_try_advisory_xact_lock_shared({GATES_LOCK})"
# After the lock, in a statement of its own: what was committed before the lock was had is seen.
_HERE = """
SELECT coalesce(business_now, now()),
       instance_id IS NOT DISTINCT FROM %(instance_id)s::uuid AND (instance_place IS NULL OR instance_place = place()),
       redirect_to
  FROM settings
"""
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
   AND (r.again_until IS NULL OR r.again_until > clock_timestamp())
   AND NOT EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(u.recipient))
RETURNING r.id
"""
_MAILS = """
INSERT INTO mails (reminder_id, fence, subject, letter, sha256)
SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::int[], %(subjects)s::text[], %(letters)b::bytea[],
                     %(hashes)b::bytea[])
ON CONFLICT (reminder_id, fence) DO NOTHING
"""
_SENT = """
UPDATE reminders r
   SET state = 'sent', ended_at = clock_timestamp(), ended_on = u.day, lease_until = NULL, problem = NULL,
       doubt_reason = NULL, again_until = NULL, alert_at = NULL
  FROM unnest(%(ids)s::bigint[], %(days)s::date[]) AS u (id, day)
 WHERE r.id = u.id AND r.open
RETURNING r.id
"""
_ACCEPTED = """
UPDATE reminder_invoices SET outcome = 'accepted'
 WHERE reminder_id = ANY(%(ids)s::bigint[]) AND outcome IN ('planned', 'in_doubt')
RETURNING reminder_id, invoice_id, counts
"""
# What is refused because of one mail's own values. A database that is away or full is nobody's own.
_OF_ONE_MAIL = (psycopg.DataError, psycopg.IntegrityError, RelanceError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A mail of which all but the final dot is with the server.

    `versions`: row_version of each invoice that it lists. `redirect_to`: where a test's mail goes.
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
    redirect_to: str | None = None


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
    """What one tick decided. What is named nowhere comes again at the next.

    `armed` and `withdrawn` (not to be sent as it stands) are (reminder, fence): a newer claim never arms an older one.

    `unfit`: the database refuses the mail's own values, and why; it would refuse them again.
    `ended`: a 2xx came for a reminder that had ended otherwise: an alert.
    """

    armed: set[tuple[int, int]] = field(default_factory=set)
    withdrawn: set[tuple[int, int]] = field(default_factory=set)
    unfit: dict[tuple[int, int], str] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)


def tick(
    conn: Connection,
    uploaded: Sequence[Uploaded],
    answered: Sequence[Answered],
    *,
    lease_s: float,
    companies: Mapping[int, Company],
    instance_id: str | None = None,
) -> Ticked:
    """Send what was answered and arm what was uploaded, in one transaction of this connection.

    Nothing is armed where the database is not instance `instance_id`, to which this host belongs. Where the database
    refuses the values of one mail, each is armed in a transaction of its own, and that one is `unfit`.

    The caller releases the dots only after this has returned. Raises psycopg.Error: then nothing of it is known to have
    happened, and an uploaded mail must be given up without its dot. So it does where an answered mail is refused.
    """

    def together(uploaded: Sequence[Uploaded], answered: Sequence[Answered]) -> Ticked:
        return _tick(conn, uploaded, answered, lease_s=lease_s, companies=companies, instance_id=instance_id)

    try:
        return together(uploaded, answered)
    except _OF_ONE_MAIL:
        if not uploaded:
            raise
    done = together([], answered) if answered else Ticked()
    for mail in uploaded:
        try:
            alone = together([mail], [])
        except _OF_ONE_MAIL as error:
            words = str(error) if isinstance(error, RelanceError) else type(error).__name__
            done.unfit[mail.reminder_id, mail.fence] = words
        else:
            done.armed |= alone.armed
            done.withdrawn |= alone.withdrawn
    return done


def _tick(
    conn: Connection,
    uploaded: Sequence[Uploaded],
    answered: Sequence[Answered],
    *,
    lease_s: float,
    companies: Mapping[int, Company],
    instance_id: str | None,
) -> Ticked:
    with conn.pipeline(), conn.transaction():
        held = _lock(conn, uploaded, answered, instance_id)
        ending = [mail for mail in answered if held.has(mail.reminder_id, mail.invoice_ids)]
        days = {mail.reminder_id: companies[mail.company_id].day(held.now) for mail in ending}
        ready, withdrawn = _ready(uploaded, held, companies) if held.gates_are_ours else ({}, set())
        today = companies[(uploaded[0] if uploaded else answered[0]).company_id].day(held.now)
        with conn.pipeline():
            on_day(conn, today)
            sent = conn.execute(_SENT, {"ids": list(days), "days": list(days.values())})
            accepted = conn.execute(_ACCEPTED, {"ids": list(days)})
            armed = conn.execute(_ARM, _arming(ready) | {"lease_s": lease_s})
        done = Ticked(armed={(row[0], ready[row[0]].fence) for row in armed}, sent={row[0] for row in sent})
        done.withdrawn = withdrawn | {(mail.reminder_id, mail.fence) for mail in ready.values()} - done.armed
        done.ended = set(days) - done.sent
        counted = {row[1]: days[row[0]] for row in accepted if row[2]}
        kept = [mail for mail in ready.values() if (mail.reminder_id, mail.fence) in done.armed]
        with conn.pipeline():
            outcomes.move(conn, {one: held.positions[one] for one in counted}, "confirm", counted)
            outcomes.effects_due(conn, sorted(done.sent))
            _keep(conn, kept)
            tried: list[Attempt] = [(mail.reminder_id, mail.fence, "armed", None) for mail in kept]
            outcomes.note(conn, [*tried, *((mail.reminder_id, mail.fence, "accepted", mail.reply) for mail in ending)])
    return done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What this tick has locked, by id; what somebody else holds is absent and waits for the next."""

    gates_are_ours: bool
    is_ours: bool
    redirect_to: str | None
    now: datetime
    reminders: Mapping[int, tuple[int, str]]
    versions: Mapping[int, int]
    positions: Mapping[int, Position]
    customers: Mapping[int, int]

    def has(self, reminder_id: int, invoice_ids: Iterable[int]) -> bool:
        return reminder_id in self.reminders and all(one in self.versions for one in invoice_ids)


def _lock(
    conn: Connection, uploaded: Sequence[Uploaded], answered: Sequence[Answered], instance_id: str | None
) -> _Held:
    reminder_ids = {mail.reminder_id for mail in uploaded} | {mail.reminder_id for mail in answered}
    invoice_ids = {one for mail in uploaded for one in mail.versions}
    invoice_ids |= {one for mail in answered for one in mail.invoice_ids}
    with conn.pipeline():
        gates = conn.execute(_SHARE_GATES)
        here = conn.execute(_HERE, {"instance_id": instance_id})
        reminders = conn.execute(_LOCK_REMINDERS, {"ids": sorted(reminder_ids)})
        invoices = conn.execute(_LOCK_INVOICES, {"ids": sorted(invoice_ids)})
        customers = conn.execute(_LOCK_CUSTOMERS, {"ids": sorted({mail.customer_id for mail in uploaded})})
    shared, first = gates.fetchone(), here.fetchone()
    if shared is None or first is None:
        raise LookupError("the settings row is missing")
    rows = invoices.fetchall()
    return _Held(
        gates_are_ours=shared[0],
        now=first[0],
        is_ours=first[1],
        redirect_to=first[2],
        reminders={row[0]: (row[1], row[2]) for row in reminders},
        versions={row[0]: row[1] for row in rows},
        positions={row[0]: Position(row[2], row[3]) for row in rows},
        customers=dict(customers.fetchall()),
    )


def _ready(
    uploaded: Sequence[Uploaded], held: _Held, companies: Mapping[int, Company]
) -> tuple[dict[int, Uploaded], set[tuple[int, int]]]:
    """Tell the mails that may be armed as they stand from those whose facts have changed.

    The busy ones are in neither.
    """
    ready: dict[int, Uploaded] = {}
    withdrawn: set[tuple[int, int]] = set()
    for mail in uploaded:
        if mail.customer_id not in held.customers or not held.has(mail.reminder_id, mail.versions):
            continue
        unchanged = (
            held.is_ours
            and held.redirect_to == mail.redirect_to
            and held.reminders[mail.reminder_id] == (mail.fence, "claimed")
            and held.customers[mail.customer_id] == mail.customer_version
            and all(held.versions[one] == version for one, version in mail.versions.items())
            and is_open(companies[mail.company_id].window, held.now)
        )
        if unchanged:
            ready[mail.reminder_id] = mail
        else:
            withdrawn.add((mail.reminder_id, mail.fence))
    return ready, withdrawn


def _arming(ready: Mapping[int, Uploaded]) -> dict[str, object]:
    return {
        "ids": list(ready),
        "fences": [mail.fence for mail in ready.values()],
        "recipients": [mail.recipient for mail in ready.values()],
    }


def _keep(conn: Connection, armed: Sequence[Uploaded]) -> None:
    """Keep the parts of what is armed: from here on the bytes are what they are."""
    parts = {
        "ids": [mail.reminder_id for mail in armed],
        "fences": [mail.fence for mail in armed],
        "subjects": [mail.subject for mail in armed],
        "letters": [mail.letter for mail in armed],
        "hashes": [mail.sha256 for mail in armed],
    }
    conn.execute(_MAILS, parts)
