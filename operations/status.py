"""The instance at a glance: what waits, what runs and how fast, what failed, what is held and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from operations import runs
from store import companies, settings, standing
from store.outbox import REMINDER_STATES
from workers.broker import QUEUES

if TYPE_CHECKING:
    from datetime import date, datetime

    from operations.runs import RunLine
    from store.connection import Connection
    from store.settings import Settings
    from store.standing import Held, Queues

_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Whether the hints' server answers, and the hints that no worker has fetched yet, by queue."""

    reachable: bool
    waiting: dict[str, int]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look. `days`: each company's business day; `pace`: mails sent in the last minute by open run."""

    instance: Settings
    days: dict[str, date]
    schema: int
    reminders: dict[str, int]
    queues: Queues
    open_runs: tuple[RunLine, ...]
    pace: dict[int, int]
    last_runs: tuple[RunLine, ...]
    held: tuple[Held, ...]
    redis: Redis
    looked_at: datetime


def status(conn: Connection, redis_url: str) -> Status:
    """Look at the rows and at Redis; a Redis that is away is part of the answer."""
    here = settings.read(conn)
    pace = standing.pace(conn)
    counted = standing.reminders_by_state(conn)
    return Status(
        instance=here,
        days={company.code: company.day(here.business_now) for company in companies.companies(conn).values()},
        schema=standing.schema_version(conn),
        reminders={state: counted.get(state, 0) for state in REMINDER_STATES},
        queues=standing.queues(conn),
        open_runs=tuple(runs.lines(conn, list(pace))),
        pace=pace,
        last_runs=tuple(runs.latest(conn, 5)),
        held=tuple(standing.held(conn)),
        redis=hints(redis_url),
        looked_at=settings.database_now(conn),
    )


def hints(redis_url: str) -> Redis:
    """Ask Redis, for a few seconds at most."""
    try:
        with redis.Redis.from_url(redis_url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S) as client:
            waiting = {queue: int(client.llen(f"dramatiq:{queue}")) for queue in sorted(set(QUEUES.values()))}
    except redis.RedisError as error:
        return Redis(reachable=False, waiting={}, error=type(error).__name__)
    return Redis(reachable=True, waiting=waiting)
