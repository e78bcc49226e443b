"""The events of a request, as CloudEvents 1.0 sends them by HTTP: structured, batched, or in binary mode."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from operations.events import Came
from workflow import events
from workflow.events import Fault, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_EVENTS: Final = 100
STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_PREFIX = "ce-"


class NotTaken(Exception):  # noqa: N818 - a fact about a request
    """A request of which nothing is taken: a status of HTTP, why, and what is wrong with its events."""

    def __init__(self, status: int, reason: str, faults: Iterable[Fault] = ()) -> None:
        self.status = status
        self.reason = reason
        self.faults = tuple(faults)
        super().__init__(reason)


def came(headers: Mapping[str, str], body: bytes, *, place: str) -> list[Came]:
    """The events of a request. `headers` by lower-case names; `place` names it. Raises NotTaken, Malformed."""
    content_type, _, parameters = headers.get("content-type", "").partition(";")
    content_type = content_type.strip().lower()
    charset = parameters.strip().lower().replace('"', "").replace(" ", "")
    if charset not in {"", "charset=utf-8", "charset=us-ascii"}:
        raise NotTaken(415, "events are read as UTF-8")
    if content_type == BATCH:
        return _batch(events.parse(body), place)
    if content_type == STRUCTURED:
        return [_came(events.parse(body), f"{place}/0")]
    if any(name.startswith(_PREFIX) for name in headers):
        return [_came(_binary(headers, body), f"{place}/0")]
    raise NotTaken(415, f"send {STRUCTURED}, {BATCH}, or the attributes as ce- headers")


def _batch(value: object, place: str) -> list[Came]:
    if not isinstance(value, list):
        raise Malformed([Fault("", "a batch must be a JSON array")])
    if not value:
        raise Malformed([Fault("", "holds no event")])
    if len(value) > MOST_EVENTS:
        raise NotTaken(413, f"a batch holds at most {MOST_EVENTS} events")
    return [_came(one, f"{place}/{number}") for number, one in enumerate(value)]


def _binary(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The event whose attributes are headers, percent-encoded (section 3.1.3.2), and whose data is the body."""
    value: dict[str, Any] = {
        name.removeprefix(_PREFIX): unquote(one, errors="replace")
        for name, one in headers.items()
        if name.startswith(_PREFIX)
    }
    if "datacontenttype" in value:
        raise NotTaken(400, "ce-datacontenttype may not be sent: content-type says it")
    value["datacontenttype"] = headers.get("content-type", "")
    value["data"] = events.parse(body)
    return value


def _came(value: object, place: str) -> Came:
    try:
        return Came(json.dumps(value, ensure_ascii=False), place, value)
    except RecursionError:
        raise Malformed([Fault("", "is nested too deeply")]) from None
