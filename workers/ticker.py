"""When a tick happens and who is in it: uploaded mails are armed, answered ones become sent, in one transaction.

Runs in the sender's loop; the transaction itself (store.tick) on a thread of its own, so that no mail waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from store.tick import Answered, Ticked, tick
from workers import identity
from workers.deliveries import Delivery, boottime
from workers.log import log
from workers.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.companies import Company
    from store.connection import Pool
    from workers.deliveries import Item

_GATHER_S = 0.025


class Ticker:
    """`move` and `rest` tell it what a connection is doing, `arm` and `answered` hand mails over, `round` ticks."""

    def __init__(
        self,
        pool: Pool,
        *,
        lease_s: float,
        instance: str,
        sent: Callable[[Item, Delivery], None],
        not_armed: Callable[[Item, Delivery], None],
    ) -> None:
        """`sent` hears of each mail written as sent, `not_armed` of each that is not to leave as it stands.

        `instance`: to which this host belongs, as the settings say it.
        """
        self._pool = pool
        self._lease_s = lease_s
        self._instance = instance
        self._sent = sent
        self._not_armed = not_armed
        self.companies: dict[int, Company] = {}
        self._uploaded: list[Item] = []
        self._answered: list[Item] = []
        self._alone: list[Item] = []
        self._moving: set[Item] = set()
        self._writing = ThreadPoolExecutor(1, "relance-tick")
        self.stirred = asyncio.Event()

    def close(self) -> None:
        """Let the last transaction end."""
        self._writing.shutdown()

    async def arm(self, item: Item) -> bool:
        """Wait until this uploaded mail is armed, its row committed (True), or is not to leave as it stands (False)."""
        item.armed = asyncio.get_running_loop().create_future()
        self._uploaded.append(item)
        self.rest(item)
        return await item.armed

    def answered(self, item: Item) -> None:
        """Its dot was answered by a 2xx: to be written as sent, whatever it takes."""
        self._answered.append(item)
        self.rest(item)

    def move(self, item: Item) -> None:
        """A connection begins a step with this mail."""
        item.moving_since = asyncio.get_running_loop().time()
        self._moving.add(item)

    def rest(self, item: Item) -> None:
        """The step has ended."""
        self._moving.discard(item)
        self.stirred.set()

    async def round(self) -> None:
        """Wait until something has happened, and write it down."""
        await self.stirred.wait()
        self.stirred.clear()
        if self._uploaded or self._answered:
            await self._gather()
            await self._tick()
        if self._alone:
            await self._repeat_alone()

    async def _gather(self) -> None:
        """Let the tick be worth its commit: wait for the mails that a connection has just begun to move.

        A slow server's mail stops counting once its step has taken a moment, so it keeps the others waiting for no
        longer; and each connection stands still until the tick once its next mail is uploaded.
        """
        loop = asyncio.get_running_loop()
        while self._moving:
            rest = max(item.moving_since for item in self._moving) + _GATHER_S - loop.time()
            if rest <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self.stirred.wait()
            self.stirred.clear()

    async def _tick(self) -> None:
        uploaded, self._uploaded = self._uploaded, []
        answered, self._answered = self._answered, []
        since = boottime()
        for item in uploaded:
            item.arming_since = since
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._writing, self._write, uploaded, answered)
        except Exception as error:  # noqa: BLE001 - nothing of it is known to be written: no dot, and sent again alone
            name = type(error).__name__
            log("tick_failed", level="error", error=name, uploaded=len(uploaded), answered=len(answered))
            for item in uploaded:
                self._release(item, Delivery("disarmed", error=name))
            self._alone += answered
            self.stirred.set()
            return
        self._apply(uploaded, answered, done)

    async def _repeat_alone(self) -> None:
        """Sent was not written: again, each alone so that one bad row stops no other, while the process lives."""
        loop = asyncio.get_running_loop()
        alone, self._alone = self._alone, []
        for item in alone:
            try:
                done = await loop.run_in_executor(self._writing, self._write, [], [item])
            except Exception as error:  # noqa: BLE001 - the mail was accepted: only its row is late
                log("sent_not_written", level="error", reminder=item.claim[0], error=type(error).__name__)
                self._alone.append(item)
            else:
                self._apply([], [item], done)
        if self._alone:
            loop.call_later(0.5, self.stirred.set)

    def _write(self, uploaded: list[Item], answered: list[Item]) -> Ticked:
        reached("ticking")
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
                lease_s=self._lease_s,
                companies=self.companies,
                instance_id=identity.of_host(self._instance),
            )

    def _apply(self, uploaded: list[Item], answered: list[Item], done: Ticked) -> None:
        again = False
        given_up = dict.fromkeys(done.withdrawn, Delivery("withdrawn"))
        given_up |= {claim: Delivery("unfit", error=why) for claim, why in done.unfit.items()}
        if done.armed:
            reached("armed")
        if done.sent:
            reached("sent")
        for item in uploaded:
            if item.claim in done.armed and item.armed:
                item.armed.set_result(True)
            elif item.claim in given_up:
                self._release(item, given_up[item.claim])
            else:
                self._uploaded.append(item)
                again = True
        for item in answered:
            if item.claim[0] in done.ended:
                log("accepted_after_its_end", level="error", reminder=item.claim[0])
            if item.claim[0] in done.sent | done.ended:
                self._sent(item, Delivery("sent", item.reply))
            else:
                self._answered.append(item)
                again = True
        if again:
            asyncio.get_running_loop().call_later(0.01, self.stirred.set)

    def _release(self, item: Item, delivery: Delivery) -> None:
        """Not armed: the connection closes without the dot, and the mail is given back."""
        if item.armed and not item.armed.done():
            item.armed.set_result(False)
        self._not_armed(item, delivery)
