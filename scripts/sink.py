"""A mail server on this machine that writes every accepted mail down, and delivers none.

The demo, the tests and the benchmark mail to it. Its journal is the outside witness of what was sent: one line a mail,
in the file before the client reads its 250, so no claim about duplicates or losses rests on our own tables.
Tests make it misbehave with a `Behaviour`.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Self

import click

from scripts.sink_dialogue import OBLIGING, Answer, Behaviour, Session, Tls, Verdict

__all__ = ["Accepted", "Answer", "Behaviour", "Server", "Sink", "Tls", "Verdict", "duplicates", "read_journal"]

WITNESSED_HEADER = re.compile(rb"\r\n(message-id|x-relance-reminder):((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One line of the journal: a mail the sink took charge of.

    `sha256` and `size` (bytes) are those of the mail as the client meant it, dots unstuffed. `message_id` is empty when
    the mail has none; `reminder` is its X-Relance-Reminder header.
    """

    at: datetime
    message_id: str
    to: tuple[str, ...]
    sender: str
    size: int
    sha256: str
    reminder: str | None


def read_journal(path: Path, after: int = 0) -> Iterator[Accepted]:
    """Yield the accepted mails in their order, but for the first `after`; an unfinished last line is left out."""
    with path.open(encoding="ascii") as lines:
        for line in islice(lines, after, None):
            if not line.endswith("\n"):
                return
            row = json.loads(line)
            yield Accepted(
                at=datetime.fromisoformat(row["at"]),
                message_id=row["message_id"],
                to=tuple(row["to"]),
                sender=row["from"],
                size=row["size"],
                sha256=row["sha256"],
                reminder=row.get("reminder"),
            )


def duplicates(entries: Iterable[Accepted]) -> dict[str, int]:
    """Return how often each Message-ID was accepted, of those accepted more than once."""
    counts = Counter(entry.message_id for entry in entries if entry.message_id)
    return {message_id: count for message_id, count in counts.items() if count > 1}


class Mailbox:
    """The folder: journal.jsonl and, where mails are kept, mails/NNNNNN.eml numbered by the journal's lines."""

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self.journal = folder / "journal.jsonl"
        self.mails = folder / "mails"
        self._keep = keep
        (self.mails if keep else folder).mkdir(parents=True, exist_ok=True)
        self._journal = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._count = self.journal.read_bytes().count(b"\n")

    def accept(self, sender: str, recipients: list[str], mail: bytes) -> None:
        """Keep the mail, then append its journal line in one write. Raises OSError on a full disk."""
        if self._keep:
            (self.mails / f"{self._count + 1:06}.eml").write_bytes(mail)
        head, _, _ = (b"\r\n" + mail).partition(b"\r\n\r\n")
        headers: dict[bytes, str] = {}
        for name, value in WITNESSED_HEADER.findall(head):
            headers.setdefault(name.lower(), " ".join(value.decode("utf-8", "replace").split()))
        row: dict[str, str | int | list[str]] = {
            "at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "message_id": headers.get(b"message-id", ""),
            "to": recipients,
            "from": sender,
            "size": len(mail),
            "sha256": hashlib.sha256(mail).hexdigest(),
        }
        if b"x-relance-reminder" in headers:
            row["reminder"] = headers[b"x-relance-reminder"]
        line = json.dumps(row).encode() + b"\n"
        if os.write(self._journal, line) != len(line):
            raise OSError(f"{self.journal}: the disk took half a line")
        self._count += 1

    def close(self) -> None:
        """Close the journal."""
        os.close(self._journal)


class Server:
    """The listening sink, to be run in whichever event loop: bound once constructed, closed when `run` returns."""

    def __init__(self, folder: Path, *, port: int = 0, keep: bool = True, behaviour: Behaviour = OBLIGING) -> None:
        self.behaviour = behaviour
        self.sessions: set[Session] = set()
        self.context: ssl.SSLContext | None = None
        if behaviour.tls:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(behaviour.tls.certificate, behaviour.tls.key)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.mailbox = Mailbox(folder, keep=keep)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until stopped, then hang up on every client."""
        implicit = self.context if self.behaviour.tls and self.behaviour.tls.implicit else None
        listening = await asyncio.get_running_loop().create_server(
            lambda: Session(self.behaviour, self.context, self.mailbox.accept, self.sessions),
            sock=self._listener,
            ssl=implicit,
        )
        await stop.wait()
        listening.close()
        while self.sessions:
            for session in list(self.sessions):
                session.abort()
            await asyncio.sleep(0.001)
        await listening.wait_closed()
        self.mailbox.close()


class Sink:
    """The sink in a thread of its own, for a synchronous test: `with Sink(folder) as sink: …`."""

    def __init__(self, folder: Path, *, port: int = 0, keep: bool = True, behaviour: Behaviour = OBLIGING) -> None:
        self._server = Server(folder, port=port, keep=keep, behaviour=behaviour)
        self._stop = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self.port = self._server.port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with self._runner as runner:
            runner.run(self._server.run(self._stop))

    def mails(self, after: int = 0) -> list[Accepted]:
        """Return the accepted mails of the folder, oldest first, but for the first `after`."""
        return list(read_journal(self._server.mailbox.journal, after))

    def kept(self, after: int = 0) -> list[bytes]:
        """Return the bytes of the mails kept in the folder, oldest first, but for the first `after`."""
        kept = sorted(self._server.mailbox.mails.glob("*.eml"))
        return [path.read_bytes() for path in kept[after:]]

    def duplicates(self) -> dict[str, int]:
        """Return the Message-IDs accepted more than once, with their counts."""
        return duplicates(self.mails())


async def _run_until_signalled(server: Server, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready = json.dumps({"port": server.port})
    click.echo(ready)
    if ready_file:
        unfinished = ready_file.with_name(f"{ready_file.name}.part")
        unfinished.write_text(f"{ready}\n", encoding="ascii")
        unfinished.rename(ready_file)
    await server.run(stop)


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where to listen on 127.0.0.1; 0: any free port."
)
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the journal and the mails go.")
@click.option("--keep/--no-keep", default=True, help="Keep each mail as a numbered .eml file.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Appears, with the port in it, once listening.")
def main(port: int, folder: Path, ready_file: Path | None, *, keep: bool) -> None:
    """Take every mail on this machine, deliver none; print {"port": N} once listening, until SIGTERM or SIGINT."""
    asyncio.run(_run_until_signalled(Server(folder, port=port, keep=keep), ready_file))


if __name__ == "__main__":
    main()
