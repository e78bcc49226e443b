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
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING

import psycopg

from store import claims
from workers.deliveries import Delivery, Item, boottime
from workers.log import log
from workers.smtp import Refused, SmtpConnection, Unreachable, connect
from workers.steps import reached
from workers.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from store.connection import Connection, Pool
    from workers.deliveries import Ready
    from workers.settings import Settings

_IDLE_S = 10.0
_PATIENCE_S = 30.0
_STUCK_S = 5.0
_ANNOUNCED_S = 1.0
_SLOW_S = 300.0
_RETRY_S = (0.1, 0.5, 1, 2, 5, 10, 10, 10, 10, 10)
_TOO_MANY = 421


class Sender:
    """Start it, `deliver` from any thread, stop it."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        settle: Callable[[Connection, Ready, Delivery], bool],
    ) -> None:
        """`settle` writes down, in its own transaction, what became of a mail that was not sent.

        It answers whether the account's server is to be left alone for now.
        """
        self._pool = pool
        self._settings = settings
        self._settle = settle
        self._waiting: dict[int, asyncio.Queue[Item | None]] = defaultdict(asyncio.Queue)
        self._taken_at: dict[int, float] = {}
        self._limits: dict[int, int] = {}
        self._slow_since: dict[int, float] = {}
        self._serving: dict[int, int] = defaultdict(int)
        self._held: set[Item] = set()
        self._ticker = Ticker(
            pool,
            lease_s=settings.armed_lease_s,
            instance=settings.instance,
            sent=self._finish,
            not_armed=self._decide,
        )
        self._settling = ThreadPoolExecutor(1, "relance-settle")
        self._renewing = ThreadPoolExecutor(1, "relance-renew")
        self._loop = asyncio.new_event_loop()
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
        for executor in (self._settling, self._renewing):
            executor.shutdown()
        self._ticker.close()

    def deliver(self, mails: Sequence[Ready]) -> list[Delivery | None]:
        """Hand mails over and wait until each is decided; None for one still in a slow server's hands after 30 s.

        Mails that no connection has taken by then come back as `not_started`: one silent account holds nobody up.
        """
        items = [Item(ready) for ready in mails]
        try:
            self._loop.call_soon_threadsafe(self._take, items)
        except RuntimeError:  # stopped meanwhile: their leases lapse
            return [Delivery("not_started") for _ in items]
        pending = wait_for([item.done for item in items], timeout=_PATIENCE_S).not_done
        if pending:
            self._loop.call_soon_threadsafe(self._give_up, [item for item in items if item.done in pending])
            wait_for(pending, timeout=1)
        for item in items:
            item.late = not item.done.done()
        return [None if item.late else item.done.result() for item in items]

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
            await self._ticker.round()
        renewing.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _stop(self) -> None:
        self._stopping = True
        self._give_up(list(self._held))
        for account_id, serving in self._serving.items():
            for _ in range(serving):
                self._waiting[account_id].put_nowait(None)
        self._ticker.stirred.set()

    def _take(self, items: list[Item]) -> None:
        now = boottime()
        self._held.update(items)
        for item in items:
            account = item.ready.account
            self._ticker.companies[item.ready.company.id] = item.ready.company
            self._limits[account.id] = account.max_connections
            stuck = self._waiting[account.id].qsize() and now - self._taken_at.get(account.id, now) > _STUCK_S
            if stuck or self._stopping:
                self._give_up([item])
            else:
                self._taken_at.setdefault(account.id, now)
                self._waiting[account.id].put_nowait(item)
        self._staff()

    def _give_up(self, items: Iterable[Item]) -> None:
        for item in items:
            if not item.started:
                item.started = True
                self._decide(item, Delivery("not_started"))

    def _give_up_account(self, account_id: int) -> None:
        self._give_up([item for item in self._held if item.ready.account.id == account_id])

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
        item: Item | None = None
        try:
            while item or self._serving[account_id] <= self._share(account_id):
                item = item or await self._next(account_id)
                if item is None:
                    break
                connection, item = await self._send(item, connection)
                if item is None and self._somebody_starves():
                    break
        except TimeoutError:
            pass
        finally:
            self._serving[account_id] -= 1
            self._staff()
            if connection:
                await connection.quit()

    async def _next(self, account_id: int) -> Item | None:
        """Take the account's next mail, None when it is time to stop. Raises TimeoutError after an idle while."""
        waiting = self._waiting[account_id]
        while True:
            if waiting.empty():
                async with asyncio.timeout(_IDLE_S):
                    item = await waiting.get()
            else:
                item = waiting.get_nowait()
            self._taken_at[account_id] = boottime()
            if item is None or self._begun(item):
                return item

    def _begun(self, item: Item) -> bool:
        """From here on a mail is a connection's; False for one that was given up meanwhile."""
        if item.started:
            return False
        item.started = True
        self._ticker.move(item)
        return True

    def _following(self, connection: SmtpConnection) -> Item | None:
        """The mail whose envelope may travel with the dot of the one before it."""
        account = connection.account
        waiting = self._waiting[account.id]
        if self._stopping or not connection.pipelines or self._somebody_starves():
            return None
        share = self._share(account.id)
        if share == 1 or self._serving[account.id] > share:  # alone, it could be handed to no other connection
            return None
        if boottime() - self._slow_since.get(account.id, -_SLOW_S) < _SLOW_S:
            return None
        while not waiting.empty():
            item = waiting.get_nowait()
            self._taken_at[account.id] = boottime()
            if item and item.ready.account != account:
                waiting.put_nowait(item)  # the account was edited: for a new connection
                return None
            if item and self._begun(item):
                return item
        return None

    async def _send(self, item: Item, connection: SmtpConnection | None) -> tuple[SmtpConnection | None, Item | None]:
        """Take one mail through. Returns the connection, None where it is spent, and the next mail if it was begun."""
        ready = item.ready
        if connection and (connection.closed or connection.account != ready.account):
            await connection.quit()  # the server has left, or the account was edited since
            connection = None
        kept = connection is not None
        try:
            if connection is None:
                connection = await connect(ready.account, ready.password)
            reached("connected")
            await connection.upload(ready.account.from_address, ready.recipients, ready.stuffed)
        except Exception as error:  # noqa: BLE001 - whatever it was, the mail has not left, and its actor waits
            tired = isinstance(error, Unreachable) or (isinstance(error, Refused) and error.reply.code == _TOO_MANY)
            if kept and tired and connection:
                connection.abort()
                return await self._send(item, None)  # the server let go of the connection, not of the mail
            return await self._not_uploaded(item, connection, error), None
        reached("uploaded")
        if not await self._ticker.arm(item):
            connection.abort()
            return None, None
        if connection.closed or boottime() - item.arming_since > self._settings.dot_budget_s:
            connection.abort()
            self._decide(item, Delivery("disarmed", error="too long between arming and the dot"))
            return None, None
        return await self._dot(item, connection)

    async def _not_uploaded(
        self, item: Item, connection: SmtpConnection | None, error: Exception
    ) -> SmtpConnection | None:
        if isinstance(error, Refused):
            self._decide(item, Delivery("refused", error.reply, error.step))
            if error.step == "auth":  # one wrong login is enough
                self._give_up_account(item.ready.account.id)
            return await self._after_refusal(connection, error)
        if not isinstance(error, Unreachable):
            log("upload_failed", level="error", reminder=item.ready.mail.reminder_id, error=type(error).__name__)
        words = str(error) if isinstance(error, Unreachable) else type(error).__name__
        self._decide(item, Delivery("unreachable", step="" if connection else "connect", error=words))
        if connection:
            connection.abort()
        return None

    async def _dot(self, item: Item, connection: SmtpConnection) -> tuple[SmtpConnection | None, Item | None]:
        """The final dot of an armed mail, with the next one's envelope in the same packet, and its answer."""
        self._ticker.move(item)
        following = self._following(connection)
        if following is None:
            return await self._answer(item, connection), None
        ready = following.ready
        with contextlib.suppress(UnicodeEncodeError):  # told when its turn comes: it is not this mail's fault
            connection.announce(ready.account.from_address, ready.recipients, ready.stuffed)
        # A server that takes its time over one mail does not keep the other, of which it has the envelope only.
        patience = self._loop.call_later(_ANNOUNCED_S, self._take_back, following, connection)
        kept = await self._answer(item, connection)
        patience.cancel()
        if connection.spent:
            connection.abort()
            return None, None
        return kept, following

    def _take_back(self, item: Item, connection: SmtpConnection) -> None:
        """The answer takes its time: another connection has the mail, and envelopes travel alone for a while."""
        connection.spent = True
        self._slow_since[item.ready.account.id] = boottime()
        item.started = False
        self._ticker.rest(item)
        if self._stopping:
            self._give_up([item])
            return
        self._waiting[item.ready.account.id].put_nowait(item)
        self._staff()

    async def _answer(self, item: Item, connection: SmtpConnection) -> SmtpConnection | None:
        reached("at_dot")
        try:
            item.reply = await connection.dot(self._settings.answer_s)
        except Refused as refusal:
            self._decide(item, Delivery("refused", refusal.reply, "dot"))
            return await self._after_refusal(connection, refusal)
        except Exception as error:  # noqa: BLE001 - whatever it was, the dot may have left
            connection.abort()
            self._decide(item, Delivery("unknown", error=f"{type(error).__name__}: {error}"))
            return None
        reached("answered")
        self._ticker.answered(item)
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

    def _decide(self, item: Item, delivery: Delivery) -> None:
        """Write down what became of a mail that was not sent, then let its actor know."""
        self._ticker.rest(item)
        self._loop.run_in_executor(self._settling, self._write_down, item, delivery)

    def _write_down(self, item: Item, delivery: Delivery) -> None:
        """What is certain must not become a doubt because the database was away for a moment."""
        reached("settling")
        try:
            for pause_s in _RETRY_S:
                if self._settled(item, delivery):
                    reached("settled")
                    return
                time.sleep(pause_s)
            log("settle_failed", level="error", reminder=item.claim[0], fate=delivery.fate)
        except Exception as error:  # noqa: BLE001 - the actor must hear of it all the same
            log("settle_failed", level="error", reminder=item.claim[0], error=type(error).__name__)
        finally:
            self._loop.call_soon_threadsafe(self._finish, item, delivery)

    def _settled(self, item: Item, delivery: Delivery) -> bool:
        try:
            with self._pool.connection() as conn:
                shut = self._settle(conn, item.ready, delivery)
        except (psycopg.Error, OSError):
            return False
        if shut:
            self._loop.call_soon_threadsafe(self._give_up_account, item.ready.account.id)
        return True

    def _finish(self, item: Item, delivery: Delivery) -> None:
        if item.late and delivery.fate == "sent":  # its actor is gone, and what it would have noted is noted here
            item.late = False
            self._loop.run_in_executor(self._settling, self._write_down, item, delivery)
            return
        self._held.discard(item)
        if not item.done.done():
            item.done.set_result(delivery)
        if self._stopping:
            self._ticker.stirred.set()

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
