"""Rules as a person looks at them: a list, one in full, and the calendar of the days to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from operations.lookup import find_rule
from operations.rules import require_may_run, seen
from store import companies, rulebook, settings
from workflow.errors import RelanceError
from workflow.filter_text import to_text
from workflow.rules import rule_to_json
from workflow.schedule import due_instants, in_words, next_instants
from workflow.windows import next_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any
    from zoneinfo import ZoneInfo

    from store.companies import Company
    from store.connection import Connection
    from store.rules import SavedRule
    from workflow.facts import Language

# A calendar of more is no calendar: a rule that fires every minute for a month.
MOST_INSTANTS: Final = 2000
_NEXT_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """A rule in a list. `level`: the one that its filter fixes; `next_at`: by its schedule, on the company's clock."""

    id: int
    title: str
    company: str
    version: int
    active: bool
    held_because: str | None
    counts: bool
    level: int | None
    account: str
    filter: str
    schedule: tuple[str, ...]
    next_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDetails:
    """A rule in full. `definition` is as it is saved, its filter as text; `next_at` on the company's clock.

    `seen_by`: the logins that may see and run it beside administrators; None is everybody.
    """

    line: RuleLine
    company_name: str
    owner: str
    seen_by: tuple[str, ...] | None
    sender: str
    server: str
    account_held_because: str | None
    next_at: tuple[datetime, ...]
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """When a rule is due, on the company's clock, and when its mails may leave: later where the window is closed."""

    due_at: datetime
    leaves_at: datetime
    company: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The instants to come, in order, until a day's end; `more`: there are more than are listed."""

    instants: tuple[Instant, ...]
    until: datetime
    more: bool


def listed(conn: Connection, language: Language, *, by: str) -> list[RuleLine]:
    """The rules that this person may see, by company and title."""
    sellers, now = companies.companies(conn), settings.read(conn).business_now
    accounts = companies.accounts(conn)
    found = [
        _line(saved, sellers[saved.company_id], accounts[saved.account_id].name, now, language)
        for saved in seen(conn, by=by)
    ]
    return sorted(found, key=lambda one: (one.company, one.title))


def details(conn: Connection, name: str, language: Language, *, by: str) -> RuleDetails:
    """A rule by its title or id. Raises Unknown, or InvalidInput where it is not shared with this person."""
    saved = find_rule(conn, name)
    require_may_run(conn, saved, by=by)
    company = companies.companies(conn)[saved.company_id]
    account = companies.accounts(conn)[saved.account_id]
    now = settings.read(conn).business_now
    owner = rulebook.owners(conn)[saved.id]
    shared = saved.rule.shared_with
    return RuleDetails(
        line=_line(saved, company, account.name, now, language),
        company_name=company.name,
        owner=owner,
        seen_by=None if shared is None else tuple(dict.fromkeys((owner, *shared))),
        sender=f"{account.from_name} <{account.from_address}>",
        server=f"{account.host}:{account.port}, {account.security}",
        account_held_because=account.held_because,
        next_at=tuple(_next(saved, company.clock, now, _NEXT_SHOWN)),
        definition=rule_to_json(saved.rule) | {"filter": to_text(saved.rule.filter)},
    )


def calendar(conn: Connection, *, days: int, by: str) -> Calendar:
    """When the active rules that this person may see are due within so many days."""
    sellers, now = companies.companies(conn), settings.read(conn).business_now
    until = now + timedelta(days=days)
    firing = [
        _instants(saved, sellers[saved.company_id], now, until)
        for saved in seen(conn, by=by)
        if saved.active and not saved.held_because
    ]
    ordered = merge(*firing, key=lambda one: (one.due_at, one.company, one.rule))
    found = list(islice(ordered, MOST_INSTANTS + 1))
    return Calendar(instants=tuple(found[:MOST_INSTANTS]), until=until, more=len(found) > MOST_INSTANTS)


def _line(saved: SavedRule, company: Company, account: str, now: datetime, language: Language) -> RuleLine:
    return RuleLine(
        id=saved.id,
        title=saved.title,
        company=company.code,
        version=saved.version,
        active=saved.active,
        held_because=saved.held_because,
        counts=saved.rule.counts,
        level=saved.rule.level,
        account=account,
        filter=to_text(saved.rule.filter),
        schedule=tuple(_words(line, language) for line in saved.rule.schedule_lines),
        next_at=next(iter(_next(saved, company.clock, now, 1)), None) if saved.active else None,
    )


def _words(line: str, language: Language) -> str:
    try:
        return in_words(line, language)
    except RelanceError as unreadable:  # saved by another version
        return str(unreadable)


def _next(saved: SavedRule, clock: ZoneInfo, now: datetime, count: int) -> Iterator[datetime]:
    try:
        after = max(now, saved.counting_from)
        yield from (at.astimezone(clock) for at in next_instants(saved.rule.schedule_lines, clock, after, count))
    except RelanceError:  # saved by another version: relance rules check says so
        return


def _instants(saved: SavedRule, company: Company, now: datetime, until: datetime) -> Iterator[Instant]:
    after = max(now, saved.counting_from)
    try:
        lines = [due_instants(line, company.clock, after, until) for line in saved.rule.schedule_lines]
    except RelanceError:  # saved by another version: relance rules check says so
        return
    for at, _ in groupby(merge(*lines)):
        yield Instant(
            due_at=at.astimezone(company.clock),
            leaves_at=next_open(company.window, at).astimezone(company.clock),
            company=company.code,
            rule=saved.title,
        )
