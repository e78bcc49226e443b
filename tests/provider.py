"""A mail provider that knows idempotency keys: a second mail with a key that it has seen is answered, and dropped."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from scripts.sink import Sink

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.sink import Behaviour


class Provider(Sink):
    """`dropped`: the keys of mails that it took for repetitions; it remembers each for `window_s`."""

    def __init__(self, folder: Path, *, behaviour: Behaviour, window_s: float) -> None:
        super().__init__(folder, behaviour=behaviour)
        self.window_s = window_s
        self.dropped: list[str] = []
        self._seen: dict[str, float] = {}
        self._accept = self._server.mailbox.accept
        self._server.mailbox.accept = self._accept_once  # type: ignore[method-assign]

    def _accept_once(self, sender: str, recipients: list[str], mail: bytes) -> None:
        found = re.search(rb"^Idempotency-Key: (\S+)\r$", mail, re.MULTILINE)
        key, now = found[1].decode() if found else "", time.monotonic()
        if key and now - self._seen.get(key, -1e9) < self.window_s:
            self.dropped.append(key)
            return
        self._seen[key] = now
        self._accept(sender, recipients, mail)
