"""What a run is judged from: the sink's journal, and our append-only ledgers, as values."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests import witness

if TYPE_CHECKING:
    from datetime import datetime

    from scripts.sink import Sink
    from store.connection import Connection
    from tests.witness import Mail

_ATTEMPTS = "SELECT reminder_id, fence, step, detail, actor, at FROM attempts ORDER BY id"
_FROZEN = "SELECT reminder_id, fence, encode(sha256, 'hex') FROM mails"
_CYCLES = """
SELECT i.number, j.at, (j.change -> 'cycle' ->> 1)::int
  FROM journal j JOIN invoices i ON i.id = j.subject_id
 WHERE j.subject = 'invoice' AND j.change ? 'cycle' ORDER BY j.id
"""
_TAGGED = """
SELECT i.number, t.title, count(*)
  FROM journal j JOIN invoices i ON i.id = j.subject_id JOIN tags t ON t.id = (j.change -> 'tag' ->> 1)::bigint
 WHERE j.subject = 'invoice' AND j.change -> 'tag' -> 0 = 'null' GROUP BY i.number, t.title
"""
_REMINDERS = "SELECT id, message_id, state, problem, ever_in_doubt, created_at FROM reminders"
_LISTED = """
SELECT i.number, ri.reminder_id, ri.outcome FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    reminder: int
    fence: int
    step: str
    detail: str | None
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A reminder that the sink took charge of, and when it had been armed: None, it never was in these bytes."""

    at: datetime
    mail: Mail
    armed: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    id: int
    message_id: str
    state: str
    problem: str | None
    ever_in_doubt: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledgers:
    taken: list[Taken]
    attempts: dict[int, list[Attempt]]
    reminders: dict[int, Reminder]
    outcomes: dict[str, list[tuple[int, str]]]
    levels: dict[str, int]
    tagged: dict[tuple[str, str], int]
    cycles: dict[str, list[tuple[datetime, int]]] = field(default_factory=dict)

    def cycle(self, number: str, at: datetime) -> int:
        """An invoice's cycle at an instant."""
        return max([1, *(cycle for since, cycle in self.cycles.get(number, []) if since <= at)])


def read(conn: Connection, sink: Sink) -> Ledgers:
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    for reminder, fence, step, detail, actor, at in conn.execute(_ATTEMPTS):
        attempts[reminder].append(Attempt(reminder=reminder, fence=fence, step=step, detail=detail, actor=actor, at=at))
    fences: dict[tuple[int, str], set[int]] = defaultdict(set)
    for reminder, fence, sha256 in conn.execute(_FROZEN):
        fences[reminder, sha256].add(fence)
    cycles: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for number, at, cycle in conn.execute(_CYCLES):
        cycles[number].append((at, cycle))
    outcomes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, reminder, outcome in conn.execute(_LISTED):
        outcomes[number].append((reminder, outcome))
    return Ledgers(
        taken=[
            Taken(at=line.at, mail=mail, armed=_armed(attempts, fences, mail, line.at))
            for line, mail in zip(sink.mails(), witness.mails(sink), strict=False)
            if mail.reminder is not None
        ],
        attempts=attempts,
        reminders={
            row[0]: Reminder(
                id=row[0], message_id=row[1], state=row[2], problem=row[3], ever_in_doubt=row[4], created_at=row[5]
            )
            for row in conn.execute(_REMINDERS)
        },
        outcomes=outcomes,
        levels=dict(conn.execute("SELECT number, level FROM invoices").fetchall()),
        tagged={(number, title): count for number, title, count in conn.execute(_TAGGED)},
        cycles=cycles,
    )


def _armed(
    attempts: dict[int, list[Attempt]], fences: dict[tuple[int, str], set[int]], mail: Mail, at: datetime
) -> datetime | None:
    """When these bytes were armed for the last time before they were taken."""
    assert mail.reminder is not None
    under = fences.get((mail.reminder, mail.sha256), set())
    armed = [one.at for one in attempts[mail.reminder] if one.step == "armed" and one.fence in under and one.at <= at]
    return max(armed, default=None)
