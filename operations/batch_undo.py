"""Undo a batch, whole or not at all, for as long as nothing was sent on it and nobody changed the same again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final, get_args

from operations.acting import acting, line
from operations.batch import SAMPLES, STEP, Sample, reader
from operations.levels import correction
from operations.lookup import Unknown
from store import batches, companies, invoices, journal, labels, pauses, people, settings
from store.invoices import Correction
from workflow.errors import InvalidInput, RelanceError
from workflow.facts import Role
from workflow.machine import level_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.batch import Progress
    from store.batches import Changed, KeptBatch
    from store.connection import Connection

_NAMED: Final = 10
_MOVES: Final = frozenset({"level", "cycle", "last_reminded_on"})


class CannotUndo(RelanceError):  # noqa: N818 - a fact about a batch
    """A batch that something has followed. `invoices`: (number, reserved, reminded or changed)."""

    def __init__(self, *, batch: int, invoices: Sequence[tuple[str, str]]) -> None:
        """Name the first of them."""
        self.batch = batch
        self.invoices = tuple(invoices)
        named = ", ".join(f"{number} ({why})" for number, why in self.invoices[:_NAMED])
        more = f" and {len(self.invoices) - _NAMED} more" if len(self.invoices) > _NAMED else ""
        super().__init__(f"batch {batch} cannot be undone: since then something came to {named}{more}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What undoing restores, or restored. `batch`: as it was made; `samples`: the first ten, before and after."""

    batch: KeptBatch
    invoices: int
    customers: int
    samples: tuple[Sample, ...]
    done: bool


def latest(conn: Connection, limit: int) -> list[KeptBatch]:
    """The newest batches first."""
    return batches.latest(conn, limit)


def undo(
    conn: Connection,
    batch_id: int,
    *,
    because: str,
    by: str,
    dry_run: bool,
    progress: Progress = lambda _done, _total: None,
) -> Undone:
    """Restore what a batch changed, and only that: a payment since then stays.

    Level and cycle come back together, as they were: the cycle before the batch, in which nothing from that level on
    has been sent, since nothing has been sent at all. A cycle of its own would be one more in which each level may
    leave again. Raises Unknown, InvalidInput for a batch that was undone, CannotUndo.
    """
    because = line(because, field="because")
    today = companies.companies(conn)[_existing(conn, batch_id).company_id].day(settings.read(conn).business_now)
    with acting(conn, by=by, because=because, today=today):
        if not dry_run:
            batches.lock_batch(conn, batch_id)
        kept = _existing(conn, batch_id)
        if kept.undone_at is not None:
            reason = f"was undone on {kept.undone_at:%Y-%m-%d} by {kept.undone_by}: make a new batch"
            raise InvalidInput(field="batch", value=batch_id, reason=reason)
        ids = batches.invoices_of(conn, batch_id)
        if not dry_run:
            batches.lock(conn, ids, customers=True)
        _require_untouched(conn, batch_id, ids)
        first = batches.changes_of(conn, batch_id, ids[0], ids[:SAMPLES][-1])
        found = Undone(
            batch=kept,
            invoices=len(ids),
            customers=kept.counts.get("customers", 0),
            samples=_samples(conn, kept, first),
            done=not dry_run,
        )
        if dry_run:
            return found
        excluded: set[int] = set()
        for start in range(0, len(ids), STEP):
            progress(start, len(ids))
            step = batches.changes_of(conn, batch_id, ids[start], ids[start : start + STEP][-1])
            _restore(conn, step)
            excluded |= {one.customer_id for one in step if "excluded" in one.change}
        people.set_excluded(conn, sorted(excluded), excluded=False)
        batches.undone(conn, batch_id)
        journal.write(conn, "batch", batch_id, {"undone": [False, True]})
        progress(len(ids), len(ids))
    return found


def _existing(conn: Connection, batch_id: int) -> KeptBatch:
    found = batches.one(conn, batch_id)
    if found is None:
        raise Unknown(kind="batch", name=str(batch_id))
    return found


def _require_untouched(conn: Connection, batch_id: int, ids: Sequence[int]) -> None:
    touched = batches.tags_of(conn, batch_id)
    tag_ids = {*touched, *labels.rivals(conn, touched)}
    found = [
        one
        for start in range(0, len(ids), STEP)
        for one in batches.since(conn, batch_id, ids[start], ids[start : start + STEP][-1], tag_ids)
    ]
    if found:
        raise CannotUndo(batch=batch_id, invoices=found)


def _restore(conn: Connection, step: Sequence[Changed]) -> None:
    invoices.correct(conn, {one.id: _restored(one) for one in step if not _MOVES.isdisjoint(one.change)})
    for role in get_args(Role):
        column = f"{role}_contact_id"
        invoices.assign(conn, role, {one.id: one.change[column][0] for one in step if column in one.change})
    alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = defaultdict(list)
    for one in step:
        if "tags" in one.change:
            removed, added = one.change["tags"]
            alike[tuple(removed), tuple(added)].append(one.id)
    for (removed, added), ids in alike.items():
        labels.untag(conn, ids, added)
        labels.tag(conn, ids, removed)
    paused = [one.change["pause"][1] for one in step if "pause" in one.change]
    if paused:
        pauses.lift_these(conn, paused)


def _restored(one: Changed) -> Correction:
    """Where the invoice goes back to: along the machine for its level, with the cycle and day that it had."""
    now, old = one.place, {name: values[0] for name, values in one.change.items()}
    day = old.get("last_reminded_on", now.last_reminded_on)
    level = old.get("level", level_of(now.position.behind))
    placed = correction(now, level, date.fromisoformat(day) if isinstance(day, str) else day)
    return Correction(placed.position, old.get("cycle", now.cycle), placed.last_reminded_on)


def _samples(conn: Connection, kept: KeptBatch, first: Sequence[Changed]) -> tuple[Sample, ...]:
    until = kept.asked.get("pause_until")
    read = reader(conn, [one.change for one in first], pause_until=date.fromisoformat(until) if until else None)
    return tuple(
        Sample(
            invoice=one.number,
            customer=one.customer,
            customer_name=one.customer_name,
            change={name: (new, old) for name, (old, new) in read(one.change).items()},
        )
        for one in first
    )
