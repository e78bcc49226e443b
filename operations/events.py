"""Events as they are taken in, looked at and tried again. What each means is in operations.telling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from operations.acting import acting
from store import inbox, journal
from store.inbox import Arrived
from workflow import events
from workflow.errors import InvalidInput
from workflow.event_types import TYPES
from workflow.events import Fault, Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.connection import Connection
    from store.inbox import Door, Kept, Outcome, Replayable

LARGEST_REPLAY: Final = 100_000
# An unreadable event is kept as far as it helps to find out where it came from.
_LONGEST_UNREADABLE: Final = 4000
_NOT_KEPT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Came:
    """An event that came: its text, and its JSON value where it has been read already.

    `place` names it by the entry or request it came in, for one that has no id of its own.
    """

    text: str
    place: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of an event at the door: waiting to be applied, here already (`duplicate`), or rejected."""

    source: str
    id: str
    outcome: Outcome
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Events that were tried again, or would be; `more`: beyond what was asked for at most."""

    events: list[Kept]
    more: bool


def accept(conn: Connection, came: Sequence[Came], *, door: Door) -> list[Taken]:
    """Keep each event once, in this order; what is malformed is kept as rejected and hinders none of the others.

    The events are taken once the caller's transaction is committed.
    """
    read = [_arrived(one, door) for one in came]
    new = inbox.insert(conn, [arrived for arrived, _ in read], door) if read else {}
    taken = []
    for arrived, faults in read:
        key = (arrived.source, arrived.event_id)
        outcome: Outcome = "rejected" if faults else "waiting"
        taken.append(
            Taken(
                source=arrived.source,
                id=arrived.event_id,
                outcome=outcome if new.get(key) is arrived else "duplicate",
                faults=faults,
            )
        )
    return taken


def receive(conn: Connection, came: Sequence[Came], *, delivery: str, sha256: bytes) -> list[Taken] | None:
    """Keep the events of a signed request; None where the same request was received before.

    It is the same by its id and its body's digest: another body under that id is another sender's, or mended.
    The request counts as received if and only if its events are kept: both are committed with the caller's transaction.
    """
    return accept(conn, came, door="http") if inbox.delivered(conn, delivery, sha256) else None


def listed(
    conn: Connection, *, outcome: Outcome | None = None, subject: str | None = None, limit: int = 50
) -> list[Kept]:
    """The latest events, newest first."""
    return inbox.listed(conn, outcome=outcome, subject=subject, limit=limit)


def counted(conn: Connection) -> dict[str, int]:
    """How many events there are of each outcome, and how many came again (`repeated`)."""
    return inbox.counts(conn)


def shown(conn: Connection, inbox_id: int) -> Kept:
    """One event. Raises InvalidInput."""
    found = inbox.one(conn, inbox_id)
    if found is None:
        raise InvalidInput(field="event", value=inbox_id, reason="is no number of an event here")
    return found


def replay(
    conn: Connection,
    *,
    ids: Sequence[int] | None = None,
    outcomes: Sequence[Replayable] = ("rejected",),
    limit: int = LARGEST_REPLAY,
    because: str,
    dry_run: bool,
    by: str,
) -> Replayed:
    """Let rejected or parked events be applied anew, in the order in which they came. Raises InvalidInput.

    What has been applied since changes nothing again: versions and references tell.
    """
    found = inbox.replayable(conn, ("rejected", "parked") if ids else outcomes, ids, limit=limit + 1)
    if ids:
        known = {one.id for one in found}
        for one in ids:
            if one not in known:
                was = shown(conn, one).outcome
                raise InvalidInput(field="event", value=one, reason=f"is {was}: nothing is to be tried again")
    chosen = found[:limit]
    if not dry_run and chosen:
        with acting(conn, by=by, because=because):
            again = inbox.again(conn, [one.id for one in chosen])
            journal.write_all(conn, "event", again, {"outcome": [None, "waiting"]})
    return Replayed(events=chosen, more=len(found) > limit)


def _arrived(came: Came, door: Door) -> tuple[Arrived, tuple[Fault, ...]]:
    text = _NOT_KEPT.sub("\N{REPLACEMENT CHARACTER}", came.text)
    value = came.value
    try:
        value = events.parse(came.text) if value is None else value
        event = events.read(value)
    except Malformed as error:
        source, event_id = events.identity(value) or (door, came.place)
        kind = value.get("type") if isinstance(value, dict) else None
        return Arrived(
            source=source,
            event_id=event_id,
            type=kind if isinstance(kind, str) and kind in TYPES else None,
            subject=events.about(value),
            version=None,
            payload=text[:_LONGEST_UNREADABLE],
            reason=str(error)[:1000],
        ), error.faults
    return Arrived(
        source=event.source,
        event_id=event.id,
        type=event.type,
        subject=event.subject,
        version=event.version,
        payload=text,
        reason=None,
    ), ()
