"""A bad network: a proxy that cuts, stalls and drips, before the mail server and before PostgreSQL.

What a dead client had handed over is still delivered, as a real network would: a dot may arrive after its sender's
death.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CHUNK: Final = 65536
_PEER: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid

Transaction = Literal["arms", "sends", "any"]
AtCommit = Literal["killed before it", "killed after it", "its answer lost", "the connection cut before it"]

# The steps noted in the ledger of attempts travel as arrays, in text or in binary; in a statement they stand in quotes.
_NOTED: Final = {"arms": re.compile(rb"[{,\x05]armed"), "sends": re.compile(rb"[{,\x08]accepted")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What befalls a connection. `after` bytes from the client; None: nothing."""

    after: int | None = None
    then: Literal["cut", "deaf", "stall", "drip"] = "cut"
    stall_s: float = 0.0


class Proxy:
    """Listens for clients and connects each to the server behind; runs in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._links: set[Link] = set()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._main()], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _main(self) -> None:
        server = await self._listen()
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._cut_all()
        while self._links:  # noqa: ASYNC110 - a test is about to end
            await asyncio.sleep(0.01)

    async def _listen(self) -> asyncio.Server:
        raise NotImplementedError

    def cut_all(self) -> None:
        """The network is gone for a moment: every connection ends."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self) -> None:
        for link in list(self._links):
            link.cut()


class Link:
    """One client's connection, and ours to the server."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.from_client, self.to_client = client
        self.from_server, self.to_server = server

    def cut(self) -> None:
        """Both ends hear of it at once."""
        self.to_client.transport.abort()
        self.to_server.transport.abort()


def _end(writer: asyncio.StreamWriter) -> None:
    """Pass on that one end has gone, however it went."""
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


class MailProxy(Proxy):
    """Before a mail server on this machine; bad weather for some connections, seeded."""

    def __init__(self, upstream_port: int, *, seed: str, longest_stall_s: float) -> None:
        super().__init__()
        self._upstream_port = upstream_port
        self._chance = random.Random(seed)  # noqa: S311 - chaos, not secrets
        self._longest_stall_s = longest_stall_s
        self.calm = True
        self.troubles: dict[str, int] = {}
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, sock=self._socket)

    def _weather(self) -> Weather:
        if self.calm or self._chance.random() < 0.6:
            return Weather()
        then: Literal["cut", "deaf", "stall", "drip"] = self._chance.choice(["cut", "deaf", "stall", "drip"])
        return Weather(
            after=int(self._chance.random() ** 2 * 60_000),
            then=then,
            stall_s=self._chance.uniform(0.1, 1) * self._longest_stall_s,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()
            return
        link = Link((reader, writer), server)
        self._links.add(link)
        weather = self._weather()
        fallen = asyncio.Event()
        try:
            await asyncio.gather(self._upload(link, weather, fallen), self._answer(link, weather, fallen))
        finally:
            self._links.discard(link)
            link.cut()

    async def _upload(self, link: Link, weather: Weather, fallen: asyncio.Event) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await link.from_client.read(_CHUNK):
                due = weather.after is not None and not fallen.is_set() and passed + len(data) > weather.after
                if due and weather.after is not None:
                    fallen.set()
                    self.troubles[weather.then] = self.troubles.get(weather.then, 0) + 1
                    if weather.then == "cut":  # half of a packet has gone through
                        link.to_server.write(data[: weather.after - passed])
                        await asyncio.sleep(0.01)
                        link.cut()
                        return
                    if weather.then == "stall":
                        await asyncio.sleep(weather.stall_s)
                passed += len(data)
                link.to_server.write(data)
                await link.to_server.drain()
        _end(link.to_server)

    async def _answer(self, link: Link, weather: Weather, fallen: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await link.from_server.read(_CHUNK):
                if not fallen.is_set() or weather.then not in {"deaf", "drip"}:
                    link.to_client.write(data)
                elif weather.then == "drip":
                    for byte in data:
                        link.to_client.write(bytes([byte]))
                        await link.to_client.drain()
                        await asyncio.sleep(0.01)
                else:  # the server has spoken, the client never hears it
                    link.to_client.transport.abort()
                    return
                await link.to_client.drain()
        _end(link.to_client)


class DatabaseProxy(Proxy):
    """Before PostgreSQL's socket: it sees each COMMIT pass, knows whose it is, and may do something to it."""

    def __init__(self, folder: Path, upstream: Path, *, kill: Callable[[int, str], None]) -> None:
        """`kill(pid, step)` kills the process at the other end."""
        super().__init__()
        folder.mkdir()
        self._socket = folder / ".s.PGSQL.5432"
        self._upstream = upstream / ".s.PGSQL.5432"
        self._kill = kill
        self._wanted: tuple[Transaction, AtCommit] | None = None
        self.done: dict[str, int] = {}
        self.calm = True

    def at_next_commit(self, transaction: Transaction, then: AtCommit) -> None:
        """Do this to the next transaction of this kind."""
        self._wanted = transaction, then

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, self._socket)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link((reader, writer), server)
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        self._links.add(link)
        deaf = asyncio.Event()
        try:
            await asyncio.gather(self._ask(link, _PEER.unpack(peer)[0], deaf), self._answer(link, deaf))
        finally:
            self._links.discard(link)
            link.cut()

    async def _ask(self, link: Link, pid: int, deaf: asyncio.Event) -> None:
        transaction = b""
        with contextlib.suppress(OSError):
            while data := await link.from_client.read(_CHUNK):
                transaction = (transaction + data)[-1_000_000:] if self._wanted else b""
                commits = b"COMMIT" in data
                then = self._fate(transaction) if commits else None
                if commits:
                    transaction = b""
                match then:
                    case "killed before it":
                        self._kill(pid, f"before a commit that {self._kind}")
                        link.cut()
                        return
                    case "the connection cut before it":
                        link.cut()
                        return
                    case "its answer lost" | "killed after it":
                        deaf.set()
                    case None:
                        pass
                link.to_server.write(data)
                await link.to_server.drain()
                if then == "killed after it":
                    self._kill(pid, f"after a commit that {self._kind}")
        _end(link.to_server)

    def _fate(self, transaction: bytes) -> AtCommit | None:
        if self._wanted is None or self.calm:
            return None
        kind, then = self._wanted
        if kind != "any" and not _NOTED[kind].search(transaction):
            return None
        self._wanted = None
        self._kind = kind
        self.done[f"{then}: {kind}"] = self.done.get(f"{then}: {kind}", 0) + 1
        return then

    async def _answer(self, link: Link, deaf: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await link.from_server.read(_CHUNK):
                if deaf.is_set():
                    link.to_client.transport.abort()
                    return
                link.to_client.write(data)
                await link.to_client.drain()
        _end(link.to_client)
