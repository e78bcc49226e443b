"""The same change on many invoices at once: planned and shown first, then made in one transaction and kept for undo."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final, get_args

from letters.headers import check_address
from operations.acting import acting, line, one_of
from operations.batch_plan import Around, Asked, plan
from operations.levels import check_last_reminded, check_level
from operations.lookup import nearest
from operations.pauses import check_until
from operations.tags import existing_ids, ids_to_put
from store import batches, companies, invoices, journal, labels, pauses, people, rules, settings
from workflow.errors import InvalidInput
from workflow.facts import Role
from workflow.filter_text import parse_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from operations.batch_plan import Plan, Refusal
    from store.batches import Change, Selected, Selection
    from store.companies import Company
    from store.connection import Connection

    # Called as a batch goes on: how many of its invoices are done, of how many.
    Progress = Callable[[int, int], object]

# One transaction, with its locks: some seconds for each kind of change. A payment of one of its invoices waits as long
# as the lock_timeout of store.connection lets it, and is refused then; an import begins again for two minutes.
MOST: Final = 100_000
STEP: Final = 5_000
SAMPLES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which invoices, of which company (None: the only one there is): those of a filter, or those of these numbers.

    A filter selects open invoices, as a rule's does, and with `settled` the paid and cancelled ones too.
    """

    company: str | None = None
    filter: str | None = None
    numbers: tuple[str, ...] | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One invoice that changes: by field, what it is before and after, as a person reads it."""

    invoice: str
    customer: str
    customer_name: str
    change: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch does, or did: then it has an `id`. `refused`: invoice numbers, by a key of batch_plan.REFUSALS.

    `customers`: how many it excludes. `samples`: the first ten of what changes. `notes`: what else one should know.
    """

    id: int | None
    company: str
    selected: int
    changed: int
    unchanged: int
    customers: int
    refused: dict[Refusal, tuple[str, ...]]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]
    done: bool


def batch(
    conn: Connection,
    chosen: Chosen,
    asked: Asked,
    *,
    because: str,
    by: str,
    dry_run: bool,
    progress: Progress = lambda _done, _total: None,
) -> Batch:
    """Make the same change on every chosen invoice, or say what it would be. Where nothing changes no batch is made.

    Raises InvalidInput: for what no single invoice could be asked either, for unknown numbers, for nothing asked, and
    for more than 100,000 invoices.
    """
    because = line(because, field="because")
    company = _company(conn, chosen.company)
    today = company.day(settings.read(conn).business_now)
    with acting(conn, by=by, because=because, today=today):
        _check(asked, today)
        add = ids_to_put(conn, asked.add_tags)
        remove = existing_ids(conn, asked.remove_tags)
        selection = _selection(conn, chosen, company, today)
        ids = batches.ids(conn, selection, limit=MOST + 1)
        if len(ids) > MOST:
            reason = f"selects more than {MOST:,} invoices: narrow it, and make several batches"
            raise InvalidInput(field="filter", value=chosen.filter, reason=reason)
        if not dry_run:
            batches.lock(conn, ids, customers=asked.exclude)
        selected = batches.read(conn, selection, ids)
        around = _around(conn, selected, asked, because, add=add, remove=remove)
        planned = plan(selected, asked, around)
        found = Batch(
            id=None,
            company=company.code,
            selected=len(selected),
            changed=len(planned.changes),
            unchanged=planned.unchanged,
            customers=len(_excluded(selected, planned)),
            refused={reason: tuple(numbers) for reason, numbers in planned.refused.items()},
            samples=_samples(conn, selected, planned.changes, asked),
            notes=tuple(_notes(conn, chosen, asked, company, selected=len(selected))),
            done=False,
        )
        if dry_run or not planned.changes:
            return found
        _make(conn, selected, planned, asked, around, because=because, progress=progress)
        batch_id = batches.keep(
            conn, planned.changes, company_id=company.id, asked=_as_kept(chosen, asked), counts=_counts(found)
        )
        journal.write(conn, "batch", batch_id, {"invoices": [None, found.changed]})
    return replace(found, id=batch_id, done=True)


def _company(conn: Connection, code: str | None) -> Company:
    """The company of this code, or the only one. Raises InvalidInput."""
    known = {company.code: company for company in companies.companies(conn).values()}
    if code is None and len(known) == 1:
        return next(iter(known.values()))
    if code is None:
        raise InvalidInput(field="company", value=None, reason=f"name one of {', '.join(sorted(known)) or 'none yet'}")
    if code not in known:
        close = nearest(code, known) or sorted(known)[:5]
        raise InvalidInput(field="company", value=code, reason=f"does not exist; the nearest: {', '.join(close)}")
    return known[code]


def _check(asked: Asked, today: date) -> None:
    if asked == Asked(role=asked.role):
        raise InvalidInput(field="change", value=None, reason="nothing is asked for: say what is to change")
    both = sorted(set(asked.add_tags) & set(asked.remove_tags))
    if both:
        raise InvalidInput(field="tags", value=both, reason="are to be put on and taken off at once")
    if asked.level is not None:
        check_level(asked.level)
    if isinstance(asked.last_reminded_on, date):
        check_last_reminded(asked.last_reminded_on, today)
    if asked.pause_until is not None:
        check_until(asked.pause_until, today, field="pause_until")
    if asked.contact is not None:
        check_address(asked.contact, field="contact")
    one_of(asked.role, get_args(Role), field="role")


def _selection(conn: Connection, chosen: Chosen, company: Company, today: date) -> Selection:
    if (chosen.filter is None) == (chosen.numbers is None):
        raise InvalidInput(field="invoices", value=None, reason="choose them by a filter, or by their numbers")
    if chosen.filter is not None:
        return batches.by_filter(parse_text(chosen.filter), company.id, today, settled=chosen.settled)
    numbers = list(dict.fromkeys(chosen.numbers or ()))
    if not numbers:
        raise InvalidInput(field="invoices", value=[], reason="no number is given")
    unprintable = next((number for number in numbers if "\x00" in number or not number.isprintable()), None)
    if unprintable is not None:
        raise InvalidInput(field="invoices", value=unprintable, reason="is no invoice number")
    missing = batches.unknown(conn, numbers, company.id)
    if missing:
        named = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise InvalidInput(field="invoices", value=missing, reason=f"{company.code} has no invoice {named}")
    return batches.by_number(numbers, company.id)


def _around(
    conn: Connection, selected: Sequence[Selected], asked: Asked, because: str, *, add: list[int], remove: list[int]
) -> Around:
    gone = frozenset(remove) | frozenset(labels.rivals(conn, add))
    ids = [one.id for one in selected]
    return Around(
        add=frozenset(add),
        remove=gone,
        tags=batches.taggings(conn, ids, gone | frozenset(add)) if gone or add else {},
        paused=pauses.paused_so(conn, ids, reason=because, until_on=asked.pause_until) if asked.pause_until else (),
        contacts=batches.contacts(conn, {one.customer_id for one in selected}, asked.contact) if asked.contact else {},
    )


def _excluded(selected: Sequence[Selected], planned: Plan) -> list[int]:
    """The customers that it excludes, in their order."""
    return sorted({one.customer_id for one in selected if "excluded" in planned.changes.get(one.id, ())})


def _make(
    conn: Connection,
    selected: Sequence[Selected],
    planned: Plan,
    asked: Asked,
    around: Around,
    *,
    because: str,
    progress: Progress,
) -> None:
    """Write what is planned, some thousands of invoices at a time; customers at the end, as their locks are."""
    changes = list(planned.changes.items())
    column = f"{asked.role}_contact_id"
    for start in range(0, len(changes), STEP):
        progress(start, len(changes))
        step = dict(changes[start : start + STEP])
        corrections = {one: planned.corrections[one] for one in step if one in planned.corrections}
        invoices.correct(conn, corrections)
        assigned = {one: change[column][1] for one, change in step.items() if column in change}
        invoices.assign(conn, asked.role, assigned)
        tagged = [one for one, change in step.items() if "tags" in change]
        if tagged:
            labels.untag(conn, tagged, sorted(around.remove))
            labels.tag(conn, tagged, sorted(around.add))
        paused = [one for one, change in step.items() if "pause" in change]
        if paused and asked.pause_until:
            made = pauses.pause_all(conn, paused, reason=because, until_on=asked.pause_until)
            for one, pause_id in made.items():
                step[one]["pause"] = [None, pause_id]
    people.set_excluded(conn, _excluded(selected, planned), excluded=True)
    progress(len(changes), len(changes))


def _samples(
    conn: Connection, selected: Sequence[Selected], changes: Mapping[int, Change], asked: Asked
) -> tuple[Sample, ...]:
    first = [one for one in selected if one.id in changes][:SAMPLES]
    read = reader(conn, [changes[one.id] for one in first], pause_until=asked.pause_until)
    return tuple(
        Sample(
            invoice=one.number,
            customer=one.customer,
            customer_name=one.customer_name,
            change=read(changes[one.id]),
        )
        for one in first
    )


def reader(
    conn: Connection, changes: Sequence[Change], *, pause_until: date | None
) -> Callable[[Change], dict[str, tuple[Any, Any]]]:
    """Return what turns these changes, ids and all, into what a person reads: titles, addresses, days."""
    titles = batches.tag_titles(conn)
    columns = [f"{role}_contact_id" for role in get_args(Role)]
    emails = batches.emails(
        conn, {one for change in changes for name in columns for one in change.get(name, ()) if one}
    )

    def read(change: Change) -> dict[str, tuple[Any, Any]]:
        shown: dict[str, tuple[Any, Any]] = {}
        for name, (old, new) in change.items():
            if name == "tags":
                shown["tags"] = ([titles.get(one, "") for one in old], [titles.get(one, "") for one in new])
            elif name == "pause":
                shown["paused_until"] = (None, pause_until.isoformat() if pause_until else None)
            elif name in columns:
                shown[name.removesuffix("_id")] = (emails.get(old), emails.get(new))
            else:
                shown[name] = (old, new)
        return shown

    return read


def _notes(conn: Connection, chosen: Chosen, asked: Asked, company: Company, *, selected: int) -> list[str]:
    said = []
    if chosen.filter is not None and not chosen.settled and not selected:
        said.append("a filter selects open invoices only; paid and cancelled ones too with --settled")
    if asked.contact is not None:
        reading = [one for one in rules.saved(conn) if one.company_id == company.id]
        if not any(one.rule.interlocutor == asked.role for one in reading):
            said.append(f"no rule of {company.code} writes to an invoice's own {asked.role} interlocutor")
    if asked.level is not None and asked.last_reminded_on is None:
        said.append("the days of the last reminders stay as they are")
    return said


def _counts(found: Batch) -> dict[str, int]:
    return {
        "selected": found.selected,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "customers": found.customers,
    } | {reason: len(numbers) for reason, numbers in found.refused.items()}


def _as_kept(chosen: Chosen, asked: Asked) -> dict[str, object]:
    """What was asked, without what was not; of a list of numbers only how many they were."""
    kept = {name: value for name, value in asdict(chosen).items() if value}
    if chosen.numbers is not None:
        kept["numbers"] = len(chosen.numbers)
    kept |= {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in asdict(asked).items()
        if value not in (None, (), False)
    }
    if asked.contact is None:
        kept.pop("role", None)
    return kept
