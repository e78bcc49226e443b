"""The processes: everything on one machine, or the parts on several; and the database's schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, servers
from scripts.caller import migrate as bring_up_to_date
from scripts.printing import json_option

if TYPE_CHECKING:
    from workers.settings import Settings

_processes = click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="How many worker processes."
)
_threads = click.option(
    "--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="How many threads in each."
)


@click.command()
@json_option
@calling
def migrate(caller: Caller, *, as_json: bool) -> None:
    """Bring the database to the schema of this version. Twice changes nothing."""
    from store import migrations  # noqa: PLC0415 - loaded when asked for
    from store.connection import connect  # noqa: PLC0415

    with servers(caller) as settings, connect(settings.database_url, actor=caller.by) as conn:
        applied = bring_up_to_date(conn, settings)
        version = migrations.version(conn)
    if as_json:
        printing.print_json({"applied": applied, "schema": version})
    else:
        for name in applied:
            click.echo(name)
    printing.message(f"the database is at schema {version}" + ("" if applied else " already"))


@click.command()
@_processes
@_threads
@calling
def up(caller: Caller, processes: int, threads: int) -> None:
    """Run everything on this machine until Ctrl+C: servers where none are named, a scheduler, workers."""
    from workers.process import stopping, supervise  # noqa: PLC0415 - loaded when asked for

    with stopping() as stop, servers(caller) as settings:
        _require_current(settings)
        printing.message(
            f"relance is up: a scheduler, {processes} x {threads} workers, {_where(settings)}; Ctrl+C stops it"
        )
        supervise([["scheduler"], *_workers(processes, threads)], stop, environment=_environment(settings))
    printing.message("relance is down")


@click.command()
@_processes
@_threads
@click.option("--child", is_flag=True, hidden=True)
@calling
def worker(caller: Caller, *, processes: int, threads: int, child: bool) -> None:
    """Run worker processes until SIGTERM or Ctrl+C; one that dies is started again."""
    from workers.process import stopping, supervise, work  # noqa: PLC0415 - loaded when asked for

    if child:
        with servers(caller) as settings:
            work(settings, threads=threads)
        return
    with stopping() as stop, servers(caller) as settings:
        _require_current(settings)
        printing.message(f"{processes} x {threads} workers, {_where(settings)}")
        supervise(_workers(processes, threads), stop, environment=_environment(settings))


@click.command()
@calling
def scheduler(caller: Caller) -> None:
    """Run a scheduler until SIGTERM or Ctrl+C: it makes what is due runs, what waits hints. Any number may run."""
    from operations.intake import intake  # noqa: PLC0415 - loaded when asked for
    from workers.process import schedule, stopping  # noqa: PLC0415

    with stopping() as stop, servers(caller) as settings:
        _require_current(settings)
        printing.message(f"a scheduler, {_where(settings)}")
        with intake(settings):
            schedule(settings, stop)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="The port to listen on.")
@calling
def web(caller: Caller, *, host: str, port: int) -> None:
    """Take in events by HTTP until SIGTERM or Ctrl+C: POST /events, signed by one of RELANCE_EVENT_SECRETS."""
    import socket  # noqa: PLC0415 - loaded when asked for
    import threading  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415

    from web.app import make_app  # noqa: PLC0415
    from workers.process import stopping  # noqa: PLC0415

    with stopping() as stop, servers(caller) as settings:
        _require_current(settings)
        server = uvicorn.Server(
            uvicorn.Config(make_app(settings), log_level="error", access_log=False, server_header=False)
        )
        with socket.create_server((host, port)) as listening:
            printing.message(f"events are taken at http://{host}:{port}/events, {_where(settings)}")
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            while thread.is_alive() and not stop.wait(0.2):
                pass
            server.should_exit = True
            thread.join()


def _workers(processes: int, threads: int) -> list[list[str]]:
    return [["worker", "--child", "--threads", str(threads)]] * processes


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "RELANCE_INSTANCE": settings.instance,
    }


def _require_current(settings: Settings) -> None:
    from store.connection import connect  # noqa: PLC0415 - loaded when asked for
    from store.migrations import require_current  # noqa: PLC0415

    with connect(settings.database_url) as conn:
        require_current(conn)


def _where(settings: Settings) -> str:
    """Where the servers are, without a password."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - loaded when asked for

    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    named = conninfo_to_dict(settings.database_url)
    address = urlsplit(settings.redis_url)
    hints = address.path if address.scheme == "unix" else f"{address.hostname}:{address.port or 6379}{address.path}"
    return f"database {named.get('dbname', '')} at {named.get('host', 'localhost')}, hints at {hints}"
