"""What brings events from the stream to the inbox, and from there to where they belong: threads beside the scheduler's.

Both may run in any number of processes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from psycopg import InterfaceError, OperationalError

from operations.events import Came, accept
from operations.telling import apply, moment
from store import inbox
from store import settings as stored
from store.connection import connect
from workers.identity import is_ours
from workers.log import log
from workers.process import identity
from workers.stream import STREAM, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from operations.telling import Moment
    from store.connection import Connection
    from store.inbox import Kept
    from workers.settings import Settings

_PAGE: Final = 200
_PAUSE_S: Final = 0.1
_AFTER_A_FAULT_S: Final = 1.0
_ASKED_AGAIN_S: Final = 5.0
_BLOCK_MS: Final = 500


def drain(conn: Connection, *, stop: threading.Event | None = None) -> dict[str, int]:
    """Apply what waits, until nothing does. Returns how many events came to each outcome.

    What has been parked for a minute is tried again: an import or a person may have made what it waits for.
    Any number of processes may call it: one applies, the others return at once with nothing. `conn` is in no
    transaction.
    """
    counted: dict[str, int] = {}
    with conn.transaction():
        mine = inbox.take_hand(conn)
    if not mine:
        return counted
    try:
        with conn.transaction():
            inbox.wake_old(conn, limit=_PAGE)
        while _pass(conn, counted, stop):
            pass
    finally:
        with contextlib.suppress(OperationalError, InterfaceError), conn.transaction():
            inbox.let_go(conn)
    return counted


def _pass(conn: Connection, counted: dict[str, int], stop: threading.Event | None) -> bool:
    """Go once through what waits. Whether anything was decided: it may have woken what was parked before it."""
    after = decided = 0
    while not (stop and stop.is_set()):
        with conn.transaction():
            page, at = inbox.waiting(conn, after=after, limit=_PAGE), moment(conn)
        for kept in page:
            outcome = _apply(conn, kept, at)
            counted[outcome] = counted.get(outcome, 0) + 1
            decided += outcome != "waiting"
            after = kept.id
        if len(page) < _PAGE:
            return decided > 0
    return False


@contextlib.contextmanager
def intake(settings: Settings) -> Generator[None]:
    """Read the stream and apply events for the time of the block, in a thread each."""
    stop = threading.Event()
    threads = [threading.Thread(target=_go_on, args=(part, settings, stop)) for part in (_apply_all, _follow)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def keep(conn: Connection, stream: Stream, *, wait_ms: int) -> int:
    """Keep what the stream has in the inbox, then acknowledge it. Returns how many entries there were.

    Once kept, an entry that comes a second time is known by its event. `conn` is in no transaction.
    """
    entries = stream.read(wait_ms=wait_ms)
    if entries:
        with conn.transaction():
            accept(conn, [Came(one.event or "", f"{STREAM}/{one.id}") for one in entries], door="stream")
        stream.done(entries)
    return len(entries)


def _apply(conn: Connection, kept: Kept, at: Moment) -> str:
    """Apply one; what cannot be is written down, and its neighbours go on."""
    try:
        return apply(conn, kept, at)
    except OperationalError as error:  # a lock that was not let go in time: the event waits for the next round
        if conn.closed:
            raise
        log("event_waits", level="warning", inbox=kept.id, error=type(error).__name__)
        return "waiting"
    except Exception as error:  # noqa: BLE001 - logged by its class; a person looks, and may have it tried again
        log("event_failed", level="error", inbox=kept.id, type=kept.type, error=type(error).__name__)
        with conn.transaction():
            inbox.end(conn, kept.id, "rejected", reason=f"could not be applied: {type(error).__name__}")
        return "rejected"


def _go_on(
    part: Callable[[Connection, Settings, threading.Event], None], settings: Settings, stop: threading.Event
) -> None:
    """Do it again and again, on one connection as long as that holds; a copy of the database takes nothing."""
    while not stop.is_set():
        try:
            with connect(settings.database_url, actor=identity("events")) as conn:
                while not stop.is_set():
                    with conn.transaction():
                        ours = is_ours(stored.read(conn), settings.instance)
                    if ours:
                        part(conn, settings, stop)
                    else:
                        stop.wait(_AFTER_A_FAULT_S)
        except Exception as error:  # noqa: BLE001 - a server that is away, for instance: the next connection goes on
            log("round_failed", level="warning", part="events", error=type(error).__name__)
            stop.wait(_AFTER_A_FAULT_S)


def _apply_all(conn: Connection, _settings: Settings, stop: threading.Event) -> None:
    counted = drain(conn, stop=stop)
    if counted.keys() - {"waiting"}:
        log("events_applied", level="info", **counted)
    stop.wait(_PAUSE_S)


def _follow(conn: Connection, settings: Settings, stop: threading.Event) -> None:
    """Follow the stream for as long as the database is ours, which is asked again every few seconds."""
    with contextlib.closing(Stream(settings.redis_url, name=identity("events"))) as stream:
        asked_again_at = time.monotonic() + _ASKED_AGAIN_S
        while not stop.is_set() and time.monotonic() < asked_again_at:
            if kept := keep(conn, stream, wait_ms=_BLOCK_MS):
                log("events_taken", door="stream", events=kept)
