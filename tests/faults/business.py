"""Life goes on meanwhile: payments, credit notes, reversals, disputes, pauses, other addresses, through operations/."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg

from operations import invoices as documents
from operations import ledger, pauses
from operations.customers import save_contact
from operations.intake import drain
from store.connection import connect
from tests.faults.book import Block, Kind, clock
from tests.stories.telling import MARIE
from tests.telling import event, take
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from store.connection import Connection
    from tests.faults.book import Book, Invoice

_COMPANY: Final = "NORD"


def waits(conn: Connection, event_id: str) -> bool:
    """Whether the event is not applied yet."""
    with conn.transaction():
        kept = conn.execute("SELECT outcome, reason FROM inbox WHERE event_id = %s", (event_id,)).fetchall()
    ((outcome, reason),) = kept
    assert outcome in {"waiting", "applied"}, f"{outcome}: {reason}"
    return bool(outcome == "waiting")


class Business:
    """A thread in which somebody works; `rest` lets nothing happen for a while."""

    def __init__(self, url: str, book: Book, *, seed: str, pause_s: float) -> None:
        self._url = url
        self._book = book
        self._chance = random.Random(seed)  # noqa: S311 - chaos, not secrets
        self._pause_s = pause_s
        self._booked = 0
        self._over = threading.Event()
        self._working = threading.Event()
        self._idle = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None
        self.today: date | None = None
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        self._thread.start()

    def work(self, today: date) -> None:
        """Let things happen on this business day."""
        self.today = today
        self._working.set()

    def rest(self) -> None:
        """Let nothing begin; returns when nothing is going on."""
        self._working.clear()
        with self._idle:
            if self._failure:
                raise self._failure

    def end(self) -> None:
        self._over.set()
        self._working.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            while not self._over.wait(self._pause_s * self._chance.uniform(0.3, 1.7)):
                self._working.wait()
                with self._idle:
                    if not self._over.is_set() and self._working.is_set() and self.today:
                        self._act(self.today)
        except BaseException as failure:  # noqa: BLE001 - raised where somebody waits for it
            self._failure = failure

    def _act(self, today: date) -> None:
        recent = list(self._book.invoices.values())[-400:]
        invoice = self._chance.choice(recent)
        if invoice.unsure:
            return
        try:
            with connect(self._url) as conn:
                self._one(conn, invoice, today)
        except RelanceError:
            self.done["refused"] += 1
        except psycopg.Error:  # nobody knows whether it was committed
            invoice.unsure = True
            self._book.customers[invoice.customer].unsure = True
            self.done["unsure"] += 1
            time.sleep(0.2)

    def _one(self, conn: Connection, invoice: Invoice, today: date) -> None:
        """One thing that may happen to the invoice as it stands."""
        blocked = invoice.blocked
        if blocked is None:
            begin: list[Callable[[Connection, Invoice, date], None]] = [
                self._pay, self._pay_by_event, self._pay_part, self._pay_part, self._credit,
                self._dispute, self._dispute, self._pause, self._move, self._move,
            ]  # fmt: skip
            self._chance.choice(begin)(conn, invoice, today)
        elif blocked.kind == "paid" and self._chance.random() < 0.3:
            self._reverse(conn, invoice, blocked, today)
        elif blocked.kind == "disputed":
            begun = clock(conn)
            documents.end_dispute(conn, company=_COMPANY, number=invoice.number, by=MARIE, today=today)
            self._ended(conn, blocked, begun, "dispute ended")
        elif blocked.kind == "paused":
            begun = clock(conn)
            pauses.lift(conn, company=_COMPANY, invoice=invoice.number, today=today, by=MARIE)
            self._ended(conn, blocked, begun, "pause lifted")

    def _began(self, conn: Connection, invoice: Invoice, kind: Kind, begun: datetime) -> None:
        conn.commit()
        invoice.blocks.append(Block(kind=kind, begun=begun, sure=clock(conn)))
        self.done[kind] += 1

    def _ended(self, conn: Connection, block: Block, begun: datetime, what: str) -> None:
        conn.commit()
        block.ending, block.ended = begun, clock(conn)
        self.done[what] += 1

    def _money(self, invoice: Invoice, amount: Decimal, today: date) -> dict[str, Any]:
        self._booked += 1
        return {
            "company": _COMPANY, "customer": invoice.customer, "invoice": invoice.number, "amount": amount,
            "currency": "EUR", "reference": f"VIR-{self._booked}-{invoice.number}", "by": MARIE, "today": today,
        }  # fmt: skip

    def _pay(self, conn: Connection, invoice: Invoice, today: date) -> None:
        begun = clock(conn)
        what = self._money(invoice, invoice.balance.now, today)
        ledger.record_payment(conn, received_on=today, **what)
        self._began(conn, invoice, "paid", begun)
        invoice.references.append(str(what["reference"]))

    def _pay_by_event(self, conn: Connection, invoice: Invoice, today: date) -> None:
        """The invoicing system tells of it, twice, beside something that nobody can read."""
        begun = clock(conn)
        what = self._money(invoice, invoice.balance.now, today)
        reference = str(what["reference"])
        data = {key: what[key] for key in ("company", "customer", "invoice", "currency", "reference")}
        told = event("payment.recorded", data | {"amount": str(what["amount"]), "received_on": today.isoformat()})
        conn.commit()
        with conn.transaction():
            take(conn, told, f'{{"{reference}', told)
        while waits(conn, str(told["id"])):
            drain(conn)  # a scheduler may be at it, or have died at it
            time.sleep(0.05)
        self._began(conn, invoice, "paid", begun)
        self.done["told by event"] += 1
        invoice.references.append(reference)

    def _credit(self, conn: Connection, invoice: Invoice, today: date) -> None:
        begun = clock(conn)
        what = self._money(invoice, invoice.balance.now, today)
        ledger.credit_note(conn, issued_on=today, **what)
        self._began(conn, invoice, "paid", begun)
        invoice.references.append(str(what["reference"]))

    def _reverse(self, conn: Connection, invoice: Invoice, block: Block, today: date) -> None:
        """The payment comes back: the balance is what it was."""
        begun = clock(conn)
        ledger.reverse(
            conn, company=_COMPANY, reference=invoice.references[-1], reversed_on=today,
            because="sent back by the bank", by=MARIE, today=today,
        )  # fmt: skip
        self._ended(conn, block, begun, "reversed")

    def _pay_part(self, conn: Connection, invoice: Invoice, today: date) -> None:
        amount = Decimal(self._chance.randint(1, 20))
        if amount >= invoice.balance.now:
            return
        begun = clock(conn)
        ledger.record_payment(conn, received_on=today, **self._money(invoice, amount, today))
        conn.commit()
        invoice.balance.change(begun, clock(conn), invoice.balance.now - amount)
        self.done["paid in part"] += 1

    def _dispute(self, conn: Connection, invoice: Invoice, today: date) -> None:
        begun = clock(conn)
        documents.dispute(conn, company=_COMPANY, number=invoice.number, because="wrong price", by=MARIE, today=today)
        self._began(conn, invoice, "disputed", begun)

    def _pause(self, conn: Connection, invoice: Invoice, today: date) -> None:
        begun = clock(conn)
        pauses.pause(
            conn, company=_COMPANY, invoice=invoice.number, until_on=today + timedelta(days=2000), reason="on holiday",
            today=today, by=MARIE,
        )  # fmt: skip
        self._began(conn, invoice, "paused", begun)

    def _move(self, conn: Connection, invoice: Invoice, today: date) -> None:
        """The customer's dunning contact is another from now on."""
        customer = self._book.customers[invoice.customer]
        if customer.broken or customer.unsure or customer.address.now is None:
            return
        self._booked += 1
        address = f"{customer.number.lower()}.{self._booked}@client.example"
        begun = clock(conn)
        save_contact(
            conn, customer=customer.number, name="Canari Neuf", email=address, roles=["dunning"], by=MARIE, today=today
        )
        conn.commit()
        customer.address.change(begun, clock(conn), address)
        self.done["moved"] += 1
