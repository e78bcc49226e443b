"""The processes: one worker with its threads and its sender; a scheduler with relay and sweep.

And who restarts the dead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from dramatiq.worker import Worker

from store import settings as stored
from store.connection import Pool, pool
from workers import actors
from workers.broker import QUEUES, RedisHints, make_broker
from workers.doubt_alerts import tell_of_doubts
from workers.doubts import settle_doubts
from workers.identity import is_ours
from workers.log import log
from workers.mailroom import Mailroom
from workers.office import Office
from workers.relay import relay
from workers.scheduler import ClockWatch, fire_unless_jumped, plan_audit
from workers.sender import Sender
from workers.sending import settle
from workers.sweep import PARTS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import FrameType

    from workers.settings import Settings

# What waits at the workers lasts longer than a breath at any rate measured, and each round asks for more at once.
_BREATH_S = 0.1
_PAUSE_S = 0.2
# A look for evidence that takes longer is given up: nothing of it is written yet.
_FAREWELL_S = 5.0


def identity(role: str) -> str:
    """Who writes: shown in the journal and the ledger of attempts."""
    return f"{role}:{socket.gethostname()[:40]}:{os.getpid()}"


@contextlib.contextmanager
def stopping() -> Generator[threading.Event]:
    """An event that SIGTERM and SIGINT set, for the time of a process's work."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def working(settings: Settings, *, threads: int, idle_ms: int = 1000) -> Generator[None]:
    """Take hints and work in this process until the block ends; what is on its way is finished first.

    `idle_ms`: the longest time between two looks at a queue that was empty.
    """
    with pool(settings.database_url, actor=identity("worker"), size=threads + 3) as connections:
        office = Office(pool=connections, settings=settings)
        sender = Sender(connections, settings, partial(settle, breaker_s=settings.breaker_s))
        sender.start()
        broker = make_broker(settings.redis_url)
        actors.declare(broker, office, sender)
        worker = Worker(broker, queues=set(QUEUES.values()), worker_threads=threads, worker_timeout=idle_ms)
        worker.start()
        try:
            yield
        finally:
            worker.stop(timeout=30_000)
            sender.stop()
            broker.close()


def work(settings: Settings, *, threads: int) -> None:
    """One worker process, until SIGTERM or SIGINT."""
    # The sender's loop must not wait five milliseconds, Python's default, behind a thread that renders.
    sys.setswitchinterval(0.0005)
    parent = os.getppid()
    with stopping() as stop, working(settings, threads=threads):
        log("worker_started", threads=threads, connections=settings.connections)
        while not stop.wait(1):
            if os.getppid() != parent:
                break  # the supervisor is gone: nobody would stop or restart this process any more
    log("worker_stopped")


def schedule(settings: Settings, stop: threading.Event) -> None:
    """Scheduler, relay and sweep in one loop, until `stop`. A server that is away is waited for."""
    actor = identity("scheduler")
    with pool(settings.database_url, actor=actor, size=6) as connections, Mailroom(settings, actor=actor) as mailroom:
        doubts = threading.Thread(target=_mind_doubts, args=(connections, settings, stop), name="doubts", daemon=True)
        doubts.start()
        hints = RedisHints(settings.redis_url)
        watch: ClockWatch | None = None
        next_sweep = next_fire = 0.0
        while not stop.is_set():
            now = time.monotonic()
            if now >= next_fire:
                next_fire = now + 1
                with _going_on("schedule"):
                    watch = watch or _watch(connections)
                    fire_unless_jumped(connections, watch, instance=settings.instance)
                with _going_on("audit"):
                    plan_audit(connections, instance=settings.instance)
                with _going_on("mailboxes"):
                    mailroom.round(connections)
            if now >= next_sweep:
                next_sweep = now + settings.sweep_s
                for name, part in PARTS.items():
                    with _going_on(name):
                        if _at_home(connections, settings):  # a copy's rows stay as they are
                            part(connections)
            given = 0
            with _going_on("relay"):
                given = relay(connections, hints, settings)
            stop.wait(_BREATH_S if given else _PAUSE_S)
        doubts.join(_FAREWELL_S)


def _mind_doubts(connections: Pool, settings: Settings, stop: threading.Event) -> None:
    """Beside the loop: a mailbox that is asked for evidence may take its time, and so may a mail server."""
    while not stop.wait(settings.sweep_s):
        with _going_on("doubts"):
            settle_doubts(connections, settings)
        with _going_on("doubt_alerts"):
            tell_of_doubts(connections, settings)


@contextlib.contextmanager
def _going_on(part: str) -> Generator[None]:
    """One part that fails, a server that is away for instance, keeps no other from its work."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - logged by its class; the next round tries again
        log("round_failed", level="warning", part=part, error=type(error).__name__)
        time.sleep(0.5)


def _at_home(connections: Pool, settings: Settings) -> bool:
    with connections.connection() as conn:
        return is_ours(stored.read(conn), settings.instance)


def _watch(connections: Pool) -> ClockWatch:
    with connections.connection() as conn:
        return ClockWatch(stored.database_now(conn))


def supervise(commands: Sequence[Sequence[str]], stop: threading.Event, *, environment: dict[str, str]) -> None:
    """Keep these commands running until `stop`: one that dies is started again, ever slower while it dies at once."""
    children = [(command, _start(command, environment), time.monotonic()) for command in commands]
    waits = [0.0] * len(commands)
    try:
        while not stop.wait(0.1):
            for place, (command, child, since) in enumerate(children):
                if child.poll() is None:
                    continue
                lived_s = time.monotonic() - since
                waits[place] = 0.2 if lived_s > 10 else min(10.0, max(0.2, waits[place] * 2))
                log("restarted", level="warning", command=" ".join(command[-4:]), status=child.returncode)
                stop.wait(waits[place])
                children[place] = (command, _start(command, environment), time.monotonic())
    finally:
        for _, child, _ in children:
            child.terminate()
        for _, child, _ in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(60)
            child.kill()
            child.wait()


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl+C reaches the supervisor alone, which stops its children in order.
    return subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, "-P", "-m", "scripts.main", *command], env=environment, start_new_session=True
    )
