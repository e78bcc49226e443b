"""What is wrong with a company's rules before it bites, shown on imaginary invoices that go through all of them.

Nothing is judged by the look of a filter alone where an example can be had: a level is reached if the decision reminds
some invoice at it, two rules overlap if one invoice on one day is taken by both, a rule skips if an invoice that is due
on one day gets its level and one due on another day never does.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from workflow.decision import REMINDED, decide
from workflow.errors import InvalidInput
from workflow.filters import minimum_gap
from workflow.imaginary import Variant, conditions, moments, plain_invoice, variants
from workflow.machine import LAST_LEVEL
from workflow.rule_findings import Chase, Finding, Step
from workflow.rules import check
from workflow.schedule import due_instants
from workflow.simulation import simulate
from workflow.windows import is_open, next_open

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from workflow.facts import InvoiceFacts
    from workflow.rules import Rule
    from workflow.windows import SendWindow

# Fewer days between two reminders than this are too few: Friday and Monday are one working day apart.
TOO_SOON_DAYS: Final = 4
# Invoices due on so many days in a row meet every weekday twice.
DUE_DAYS: Final = 14
# How long a debt is that every rule could have taken long ago.
LONG_OVERDUE_DAYS: Final = 400
# Rules that share no day for so long do not meet.
MEETING_DAYS: Final = 62
# Of the invoices that filters tell apart, so many go through a simulation before a rule is said to take none.
MOST_SIMULATED: Final = 40
# And so many of those that its own filter tells apart, due on other days.
MOST_SIMULATED_MORE: Final = 6

_LONGEST_CHASE_DAYS: Final = 800
# Beside the days that filters ask for: a monthly schedule for each level, and a month more.
_SCHEDULE_DAYS: Final = 31 * (LAST_LEVEL + 1)
_YEAR: Final = timedelta(days=366)
_MOST_INSTANTS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class CompanyRules:
    """A company's rules as they are checked together, from `now` on; `active` are those that fire by themselves.

    `replaced`: the tags that a tag takes off, where its category allows one.
    """

    company: str
    window: SendWindow
    now: datetime
    active: tuple[Rule, ...]
    waiting: tuple[Rule, ...] = ()
    min_days_between_mails: int | None = None
    replaced: Mapping[str, Collection[str]]
    _chases: dict[tuple[date, tuple[str, ...]], Chase] = field(default_factory=dict, init=False, repr=False)

    @property
    def today(self) -> date:
        """The company's day."""
        return self.now.astimezone(self.window.zone).date()

    @cached_property
    def counting(self) -> list[Rule]:
        """The active rules whose mails count as reminders, without those that no run could use."""
        return [rule for rule in self.active if rule.counts and not _refused(rule)]

    @cached_property
    def firing(self) -> list[Rule]:
        """The active rules with a schedule: what a simulation is made of."""
        return [rule for rule in self.active if rule.schedule_lines and not _refused(rule)]

    @cached_property
    def chase_days(self) -> int:
        """How long a chase may take: what all filters ask for, and their schedules."""
        asked = sum(
            max((abs(value) for value in condition.values if isinstance(value, int)), default=0)
            for rule in self.counting
            for condition in conditions(rule.filter)
            if condition.field in {"days_overdue", "days_since_reminder"}
        )
        return min(asked + (self.min_days_between_mails or 0) * LAST_LEVEL + _SCHEDULE_DAYS, _LONGEST_CHASE_DAYS)

    def plain(self, due_on: date) -> InvoiceFacts:
        """A plain invoice of this company."""
        return plain_invoice(self.company, due_on, min_days_between_mails=self.min_days_between_mails)

    def chase(self, variant: Variant) -> Chase:
        """What the active rules would do to it from now on; it ends with the last level. Reckoned once."""
        due_on = variant.facts.due_on or self.today
        if found := self._chases.get((due_on, variant.traits)):
            return found
        until = self.now + timedelta(days=self.chase_days + max(0, (due_on - self.today).days))
        steps: list[Step] = []
        sent = simulate([variant.facts], self.firing, self.window, after=self.now, until=until, replaced=self.replaced)
        for mail in sent:
            if mail.rule.counts:
                (invoice,) = mail.invoices
                steps.append(Step(level=invoice.level, on=mail.day, rule=mail.rule.title))
                if invoice.level == LAST_LEVEL:
                    break
        made = self._chases[due_on, variant.traits] = Chase(due_on=due_on, traits=variant.traits, steps=tuple(steps))
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found, and what becomes of an invoice by each rule that begins a chase."""

    findings: tuple[Finding, ...]
    chases: tuple[Chase, ...]


def check_company(rules: CompanyRules) -> Checked:
    """Check a company's rules against each other and against the calendar."""
    found = [
        _finding(rules, "refused", rule, reason=reason)
        for rule in (*rules.active, *rules.waiting)
        if (reason := _refused(rule))
    ]
    found += _schedules(rules)
    if not rules.counting:
        known = any(rule.counts for rule in rules.waiting)
        code = "none_active" if known or rules.active or rules.waiting else "no_rules"
        return Checked(findings=(*found, _finding(rules, code)), chases=())
    found += _levels(rules, _reached(rules, rules.counting))
    found += _overlaps(rules)
    samples = _samples(rules)
    fired = _reached(rules, [rule for rule in rules.counting if rule in rules.firing])
    for rule in rules.counting:
        sample = samples.get(rule.title)
        found += _pace(rules, rule, sample)
        if rule in rules.firing and all(fired.get(lower) for lower in range(rule.level or 0)):
            found += _comes_to_it(rules, rule, sample)
    chases = [
        chase
        for rule in rules.counting
        if rule.level in {0, None} and (variant := samples.get(rule.title))
        if (chase := rules.chase(variant)).steps
    ]
    return Checked(findings=tuple(found), chases=tuple(dict.fromkeys(chases)))


def _finding(
    rules: CompanyRules, code: str, rule: Rule | None = None, examples: Iterable[Chase] = (), **values: object
) -> Finding:
    title = rule.title if rule else ""
    return Finding(code=code, company=rules.company, rule=title, values=values, examples=tuple(examples))


def _refused(rule: Rule) -> str:
    """Why a run could not use the rule: it was saved by another version, or lies in a file."""
    try:
        check(rule)
    except InvalidInput as error:
        return str(error)
    return ""


def _schedules(rules: CompanyRules) -> Iterator[Finding]:
    for rule in rules.active:
        if not rule.schedule_lines:
            yield _finding(rules, "by_hand", rule)
    for rule in rules.firing:
        for line in rule.schedule_lines:
            instants = due_instants(line, rules.window.zone, rules.now, rules.now + _YEAR)
            first = next(instants, None)
            if first is None or is_open(rules.window, first):
                continue
            if any(is_open(rules.window, at) for at in islice(instants, _MOST_INSTANTS)):
                continue
            leaves = next_open(rules.window, first).astimezone(rules.window.zone)
            due = first.astimezone(rules.window.zone)
            yield _finding(rules, "never_open", rule, line=line, due=due, leaves=leaves)


def _reached(rules: CompanyRules, among: Iterable[Rule]) -> dict[int, list[Rule]]:
    """The rules that take invoices of each level; of a rule that fixes none, those at which it reminds some."""
    reached: dict[int, list[Rule]] = defaultdict(list)
    for rule in among:
        if rule.level is not None:
            reached[rule.level].append(rule)
            continue
        for level in range(LAST_LEVEL):
            at_level = replace(rules.plain(rules.today - timedelta(days=30)), state=f"level_{level}", level=level)
            if any(
                variant.facts.level == level and decide(variant.facts, rule, rules.today).reason == REMINDED
                for variant in moments(at_level, [rule.filter], rules.today)
            ):
                reached[level].append(rule)
    return reached


def _levels(rules: CompanyRules, reached: Mapping[int, list[Rule]]) -> Iterator[Finding]:
    for level in range(LAST_LEVEL):
        if reached.get(level):
            continue
        if level == 0:
            yield _finding(rules, "no_first")
        elif any(reached.get(higher) for higher in range(level + 1, LAST_LEVEL)):
            yield _finding(rules, "stuck", level=level, next=level + 1)
        elif reached.get(level - 1):
            yield _finding(rules, "ends_early", level=level)


def _overlaps(rules: CompanyRules) -> Iterator[Finding]:
    """Two rules that take one invoice on one day. That an invoice may bear the tags of both is told once a rule."""
    fired = {rule.title: _days(rules, rule) for rule in rules.firing}
    doubted: set[str] = set()
    for place, rule in enumerate(rules.counting):
        for other in rules.counting[place + 1 :]:
            shared = fired.get(rule.title, set()) & fired.get(other.title, set())
            if not shared or (rule.level != other.level and None not in {rule.level, other.level}):
                continue
            day = min(shared)
            variant = _taken_by_both(rules, rule, other, day)
            if variant is None:
                continue
            code = "may_overlap" if max(len(variant.facts.tags), len(variant.facts.customer.tags)) > 1 else "overlap"
            if code == "may_overlap" and rule.title in doubted:
                continue
            doubted.update({rule.title} if code == "may_overlap" else ())
            traits = [f"level = {variant.facts.level}", *_moment_traits(variant, day)]
            yield _finding(rules, code, rule, other=other.title, day=day, traits=", ".join(traits))


def _taken_by_both(rules: CompanyRules, rule: Rule, other: Rule, day: date) -> Variant | None:
    level = next((one.level for one in (rule, other) if one.level is not None), 0)
    plain = replace(rules.plain(day - timedelta(days=30)), state=f"level_{level}", level=level)
    for variant in moments(plain, [rule.filter, other.filter], day):
        if any(not variant.facts.tags.isdisjoint(rules.replaced.get(tag, ())) for tag in variant.facts.tags):
            continue  # a category that allows one tag
        if all(decide(variant.facts, one, day).reason == REMINDED for one in (rule, other)):
            return variant
    return None


def _moment_traits(variant: Variant, day: date) -> Iterator[str]:
    facts = variant.facts
    if facts.due_on:
        yield f"days_overdue = {(day - facts.due_on).days}"
    if facts.last_reminded_on:
        yield f"days_since_reminder = {(day - facts.last_reminded_on).days}"
    yield from (trait for trait in variant.traits if not trait.startswith(("level", "due_on", "last_reminded_on")))


def _days(rules: CompanyRules, rule: Rule) -> set[date]:
    until = rules.now + timedelta(days=MEETING_DAYS)
    return {
        at.astimezone(rules.window.zone).date()
        for line in rule.schedule_lines
        for at in due_instants(line, rules.window.zone, rules.now, until)
    }


def _samples(rules: CompanyRules) -> dict[str, Variant]:
    """For each counting rule, an invoice that comes to it: due today if one is, with the fewest traits of its own."""
    missing = {rule.title: rule for rule in rules.firing if rule.counts}
    samples: dict[str, Variant] = {}

    def try_out(variant: Variant) -> None:
        for step in rules.chase(variant).steps:
            if step.rule in missing:
                samples[step.rule] = variant
                del missing[step.rule]

    plain = rules.plain(rules.today)
    for variant in islice(variants(plain, [rule.filter for rule in rules.firing]), MOST_SIMULATED):
        if not missing:
            return samples
        try_out(variant)
    others = [-LONG_OVERDUE_DAYS, *range(1, DUE_DAYS)]
    for rule in list(missing.values()):
        for variant in islice(variants(plain, [rule.filter]), MOST_SIMULATED_MORE):
            for days in others:
                if rule.title in missing:
                    facts = replace(variant.facts, due_on=rules.today + timedelta(days=days))
                    try_out(Variant(facts=facts, traits=variant.traits))
    return samples


def _pace(rules: CompanyRules, rule: Rule, sample: Variant | None) -> Iterator[Finding]:
    """Whether the rule may follow the reminder before it too soon: on a debt that is old when the rules begin, too."""
    asks = any(one.field in {"days_since_reminder", "last_reminded_on"} for one in conditions(rule.filter))
    hurried, days = None, TOO_SOON_DAYS
    if sample is not None:
        old = replace(sample.facts, due_on=rules.today - timedelta(days=LONG_OVERDUE_DAYS))
        for variant in (sample, Variant(facts=old, traits=sample.traits)):
            chase = rules.chase(variant)
            for before, step in pairwise(chase.steps):
                if step.rule == rule.title and (step.on - before.on).days < days:
                    hurried, days = chase, (step.on - before.on).days
    examples = [hurried] if hurried else []
    if rule.level is None:
        yield _finding(rules, "any_level", rule, examples)
    elif rule.level > 0 and (not asks or (hurried and minimum_gap(rule.filter) is None)):
        yield _finding(rules, "no_gap", rule, examples)
    elif hurried:
        yield _finding(rules, "hurried", rule, examples, days=days)


def _comes_to_it(rules: CompanyRules, rule: Rule, sample: Variant | None) -> Iterator[Finding]:
    """Whether invoices come to the rule, whatever the day on which they are due."""
    if sample is None:
        yield _finding(rules, "unreached", rule, days=rules.chase_days)
        return
    level, good, bad = rule.level or 0, None, None
    for offset in range(DUE_DAYS):
        facts = replace(sample.facts, due_on=rules.today + timedelta(days=offset))
        chase = rules.chase(Variant(facts=facts, traits=sample.traits))
        if any(step.level == level + 1 for step in chase.steps):
            good = good or chase
        elif len(chase.steps) == level:
            bad = bad or chase
    if good and bad:
        yield _finding(rules, "skips", rule, [bad, good], bad=bad.due_on, good=good.due_on, level=level + 1)
