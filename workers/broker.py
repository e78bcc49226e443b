"""The task queue: dramatiq on Redis, carrying hints.

Rows own retries, so a message is never retried or delayed here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Middleware, ShutdownNotifications

from workers.log import log

if TYPE_CHECKING:
    from dramatiq import Broker
    from dramatiq.broker import MessageProxy

QUEUES = {
    "rule_due": "runs",
    "advance_chunk": "runs",
    "close_run": "runs",
    "audit": "runs",
    "send_reminders": "send",
    "apply_effects": "effects",
}


class Boundary(Middleware):
    """The one broad catch: what an actor raises is logged by its class and its ids, and the sweep comes again."""

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: object = None, exception: BaseException | None = None
    ) -> None:
        """Log a failure; the message is acknowledged either way."""
        del broker, result
        if exception is not None:
            log(
                "actor_failed",
                level="error",
                actor=message.actor_name,
                ids=str(message.args)[:200],
                error=type(exception).__name__,
            )


def make_broker(url: str) -> RedisBroker:
    """A broker whose dead workers' messages are found at every fetch, not by chance."""
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
    return RedisBroker(  # type: ignore[no-untyped-call]
        url=url,
        middleware=[ShutdownNotifications(), CurrentMessage(), Boundary()],
        maintenance_chance=1_000_000,
        heartbeat_timeout=60_000,
    )


class RedisHints:
    """The relay's way to the workers."""

    def __init__(self, url: str) -> None:
        """Connect lazily; a Redis that is down is found at the first call."""
        self._broker = make_broker(url)
        self._client = redis.Redis.from_url(url)
        for queue in set(QUEUES.values()):
            self._broker.declare_queue(queue)

    def waiting(self, queue: str) -> int:
        """Messages that no worker has fetched yet."""
        return int(self._client.llen(f"dramatiq:{queue}"))

    def give(self, actor: str, *ids: object) -> None:
        """Enqueue one hint."""
        self._broker.enqueue(
            dramatiq.Message(queue_name=QUEUES[actor], actor_name=actor, args=ids, kwargs={}, options={})
        )
