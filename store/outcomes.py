"""How a reminder ends or goes back: each change of state once, with its invoices moved along the machine beside it.

Locks are taken in one order everywhere: reminders, then invoices by id, then customers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workflow.machine import Position, Trigger, moved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from store.connection import Connection

Outcome = Literal["planned", "accepted", "in_doubt", "dropped", "failed"]
Attempt = tuple[int, int, str, str | None]

# By the reminders' key first, and the invoices apart: a plan made on empty tables walked the index of all that is live.
_HELD = """
SELECT invoice_id
  FROM (SELECT invoice_id, counts, outcome FROM reminder_invoices
         WHERE reminder_id = ANY(%(reminder_ids)s::bigint[]) OFFSET 0) AS theirs
 WHERE counts AND outcome IN ('planned', 'in_doubt')
   AND (%(only)s::bigint[] IS NULL OR invoice_id = ANY(%(only)s::bigint[]))
"""
_LOCK = """
SELECT id, state, before_settled FROM invoices WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
_MOVE = """
UPDATE invoices i
   SET state = n.state, before_settled = n.before_settled, last_reminded_on = coalesce(n.day, i.last_reminded_on)
  FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(before)s::text[], %(days)s::date[]) AS n (id, state,
  before_settled, day)
 WHERE i.id = n.id
"""
_OUTCOME = """
UPDATE reminder_invoices SET outcome = %(outcome)s::text
 WHERE reminder_id = ANY(%(reminder_ids)s::bigint[]) AND outcome IN ('planned', 'in_doubt')
   AND (%(only)s::bigint[] IS NULL OR invoice_id = ANY(%(only)s::bigint[]))
"""
_ATTEMPTS = """
INSERT INTO attempts (reminder_id, fence, step, detail)
SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::int[], %(steps)s::text[], %(details)s::text[])
"""
# Five days after the first deferral the reminder fails instead; what was ever in doubt goes back to a person.
_GIVE_BACK = """
UPDATE reminders
   SET state = 'due', lease_until = NULL, hinted_until = '-infinity', last_error = %(error)s::text,
       not_before = clock_timestamp() + make_interval(secs => %(wait_s)s::float8),
       waits_for = %(waits_for)s::text,
       deferrals = deferrals + CASE WHEN %(waits_for)s::text = 'server' THEN 1 ELSE 0 END,
       deferred_at = CASE WHEN %(waits_for)s::text = 'server' THEN coalesce(deferred_at, now()) ELSE deferred_at END
 WHERE id = %(id)s AND fence = %(fence)s AND state IN ('claimed', 'armed')
RETURNING deferred_at < now() - make_interval(secs => %(give_up_s)s::float8)
"""
_END = """
UPDATE reminders
   SET state = CASE WHEN ever_in_doubt THEN 'in_doubt' ELSE %(state)s::text END,
       ended_at = CASE WHEN ever_in_doubt THEN NULL ELSE now() END,
       ended_on = CASE WHEN ever_in_doubt THEN NULL ELSE %(day)s::date END,
       problem = %(problem)s::text, last_error = %(error)s::text, lease_until = NULL
 WHERE id = %(id)s AND fence = %(fence)s AND state IN ('due', 'claimed', 'armed')
RETURNING ever_in_doubt
"""
_DROP_EFFECTS = "DELETE FROM effects WHERE reminder_id = ANY(%(reminder_ids)s::bigint[]) AND state = 'planned'"
_EFFECTS_DUE = """
UPDATE effects SET state = 'due' WHERE reminder_id = ANY(%(reminder_ids)s::bigint[]) AND state = 'planned'
"""
_LAPSED_ARMED = """
UPDATE reminders SET state = 'in_doubt', ever_in_doubt = true, lease_until = NULL
 WHERE id = ANY(ARRAY(SELECT id FROM reminders
               WHERE state = 'armed' AND lease_until < statement_timestamp()
               ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED))
RETURNING id, fence
"""
_LAPSED_CLAIMED = """
UPDATE reminders SET state = 'due', lease_until = NULL, hinted_until = '-infinity', not_before = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM reminders
               WHERE state = 'claimed' AND lease_until < statement_timestamp()
               ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED))
RETURNING id
"""
_LONG_HELD_RUNS = """
SELECT n.id, n.refused_by IS NOT NULL FROM runs n JOIN rules u ON u.id = n.rule_id
 WHERE n.closed_at IS NULL
   AND (n.refused_by IS NOT NULL
        OR least(u.held_at, n.held_at, CASE WHEN n.request_key IS NULL THEN u.inactive_since END)
           < now() - make_interval(secs => %(after_s)s::float8))
"""
# One that was ever in doubt waits for its rule; where its run is refused, it goes back to who looks after doubts.
_LONG_HELD = """
SELECT id, fence, company_id, run_id FROM reminders
 WHERE run_id = ANY(%(run_ids)s::bigint[]) AND open AND state = 'due'
   AND (NOT ever_in_doubt OR run_id = ANY(%(refused_ids)s::bigint[]))
 ORDER BY id LIMIT 100
   FOR UPDATE SKIP LOCKED
"""
_WAS_HELD = "held", "the rule was held or inactive for a day"
_REFUSED = "run_refused", "the run was refused"
_SUPPRESS = """
INSERT INTO suppressed_addresses (email, because) VALUES (lower(%(email)s::text), %(because)s::text)
ON CONFLICT (email) DO NOTHING
"""
_ALLOW = "DELETE FROM suppressed_addresses WHERE email = lower(%(email)s::text) RETURNING because, suppressed_at"


def lock_invoices_of(conn: Connection, reminder_ids: Sequence[int]) -> None:
    """Lock at once, in id order, what several reminders of this transaction are about to give back one by one."""
    _locked(conn, {"reminder_ids": list(reminder_ids), "only": None})


def _locked(conn: Connection, parameters: dict[str, list[int] | None]) -> dict[int, Position]:
    ids = [row[0] for row in conn.execute(_HELD, parameters)]
    return {row[0]: Position(row[1], row[2]) for row in conn.execute(_LOCK, {"ids": ids})} if ids else {}


def move(
    conn: Connection,
    positions: Mapping[int, Position],
    trigger: Trigger,
    days: Mapping[int, date] | None = None,
) -> None:
    """Take locked invoices along one arrow; `days` sets the date of the last reminder where one counted."""
    if not positions:
        return
    after = {invoice_id: moved(position, trigger) for invoice_id, position in positions.items()}
    parameters = {
        "ids": list(after),
        "states": [position.state for position in after.values()],
        "before": [position.before_settled for position in after.values()],
        "days": [days.get(invoice_id) if days else None for invoice_id in after],
    }
    conn.execute(_MOVE, parameters)


def settle_invoices(
    conn: Connection,
    reminder_ids: Sequence[int],
    trigger: Trigger,
    outcome: Outcome,
    *,
    only: Iterable[int] | None = None,
    day: date | None = None,
) -> None:
    """Lock the invoices that these reminders still hold, move them and write down what became of them."""
    parameters = {"reminder_ids": list(reminder_ids), "only": None if only is None else list(only)}
    held = _locked(conn, parameters)
    move(conn, held, trigger, dict.fromkeys(held, day) if day else None)
    conn.execute(_OUTCOME, parameters | {"outcome": outcome})


def note(conn: Connection, attempts: Sequence[Attempt]) -> None:
    """Append (reminder, fence, step, detail) to the ledger of attempts."""
    if attempts:
        ids, fences, steps, details = (list(column) for column in zip(*attempts, strict=True))
        conn.execute(_ATTEMPTS, {"ids": ids, "fences": fences, "steps": steps, "details": details})


def give_back(
    conn: Connection,
    reminder_id: int,
    fence: int,
    *,
    error: str | None = None,
    wait_s: float = 0,
    waits_for: str | None = None,
    step: str | None = None,
    give_up_s: float = 5 * 86400,
) -> bool:
    """The mail certainly did not leave: due again after `wait_s`. True when it has now been deferred for too long.

    Calling it with an old fence, or twice, changes nothing.
    """
    parameters = {
        "id": reminder_id,
        "fence": fence,
        "error": error,
        "wait_s": wait_s,
        "waits_for": waits_for,
        "give_up_s": give_up_s,
    }
    row = conn.execute(_GIVE_BACK, parameters).fetchone()
    if row and step:
        note(conn, [(reminder_id, fence, step, error)])
    return bool(row and row[0])


def end(
    conn: Connection,
    reminder_id: int,
    fence: int,
    *,
    state: Literal["cancelled", "failed"],
    problem: str,
    error: str | None,
    day: date,
) -> None:
    """Cancel or fail a reminder that certainly did not leave and give its invoices back.

    One that was ever in doubt goes back to in_doubt instead: only a person or evidence frees its key.
    """
    parameters = {
        "id": reminder_id, "fence": fence, "state": state, "problem": problem, "error": error, "day": day,
    }  # fmt: skip
    row = conn.execute(_END, parameters).fetchone()
    if row is None:
        return
    if row[0]:
        settle_invoices(conn, [reminder_id], "doubt", "in_doubt")
        note(conn, [(reminder_id, fence, "in_doubt", error)])
        return
    settle_invoices(conn, [reminder_id], "release", "failed" if state == "failed" else "dropped")
    drop_effects(conn, [reminder_id])
    note(conn, [(reminder_id, fence, state, error or problem)])


def drop_effects(conn: Connection, reminder_ids: Sequence[int]) -> None:
    """What would have followed these mails does not."""
    conn.execute(_DROP_EFFECTS, {"reminder_ids": list(reminder_ids)})


def effects_due(conn: Connection, reminder_ids: Sequence[int]) -> None:
    """What must follow these accepted mails may happen now."""
    conn.execute(_EFFECTS_DUE, {"reminder_ids": list(reminder_ids)})


def suppress(conn: Connection, email: str, because: str) -> None:
    """This address refuses mail for good: nobody writes to it again."""
    conn.execute(_SUPPRESS, {"email": email, "because": because})


def allow(conn: Connection, email: str) -> tuple[str, datetime] | None:
    """This address takes mail again. Returns why and since when it was suppressed; None where it was not."""
    row = conn.execute(_ALLOW, {"email": email}).fetchone()
    return (row[0], row[1]) if row else None


def doubt_lapsed(conn: Connection) -> int:
    """Armed and silent for longer than its lease: nobody can know. Returns how many are now in doubt."""
    lapsed = conn.execute(_LAPSED_ARMED).fetchall()
    if lapsed:
        settle_invoices(conn, [row[0] for row in lapsed], "doubt", "in_doubt")
        note(conn, [(row[0], row[1], "in_doubt", "no answer after the final dot") for row in lapsed])
    return len(lapsed)


def free_lapsed(conn: Connection) -> int:
    """Claimed by somebody who is gone: due again. Its next claim raises the fence."""
    return conn.execute(_LAPSED_CLAIMED).rowcount


def cancel_long_held(conn: Connection, days: Mapping[int, date], *, after_s: float = 86400) -> int:
    """Cancel the queued mails of rules held or deactivated for longer; what is due then is selected again by a run.

    And those of runs that a person has refused. `days`: each company's calendar day.
    """
    runs: dict[int, bool] = dict(conn.execute(_LONG_HELD_RUNS, {"after_s": after_s}).fetchall())
    if not runs:
        return 0
    refused_ids = [run_id for run_id, refused in runs.items() if refused]
    found = conn.execute(_LONG_HELD, {"run_ids": list(runs), "refused_ids": refused_ids}).fetchall()
    lock_invoices_of(conn, [row[0] for row in found])
    for reminder_id, fence, company_id, run_id in found:
        problem, error = _REFUSED if runs[run_id] else _WAS_HELD
        end(conn, reminder_id, fence, state="cancelled", problem=problem, error=error, day=days[company_id])
    return len(found)
