"""Events from an invoicing system, as CloudEvents 1.0: their attributes are checked here, their data by their type.

A value comes in as JSON has it and leaves as an Event, or is refused with each fault's place. Which event is newer is
told by `version` alone: of two that reach us in the wrong order, no clock can say which was meant to last.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workflow.errors import RelanceError
from workflow.event_types import HEARTBEAT, TYPES, data_faults, pointed, schema_id
from workflow.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# As an ERP names itself: a URI reference (RFC 3986) without a query, short enough to sign the journal.
SOURCE: Final = re.compile(r"[A-Za-z0-9._:@/%~+-]{1,93}")
LARGEST_VERSION: Final = 2**63 - 1
LONGEST_ID: Final = 200

_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")  # CloudEvents 1.0, section 3.1
_CHECKED_APART = frozenset(
    {"data", "data_base64", "specversion", "source", "id", "type", "time", "datacontenttype", "dataschema"}
)
_NOT_IN_A_WORD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_JSON_TYPE = re.compile(r"application/([a-z0-9.+-]+\+)?json(;.*)?", re.IGNORECASE)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where: a JSON Pointer (RFC 6901), empty for the whole event."""

    pointer: str
    reason: str


class Malformed(RelanceError):  # noqa: N818 - a fact about an event
    """An event that nobody could act on, with all of its faults."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        """Keep the faults, so that a face can list them."""
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{one.pointer or 'event'}: {one.reason}" for one in self.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event that may be applied. `data` is as its type's schema says; `time`: when it happened, if that was told."""

    source: str
    id: str
    type: str
    data: Mapping[str, Any]
    version: int | None = None
    time: datetime | None = None

    @property
    def subject(self) -> str:
        """What it is about, as the inbox lists it: `invoice NORD/FA-1`."""
        return TYPES[self.type].subject(self.data)


def parse(text: str | bytes) -> object:
    """Return the JSON value of a text. Raises Malformed, also for what is nested or written too large to be meant."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):  # JSONDecodeError, UnicodeDecodeError, too many digits
        raise Malformed([Fault("", "is no JSON text in UTF-8")]) from None


def identity(value: object) -> tuple[str, str] | None:
    """The source and the id of an event, by which it is known; None where it has none that could be kept."""
    if not isinstance(value, dict):
        return None
    source, event_id = value.get("source"), value.get("id")
    if not isinstance(source, str) or not SOURCE.fullmatch(source) or _word_fault(event_id):
        return None
    return source, str(event_id)


def about(value: object) -> str | None:
    """What an event is about that may be malformed otherwise; None where that cannot be told."""
    if not isinstance(value, dict):
        return None
    kind, data = value.get("type"), value.get("data")
    if not isinstance(kind, str) or kind not in TYPES or not isinstance(data, dict):
        return None
    try:
        subject = TYPES[kind].subject({name: one for name, one in data.items() if not _word_fault(one)})
    except KeyError:
        return None
    return subject


def read(value: object) -> Event:
    """Return the event that a JSON value is. Raises Malformed with every fault that can be told."""
    if not isinstance(value, dict):
        raise Malformed([Fault("", "must be a JSON object")])
    given = {name: one for name, one in value.items() if one is not None}
    faults = [*_attribute_faults(given)]
    data = given.get("data")
    kind = given.get("type")
    if isinstance(kind, str) and kind in TYPES:
        if isinstance(data, dict):
            faults += [Fault(f"/data{place}", reason) for place, reason in data_faults(kind, data)]
        else:
            faults.append(Fault("/data", "must be a JSON object" if "data" in given else "is missing"))
    if faults:
        raise Malformed(faults)
    told = given["data"]
    return Event(
        source=given["source"],
        id=given["id"],
        type=given["type"],
        data={name: one for name, one in told.items() if name != "version"},
        version=told.get("version"),
        time=_instant(given["time"]) if "time" in given else None,
    )


def _attribute_faults(given: Mapping[str, Any]) -> Iterable[Fault]:
    if given.get("specversion") != "1.0":
        yield Fault("/specversion", 'must be "1.0"')
    source = given.get("source")
    if not isinstance(source, str) or not SOURCE.fullmatch(source):
        yield Fault("/source", "must name the sender by 1 to 93 letters, digits and . _ : @ / % ~ + -, such as /erp")
    if reason := _word_fault(given.get("id")):
        yield Fault("/id", reason)
    if given.get("type") == HEARTBEAT and "time" not in given:
        yield Fault("/time", "is missing: it says until when all payments are told")
    if "time" in given and _instant(given["time"]) is None:
        yield Fault("/time", "must be an instant such as 2026-03-01T09:30:00Z (RFC 3339)")
    yield from _type_faults(given)
    for name, one in given.items():
        if name in _CHECKED_APART:
            continue
        if not _ATTRIBUTE.fullmatch(name):
            yield Fault(f"/{pointed(name)}", "is no name of an attribute: 1 to 20 of a-z and 0-9")
        elif not isinstance(one, str | int):
            yield Fault(f"/{name}", "must be a text, a whole number or a boolean")


def _type_faults(given: Mapping[str, Any]) -> Iterable[Fault]:
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        known = did_you_mean(kind, TYPES) if isinstance(kind, str) else ""
        yield Fault("/type", f"is no type of event that is taken here{known}")
    elif given.get("dataschema", schema_id(kind)) != schema_id(kind):
        yield Fault("/dataschema", f"must be {schema_id(kind)}, or left out")
    content_type = given.get("datacontenttype", "application/json")
    if not isinstance(content_type, str) or not _JSON_TYPE.fullmatch(content_type):
        yield Fault("/datacontenttype", "must be application/json")
    if "data_base64" in given:
        yield Fault("/data_base64", "is not taken: data are JSON")


def _word_fault(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return "must be a text that is not empty"
    if len(value) > LONGEST_ID:
        return f"is longer than {LONGEST_ID} characters"
    return "has a character that is not allowed" if _NOT_IN_A_WORD.search(value) else None


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return None
    # Python reads microseconds at most; what is finer decides nothing.
    text = re.sub(r"(\.\d{6})\d+", r"\1", value.upper().replace("Z", "+00:00"))
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _no_number(name: str) -> object:
    raise ValueError(name)
