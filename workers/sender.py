"""The sender: one thread a process that drives a few kept connections and arms and confirms mails by the tick.

An actor hands over ready mails and waits; a connection uploads each but for its dot; the tick arms them together in one
transaction (store.tick), together with everything answered since the last one; then the dots leave. What becomes of
a mail that did not leave is written by `settle`, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import psycopg

from store import claims
from store.tick import Answered, Ticked, Uploaded, tick
from workers.log import log
from workers.smtp import Refused, Reply, SmtpConnection, Unreachable, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from store.companies import Account, Company
    from store.connection import Connection, Pool
    from workers.settings import Settings

Fate = Literal["sent", "withdrawn", "not_started", "refused", "unreachable", "disarmed", "unknown"]

_GATHER_S = 0.025
_IDLE_S = 10.0
_PATIENCE_S = 30.0
_STUCK_S = 5.0
_RETRY_S = (0.1, 0.5, 1, 2, 5, 10, 10, 10, 10, 10)
_TOO_MANY = 421


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A claimed and rendered mail. `stuffed`: its bytes for SMTP, all but the final dot."""

    mail: Uploaded
    account: Account
    password: str | None
    company: Company
    recipients: tuple[str, ...]
    stuffed: bytes
    deferrals: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a mail. `withdrawn`, `not_started`, `refused`, `unreachable`, `disarmed`: it surely did not leave.

    `unknown`: its dot may have left; nobody but the sweep, evidence or a person may touch it.
    """

    fate: Fate
    reply: Reply | None = None
    step: str = ""
    error: str = ""


@dataclass(slots=True, eq=False)
class _Item:
    ready: Ready
    done: Future[Delivery] = field(default_factory=Future)
    started: bool = False
    moving_since: float = 0.0
    armed: asyncio.Future[bool] | None = None
    arming_since: float = 0.0
    reply: Reply | None = None

    @property
    def claim(self) -> tuple[int, int]:
        """The reminder under its fence: an older claim of the same reminder may still be in this process."""
        return self.ready.mail.reminder_id, self.ready.mail.fence


def boottime() -> float:
    """Seconds that go on while the machine sleeps, where it can tell; what the dot's budget is counted on."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Sender:
    """Start it, `deliver` from any thread, stop it."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        settle: Callable[[Connection, Ready, Delivery], None],
    ) -> None:
        """`settle` writes down, in its own transaction, what became of a mail that was not sent."""
        self._pool = pool
        self._settings = settings
        self._settle = settle
        self._waiting: dict[int, asyncio.Queue[_Item | None]] = defaultdict(asyncio.Queue)
        self._taken_at: dict[int, float] = {}
        self._limits: dict[int, int] = {}
        self._serving: dict[int, int] = defaultdict(int)
        self._uploaded: list[_Item] = []
        self._answered: list[_Item] = []
        self._alone: list[_Item] = []
        self._held: set[_Item] = set()
        self._moving: set[_Item] = set()
        self._companies: dict[int, Company] = {}
        self._ticking = ThreadPoolExecutor(1, "relance-tick")
        self._settling = ThreadPoolExecutor(1, "relance-settle")
        self._renewing = ThreadPoolExecutor(1, "relance-renew")
        self._loop = asyncio.new_event_loop()
        self._stirred = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="relance-sender", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what has begun to leave, give back what has not, close the connections."""
        with contextlib.suppress(RuntimeError):  # stopped before
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()
        for executor in (self._settling, self._renewing, self._ticking):
            executor.shutdown()

    def deliver(self, mails: Sequence[Ready]) -> list[Delivery | None]:
        """Hand mails over and wait until each is decided; None for one still in a slow server's hands after 30 s.

        Mails that no connection has taken by then come back as `not_started`: one silent account holds nobody up.
        """
        items = [_Item(ready) for ready in mails]
        try:
            self._loop.call_soon_threadsafe(self._take, items)
        except RuntimeError:  # stopped meanwhile: their leases lapse
            return [Delivery("not_started") for _ in items]
        pending = wait_for([item.done for item in items], timeout=_PATIENCE_S).not_done
        if pending:
            self._loop.call_soon_threadsafe(self._give_up, [item for item in items if item.done in pending])
            wait_for(pending, timeout=1)
        return [item.done.result() if item.done.done() else None for item in items]

    # ------------------------------------------------------------ inside the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            # Nobody would arm or confirm a mail any more: better a dead process, which is started again.
            log("sender_died", level="error", error=type(error).__name__)
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        self._loop.close()

    async def _main(self) -> None:
        renewing = asyncio.create_task(self._renew())
        while not (self._stopping and not self._held):
            await self._stirred.wait()
            self._stirred.clear()
            if self._uploaded or self._answered:
                await self._gather()
                await self._tick()
            if self._alone:
                await self._repeat_alone()
        renewing.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _stop(self) -> None:
        self._stopping = True
        self._give_up(list(self._held))
        for account_id, serving in self._serving.items():
            for _ in range(serving):
                self._waiting[account_id].put_nowait(None)
        self._stirred.set()

    def _take(self, items: list[_Item]) -> None:
        now = boottime()
        self._held.update(items)
        for item in items:
            account = item.ready.account
            self._companies[item.ready.company.id] = item.ready.company
            self._limits[account.id] = account.max_connections
            stuck = self._waiting[account.id].qsize() and now - self._taken_at.get(account.id, now) > _STUCK_S
            if stuck or self._stopping:
                self._give_up([item])
            else:
                self._taken_at.setdefault(account.id, now)
                self._waiting[account.id].put_nowait(item)
        self._staff()

    def _give_up(self, items: Iterable[_Item]) -> None:
        for item in items:
            if not item.started:
                item.started = True
                self._decide(item, Delivery("not_started"))

    def _staff(self) -> None:
        """Open connections where mails wait and there is room."""
        if self._stopping:
            return
        for account_id, waiting in self._waiting.items():
            wanted = min(self._share(account_id), self._serving[account_id] + waiting.qsize())
            # A first connection always: those of an account whose server is silent cannot be taken back.
            first = 1 if waiting.qsize() and not self._serving[account_id] else 0
            room = max(first, self._settings.connections - sum(self._serving.values()))
            for _ in range(min(room, wanted - self._serving[account_id])):
                self._serving[account_id] += 1
                task = asyncio.create_task(self._serve(account_id))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _share(self, account_id: int) -> int:
        """Connections an account may have: its equal part, so half of the worker's at most, while others have work."""
        working = {each for each in self._limits if self._serving[each] or self._waiting[each].qsize()} | {account_id}
        return max(1, min(self._limits[account_id], self._settings.connections // len(working)))

    def _somebody_starves(self) -> bool:
        return any(not self._serving[each] and self._waiting[each].qsize() for each in self._limits)

    async def _serve(self, account_id: int) -> None:
        """One connection's life: mail after mail of one account, until it has been idle for a while."""
        connection: SmtpConnection | None = None
        try:
            while self._serving[account_id] <= self._share(account_id):
                waiting = self._waiting[account_id]
                if waiting.empty():
                    async with asyncio.timeout(_IDLE_S):
                        item = await waiting.get()
                else:
                    item = waiting.get_nowait()
                self._taken_at[account_id] = boottime()
                if item is None:
                    break
                if not item.started:
                    item.started = True
                    self._move(item)
                    connection = await self._send(item, connection)
                if self._somebody_starves():
                    break
        except TimeoutError:
            pass
        finally:
            self._serving[account_id] -= 1
            self._staff()
            if connection:
                await connection.quit()

    async def _send(self, item: _Item, connection: SmtpConnection | None) -> SmtpConnection | None:
        """Take one mail through; the connection to use for the next, None where it is spent."""
        ready = item.ready
        if connection and (connection.closed or connection.account != ready.account):
            await connection.quit()  # the server has left, or the account was edited since
            connection = None
        kept = connection is not None
        try:
            if connection is None:
                connection = await connect(ready.account, ready.password)
            await connection.upload(ready.account.from_address, ready.recipients, ready.stuffed)
        except Exception as error:  # noqa: BLE001 - whatever it was, the mail has not left, and its actor waits
            tired = isinstance(error, Unreachable) or (isinstance(error, Refused) and error.reply.code == _TOO_MANY)
            if kept and tired and connection:
                connection.abort()
                return await self._send(item, None)  # the server let go of the connection, not of the mail
            return await self._not_uploaded(item, connection, error)
        if not await self._arm(item):
            connection.abort()
            return None
        if connection.closed or boottime() - item.arming_since > self._settings.dot_budget_s:
            connection.abort()
            self._decide(item, Delivery("disarmed", error="too long between arming and the dot"))
            return None
        return await self._dot(item, connection)

    async def _not_uploaded(
        self, item: _Item, connection: SmtpConnection | None, error: Exception
    ) -> SmtpConnection | None:
        if isinstance(error, Refused):
            self._decide(item, Delivery("refused", error.reply, error.step))
            if error.step == "auth":  # one wrong login is enough
                self._give_up([each for each in self._held if each.ready.account.id == item.ready.account.id])
            return await self._after_refusal(connection, error)
        if not isinstance(error, Unreachable):
            log("upload_failed", level="error", reminder=item.ready.mail.reminder_id, error=type(error).__name__)
        words = str(error) if isinstance(error, Unreachable) else type(error).__name__
        self._decide(item, Delivery("unreachable", error=words))
        if connection:
            connection.abort()
        return None

    async def _dot(self, item: _Item, connection: SmtpConnection) -> SmtpConnection | None:
        """The final dot of an armed mail, and its answer."""
        self._move(item)
        try:
            item.reply = await connection.dot(self._settings.answer_s)
        except Refused as refusal:
            self._decide(item, Delivery("refused", refusal.reply, "dot"))
            return await self._after_refusal(connection, refusal)
        except Exception as error:  # noqa: BLE001 - whatever it was, the dot may have left
            connection.abort()
            self._decide(item, Delivery("unknown", error=f"{type(error).__name__}: {error}"))
            return None
        self._answered.append(item)
        self._rest(item)
        return connection

    async def _after_refusal(self, connection: SmtpConnection | None, refusal: Refused) -> SmtpConnection | None:
        if connection is None or connection.closed or refusal.reply.code == _TOO_MANY:
            if connection:
                connection.abort()
            return None
        if refusal.step == "dot":
            return connection
        try:
            await connection.reset()
        except (Refused, Unreachable):
            connection.abort()
            return None
        return connection

    async def _arm(self, item: _Item) -> bool:
        item.armed = self._loop.create_future()
        self._uploaded.append(item)
        self._rest(item)
        return await item.armed

    async def _gather(self) -> None:
        """Let the tick be worth its commit: wait for the mails that a connection has just begun to move.

        A slow server's mail stops counting once its step has taken a moment, so it keeps the others waiting for no
        longer; and each connection stands still until the tick once its next mail is uploaded.
        """
        while self._moving:
            rest = max(item.moving_since for item in self._moving) + _GATHER_S - self._loop.time()
            if rest <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._stirred.wait()
            self._stirred.clear()

    def _move(self, item: _Item) -> None:
        item.moving_since = self._loop.time()
        self._moving.add(item)

    def _rest(self, item: _Item) -> None:
        self._moving.discard(item)
        self._stirred.set()

    async def _tick(self) -> None:
        uploaded, self._uploaded = self._uploaded, []
        answered, self._answered = self._answered, []
        since = boottime()
        for item in uploaded:
            item.arming_since = since
        try:
            done = await self._loop.run_in_executor(self._ticking, self._write, uploaded, answered)
        except Exception as error:  # noqa: BLE001 - nothing of it is known to be written: no dot, and sent again alone
            name = type(error).__name__
            log("tick_failed", level="error", error=name, uploaded=len(uploaded), answered=len(answered))
            for item in uploaded:
                self._release(item, Delivery("disarmed", error=name))
            self._alone += answered
            self._stirred.set()
            return
        self._apply(uploaded, answered, done)

    async def _repeat_alone(self) -> None:
        """Sent was not written: again, each alone so that one bad row stops no other, while the process lives."""
        alone, self._alone = self._alone, []
        for item in alone:
            try:
                done = await self._loop.run_in_executor(self._ticking, self._write, [], [item])
            except Exception as error:  # noqa: BLE001 - the mail was accepted: only its row is late
                log("sent_not_written", level="error", reminder=item.claim[0], error=type(error).__name__)
                self._alone.append(item)
            else:
                self._apply([], [item], done)
        if self._alone:
            self._loop.call_later(0.5, self._stirred.set)

    def _write(self, uploaded: list[_Item], answered: list[_Item]) -> Ticked:
        with self._pool.connection() as conn:
            return tick(
                conn,
                [item.ready.mail for item in uploaded],
                [
                    Answered(
                        reminder_id=item.ready.mail.reminder_id,
                        fence=item.ready.mail.fence,
                        company_id=item.ready.mail.company_id,
                        invoice_ids=tuple(item.ready.mail.versions),
                        reply=str(item.reply),
                    )
                    for item in answered
                ],
                lease_s=self._settings.armed_lease_s,
                companies=self._companies,
            )

    def _apply(self, uploaded: list[_Item], answered: list[_Item], done: Ticked) -> None:
        again = False
        for item in uploaded:
            if item.claim in done.armed and item.armed:
                item.armed.set_result(True)
            elif item.claim in done.withdrawn:
                self._release(item, Delivery("withdrawn"))
            else:
                self._uploaded.append(item)
                again = True
        for item in answered:
            if item.claim[0] in done.ended:
                log("accepted_after_its_end", level="error", reminder=item.claim[0])
            if item.claim[0] in done.sent | done.ended:
                self._finish(item, Delivery("sent", item.reply))
            else:
                self._answered.append(item)
                again = True
        if again:
            self._loop.call_later(0.01, self._stirred.set)

    def _release(self, item: _Item, delivery: Delivery) -> None:
        """Not armed: the connection closes without the dot, and the mail is given back."""
        if item.armed and not item.armed.done():
            item.armed.set_result(False)
        self._decide(item, delivery)

    def _decide(self, item: _Item, delivery: Delivery) -> None:
        """Write down what became of a mail that was not sent, then let its actor know."""
        self._rest(item)
        self._loop.run_in_executor(self._settling, self._write_down, item, delivery)

    def _write_down(self, item: _Item, delivery: Delivery) -> None:
        """What is certain must not become a doubt because the database was away for a moment."""
        try:
            for pause_s in _RETRY_S:
                if self._settled(item, delivery):
                    return
                time.sleep(pause_s)
            log("settle_failed", level="error", reminder=item.claim[0], fate=delivery.fate)
        except Exception as error:  # noqa: BLE001 - the actor must hear of it all the same
            log("settle_failed", level="error", reminder=item.claim[0], error=type(error).__name__)
        finally:
            self._loop.call_soon_threadsafe(self._finish, item, delivery)

    def _settled(self, item: _Item, delivery: Delivery) -> bool:
        try:
            with self._pool.connection() as conn:
                self._settle(conn, item.ready, delivery)
        except (psycopg.Error, OSError):
            return False
        return True

    def _finish(self, item: _Item, delivery: Delivery) -> None:
        self._held.discard(item)
        if not item.done.done():
            item.done.set_result(delivery)
        if self._stopping:
            self._stirred.set()

    async def _renew(self) -> None:
        """Keep the leases of what waits in this process."""
        while True:
            await asyncio.sleep(self._settings.lease_s / 3)
            held = [item.claim for item in self._held]
            if held:
                await self._loop.run_in_executor(self._renewing, self._renew_leases, held)

    def _renew_leases(self, held: list[tuple[int, int]]) -> None:
        try:
            with self._pool.connection() as conn:
                claims.renew(conn, held, lease_s=self._settings.lease_s)
        except (psycopg.Error, OSError) as error:
            log("renew_failed", level="warning", error=type(error).__name__)
