"""Refuse a run that is held: it ends, and nothing more of it is mailed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import acting, line
from operations.holds import lock_unfinished_run
from store import companies, journal, lookups, refused_runs, runs, settings
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRun:
    """What is let go, or would be: candidates that are not decided, mails that are queued.

    What stays: mails that were sent, that are leaving at this moment, and those in doubt, which a person resolves.
    """

    run_id: int
    rule: str
    held_because: str
    candidates: int
    mails: int
    sent: int
    leaving: int
    in_doubt: int
    done: bool


def refuse_run(conn: Connection, run_id: int, *, because: str, dry_run: bool, by: str) -> RefusedRun:
    """Let a held run end. A dry run checks the same and changes nothing.

    Its invoices are where they were, for the rule's next run to decide about. Raises InvalidInput without a reason, and
    for a run that is not held: until nothing of it leaves any more, nobody can say what is refused.
    """
    because = line(because, field="because")
    here = settings.read(conn)
    today = next((one.day(here.business_now) for one in companies.companies(conn).values()), None)
    with acting(conn, by=by, because=because, today=today):
        lock_unfinished_run(conn, run_id)
        run = runs.read(conn, run_id)
        if run is None or run.held_because is None:
            raise InvalidInput(field="run", value=run_id, reason=f"is not held: relance hold run {run_id} comes first")
        progress = runs.progress(conn, run_id)
        found = RefusedRun(
            run_id=run_id,
            rule=lookups.rule_titles(conn)[run.rule_id],
            held_because=run.held_because,
            candidates=progress.undecided if run.state == "open" else run.candidates or 0,
            mails=progress.waiting,
            sent=progress.sent,
            leaving=progress.leaving,
            in_doubt=progress.in_doubt,
            done=not dry_run,
        )
        if not dry_run:
            if run.state == "open":
                refused_runs.refuse_open(conn, run_id, because=because, by=by)
            else:
                runs.end(conn, run_id, state="refused", problem=because, refused_by=by)
            journal.write(conn, "run", run_id, {"refused_by": [None, by]})
    return found
