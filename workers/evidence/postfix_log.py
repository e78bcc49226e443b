"""The log of a smarthost in Postfix's format: what became of each mail, by its queue id.

A line of cleanup ties a message id to a queue id when the header is read, before the final dot: alone it proves
nothing. The mail was accepted once qmgr has it in its queue, or a delivery agent tells of it. Lines are read as syslog
has them (`Nov 24 09:00:01 host postfix/qmgr[1]: …`), with RFC 3339 timestamps in its place, and as RFC 5424 has them.

Each look reads the log and its rotated elders anew, so that nothing of an earlier look can be wrong by now. Where they
were rotated while they were read, a file may have been missed in between, and what was read is worth nothing.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from workers.evidence.traces import Channel, Trace
from workers.imap import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from workers.evidence.traces import Place

# One look reads no more: half a minute of it. What is larger is to be rotated more often.
_MOST_BYTES: Final = 2 * 1024**3
_BLOCK: Final = 256 * 1024
_LONGEST_LINE: Final = 4 * 1024 * 1024
_LONGEST_QUOTE: Final = 200
# A file's time of last change is the smarthost's, perhaps on another machine's clock.
_SLACK_S: Final = 3600.0

_LINE: Final = re.compile(
    rb"(?:<[0-9]{1,3}>(?:1 )?)?"
    rb"([A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})) "
    rb"([^ ]{1,255}) (?:[\w.-]{1,64}/){1,3}([a-z]{2,20})"
    rb"(?:\[[0-9]{1,10}\]: | [0-9-]{1,10} [^ ]{1,32} (?:-|\[[^\]]{0,500}\]) (?:\xef\xbb\xbf)?)"
    rb"([0-9A-Za-z]{5,32}): (.*)"
)
_MESSAGE_IDS: Final = re.compile(rb"message-id=(<[^>\n]{1,250}>)")
_QUEUE_IDS: Final = re.compile(rb"[\]-](?:: | )(?:\xef\xbb\xbf)?([0-9A-Za-z]{5,32}): ")
_MESSAGE_ID: Final = re.compile(rb"message-id=(<[^<>\s]{1,250}>)")
_TOLD: Final = re.compile(rb"to=<([^>]{1,320})>, (?:orig_to=<([^>]{1,320})>, )?.*?, status=([a-z]{4,20}) \((.*)\)")
_QUEUED: Final = re.compile(rb"from=<[^>]{0,320}>, size=[0-9]+, nrcpt=[0-9]+ \(queue active\)")
# Only what is refused for good: after a 4xx the mail is where it was.
_REJECTED: Final = re.compile(rb"(?:milter-)?reject: (.*: 5\.[0-9]{1,3}\.[0-9]{1,3} .*)")
_EXPIRED: Final = re.compile(rb"from=<[^>]{0,320}>, status=(?:force-)?expired, returned to sender")
_ADDRESS: Final = re.compile(r"\S*@\S*")
_ROTATED: Final = re.compile(r"[.-][0-9][0-9.-]{0,30}(?:\.gz)?")

# What tells a file from another, and whether it was written to: its elders are not.
_Identity = tuple[str, int, int]


@dataclass(slots=True)
class _Queued:
    """A mail under one queue id. `told`: the last status of each recipient, in lower case, with its quote.

    An address that stands for several stays sent: one of them who has the mail is enough.
    """

    message_id: str
    accepted: str = ""
    rejected: str = ""
    told: dict[str, tuple[str, str]] = field(default_factory=dict)

    def note(self, said: bytes, stamp: str, queue_id: str, *, by_cleanup: bool) -> None:
        """Take in one line about it."""
        if told := _TOLD.match(said):
            status = told[3].decode("ascii")
            quote = _quote(stamp, queue_id, f"status={status} ({_text(told[4])})")
            self.accepted = self.accepted or quote
            self.told[_text(told[1]).lower()] = (status, quote)
            asked_for = _text(told[2] or b"").lower()
            if asked_for and self.told.get(asked_for, ("", ""))[0] != "sent":
                self.told[asked_for] = (status, quote)
        elif _QUEUED.match(said):
            self.accepted = self.accepted or _quote(stamp, queue_id, "queue active")
        elif _EXPIRED.match(said):
            quote = _quote(stamp, queue_id, "status=expired, returned to sender")
            self.told |= {one: ("expired", quote) for one, (status, _) in self.told.items() if status == "deferred"}
        elif by_cleanup and (rejected := _REJECTED.match(said)):
            self.rejected = _quote(stamp, queue_id, f"reject: {_text(rejected[1])}")

    def trace(self, recipient: str) -> Trace | None:
        """What became of it for one recipient, None while nobody knows."""
        status, quote = self.told.get(recipient.lower(), ("", self.accepted))
        if status in {"bounced", "expired"}:
            return Trace(status="refused", quote=quote)
        if self.accepted:
            return Trace(status="accepted", quote=quote)
        return Trace(status="refused", quote=self.rejected) if self.rejected else None


def look(place: Place, wanted: Mapping[str, str], since: datetime) -> dict[str, Trace]:
    """Find the traces of these mails in what was written since then. Raises Unreadable."""
    try:
        queued = _read(str(place["path"]), wanted, since.timestamp() - _SLACK_S)
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise Unreadable(f"the log cannot be read: {why}") from None
    found: dict[str, Trace] = {}
    for one in queued:
        trace = one.trace(wanted[one.message_id])
        # Each try has a queue id of its own: one that was accepted counts, or else the last.
        if trace and (trace.status == "accepted" or found.get(one.message_id, trace).status == "refused"):
            found[one.message_id] = trace
    return found


def _read(path: str, wanted: Mapping[str, str], since: float) -> list[_Queued]:
    """The wanted mails, in the order in which they came, read from all files last written since then."""
    with _opened(path) as log:  # before its elders are listed: what is rotated from now on is seen twice, or missed
        elders = _elders(path, since)
        reading = _Reading(wanted)
        for _, elder in elders:
            with _opened(elder) as file:
                if elder.endswith(".gz"):
                    with gzip.open(file) as unpacked:
                        reading.read(unpacked)
                else:
                    reading.read(file)
        reading.read(log)
        if not os.path.samestat(os.fstat(log.fileno()), os.stat(path)) or _elders(path, since) != elders:  # noqa: PTH116 - beside fstat
            raise Unreadable("the log was rotated while it was read")
    return reading.mails


class _Reading:
    """Line by line: which queue ids are the wanted mails', and what is said of them."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self._wanted = {one.encode("ascii", "replace") for one in wanted}
        self._by_queue_id: dict[tuple[bytes, bytes], _Queued] = {}
        self._queue_ids: set[bytes] = set()
        self._left = _MOST_BYTES
        self.mails: list[_Queued] = []

    def read(self, file: IO[bytes] | gzip.GzipFile) -> None:
        """Read one file to its end. Nearly all of it is about other mails: there a look at the ids is enough."""
        for block in _blocks(file):
            self._left -= len(block)
            if self._left < 0:
                raise Unreadable("the log is too large to be read: have it rotated more often")
            if not self._wanted.isdisjoint(_MESSAGE_IDS.findall(block)) or (
                self._queue_ids and not self._queue_ids.isdisjoint(_QUEUE_IDS.findall(block))
            ):
                for line in block.splitlines():
                    self._note(line)

    def _note(self, line: bytes) -> None:
        found = _LINE.match(line)
        if not found:
            return
        stamp, host, daemon, queue_id, said = found.groups()
        by_cleanup = daemon == b"cleanup"
        if by_cleanup and (message := _MESSAGE_ID.fullmatch(said)):
            self._begin((host, queue_id), message[1])
        elif queued := self._by_queue_id.get((host, queue_id)):
            queued.note(said, stamp.decode("ascii"), queue_id.decode("ascii"), by_cleanup=by_cleanup)

    def _begin(self, place: tuple[bytes, bytes], message_id: bytes) -> None:
        """From here on a host's queue id is this mail's; one day it is another's."""
        if message_id in self._wanted:
            self._queue_ids.add(place[1])
            self._by_queue_id[place] = _Queued(message_id.decode("ascii"))
            self.mails.append(self._by_queue_id[place])
        else:
            self._by_queue_id.pop(place, None)


def _elders(path: str, since: float) -> list[tuple[_Identity, str]]:
    """The rotated files last written since then, the oldest first."""
    folder, name = os.path.split(path)
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(name) and _ROTATED.fullmatch(entry.name[len(name) :]):
                status = entry.stat()
                if status.st_mtime >= since:
                    found.append((status.st_mtime, (entry.name, status.st_ino, status.st_size), entry.path))
    return [(identity, place) for _, identity, place in sorted(found)]


def _opened(path: str) -> IO[bytes]:
    """Open a plain file; anything else could keep the reader waiting for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no plain file")
    return os.fdopen(descriptor, "rb")


def _blocks(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """It in pieces that end where a line does; a line that is still being written is left out."""
    rest = b""
    while block := file.read(_BLOCK):
        lines, end, rest = (rest + block).rpartition(b"\n")
        yield lines + end
        if len(rest) > _LONGEST_LINE:
            raise Unreadable("it is no log: it has lines without an end")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _quote(stamp: str, queue_id: str, said: str) -> str:
    """Words for the journal: a server's reply names addresses, and anything else in it is cut."""
    plain = "".join(char if char.isprintable() else "?" for char in _ADDRESS.sub("…", said))
    return f"{stamp} {queue_id}: {plain}"[:_LONGEST_QUOTE]


CHANNEL: Final = Channel(
    words={"en": "the smarthost's log", "fr": "le journal du relais d'envoi"},
    advice={
        "en": "name the file as every scheduler sees it, and let their user read it and list its folder",
        "fr": "nommer le fichier tel que chaque planificateur le voit, et laisser leur utilisateur le lire et lister"
        " son dossier",
    },
    look=look,
    again_s=15,
)
