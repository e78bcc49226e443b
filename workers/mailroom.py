"""Threads that read mailboxes while the scheduler goes on: whatever a mail server does, it delays nothing else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

from store import mailboxes
from store import settings as stored
from store.connection import connect
from workers.identity import is_ours
from workers.imap import Unreadable
from workers.log import log
from workers.mailbox import look

if TYPE_CHECKING:
    from types import TracebackType

    from store.connection import Connection, Pool
    from store.mailboxes import Mailbox
    from workers.settings import Settings

MOST_THREADS: Final = 4
_PATIENCE_S: Final = 5.0


class Mailroom:
    """Looks at each mailbox when it is its turn, a thread each, four at once; any number of schedulers may have one."""

    def __init__(self, settings: Settings, *, actor: str) -> None:
        self._settings = settings
        self._actor = actor
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A thread that waits for a mail server is not waited for: it dies with the process, and nothing is lost."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def round(self, pool: Pool) -> int:
        """Begin to look where it is time to. Returns at once, with how many looks begin."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        free = MOST_THREADS - len(self._threads)
        if not free:
            return 0
        with pool.connection() as conn:
            if not is_ours(stored.read(conn), self._settings.instance):
                return 0
            turns = set(mailboxes.take(conn, every_s=self._settings.mailbox_s, most=free))
            found = [box for box in mailboxes.mailboxes(conn) if box.account_id in turns] if turns else []
        for box in found:
            thread = threading.Thread(target=self._look, args=(box,), name=f"mailbox-{box.account_id}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return len(found)

    def _look(self, box: Mailbox) -> None:
        try:
            with connect(self._settings.database_url, actor=self._actor) as conn:
                look_and_tell(conn, box, by=self._actor, every_s=self._settings.mailbox_s, stop=self._stop)
        except Exception as error:  # noqa: BLE001 - logged by its class; the next round tries again
            log("round_failed", level="warning", part="mailbox", account=box.account_id, error=type(error).__name__)


def look_and_tell(conn: Connection, box: Mailbox, *, by: str, every_s: float, stop: threading.Event) -> None:
    """Look once, and write down how that went."""
    try:
        found = look(conn, box, by=by, stopped=stop.is_set)
    except Unreadable as error:
        log("mailbox_unreadable", level="warning", account=box.account_id, error=str(error))
        with conn.transaction():
            mailboxes.failed(conn, box.account_id, str(error), every_s=every_s)
        return
    with conn.transaction():
        mailboxes.looked(conn, box.account_id, more=found.more and not stop.is_set())
    if found.mails:
        log(
            "mailbox_read",
            account=box.account_id,
            mails=found.mails,
            failed=found.failed,
            came=len(found.came),
            tasks=sum(one.task_id is not None for one in found.came),
        )
