"""The inbox of events: each kept once, as it came, with what became of it; and at which version things were told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from store.connection import Connection

Door = Literal["http", "stream"]
Outcome = Literal["waiting", "applied", "duplicate", "stale", "parked", "rejected"]
# What an operator may have tried again.
Replayable = Literal["parked", "rejected"]

# One hand applies events, so that none is parked while what it waits for is made.
APPLYING = 0x52454C01

_INSERT = """
INSERT INTO inbox AS kept (source, event_id, type, subject, version, payload, door, outcome, reason, decided_at)
SELECT n.source, n.event_id, n.type, n.subject, n.version, n.payload, %(door)s::text,
       CASE WHEN n.reason IS NULL THEN 'waiting' ELSE 'rejected' END, n.reason,
       CASE WHEN n.reason IS NOT NULL THEN clock_timestamp() END
  FROM unnest(%(sources)s::text[], %(event_ids)s::text[], %(types)s::text[], %(subjects)s::text[],
              %(versions)s::bigint[], %(payloads)s::text[], %(reasons)s::text[]) WITH ORDINALITY
       AS n (source, event_id, type, subject, version, payload, reason, place)
 ORDER BY n.place
ON CONFLICT (source, event_id) DO UPDATE
   SET type = excluded.type, subject = excluded.subject, version = excluded.version, payload = excluded.payload,
       door = excluded.door, outcome = 'waiting', reason = NULL, decided_at = NULL
 WHERE kept.outcome = 'rejected' AND excluded.outcome = 'waiting' AND kept.payload <> excluded.payload
RETURNING source, event_id
"""
_REPEATED = """
UPDATE inbox i SET repeats = i.repeats + n.times
  FROM unnest(%(sources)s::text[], %(event_ids)s::text[], %(times)s::int[]) AS n (source, event_id, times)
 WHERE i.source = n.source AND i.event_id = n.event_id
"""
_DELIVERED = "INSERT INTO deliveries (id, sha256) VALUES (%(id)s::text, %(sha256)s::bytea) ON CONFLICT DO NOTHING"
# A few at a time, with each that comes: a request this old could not be played again anyway.
_FORGET = """
DELETE FROM deliveries
 WHERE (id, sha256) IN (SELECT id, sha256 FROM deliveries WHERE received_at < now() - interval '30 days'
                         ORDER BY received_at LIMIT 10 FOR UPDATE SKIP LOCKED)
"""
_COLUMNS = """
SELECT id, source, event_id, type, subject, version, payload, door, received_at, outcome, reason, waits_for, attempts,
       repeats, decided_at
  FROM inbox
"""
_WAITING = _COLUMNS + " WHERE outcome = 'waiting' AND id > %(after)s::bigint ORDER BY id LIMIT %(limit)s"
_LISTED = (
    _COLUMNS
    + """
 WHERE (%(outcome)s::text IS NULL OR outcome = %(outcome)s::text)
   AND (%(subject)s::text IS NULL OR subject = %(subject)s::text)
 ORDER BY id DESC LIMIT %(limit)s
"""
)
_ONE = _COLUMNS + " WHERE id = %(id)s::bigint"
_COUNTS = "SELECT outcome, count(*), sum(repeats) FROM inbox GROUP BY outcome ORDER BY outcome"
_WAITS_BEFORE = "SELECT EXISTS (SELECT FROM inbox WHERE outcome = 'waiting' AND id < %(id)s::bigint)"
# Of the money that a company's events told of before: the first that is booked nowhere, and that neither an import nor
# a person has answered for since. One too malformed to name its company may be of any that its source tells of.
_UNBOOKED = """
SELECT i.id, i.subject, i.outcome
  FROM inbox i
 WHERE i.outcome IN ('parked', 'rejected') AND i.id < %(id)s::bigint AND i.type = ANY(%(types)s::text[])
   AND (starts_with(i.subject, %(prefix)s::text) OR (i.subject IS NULL AND i.source = %(source)s::text))
   AND i.received_at > coalesce((SELECT heard_at FROM payment_sources WHERE company_id = %(company_id)s::bigint),
                                '-infinity')
   AND NOT EXISTS (SELECT FROM payments p LEFT JOIN payments r ON r.reverses_id = p.id
                    WHERE p.company_id = %(company_id)s::bigint
                      AND p.reference = substr(i.subject, length(%(prefix)s::text) + 1)
                      AND i.decided_at < CASE WHEN i.type = 'payment.reversed' THEN r.recorded_at
                                              ELSE p.recorded_at END)
 ORDER BY i.id LIMIT 1
"""
_TROUBLED = """
SELECT outcome, count(*) FROM inbox WHERE outcome IN ('parked', 'rejected') GROUP BY outcome ORDER BY outcome
"""
_END = """
UPDATE inbox
   SET outcome = %(outcome)s::text, reason = %(reason)s::text, waits_for = %(waits_for)s::text,
       attempts = attempts + 1, decided_at = clock_timestamp()
 WHERE id = %(id)s::bigint AND outcome = 'waiting'
"""
_WAKE = """
UPDATE inbox SET outcome = 'waiting', waits_for = NULL, reason = NULL, decided_at = NULL
 WHERE outcome = 'parked' AND waits_for = ANY(%(subjects)s::text[])
"""
# What is made by an import or a person wakes nobody by itself.
_WAKE_OLD = """
UPDATE inbox SET outcome = 'waiting', waits_for = NULL, reason = NULL, decided_at = NULL
 WHERE id = ANY(ARRAY(SELECT id FROM inbox
                       WHERE outcome = 'parked' AND decided_at < clock_timestamp() - interval '1 minute'
                       ORDER BY decided_at LIMIT %(limit)s::int))
"""
_REPLAYABLE = (
    _COLUMNS
    + """
 WHERE outcome = ANY(%(outcomes)s::text[]) AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s::bigint[]))
 ORDER BY id LIMIT %(limit)s
"""
)
_AGAIN = """
UPDATE inbox SET outcome = 'waiting', waits_for = NULL, reason = NULL, decided_at = NULL
 WHERE id = ANY(%(ids)s::bigint[]) AND outcome IN ('parked', 'rejected')
RETURNING id
"""
_TELL = """
INSERT INTO told AS kept (subject, field, version)
SELECT %(subject)s::text, n.field, %(version)s::bigint FROM unnest(%(fields)s::text[]) AS n (field)
ON CONFLICT (subject, field) DO UPDATE SET version = excluded.version WHERE kept.version < excluded.version
RETURNING field
"""
_NEWEST = """
SELECT max(version) FROM told WHERE subject = %(subject)s::text AND field = ANY(%(fields)s::text[])
"""
_WORD = "SELECT word FROM told WHERE subject = %(subject)s::text AND field = %(field)s::text"
_SET_WORDS = """
UPDATE told t SET word = n.word
  FROM unnest(%(subjects)s::text[], %(words)s::text[]) AS n (subject, word)
 WHERE t.subject = n.subject AND t.field = %(field)s::text
"""
_HAVE_HAND = "SELECT pg_try_advisory_lock(%(key)s)"
_LET_GO = "SELECT pg_advisory_unlock(%(key)s)"
# What is lost with the server's last moments is its outcome too: the event waits again, and is applied again.
_UNHURRIED = "SET LOCAL synchronous_commit = off"
_IMPATIENT = "SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """An event as it came. `reason`: why it can never be applied; None where it waits to be."""

    source: str
    event_id: str
    type: str | None
    subject: str | None
    version: int | None
    payload: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Arrived):
    """An event of the inbox, with what became of it; `repeats`: how often it came again."""

    id: int
    door: Door
    received_at: datetime
    outcome: Outcome
    waits_for: str | None
    attempts: int
    repeats: int
    decided_at: datetime | None


def insert(conn: Connection, arrived: Sequence[Arrived], door: Door) -> dict[tuple[str, str], Arrived]:
    """Keep events, each once. Returns those that are new, by source and id; the others are counted as repeated.

    A rejected one that comes again mended takes its own place: it is new. Of several that come together, the first that
    can be applied counts.
    """
    first: dict[tuple[str, str], Arrived] = {}
    times: dict[tuple[str, str], int] = {}
    for one in arrived:
        key = (one.source, one.event_id)
        if key in first and first[key].reason is not None and one.reason is None:
            del first[key]  # its place is its own: a heartbeat that is mended speaks of what came in between, too
        first.setdefault(key, one)
        times[key] = times.get(key, 0) + 1
    ordered = list(first.values())
    parameters = {
        "door": door,
        "sources": [one.source for one in ordered],
        "event_ids": [one.event_id for one in ordered],
        "types": [one.type for one in ordered],
        "subjects": [one.subject for one in ordered],
        "versions": [one.version for one in ordered],
        "payloads": [one.payload for one in ordered],
        "reasons": [one.reason for one in ordered],
    }
    new = {(source, event_id): first[source, event_id] for source, event_id in conn.execute(_INSERT, parameters)}
    again = {key: number - (key in new) for key, number in times.items() if number > (key in new)}
    if again:
        keys = sorted(again)
        conn.execute(
            _REPEATED,
            {
                "sources": [source for source, _ in keys],
                "event_ids": [event_id for _, event_id in keys],
                "times": [again[key] for key in keys],
            },
        )
    return new


def delivered(conn: Connection, delivery: str, sha256: bytes) -> bool:
    """Note a request by its id and its body's digest. False where it was received before."""
    conn.execute(_FORGET)
    return conn.execute(_DELIVERED, {"id": delivery, "sha256": sha256}).rowcount == 1


def waiting(conn: Connection, *, after: int = 0, limit: int = 200) -> list[Kept]:
    """Events that are to be applied, in the order in which they came."""
    with conn.cursor(row_factory=class_row(Kept)) as cursor:
        return cursor.execute(_WAITING, {"after": after, "limit": limit}).fetchall()


def listed(conn: Connection, *, outcome: Outcome | None, subject: str | None, limit: int) -> list[Kept]:
    """The latest events, of one outcome or about one subject where that is asked for."""
    with conn.cursor(row_factory=class_row(Kept)) as cursor:
        return cursor.execute(_LISTED, {"outcome": outcome, "subject": subject, "limit": limit}).fetchall()


def one(conn: Connection, inbox_id: int) -> Kept | None:
    """One event of the inbox."""
    with conn.cursor(row_factory=class_row(Kept)) as cursor:
        return cursor.execute(_ONE, {"id": inbox_id}).fetchone()


def counts(conn: Connection) -> dict[str, int]:
    """How many events have each outcome, and under `repeated` how many came again."""
    found = conn.execute(_COUNTS).fetchall()
    return {outcome: number for outcome, number, _ in found} | {"repeated": sum(int(row[2]) for row in found)}


def replayable(
    conn: Connection, outcomes: Sequence[Replayable], ids: Sequence[int] | None, *, limit: int
) -> list[Kept]:
    """Parked and rejected events in the order in which they came, those of `ids` where some are named."""
    with conn.cursor(row_factory=class_row(Kept)) as cursor:
        parameters = {"outcomes": list(outcomes), "ids": None if ids is None else list(ids), "limit": limit}
        return cursor.execute(_REPLAYABLE, parameters).fetchall()


def again(conn: Connection, ids: Collection[int]) -> list[int]:
    """Let parked and rejected events wait to be applied anew. Returns which."""
    return sorted(row[0] for row in conn.execute(_AGAIN, {"ids": sorted(ids)}))


def waits_before(conn: Connection, inbox_id: int) -> bool:
    """Whether an event that came earlier still waits."""
    row = conn.execute(_WAITS_BEFORE, {"id": inbox_id}).fetchone()
    return bool(row and row[0])


def unbooked(
    conn: Connection, before: Kept, types: Collection[str], *, company_id: int, prefix: str
) -> tuple[int, str | None, Outcome] | None:
    """The first event of these types and this company that came earlier and is parked or rejected, unresolved.

    `prefix`: how its subjects begin. Returns its number, its subject and its outcome.
    """
    parameters = {
        "id": before.id,
        "source": before.source,
        "types": sorted(types),
        "company_id": company_id,
        "prefix": prefix,
    }
    row = conn.execute(_UNBOOKED, parameters).fetchone()
    return (row[0], row[1], row[2]) if row else None


def troubled(conn: Connection) -> dict[str, int]:
    """How many events are parked and how many rejected; an outcome that none has is absent."""
    return dict(conn.execute(_TROUBLED).fetchall())


def end(
    conn: Connection, inbox_id: int, outcome: Outcome, *, reason: str | None = None, waits_for: str | None = None
) -> None:
    """Write what became of an event that waited."""
    conn.execute(_END, {"id": inbox_id, "outcome": outcome, "reason": reason, "waits_for": waits_for})


def wake(conn: Connection, subjects: Sequence[str]) -> int:
    """Let events that were parked for these subjects wait to be applied. Returns how many there are."""
    return conn.execute(_WAKE, {"subjects": list(subjects)}).rowcount


def wake_old(conn: Connection, *, limit: int) -> int:
    """Let those wait again that have been parked for longer than a minute, the oldest first. Returns how many."""
    return conn.execute(_WAKE_OLD, {"limit": limit}).rowcount


def tell(conn: Connection, subject: str, fields: Collection[str], version: int) -> set[str]:
    """Note that these fields of a subject are told of at this version. Returns those told of at none as new."""
    parameters: Mapping[str, object] = {"subject": subject, "fields": sorted(fields), "version": version}
    return {row[0] for row in conn.execute(_TELL, parameters)}


def newest(conn: Connection, subject: str, fields: Collection[str]) -> int:
    """The newest version at which any of these fields was told of; 0: none."""
    row = conn.execute(_NEWEST, {"subject": subject, "fields": sorted(fields)}).fetchone()
    return int(row[0]) if row and row[0] else 0


def word(conn: Connection, subject: str, field: str) -> str | None:
    """What was last said of a field, where that is kept."""
    row = conn.execute(_WORD, {"subject": subject, "field": field}).fetchone()
    return row[0] if row else None


def set_words(conn: Connection, field: str, words: Mapping[str, str | None]) -> None:
    """Keep what was said last of a field, by subject; where no event told of it, nothing is kept."""
    if words:
        conn.execute(_SET_WORDS, {"subjects": list(words), "words": list(words.values()), "field": field})


def take_hand(conn: Connection) -> bool:
    """Be the one that applies events, until `let_go` or the connection's end. False where somebody else is."""
    row = conn.execute(_HAVE_HAND, {"key": APPLYING}).fetchone()
    return bool(row and row[0])


def let_go(conn: Connection) -> None:
    """Let somebody else apply events."""
    conn.execute(_LET_GO, {"key": APPLYING})


def unhurried(conn: Connection) -> None:
    """Let this transaction's commit not wait for the disk, and its locks for two seconds only."""
    conn.execute(_UNHURRIED)
    conn.execute(_IMPATIENT)
