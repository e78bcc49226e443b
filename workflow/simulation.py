"""What rules would send in the days to come about one customer's invoices, if nobody paid and nobody intervened.

Nothing is decided here: instants are the schedule's, verdicts the decision's, both when a rule falls due and again when
the mail leaves, moves the machine's, the moment of leaving the send window's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from heapq import heappop, heappush, merge
from typing import TYPE_CHECKING, NamedTuple

from workflow.decision import as_released, decide_customer, mails, still_due
from workflow.machine import level_of, next_state
from workflow.schedule import due_instants
from workflow.windows import next_open

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from zoneinfo import ZoneInfo

    from workflow.facts import InvoiceFacts
    from workflow.rules import Rule
    from workflow.windows import SendWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A mail that would leave: by which rule, due when, on which of the company's days, its invoices as it leaves them.

    Both instants are UTC; `sent_at` is later where the send window was closed.
    """

    rule: Rule
    due_at: datetime
    sent_at: datetime
    day: date
    invoices: tuple[InvoiceFacts, ...]


def simulate(
    invoices: Iterable[InvoiceFacts],
    rules: Sequence[Rule],
    window: SendWindow,
    *,
    after: datetime,
    until: datetime,
    replaced: Mapping[str, Collection[str]] | None = None,
) -> Iterator[Sent]:
    """Yield in order the mails of one company's rules about one customer's invoices that leave in (after, until].

    The rules fire on the window's clock, on their schedule alone: one without lines sends nothing. `replaced`: the tags
    that a tag takes off, where its category allows one. Raises ScheduleError for a line that is no cron.
    """
    course = _Course(invoices, rules, window, replaced or {})
    calendar = _Calendar(rules, window.zone, after, until)
    while True:
        firing, leaving_at = calendar.coming(), course.leaving_at()
        if leaving_at is not None and (firing is None or leaving_at < firing.at):
            if leaving_at > until:
                return
            calendar.wake(leaving_at)
            yield from course.leave()
        elif firing is None:
            return
        else:
            calendar.fired(firing, took=course.fire(firing), idle=not course.may_take(firing.rule))


class _Firing(NamedTuple):
    """Which rule (its place) fired when: mails of one run do not count as another mail to the customer."""

    at: datetime
    rule: int


class _Waiting(NamedTuple):
    """A mail that waits for its moment; `number` keeps the order of those of one instant."""

    sent_at: datetime
    number: int
    run: _Firing
    ids: tuple[int, ...]


class _Course:
    """How everything stands at one instant, moved on by `fire` and `leave`."""

    def __init__(
        self,
        invoices: Iterable[InvoiceFacts],
        rules: Sequence[Rule],
        window: SendWindow,
        replaced: Mapping[str, Collection[str]],
    ) -> None:
        self.invoices = {one.id: one for one in invoices}
        self.rules = rules
        self.window = window
        self.replaced = replaced
        self.waiting: list[_Waiting] = []
        self.mails = 0
        self.sent_on: dict[_Firing, date] = {}
        self.mailed_on: dict[tuple[int, int], date] = {}

    def fire(self, run: _Firing) -> bool:
        """Let a rule fall due: what it takes is on its way. False where it takes nothing."""
        rule, today = self.rules[run.rule], run.at.astimezone(self.window.zone).date()
        if not self.may_take(run.rule):
            return False
        planned = mails(decide_customer(self._seen(self.invoices, run, today), rule, today), rule)
        for mail in planned:
            ids = tuple(verdict.invoice.id for verdict in mail.verdicts)
            if rule.counts:
                for one in ids:
                    facts = self.invoices[one]
                    self.invoices[one] = replace(facts, state=next_state(facts.state, "reserve"))
            self.mails += 1
            heappush(self.waiting, _Waiting(next_open(self.window, run.at), self.mails, run, ids))
        return bool(planned)

    def may_take(self, index: int) -> bool:
        """Whether an invoice is at the rule's level, where it has one."""
        level = self.rules[index].level
        return level is None or any(one.level == level for one in self.invoices.values())

    def leaving_at(self) -> datetime | None:
        """When the next mail leaves; None while none waits."""
        return self.waiting[0].sent_at if self.waiting else None

    def leave(self) -> Iterator[Sent]:
        """Send the next mail; what of it is no longer due is let go."""
        mail = heappop(self.waiting)
        rule, today = self.rules[mail.run.rule], mail.sent_at.astimezone(self.window.zone).date()
        found = still_due([as_released(one) for one in self._seen(mail.ids, mail.run, today)], rule, today)
        kept = [verdict.invoice.id for verdict in found.kept]
        for one in mail.ids:
            self._settle(one, mail.run.rule, today, sent=one in kept)
        if kept:
            self.sent_on[mail.run] = today
            invoices = tuple(self.invoices[one] for one in kept)
            yield Sent(rule=rule, due_at=mail.run.at, sent_at=mail.sent_at, day=today, invoices=invoices)

    def _settle(self, one: int, index: int, today: date, *, sent: bool) -> None:
        facts, rule = self.invoices[one], self.rules[index]
        if rule.counts:
            state = next_state(facts.state, "confirm" if sent else "release")
            last = today if sent else facts.last_reminded_on
            facts = replace(facts, state=state, level=level_of(state), last_reminded_on=last)
        if sent:
            gone = {other for tag in rule.tags for other in self.replaced.get(tag, ())}
            facts = replace(facts, tags=(facts.tags - gone) | set(rule.tags))
            self.mailed_on[index, one] = today
        self.invoices[one] = facts

    def _seen(self, ids: Iterable[int], run: _Firing, today: date) -> list[InvoiceFacts]:
        """The facts as a decision of that run would read them: mails that wait have planned their tags already."""
        others = [mail for mail in self.waiting if mail.run != run]
        last_mails = [day for other, day in self.sent_on.items() if other != run] + [today] * bool(others)
        counts = self.rules[run.rule].counts
        seen = []
        for one in ids:
            facts = self.invoices[one]
            if facts.customer.last_mail_on:
                last_mails.append(facts.customer.last_mail_on)
            about = [mail for mail in others if one in mail.ids]
            seen.append(
                replace(
                    facts,
                    customer=replace(facts.customer, last_mail_on=max(last_mails, default=None)),
                    tags=facts.tags.union(*(self.rules[mail.run.rule].tags for mail in about)),
                    rule_mailed_on=None if counts else self.mailed_on.get((run.rule, one), facts.rule_mailed_on),
                    rule_live=not counts and any(mail.run.rule == run.rule for mail in about),
                )
            )
        return seen


class _Calendar:
    """Which rule is due next. At one instant the highest level decides first, as runs do.

    A decision sees of time the day alone: a rule that took nothing takes nothing more that day, unless something has
    moved. So one that fires every minute is not asked every minute, and one to whose level nothing comes, not at all.
    """

    def __init__(self, rules: Sequence[Rule], zone: ZoneInfo, after: datetime, until: datetime) -> None:
        self.rules = rules
        self.zone = zone
        self.until = until
        self.following: dict[int, Iterator[datetime]] = {}
        self.due: dict[int, datetime] = {}
        self.resting: set[int] = set()
        for index in range(len(rules)):
            self._look(index, after)

    def coming(self) -> _Firing | None:
        """The rule that is due next; None when none is until the end."""
        coming = [
            (at, 1 if (level := self.rules[index].level) is None else -level, index) for index, at in self.due.items()
        ]
        if not coming:
            return None
        at, _, index = min(coming)
        return _Firing(at, index)

    def fired(self, firing: _Firing, *, took: bool, idle: bool) -> None:
        """Let it fire again by its schedule: on another day where it took nothing, once something moves where idle."""
        if took:
            self._follow(firing.rule, firing.at)
            self.wake(firing.at)
            return
        if idle:
            del self.due[firing.rule]
            self.resting.add(firing.rule)
            return
        self._follow(firing.rule, firing.at)
        tomorrow = firing.at.astimezone(self.zone).date() + timedelta(days=1)
        midnight = datetime.combine(tomorrow, time.min, self.zone)
        if firing.rule in self.due and self.due[firing.rule] < midnight:
            self._look(firing.rule, midnight - timedelta(microseconds=1))
            self.resting.add(firing.rule)

    def wake(self, moved_at: datetime) -> None:
        """Ask again those that rest: an invoice has moved."""
        for index in self.resting:
            self._look(index, moved_at)
        self.resting.clear()

    def _look(self, index: int, after: datetime) -> None:
        lines = self.rules[index].schedule_lines
        self.following[index] = merge(*(due_instants(line, self.zone, after, self.until) for line in lines))
        self._follow(index, after)

    def _follow(self, index: int, after: datetime) -> None:
        """Two lines may name one instant: it is taken once."""
        found = next((at for at in self.following[index] if at > after), None)
        if found is None:
            self.due.pop(index, None)
        else:
            self.due[index] = found
