"""Runs: one firing of a rule each, its candidates fixed once, its progress read from the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from store import journal
from store.filters import compile_filter
from workflow.filters import loosened

if TYPE_CHECKING:
    from datetime import date, datetime

    from store.connection import Connection
    from store.rules import PinnedRule
    from workflow.filters import Filter
    from workflow.limits import TooLarge

CHUNK_INVOICES = 500

_LATEST = "SELECT rule_id, max(due_at) FROM runs WHERE request_key IS NULL GROUP BY rule_id"
_INSERT = """
INSERT INTO runs (rule_id, rule_version, due_at, request_key, missed, level)
VALUES (%(rule_id)s, %(version)s, %(due_at)s::timestamptz, %(request_key)s::text, %(missed)s, %(level)s)
ON CONFLICT DO NOTHING
RETURNING id
"""
_BY_REQUEST = "SELECT id FROM runs WHERE rule_id = %(rule_id)s AND request_key = %(request_key)s"
_READ = """
SELECT id, rule_id, rule_version, due_at, request_key, missed, level, state, problem, candidates, started_by,
       created_at, opened_at, closed_at, reported_at, held_because, held_at, released, refused_by
  FROM runs
"""
_LOCK_DUE = sql.SQL(_READ + " WHERE id = %(run_id)s AND state = 'due' AND held_because IS NULL FOR UPDATE SKIP LOCKED")
_OPEN = """
UPDATE runs SET state = 'open', opened_at = now(), hinted_until = '-infinity', undated = %(undated)s::integer,
       first_undated = %(first_undated)s::text[],
       candidates = (SELECT coalesce(sum(cardinality(invoice_ids)), 0) FROM chunks WHERE run_id = %(run_id)s)
 WHERE id = %(run_id)s AND state = 'due'
RETURNING candidates
"""
# Whoever had a report of run n before its end has another of its end: the supplement, which all readers have then.
REPORTED_BEFORE = """
(n.supplement OR EXISTS (SELECT FROM journal j
                          WHERE j.subject = 'run' AND j.subject_id = n.id AND j.change -> 'report_to' IS NOT NULL))
"""
_END = f"""
UPDATE runs n
   SET state = %(state)s::text, problem = %(problem)s::text, closed_at = now(), hinted_until = '-infinity',
       candidates = coalesce(candidates, 0), reported_at = NULL, supplement = {REPORTED_BEFORE},
       refused_by = %(refused_by)s::text, held_because = NULL, held_at = NULL, oversize = NULL
 WHERE id = %(run_id)s AND state = 'due'
"""
_KEEP_BACK = """
UPDATE runs SET held_because = %(because)s::text, held_at = now()
 WHERE id = %(run_id)s AND state = 'open' AND held_because IS NULL
"""
# A chunk never splits a customer: all of a customer's rows take the number of the first.
_CHUNKS = """
INSERT INTO chunks (run_id, number, invoice_ids)
SELECT %(run_id)s, number, array_agg(id ORDER BY customer_id, id)
  FROM (SELECT id, customer_id,
               ((min(place) OVER (PARTITION BY customer_id)) - 1) / %(size)s::bigint AS number
          FROM (SELECT i.id, i.customer_id, row_number() OVER (ORDER BY i.customer_id, i.id) AS place
                  FROM invoices i JOIN customers c ON c.id = i.customer_id
                 WHERE {selected}) AS placed) AS numbered
 GROUP BY number
"""
# A left join, which is none where the filter asks nothing about the customer: every invoice has one.
_UNDATED = """
SELECT count(*), coalesce((array_agg(i.number ORDER BY i.id))[:%(first)s::integer], '{{}}')
  FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id
 WHERE i.due_on IS NULL AND {selected}
"""
_DUE_DATE = frozenset({"due_on", "days_overdue"})
_FIRST_UNDATED = 5
SELECTED = "i.open AND i.kind = 'invoice' AND i.company_id = %(company_id)s AND ({filter})"

_HOLD = """
UPDATE runs SET held_because = %(because)s::text, held_at = coalesce(held_at, now()), candidates = %(candidates)s,
       oversize = %(oversize)s::jsonb, hinted_until = '-infinity'
 WHERE id = %(run_id)s AND state = 'due'
"""
# Replays decide about a few failed mails again: they say nothing of what is usual.
_LAST_SIZES = """
SELECT candidates FROM runs
 WHERE rule_id = %(rule_id)s AND (%(run_id)s::bigint IS NULL OR id < %(run_id)s::bigint) AND opened_at IS NOT NULL
   AND coalesce(request_key, '') NOT LIKE 'replay:%%'
 ORDER BY id DESC LIMIT %(limit)s
"""
_OPEN_INVOICES = "SELECT count(*) FROM invoices WHERE company_id = %(company_id)s AND open"
_WAITING_FOR_A_PERSON = """
SELECT DISTINCT rule_id FROM runs WHERE closed_at IS NULL AND held_because IS NOT NULL AND request_key IS NULL
   AND refused_by IS NULL
"""
_LAST_RUNS = 10
_COUNTS = """
SELECT (SELECT coalesce(sum(cardinality(invoice_ids)), 0) FROM chunks WHERE run_id = %(run_id)s AND open) AS undecided,
       count(*) FILTER (WHERE state IN ('due', 'claimed')) AS waiting,
       count(*) FILTER (WHERE state = 'armed') AS leaving,
       count(*) FILTER (WHERE state = 'sent') AS sent,
       count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'cancelled') AS cancelled
  FROM reminders_of_runs WHERE run_id = %(run_id)s
"""
_LAST_MINUTE = """
SELECT count(*) FROM reminders_of_runs
 WHERE run_id = %(run_id)s AND state = 'sent' AND ended_at > clock_timestamp() - interval '1 minute'
"""
_REASONS = """
SELECT reason, count(*) FROM candidates WHERE run_id = %(run_id)s GROUP BY reason ORDER BY count(*) DESC, reason
LIMIT 100
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One firing of a rule; `request_key` is None for one that its schedule made.

    `held_because`: nothing of it moves; `released`: a person has let it go, whatever its size. `refused_by`: or has let
    it end; where mails of it had left already it closes once the last of them has ended.
    """

    id: int
    rule_id: int
    rule_version: int
    due_at: datetime
    request_key: str | None
    missed: int
    level: int | None
    state: str
    problem: str | None
    candidates: int | None
    started_by: str
    created_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    reported_at: datetime | None
    held_because: str | None
    held_at: datetime | None
    released: bool
    refused_by: str | None

    @property
    def held(self) -> bool:
        """Whether it waits for a person."""
        return self.held_because is not None and self.closed_at is None and self.refused_by is None

    @property
    def standing(self) -> str:
        """Its state, with the reason where there is one."""
        if self.refused_by:
            return f"refused: {self.problem or self.held_because}"
        if self.held:
            return f"held: {self.held_because}"
        return self.problem or self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run's candidates and mails stand: candidates undecided, then mails by state."""

    undecided: int
    waiting: int
    leaving: int
    sent: int
    in_doubt: int
    failed: int
    cancelled: int

    @property
    def unfinished(self) -> int:
        """Mails of which the end is not known, in doubt included."""
        return self.waiting + self.leaving + self.in_doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Undated:
    """Invoices without a due date, which are never chased; `first`: some of their numbers."""

    count: int
    first: list[str]


NONE_UNDATED = Undated(count=0, first=[])


def latest_due(conn: Connection) -> dict[int, datetime]:
    """The last instant for which each rule's schedule made a run."""
    return dict(conn.execute(_LATEST).fetchall())


def insert(
    conn: Connection, pinned: PinnedRule, *, due_at: datetime, missed: int = 0, request_key: str | None = None
) -> int | None:
    """Make the run of this instant, or of this request; None when it exists: any number of schedulers make one."""
    parameters = {
        "rule_id": pinned.id,
        "version": pinned.version,
        "due_at": due_at,
        "request_key": request_key,
        "missed": missed,
        "level": pinned.rule.level,
    }
    row = conn.execute(_INSERT, parameters).fetchone()
    return row[0] if row else None


def by_request(conn: Connection, rule_id: int, request_key: str) -> int | None:
    """The run that this request made."""
    row = conn.execute(_BY_REQUEST, {"rule_id": rule_id, "request_key": request_key}).fetchone()
    return row[0] if row else None


def read(conn: Connection, run_id: int) -> Run | None:
    """One run."""
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(_READ + " WHERE id = %(run_id)s", {"run_id": run_id}).fetchone()


def latest(conn: Connection, limit: int = 50) -> list[Run]:
    """The newest runs first."""
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(_READ + " ORDER BY id DESC LIMIT %(limit)s", {"limit": limit}).fetchall()


def lock_due(conn: Connection, run_id: int) -> Run | None:
    """Lock a run whose candidates are not fixed yet; None when another worker does it or has done it."""
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(_LOCK_DUE, {"run_id": run_id}).fetchone()


def selected(filter_: Filter, company_id: int, today: date) -> tuple[sql.Composed, dict[str, object]]:
    """The WHERE of a rule's candidates over invoices i and customers c, with its parameters."""
    where, parameters = compile_filter(filter_, today)
    return sql.SQL(SELECTED).format(filter=where), parameters | {"company_id": company_id}


def fix_candidates(conn: Connection, run: Run, pinned: PinnedRule, today: date) -> int:
    """Fix the run's candidates in chunks and open it. Returns their number."""
    where, parameters = selected(pinned.rule.filter, pinned.company_id, today)
    return fix(conn, run.id, where, parameters, undated(conn, pinned, today))


def fix(
    conn: Connection, run_id: int, where: sql.Composed, parameters: dict[str, object], without: Undated = NONE_UNDATED
) -> int:
    """Fix as a due run's candidates what `where` selects among invoices i and customers c, in chunks, and open it.

    Returns their number.
    """
    chunks = sql.SQL(_CHUNKS).format(selected=where)
    conn.execute(chunks, parameters | {"run_id": run_id, "size": CHUNK_INVOICES})
    opened = {"run_id": run_id, "undated": without.count, "first_undated": without.first}
    row = conn.execute(_OPEN, opened).fetchone()
    return int(row[0]) if row else 0


def hold(conn: Connection, run_id: int, size: TooLarge) -> None:
    """Let a due run of that size wait for a person, who is told why. Its candidates are fixed when it is released."""
    because = size.words("en")
    held = {"because": because, "candidates": size.candidates, "oversize": Jsonb(asdict(size))}
    conn.execute(_HOLD, {"run_id": run_id} | held)
    journal.write(conn, "run", run_id, {"held_because": [None, because]})


def keep_back(conn: Connection, run_id: int, because: str) -> None:
    """Let an open run wait for a person: nothing more of it is decided or leaves, and nothing of it is lost."""
    if conn.execute(_KEEP_BACK, {"run_id": run_id, "because": because}).rowcount:
        journal.write(conn, "run", run_id, {"held_because": [None, because]})


def last_sizes(conn: Connection, rule_id: int, before: int | None = None) -> list[int]:
    """How many candidates the rule's last runs had, before that one where one is named, the latest first."""
    parameters = {"rule_id": rule_id, "run_id": before, "limit": _LAST_RUNS}
    return [row[0] for row in conn.execute(_LAST_SIZES, parameters)]


def open_invoices(conn: Connection, company_id: int) -> int:
    """How many invoices of the company are open."""
    row = conn.execute(_OPEN_INVOICES, {"company_id": company_id}).fetchone()
    return row[0] if row else 0


def rules_waiting(conn: Connection) -> set[int]:
    """The rules of which a scheduled run waits for a person: they fire no other meanwhile."""
    return {row[0] for row in conn.execute(_WAITING_FOR_A_PERSON)}


def undated(conn: Connection, pinned: PinnedRule, today: date) -> Undated:
    """What the rule would take, had it a due date that suits: open, at the rule's level, without any."""
    where, parameters = selected(loosened(pinned.rule.filter, _DUE_DATE), pinned.company_id, today)
    query = sql.SQL(_UNDATED).format(selected=where)
    row = conn.execute(query, parameters | {"first": _FIRST_UNDATED}).fetchone()
    return Undated(count=row[0], first=row[1]) if row else NONE_UNDATED


def end(
    conn: Connection, run_id: int, *, state: str, problem: str | None = None, refused_by: str | None = None
) -> bool:
    """Refuse or fail a run that was not opened; what was reported of it before is reported again. False when it was.

    `refused_by`: the person who does, None where this instance may not run it.
    """
    parameters = {"run_id": run_id, "state": state, "problem": problem, "refused_by": refused_by}
    return conn.execute(_END, parameters).rowcount == 1


def progress(conn: Connection, run_id: int) -> Progress:
    """Count from the rows where the run stands."""
    with conn.cursor(row_factory=class_row(Progress)) as cursor:
        counted = cursor.execute(_COUNTS, {"run_id": run_id}).fetchone()
    if counted is None:
        raise LookupError(f"run {run_id} could not be counted")
    return counted


def last_minute(conn: Connection, run_id: int) -> int:
    """How many of its mails left in the last minute."""
    row = conn.execute(_LAST_MINUTE, {"run_id": run_id}).fetchone()
    return row[0] if row else 0


def reasons(conn: Connection, run_id: int) -> dict[str, int]:
    """How many candidates got each verdict."""
    return dict(conn.execute(_REASONS, {"run_id": run_id}).fetchall())
