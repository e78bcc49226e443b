"""Independent completeness: who should have been reminded by now, told from the ledger and the journal alone.

Straightforward on purpose, and no part of it is the decision's own: a fault of the decision, of a filter's SQL or of a
lost row shows here as a difference. Where it cannot know, it does not accuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from workflow.facts import CustomerFacts, InvoiceFacts
from workflow.filters import matches
from workflow.machine import LAST_LEVEL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from workflow.rules import Rule

Kind = Literal["no_run", "missing", "unfounded", "no_evidence", "balance"]

Fate = Literal[
    "reminded", "withdrawn", "waiting", "in_doubt", "failed", "cancelled", "left_out", "by_a_later_run", "missing",
    "unfounded",
]  # fmt: skip

FINDINGS: Final[dict[Kind, str]] = {
    "no_run": "the rule was due and made no run",
    "missing": "was due for a reminder, and the run did not look at it",
    "unfounded": "was left out for a reason that is not so",
    "no_evidence": "counts as sent, and no server's answer is on record",
    "balance": "its balance is not what the ledger says",
}

# What a mail that has not left is counted as, by its state.
_ON_ITS_WAY: Final[dict[str | None, Fate]] = {"in_doubt": "in_doubt", "failed": "failed", "cancelled": "cancelled"}

# (at, {column: [old, new]}), the newest first.
Changes = tuple[tuple[datetime, "Mapping[str, Sequence[Any]]"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Made at, lifted at (None: not yet), and its last day."""

    created_at: datetime
    lifted_at: datetime | None
    until_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An open invoice as it stands now, with all that changed since. `payments`: (recorded at, amount).

    `columns` and `customer` hold the rows' columns by name; `tags` and `customer_tags` ids.
    """

    id: int
    number: str
    created_at: datetime
    columns: Mapping[str, Any]
    customer: Mapping[str, Any]
    tags: frozenset[int]
    customer_tags: frozenset[int]
    payments: tuple[tuple[datetime, Decimal], ...]
    pauses: tuple[Pause, ...]
    changes: Changes
    customer_changes: Changes

    @property
    def balance(self) -> Decimal:
        """What is left to pay by the ledger."""
        total: Decimal = self.columns["total"]
        return total - sum((amount for _, amount in self.payments), Decimal(0))

    def changed_between(self, since: datetime, until: datetime) -> list[datetime]:
        """The moments at which something of it, of its payments or of its customer changed, in their order."""
        moments = {at for at, _ in (*self.changes, *self.customer_changes, *self.payments)}
        for pause in self.pauses:
            moments |= {pause.created_at, pause.lifted_at or pause.created_at}
        return sorted(at for at in moments if since < at <= until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An invoice as it stood at one moment."""

    facts: InvoiceFacts
    paused_until: date | None
    ever_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """What a run says that it did about an invoice: its reason, and its mail's state and the invoice's part in it."""

    reason: str
    state: str | None
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that should not be. `run_id` None: there was no run. `invoices`: numbers, the first of `count`."""

    kind: Kind
    company: str
    rule: str
    due_at: datetime
    run_id: int | None
    invoices: tuple[str, ...]
    count: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was looked at, and the difference. `since`, `until`: the rules' instants between them.

    `looked_at`, on the machine's clock: what is seen is what was committed by then. `owed`: how many reminders were due
    in these runs by the audit's own reckoning; `became`: what became of them, by a word. `notes`: what keeps reminders
    back, visibly, beside single invoices.
    """

    since: datetime
    until: datetime
    looked_at: datetime
    rules: int
    runs: int
    invoices: int
    owed: int
    became: Mapping[str, int]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = field(default=())


def as_of(record: Record, moment: datetime, titles: Mapping[int, str]) -> Past | None:
    """The invoice as it stood then: changes since undone, its balance summed from the ledger. None: not there yet."""
    if record.created_at > moment:
        return None
    columns, tags = _undone(dict(record.columns), set(record.tags), record.changes, moment)
    customer, customer_tags = _undone(dict(record.customer), set(record.customer_tags), record.customer_changes, moment)
    paid = sum((amount for at, amount in record.payments if at <= moment), Decimal(0))
    behind = columns["before_settled"] or columns["state"]
    standing = [
        pause.until_on
        for pause in record.pauses
        if pause.created_at <= moment and (pause.lifted_at is None or pause.lifted_at > moment)
    ]
    facts = InvoiceFacts(
        id=record.id,
        number=columns["number"],
        company=columns["company"],
        customer=CustomerFacts(
            id=columns["customer_id"],
            number=customer["number"],
            name="",
            kind=customer["kind"],
            row_version=0,
            excluded=customer["excluded"],
            held_because=customer["held_because"],
            tags=frozenset(titles[one] for one in customer_tags if one in titles),
        ),
        state=columns["state"],
        level=int(behind.removeprefix("level_")[0]),
        cycle=columns["cycle"],
        row_version=0,
        commercial_state=columns["commercial_state"],
        currency=columns["currency"],
        total=Decimal(columns["total"]),
        balance=Decimal(columns["total"]) - paid,
        issued_on=_day(columns["issued_on"]),
        due_on=columns["due_on"] and _day(columns["due_on"]),
        last_reminded_on=columns["last_reminded_on"] and _day(columns["last_reminded_on"]),
        payment_method=columns["payment_method"],
        factored=columns["factored"],
        held_because=columns["held_because"],
        tags=frozenset(titles[one] for one in tags if one in titles),
    )
    return Past(facts=facts, paused_until=max(standing, default=None), ever_paused=bool(record.pauses))


def owed(past: Past, rule: Rule, day: date) -> bool:
    """Whether the rule was to remind of this invoice that day: selected, unpaid, overdue, idle, nobody against it."""
    invoice = past.facts
    if not matches(rule.filter, invoice, day) or invoice.balance <= 0 or invoice.commercial_state != "open":
        return False
    if invoice.customer.excluded or invoice.held_because or invoice.customer.held_because:
        return False
    if past.paused_until is not None and past.paused_until >= day:
        return False
    if not rule.counts:
        return True
    return (
        invoice.state == f"level_{invoice.level}"
        and invoice.level < LAST_LEVEL
        and (rule.level is None or rule.level == invoice.level)
        and invoice.due_on is not None
        and invoice.due_on < day
        and (invoice.last_reminded_on is None or invoice.last_reminded_on < day)
        and not invoice.factored
    )


def was_owed(record: Record, rule: Rule, day: date, moments: Iterable[datetime], titles: Mapping[int, str]) -> bool:
    """Whether the rule was to remind of it that day, whichever of these moments it was seen at."""
    pasts = [as_of(record, moment, titles) for moment in moments]
    return all(past is not None and owed(past, rule, day) for past in pasts)


def stood(
    record: Record,
    since: datetime,
    until: datetime,
    days: Collection[date],
    *,
    titles: Mapping[int, str],
    mail_tags: Iterable[frozenset[str]] = (),
) -> Iterator[tuple[Past, date]]:
    """The invoice at each moment between at which something of it changed, seen on each of the days.

    `mail_tags`: the tags of each mail that ever listed it. While such a mail is on its way they count as put on, and if
    it does not leave nothing tells of that afterwards: so it is seen with them too.
    """
    for moment in (since, *record.changed_between(since, until), until):
        past = as_of(record, moment, titles)
        if past is None:
            continue
        for added in (frozenset[str](), *mail_tags):
            seen = replace(past, facts=replace(past.facts, tags=past.facts.tags | added))
            yield from ((seen, day) for day in days)


def fate(said: Became | None, rule: Rule, pasts: Iterable[tuple[Past, date]], *, seen: bool, seen_later: bool) -> Fate:
    """What became of an invoice that was owed a reminder by a run: `missing` and `unfounded` are findings.

    `said`: what the run says; `seen`: it is, or was, among its candidates; `seen_later`: among a later run's. `pasts`:
    the invoice as it stood while the run decided, looked at only where a reason is to be checked.
    """
    if said is None:
        if seen:
            return "waiting"
        return "by_a_later_run" if seen_later else "missing"
    if said.reason != "reminded":
        return "left_out" if any(holds(said.reason, past, rule, day) for past, day in pasts) else "unfounded"
    if said.state == "sent":
        return "reminded" if said.outcome == "accepted" else "withdrawn"
    return _ON_ITS_WAY.get(said.state, "waiting")


# Whether a reason for which an invoice was left out was so; those that the audit cannot look into are not among them.
_HOLDS: Final[dict[str, Callable[[Past, Rule, date], bool]]] = {
    "filter": lambda past, rule, day: not matches(rule.filter, past.facts, day),
    "other_level": lambda past, rule, _: rule.level is not None and past.facts.level != rule.level,
    "paid": lambda past, *_: past.facts.balance <= 0 or past.facts.commercial_state == "paid",
    "no_balance": lambda past, *_: past.facts.balance <= 0,
    "cancelled": lambda past, *_: past.facts.commercial_state == "cancelled",
    "disputed": lambda past, *_: past.facts.commercial_state == "disputed",
    "refused": lambda past, *_: past.facts.commercial_state == "refused",
    "no_due_date": lambda past, *_: past.facts.due_on is None,
    "not_due": lambda past, _, day: past.facts.due_on is not None and past.facts.due_on >= day,
    "today": lambda past, _, day: past.facts.last_reminded_on is not None and past.facts.last_reminded_on >= day,
    "excluded": lambda past, *_: past.facts.customer.excluded,
    "held": lambda past, *_: bool(past.facts.held_because or past.facts.customer.held_because),
    "factored": lambda past, *_: past.facts.factored,
    "error": lambda *_: False,  # a fault in deciding is no reason
    "all_sent": lambda past, *_: past.facts.level == LAST_LEVEL,
    "paused": lambda past, *_: past.ever_paused,
    "promised": lambda past, *_: past.ever_paused,
    "customer_paused": lambda past, *_: past.ever_paused,
}


def holds(reason: str, past: Past, rule: Rule, day: date) -> bool:
    """Whether a reason for which an invoice was left out was so; true for one that the audit cannot look into."""
    return reason not in _HOLDS or _HOLDS[reason](past, rule, day)


def _undone(
    columns: dict[str, Any], tags: set[int], changes: Changes, moment: datetime
) -> tuple[dict[str, Any], set[int]]:
    """Take back what changed after the moment, the newest first."""
    for at, change in changes:
        if at <= moment:
            break
        for name, (old, new) in change.items():
            if name in {"tag", "tag_id"}:
                tags.discard(new)
                if old is not None:
                    tags.add(old)
            elif name in columns:
                columns[name] = old
    return columns, tags


def _day(value: date | str) -> date:
    """A day as a row has it, or as the journal writes it."""
    return value if isinstance(value, date) else date.fromisoformat(value)
