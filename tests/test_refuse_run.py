"""A held run is refused: a look first, then it ends; what cannot be refused is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from operations import holds
from operations.refuse_run import refuse_run
from operations.run import run_by_hand
from scripts.main import cli
from store import runs
from store.connection import connect, pool
from tests.chasing import committed_chase, decided_run, doubt, one
from workers.advance import open_run
from workers.office import Office
from workers.settings import Settings
from workers.sweep import sweep
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from store.connection import Connection

MARIE = "user:marie"


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """An open run whose candidates are decided: its one mail is queued."""
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as opened:
        yield opened


def held_run(conn: Connection) -> int:
    run_id = one(conn, "SELECT max(id) FROM runs")
    assert isinstance(run_id, int)
    holds.hold(conn, run=run_id, because="prices", by=MARIE)
    conn.commit()
    return run_id


def test_a_dry_run_tells_what_would_be_let_go_and_changes_nothing(conn: Connection) -> None:
    run_id = held_run(conn)
    before = runs.read(conn, run_id)
    found = refuse_run(conn, run_id, because="imported twice", dry_run=True, by=MARIE)
    assert (found.candidates, found.mails, found.held_because, found.done) == (0, 1, "prices", False)
    assert runs.read(conn, run_id) == before


def test_the_queued_mails_of_a_refused_run_are_cancelled_by_the_sweep(conn: Connection, database_url: str) -> None:
    run_id = held_run(conn)
    assert refuse_run(conn, run_id, because="imported twice", dry_run=False, by=MARIE).done
    conn.commit()
    with pool(database_url, actor="scheduler:test:1", size=2) as connections:
        sweep(connections)
    assert conn.execute("SELECT state, problem, last_error FROM reminders").fetchall() == [
        ("cancelled", "run_refused", "the run was refused")
    ]
    assert one(conn, "SELECT array_agg(DISTINCT state) FROM invoices WHERE number IN ('FA-1', 'FA-2')") == ["level_0"]


def test_candidates_that_are_not_decided_are_written_down_as_refused(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        run_id = run_by_hand(conn, rule, by=MARIE).run_id
    with pool(database_url, actor="test", size=2) as connections:
        open_run(Office(pool=connections, settings=Settings()), run_id)
    with connect(database_url) as conn:
        held_run(conn)
        found = refuse_run(conn, run_id, because="imported twice", dry_run=False, by=MARIE)
        assert (found.candidates, found.mails) == (4, 0)
        assert runs.reasons(conn, run_id) == {"run_refused": 4}
        assert runs.progress(conn, run_id).undecided == 0


def test_a_run_that_has_not_begun_ends_at_once(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        run_id = run_by_hand(conn, rule, by=MARIE).run_id
        held_run(conn)
        refuse_run(conn, run_id, because="imported twice", dry_run=False, by=MARIE)
        run = runs.read(conn, run_id)
    assert run
    assert run.closed_at
    assert (run.state, run.refused_by, run.held_because) == ("refused", MARIE, None)
    assert run.standing == "refused: imported twice"


def test_what_is_in_doubt_stays_a_persons(conn: Connection) -> None:
    reminder_id = one(conn, "SELECT id FROM reminders")
    assert isinstance(reminder_id, int)
    doubt(conn, reminder_id)
    found = refuse_run(conn, held_run(conn), because="imported twice", dry_run=False, by=MARIE)
    assert (found.mails, found.in_doubt) == (0, 1)
    assert one(conn, "SELECT state FROM reminders") == "in_doubt"


AGAIN: dict[str, Callable[[Connection, int], object]] = {
    "refuse": lambda conn, run_id: refuse_run(conn, run_id, because="twice", dry_run=False, by=MARIE),
    "hold": lambda conn, run_id: holds.hold(conn, run=run_id, because="prices", by=MARIE),
    "release": lambda conn, run_id: holds.release(conn, run=run_id, by=MARIE),
}


@pytest.mark.parametrize("again", AGAIN)
def test_a_refused_run_is_no_longer_anybodys_to_decide(conn: Connection, again: str) -> None:
    run_id = held_run(conn)
    refuse_run(conn, run_id, because="imported twice", dry_run=False, by=MARIE)
    with pytest.raises(InvalidInput, match="was refused"):
        AGAIN[again](conn, run_id)


def test_a_run_that_moves_is_held_first_and_nothing_is_refused_without_a_reason(conn: Connection) -> None:
    run_id = one(conn, "SELECT id FROM runs")
    assert isinstance(run_id, int)
    with pytest.raises(InvalidInput, match="hold run"):
        refuse_run(conn, run_id, because="imported twice", dry_run=False, by=MARIE)
    with pytest.raises(InvalidInput, match="because"):
        refuse_run(conn, held_run(conn), because=" ", dry_run=False, by=MARIE)
    with pytest.raises(InvalidInput, match="none of that number"):
        refuse_run(conn, 10**12, because="x", dry_run=True, by=MARIE)


def test_in_a_terminal_it_is_a_look_until_yes(conn: Connection, database_url: str, redis_url: str) -> None:
    run_id = held_run(conn)
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "COLUMNS": "80"}
    words = ["refuse-run", str(run_id), "--because", "imported twice"]
    look = CliRunner().invoke(cli, words, env=servers)
    assert look.exit_code == 0, look.output
    assert "0 candidates and 1 queued mail would be let go" in look.stderr
    assert "add --yes" in look.stderr
    done = CliRunner().invoke(cli, [*words, "--yes", "--json"], env=servers)
    assert json.loads(done.stdout)["done"] is True
    shown = CliRunner().invoke(cli, ["runs", str(run_id)], env=servers).stdout
    assert "Refused by system" in shown
    again = CliRunner().invoke(cli, words, env=servers)
    assert (again.exit_code, "was refused" in again.stderr) == (1, True)
