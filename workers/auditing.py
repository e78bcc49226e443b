"""The audit: each rule's past instants gone through once more, and the difference to what the runs did.

Reads one snapshot and changes nothing; a scheduler plans one a day, any worker makes it, and its result is a row.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from store import audits, companies, rules, settings
from workers.log import log
from workflow.audit import Audit, Finding, fate, stood, was_owed
from workflow.errors import RelanceError
from workflow.schedule import due_instants

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date

    from store.audits import AuditedRun
    from store.companies import Company
    from store.connection import Connection
    from store.rules import SavedRule
    from store.settings import Settings
    from workers.office import Office
    from workflow.audit import Became, Fate, Kind, Record
    from workflow.rules import Rule

# An instant is looked at when its run has had time to begin. What a run saw is between what was a minute before it
# was opened and a minute after: its snapshot is older than the rows that others committed meanwhile.
GRACE: Final = timedelta(hours=1)
MARGIN: Final = timedelta(minutes=1)
_FIRST_DAYS: Final = timedelta(days=7)
_NUMBERS: Final = 20


def make_audit(office: Office, audit_id: int, *, margin: timedelta = MARGIN) -> None:
    """Make the day's audit and keep its result. Made twice, the first is kept."""
    began = time.monotonic()
    with office.pool.connection() as conn:
        before = audits.last(conn)
    with office.pool.connection() as conn:
        since, ended_since = (before.until, before.looked_at) if before else (None, None)
        found = audit(conn, since=since, ended_since=ended_since, margin=margin)
    with office.pool.connection() as conn:
        audits.keep(conn, audit_id, plain(found), since=found.since, until=found.until)
    log(
        "audited",
        level="error" if found.findings else "info",
        audit=audit_id,
        findings=len(found.findings),
        owed=found.owed,
        duration_ms=round((time.monotonic() - began) * 1000),
    )


def audit(
    conn: Connection,
    *,
    since: datetime | None = None,
    ended_since: datetime | None = None,
    grace: timedelta = GRACE,
    margin: timedelta = MARGIN,
) -> Audit:
    """Go through the rules' instants after `since` (by default of the last seven days), up to `grace` ago.

    Of a rule that is held or not active by now no instant is missed, but what its runs did is looked at.

    What an earlier audit could not know yet is looked at again: runs that have not ended, held ones among them, and
    those that ended after `ended_since`, an instant of the machine's clock.

    The connection must not be in a transaction: it is one snapshot.
    """
    with conn.transaction():
        audits.one_snapshot(conn)
        here = settings.read(conn)
        until = here.business_now - grace
        since = until - _FIRST_DAYS if since is None else min(since, until)
        return _Look(conn, here, since, until, margin=margin, ended_since=ended_since).result()


def plain(found: Audit) -> dict[str, Any]:
    """The audit as JSON keeps it: instants in ISO 8601."""

    def ready(value: object) -> object:
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, dict):
            return {key: ready(one) for key, one in value.items()}
        return [ready(one) for one in value] if isinstance(value, list | tuple) else value

    return {name: ready(value) for name, value in asdict(found).items()}


@dataclass(slots=True)
class _Watched:
    """A rule with its runs, the latest first. `missed_at`: the last instant for which there is no run."""

    saved: SavedRule
    runs: list[AuditedRun]
    missed_at: datetime | None = None
    pinned: dict[int, Rule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the runs say of a page of invoices, by (run, invoice); and by invoice the tags of each mail about it."""

    said: Mapping[tuple[int, int], Became]
    undecided: Collection[tuple[int, int]]
    mail_tags: Mapping[int, Collection[frozenset[str]]]


class _Look:
    """One audit on its way."""

    def __init__(
        self,
        conn: Connection,
        here: Settings,
        since: datetime,
        until: datetime,
        *,
        margin: timedelta,
        ended_since: datetime | None,
    ) -> None:
        self._conn = conn
        self._here = here
        self._since = since
        self._until = until
        self._margin = margin
        self._ended_since = ended_since
        self._now = settings.database_now(conn)
        self._titles = audits.tag_titles(conn)
        self._sellers = companies.companies(conn)
        self._became: Counter[str] = Counter()
        self._found: dict[tuple[Kind, int, datetime, int | None, str], list[str]] = defaultdict(list)
        self._notes: list[str] = []
        self._invoices = 0
        self._rules: dict[int, list[_Watched]] = defaultdict(list)  # by company
        if here.stopped_because:
            self._notes.append(f"all mail is stopped: {here.stopped_because}")
        self._watch()

    def result(self) -> Audit:
        for company_id, seller in self._sellers.items():
            self._company(seller, self._rules.get(company_id, ()))
        runs = [run for watched in self._rules.values() for each in watched for run in each.runs]
        self._evidence(runs)
        return Audit(
            since=self._since,
            until=self._until,
            looked_at=self._now,
            rules=sum(map(len, self._rules.values())),
            runs=len(runs),
            invoices=self._invoices,
            owed=self._became.total(),
            became=dict(sorted(self._became.items())),
            findings=tuple(self._findings()),
            notes=tuple(self._notes),
        )

    def _watch(self) -> None:
        """Each rule that fires by itself or has runs to look at; the instants that made none, unless it is held."""
        known = rules.saved(self._conn)
        by_rule: dict[int, list[AuditedRun]] = defaultdict(list)
        ids = [one.id for one in known]
        for run in audits.runs(self._conn, ids, self._since, ended_since=self._ended_since):
            by_rule[run.rule_id].append(run)
        for saved in known:
            fires = saved.active and bool(saved.rule.schedule_lines)
            if not fires and saved.id not in by_rule:
                continue
            found = _Watched(saved, by_rule[saved.id][::-1])
            for run in found.runs:
                self._note_run(saved, run)
            if fires and saved.held_because:
                self._notes.append(f"rule {saved.title} is held: {saved.held_because}")
            elif fires:
                found.missed_at = self._missed(found)
            self._rules[saved.company_id].append(found)

    def _note_run(self, saved: SavedRule, run: AuditedRun) -> None:
        if run.held_because:
            self._notes.append(f"run {run.id} of {saved.title} is held: {run.held_because}")
        elif run.state in {"refused", "failed"}:
            self._notes.append(f"run {run.id} of {saved.title}: {run.state}")
        elif run.state == "due":
            self._notes.append(f"run {run.id} of {saved.title} has not begun")

    def _missed(self, watched: _Watched) -> datetime | None:
        saved = watched.saved
        clock = self._sellers[saved.company_id].clock
        after = max(self._since, saved.counting_from, *(run.due_at for run in watched.runs[:1]))
        if after >= self._until or self._here.stopped_because or any(run.held_because for run in watched.runs):
            return None
        try:
            lines = saved.rule.schedule_lines
            return max((at for line in lines for at in due_instants(line, clock, after, self._until)), default=None)
        except RelanceError as error:
            self._notes.append(f"the schedule of {saved.title} cannot be read: {error}")
            return None

    def _company(self, company: Company, watched: Sequence[_Watched]) -> None:
        opened = [run for each in watched for run in each.runs if run.opened_at]
        run_ids = [run.id for run in opened]
        since = min((run.opened_at for run in opened if run.opened_at), default=self._now) - self._margin
        undecided = audits.undecided(self._conn, run_ids)
        for page in audits.records(self._conn, company.id, since):
            ids = [record.id for record in page]
            said = audits.became(self._conn, run_ids, ids)
            # A mail's tags count while it is on its way: where a filter asks for tags, it may say no for them alone.
            filtered = {invoice_id for (_, invoice_id), one in said.items() if one.reason == "filter"}
            told = _Told(said, undecided, audits.mail_tags(self._conn, filtered) if filtered else {})
            self._invoices += len(page)
            for record in page:
                if record.columns["balance"] != record.balance:
                    what = f"{company.code}: {record.columns['balance']}, not {record.balance}"
                    self._found["balance", 0, self._until, None, what].append(record.number)
                for each in watched:
                    self._invoice(company, each, record, told)

    def _invoice(self, company: Company, watched: _Watched, record: Record, told: _Told) -> None:
        rule, at = watched.saved.rule, watched.missed_at
        if at and was_owed(record, rule, company.day(at), [self._now], self._titles):
            self._became["no_run"] += 1
            self._found["no_run", watched.saved.id, at, None, ""].append(record.number)
        seen_later = False
        for run in watched.runs:
            key = run.id, record.id
            seen = key in told.said or key in told.undecided
            if run.opened_at and run.state in {"open", "closed"}:
                rule, days = self._pinned(watched, run.rule_version), self._days(company, run, run.opened_at)
                since, until = run.opened_at - self._margin, (run.closed_at or self._now) + self._margin
                if was_owed(record, rule, days[0], {since, run.opened_at + self._margin}, self._titles):
                    tags = told.mail_tags.get(record.id, set())
                    pasts = stood(record, since, until, days, titles=self._titles, mail_tags=tags)
                    became = fate(told.said.get(key), rule, pasts, seen=seen, seen_later=seen_later)
                    self._count(became, run, record, told.said.get(key))
            seen_later = seen_later or seen

    def _days(self, company: Company, run: AuditedRun, opened_at: datetime) -> list[date]:
        """The business days on which the run decided: the one of its opening first."""
        if self._here.clock_is_set:
            first, last = company.day(run.due_at), company.day(self._here.business_now)
        else:
            first, last = company.day(opened_at), company.day(run.closed_at or self._now)
        return [first + timedelta(days=later) for later in range(max(1, (last - first).days + 1))]

    def _count(self, became: Fate, run: AuditedRun, record: Record, said: Became | None) -> None:
        self._became[became] += 1
        match became:
            case "missing" | "unfounded":
                detail = said.reason if said else ""
                self._found[became, run.rule_id, run.due_at, run.id, detail].append(record.number)

    def _pinned(self, watched: _Watched, version: int) -> Rule:
        if version not in watched.pinned:
            watched.pinned[version] = rules.pinned(self._conn, watched.saved.id, version).rule
        return watched.pinned[version]

    def _evidence(self, runs: Iterable[AuditedRun]) -> None:
        by_id = {run.id: run for run in runs}
        for run_id, numbers in audits.without_evidence(self._conn, by_id).items():
            run = by_id[run_id]
            self._found["no_evidence", run.rule_id, run.due_at, run_id, ""] += numbers

    def _findings(self) -> Iterable[Finding]:
        saved = {each.saved.id: each.saved for watched in self._rules.values() for each in watched}
        for (kind, rule_id, due_at, run_id, detail), numbers in sorted(self._found.items(), key=lambda one: one[0][:3]):
            rule = saved.get(rule_id)
            yield Finding(
                kind=kind,
                company=self._sellers[rule.company_id].code if rule else detail.partition(":")[0],
                rule=rule.title if rule else "",
                due_at=due_at,
                run_id=run_id,
                invoices=tuple(numbers[:_NUMBERS]),
                count=len(numbers),
                detail=detail,
            )
