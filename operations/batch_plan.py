"""What a batch would do to each of its invoices, from values alone: changed, unchanged, busy, or refused and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from operations.levels import correction
from workflow.machine import ImpossibleTransition, level_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date

    from store.batches import Change, Selected
    from store.invoices import Correction
    from workflow.facts import Language, Role

Refusal = Literal["busy", "no_contact"]

# Why a batch leaves an invoice alone although it was asked to change it.
REFUSALS: Final[dict[Refusal, dict[Language, str]]] = {
    "busy": {"en": "a reminder is on its way or in doubt", "fr": "une relance est en cours d'envoi ou à vérifier"},
    "no_contact": {
        "en": "its customer has no contact of this address",
        "fr": "son client n'a pas de contact à cette adresse",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to become of the invoices; what is not given stays.

    `level` 0 to 3; `pause_until` the last day of waiting; `exclude` their customers from all reminders; `contact` the
    address of a contact of their customers, made their interlocutor for `role`.
    """

    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    level: int | None = None
    last_reminded_on: date | Literal["never"] | None = None
    pause_until: date | None = None
    exclude: bool = False
    contact: str | None = None
    role: Role = "dunning"

    @property
    def corrects(self) -> bool:
        """Whether it moves invoices on the machine, which only idle ones are."""
        return self.level is not None or self.last_reminded_on is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the database says around the selected invoices.

    `add`, `remove`: tag ids, the rivals of what is added among what is removed. `tags`: which of them each invoice
    carries. `paused`: invoices that are paused so already. `contacts`: by customer.
    """

    add: frozenset[int] = frozenset()
    remove: frozenset[int] = frozenset()
    tags: Mapping[int, Collection[int]] = field(default_factory=dict)
    paused: Collection[int] = frozenset()
    contacts: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """Every selected invoice in one of four places; `changes` as they are kept, in the order of ids."""

    changes: dict[int, Change] = field(default_factory=dict)
    corrections: dict[int, Correction] = field(default_factory=dict)
    unchanged: int = 0
    refused: dict[Refusal, list[str]] = field(default_factory=dict)


def plan(selected: Collection[Selected], asked: Asked, around: Around) -> Plan:
    """Decide about each invoice by itself; one that is refused something is left alone altogether."""
    made = Plan()
    moves: dict[Correction, tuple[Correction, Change]] = {}  # most stand at a few places
    for one in selected:
        if asked.contact is not None and one.customer_id not in around.contacts:
            made.refused.setdefault("no_contact", []).append(one.number)
            continue
        change: Change = {}
        if asked.corrects:
            place = one.place
            try:
                after, moved = moves.get(place) or _move(place, asked)
            except ImpossibleTransition:
                made.refused.setdefault("busy", []).append(one.number)
                continue
            moves[place] = after, moved
            if moved:
                made.corrections[one.id] = after
                change |= moved
        change |= _other(one, asked, around)
        if change:
            made.changes[one.id] = change
        else:
            made.unchanged += 1
    return made


def _move(now: Correction, asked: Asked) -> tuple[Correction, Change]:
    """Where what stands here goes, and what of it changes. Raises ImpossibleTransition while a mail is out."""
    level = level_of(now.position.behind) if asked.level is None else asked.level
    match asked.last_reminded_on:
        case None:
            day = now.last_reminded_on
        case "never":
            day = None
        case given:
            day = given
    after = correction(now, level, day)
    values = {
        "level": (level_of(now.position.behind), level_of(after.position.behind)),
        "cycle": (now.cycle, after.cycle),
        "last_reminded_on": tuple(
            day.isoformat() if day else None for day in (now.last_reminded_on, after.last_reminded_on)
        ),
    }
    return after, {name: [old, new] for name, (old, new) in values.items() if old != new}


def _other(one: Selected, asked: Asked, around: Around) -> Change:
    change: Change = {}
    carried = around.tags.get(one.id, ())
    removed, added = sorted(around.remove.intersection(carried)), sorted(around.add.difference(carried))
    if removed or added:
        change["tags"] = [removed, added]
    if asked.pause_until is not None and one.id not in around.paused:
        change["pause"] = [None, None]  # the pause's id, once it has one
    if asked.exclude and not one.excluded:
        change["excluded"] = [False, True]
    if asked.contact is not None:
        column = f"{asked.role}_contact_id"
        old, new = getattr(one, column), around.contacts[one.customer_id]
        if old != new:
            change[column] = [old, new]
    return change
