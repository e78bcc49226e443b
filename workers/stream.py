"""The Redis stream by which an invoicing system tells of events: read by one consumer group.

An entry is acknowledged once its event is kept. What a reader that died had taken is taken over by another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

STREAM: Final = "invoicing.events"
GROUP: Final = "relance"
MOST: Final = 200

# Longer than keeping a page of events takes, so that nobody loses what is in his hands.
_TAKEN_OVER_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the stream: its id, and its event as text; None where the entry has no field `event`."""

    id: str
    event: str | None


class Stream:
    """One reader of the stream; `name` is its own among the group's."""

    def __init__(self, url: str, *, name: str, taken_over_ms: int = _TAKEN_OVER_MS) -> None:
        """Connect lazily; a Redis that is down is found at the first read."""
        self._client = redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=10)
        self._name = name
        self._taken_over_ms = taken_over_ms

    def read(self, *, wait_ms: int) -> list[Entry]:
        """Up to 200 entries: those that nobody acknowledged in time first, then new ones, for which it waits.

        The stream and its group are made where they are missing, also once Redis was emptied.
        """
        try:
            return self._left() or self._new(wait_ms)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            return self._new(wait_ms)

    def done(self, entries: list[Entry]) -> None:
        """Acknowledge entries whose events are kept, and let Redis forget them."""
        if entries:
            ids = [one.id for one in entries]
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.xack(STREAM, GROUP, *ids)
                pipeline.xdel(STREAM, *ids)
                pipeline.execute()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _left(self) -> list[Entry]:
        _, found, *_ = self._client.xautoclaim(STREAM, GROUP, self._name, self._taken_over_ms, count=MOST)
        return _entries(found)

    def _new(self, wait_ms: int) -> list[Entry]:
        found: Any = self._client.xreadgroup(GROUP, self._name, {STREAM: ">"}, count=MOST, block=wait_ms)
        return [entry for _, entries in found for entry in _entries(entries)] if found else []


def _entries(found: list[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Entry]:
    """An entry that was deleted while it was pending has no fields: nothing is left of it to keep."""
    return [
        Entry(entry_id.decode(), fields[b"event"].decode("utf-8", "replace") if b"event" in fields else None)
        for entry_id, fields in found
        if fields is not None
    ]
