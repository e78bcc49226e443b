"""A smarthost's log as Postfix writes it, from what a test says happened, or from the sink's own journal."""

from __future__ import annotations

import os
import shutil
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from scripts.sink import Sink

HOST = "mx1"


class PostfixLog:
    """Appends to `path`; each mail gets a queue id of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0
        path.touch()

    def write(self, *lines: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def said(self, daemon: str, words: str) -> str:
        now = datetime.now(UTC)
        return f"{now:%b} {now.day:>2} {now:%H:%M:%S} {HOST} postfix/{daemon}[4711]: {words}"

    def seen(self, message_id: str) -> str:
        """The header was read; nothing more is known. The queue id."""
        self._count += 1
        queue_id = f"4B{self._count:08X}"
        self.write(
            self.said("smtpd", f"{queue_id}: client=app.nord.example[192.0.2.7]"),
            self.said("cleanup", f"{queue_id}: message-id={message_id}"),
        )
        return queue_id

    def accepted(self, message_id: str, to: str = "ana@dupont.example") -> str:
        """It is in the queue: the client's dot was answered, or is about to be."""
        queue_id = self.seen(message_id)
        self.write(self.said("qmgr", f"{queue_id}: from=<relance@nord.example>, size=4711, nrcpt=1 (queue active)"))
        self.told(queue_id, to, "sent", "250 2.0.0 Ok: queued as 1AB")
        return queue_id

    def told(self, queue_id: str, to: str, status: str, words: str, *, daemon: str = "smtp") -> None:
        """What a delivery agent says of one recipient."""
        self.write(
            self.said(
                daemon,
                f"{queue_id}: to=<{to}>, relay=mx.dupont.example[198.51.100.9]:25, delay=0.4,"
                f" delays=0.1/0.01/0.1/0.2, dsn={'2.0.0' if status == 'sent' else '5.1.1'}, status={status} ({words})",
            )
        )


class Following:
    """While it lasts, each mail that the sink takes is in a log of Postfix's a moment later.

    By `chance` the log is rotated now and then, in both of logrotate's ways, or comes late.
    """

    def __init__(self, sink: Sink, path: Path, *, chance: random.Random | None = None, latest_s: float = 0) -> None:
        """`latest_s`: by how much a line may come late."""
        self.log = PostfixLog(path)
        self.rotations = 0
        self._sink = sink
        self._chance = chance
        self._latest_s = latest_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="postfix", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        written = 0
        while not self._over.wait(0.02):
            if self._chance and self._chance.random() < 0.01:
                self._rotate(self._chance.choice(("create", "copytruncate")))
            if self._chance and self._chance.random() < 0.005:
                self._over.wait(self._chance.random() * self._latest_s)
            taken = self._sink.mails()
            for line in taken[written:]:
                self.log.accepted(line.message_id, line.to[0])
            written = len(taken)

    def _rotate(self, way: str) -> None:
        self.rotations += 1
        elder = self.log.path.with_name(f"{self.log.path.name}.{10**6 - self.rotations}")
        if way == "create":
            self.log.path.rename(elder)
            self.log.path.touch()
        else:
            shutil.copyfile(self.log.path, elder)
            os.truncate(self.log.path, 0)
