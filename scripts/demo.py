"""`relance demo`: six weeks of a made-up company, in servers of its own, with mails to a sink of its own."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TextIO

import click

from scripts import printing
from scripts.caller import demo_folder, migrate, with_instance
from scripts.printing import json_option
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import date
    from pathlib import Path

    from operations.demo.days import Books
    from operations.demo.trade import Plan
    from scripts.sink_dialogue import Step, Verdict
    from store.connection import Connection, Pool
    from workers.relay import Hints
    from workers.settings import Settings

    # What is being done, how many steps are done, of how many.
    Progress = Callable[[str, int, int], None]

_THREADS: Final = 4
_PAUSE_S: Final = 0.01
_PATIENCE_S: Final = 60.0


class DemoBusy(RelanceError):  # noqa: N818 - a state of this machine
    """Another process makes or uses the demo."""

    def __init__(self, *, folder: Path) -> None:
        """Name the folder."""
        super().__init__(f"another process is at work on the demo in {folder}: let it end, then try again")


class DemoStuck(RelanceError):  # noqa: N818 - a state of the instance
    """A day of the demo did not come to rest."""

    def __init__(self, *, day: date) -> None:
        """Name the day."""
        super().__init__(f"the demo's {day} did not come to rest: see demo.log in its folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What the demo leaves: its plan and books, its settings, its folder, and the seconds it took."""

    plan: Plan
    books: Books
    settings: Settings
    folder: Path
    seconds: float


@click.command()
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, another story.")
@click.option("--invoices", type=click.IntRange(50, 5000), default=1000, hidden=True)
@click.option("--fresh", is_flag=True, help="Make its servers anew too, not its database alone.")
@json_option
def demo(*, seed: int, invoices: int, fresh: bool, as_json: bool) -> None:
    """Live six weeks of a made-up French company: a thousand invoices, three rules, real mails into a local sink.

    It has servers of its own, whatever DATABASE_URL says, and starts afresh each time. Afterwards every other command
    works on what it left: relance --demo explain, outbox, status.
    """
    from scripts.demo_summary import count, show  # noqa: PLC0415 - loaded when asked for

    started = time.monotonic()
    folder = demo_folder()
    if fresh:
        _remove(folder)
    with _progress(shown=sys.stderr.isatty() and not as_json) as progress, demos_servers(folder) as settings:
        lived = live_through(settings, folder, seed=seed, invoices=invoices, progress=progress, started=started)
        counted = count(lived)
    if as_json:
        printing.print_json(counted)
    else:
        show(counted)


def live_through(
    settings: Settings, folder: Path, *, seed: int, invoices: int, progress: Progress, started: float
) -> Lived:
    """Make the demo's database anew and live through its six weeks; mails and log go to the folder.

    `started`: of the monotonic clock.

    Raises NotTheDemos, NotTheSink, DemoStuck.
    """
    from operations.demo import company  # noqa: PLC0415 - loaded when asked for
    from operations.demo.days import live  # noqa: PLC0415
    from operations.demo.plan import plan  # noqa: PLC0415
    from operations.demo.trade import FIRST_DAY, weekdays  # noqa: PLC0415
    from operations.run import set_business_clock  # noqa: PLC0415
    from scripts.sink import Behaviour, Sink  # noqa: PLC0415
    from store.connection import connect, pool  # noqa: PLC0415
    from store.demo import make_anew  # noqa: PLC0415
    from workers.broker import RedisHints  # noqa: PLC0415
    from workers.process import working  # noqa: PLC0415

    progress("opening the company", 0, 0)
    make_anew(settings.database_url)
    _forget_hints(settings.redis_url)
    _clear_mails(folder)
    planned = plan(seed, invoices=invoices)
    days = weekdays()
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink(folder, behaviour=Behaviour(verdict=_forgets(planned.gone))))
        conn = stack.enter_context(contextlib.closing(connect(settings.database_url)))
        migrate(conn, settings)
        with conn.transaction():
            books = company.open_company(conn, planned, port=sink.port)
        company.require_sink_only(conn, port=sink.port)
        conn.commit()
        stack.callback(_hold_mails, conn)
        stack.enter_context(_logging(folder / "demo.log"))
        connections = stack.enter_context(pool(settings.database_url, actor="scheduler:demo", size=2))
        stack.enter_context(working(settings, threads=_THREADS, idle_ms=20))
        hints = RedisHints(settings.redis_url)
        since = FIRST_DAY - timedelta(days=1)
        for number, day in enumerate(days):
            progress(f"{day:%d %B %Y}", number, len(days))
            # First what a public holiday kept, as soon as the send window opens; an hour later what falls due.
            for clock in (company.OPENING, company.MORNING):
                with conn.transaction():
                    set_business_clock(conn, company.at(day, clock), by="system")
                _bring_to_rest(connections, hints, settings, day)
            with conn.transaction():
                set_business_clock(conn, company.at(day, company.EVENING), by="system")
                live(conn, planned, books, day, since=since)
            since = day
    progress("done", len(days), len(days))
    return Lived(
        plan=planned, books=books, settings=settings, folder=folder, seconds=round(time.monotonic() - started, 1)
    )


def _hold_mails(conn: Connection) -> None:
    """Whatever ended the demo: its sink is about to close, and nothing else may take its mails."""
    from operations.demo.company import hold_mails  # noqa: PLC0415 - loaded when asked for

    conn.rollback()
    with conn.transaction():
        hold_mails(conn)


def _bring_to_rest(connections: Pool, hints: Hints, settings: Settings, day: date) -> None:
    """Let the scheduler fire and hint until nothing is left to do on this day; mails for the next window wait."""
    from workers.relay import relay  # noqa: PLC0415 - loaded when asked for
    from workers.scheduler import fire  # noqa: PLC0415

    with connections.connection() as conn:
        fire(conn)
    give_up_at = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up_at:
        if not relay(connections, hints, settings) and _at_rest(connections):
            return
        time.sleep(_PAUSE_S)
    raise DemoStuck(day=day)


def _at_rest(connections: Pool) -> bool:
    from store import runs, standing  # noqa: PLC0415 - loaded when asked for

    with connections.connection() as conn:
        waiting = standing.queues(conn)
        if waiting.due_runs or waiting.undecided or waiting.due_effects:
            return False
        states = standing.reminders_by_state(conn)
        latest = runs.latest(conn, 10)
    unfinished = sum(states.get(state, 0) for state in ("due", "claimed", "armed")) - waiting.waiting_for_window
    waiting_runs = any(run.closed_at is None for run in latest) and not waiting.waiting_for_window
    return not (unfinished or waiting_runs or any(run.closed_at and not run.reported_at for run in latest))


@contextlib.contextmanager
def demos_servers(folder: Path) -> Generator[Settings]:
    """Attach to the demo's servers, for one demo at a time. What the environment names is never touched."""
    from scripts.embedded import attached  # noqa: PLC0415 - loaded when asked for
    from workers.settings import Settings  # noqa: PLC0415

    with attached(folder) as private, (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoBusy(folder=folder) from None
        settings = Settings(database_url=private.database_url, redis_url=private.redis_url)
        yield with_instance(settings, private.folder)


def _forgets(address: str) -> Verdict:
    """A mail server that takes every mail, but for an address that it knows no longer."""

    def verdict(_sender: str, recipients: tuple[str, ...], step: Step) -> str | None:
        return "550 5.1.1 user unknown" if step == "rcpt" and recipients[-1] == address else None

    return verdict


def _remove(folder: Path) -> None:
    """Remove the demo's folder with its servers' data, once it is known to be the demo's and nobody uses it."""
    from scripts.embedded import attached  # noqa: PLC0415 - loaded when asked for
    from store.demo import require_demos  # noqa: PLC0415

    if not folder.exists():
        return
    with attached(folder) as private:
        require_demos(private.database_url)
    if (folder / ".s.PGSQL.5432").exists():
        raise DemoBusy(folder=folder)
    shutil.rmtree(folder)


def _clear_mails(folder: Path) -> None:
    shutil.rmtree(folder / "mails", ignore_errors=True)
    (folder / "journal.jsonl").unlink(missing_ok=True)


def _forget_hints(url: str) -> None:
    import redis  # noqa: PLC0415 - loaded when asked for

    with redis.Redis.from_url(url) as client:
        client.flushdb()


@contextlib.contextmanager
def _logging(path: Path) -> Generator[None]:
    """The workers' log lines go to a file, not between the bar and the summary."""
    with path.open("w", encoding="utf-8", buffering=1) as log, contextlib.redirect_stderr(log):
        yield


@contextlib.contextmanager
def _progress(*, shown: bool, to: TextIO | None = None) -> Generator[Progress]:
    """A bar on standard error, for a person; rich honours NO_COLOR by itself."""
    if not shown:
        yield lambda _text, _done, _total: None
        return
    from rich import progress as bars  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415 - only people need it

    console = Console(file=to or sys.stderr)
    columns = (bars.TextColumn("{task.description:<20}"), bars.BarColumn(), bars.TimeElapsedColumn())
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("starting the servers", total=None)
        yield lambda text, done, total: bar.update(task, description=text, completed=done, total=total or None)
