"""Runs as a person reads them: where each stands, why candidates were left out, what somebody should see to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.lookup import Unknown
from operations.pace import Pace, pace
from store import lookups, reports, runs, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.connection import Connection
    from store.runs import Progress, Run
    from workflow.summary import RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run in the list."""

    run: Run
    rule: str
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A run as it proceeds."""

    line: RunLine
    pace: Pace

    @property
    def ended(self) -> bool:
        """Whether nothing of it can change any more: closed, refused or failed."""
        return self.line.run.closed_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStory:
    """One run whole: its row, where its mails stand, and the same summary that its report tells."""

    run: Run
    progress: Progress
    reasons: dict[str, int]
    summary: RunSummary


def latest(conn: Connection, limit: int = 20) -> list[RunLine]:
    """The newest runs first."""
    return _lines(conn, runs.latest(conn, limit))


def lines(conn: Connection, run_ids: Sequence[int]) -> list[RunLine]:
    """These runs, in this order."""
    return _lines(conn, [run for run_id in run_ids if (run := runs.read(conn, run_id))])


def _lines(conn: Connection, found: Sequence[Run]) -> list[RunLine]:
    titles = lookups.rule_titles(conn)
    return [RunLine(run=run, rule=titles[run.rule_id], progress=runs.progress(conn, run.id)) for run in found]


def follow(conn: Connection, run_id: int) -> Followed:
    """Where one run stands at this moment, and how fast it goes. Raises Unknown."""
    (line,) = _lines(conn, [_known(conn, run_id)])
    last_minute = runs.last_minute(conn, run_id)
    return Followed(
        line=line, pace=pace(line.run, line.progress, last_minute=last_minute, now=settings.database_now(conn))
    )


def _known(conn: Connection, run_id: int) -> Run:
    run = runs.read(conn, run_id)
    if run is None:
        raise Unknown(kind="run", name=str(run_id), nearest=[str(one.id) for one in runs.latest(conn, 3)])
    return run


def story(conn: Connection, run_id: int) -> RunStory:
    """What one run did. Raises Unknown."""
    run = _known(conn, run_id)
    return RunStory(
        run=run,
        progress=runs.progress(conn, run_id),
        reasons=runs.reasons(conn, run_id),
        summary=reports.summary(conn, run_id),
    )
