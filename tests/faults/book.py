"""What the harness itself knows of the trade: what was issued, paid, disputed and paused, and when that was certain.

An operation lasts from `begun` to `sure`: its commit lies between, by the database's clock. The judge blames only what
contradicts something that was sure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from store.connection import connect

if TYPE_CHECKING:
    from store.connection import Connection

V = TypeVar("V")
Kind = Literal["paid", "disputed", "paused"]

FIRST_DAY: Final = date(2026, 3, 18)
DAYS_APART: Final = 14

_CUSTOMERS = """
INSERT INTO customers (number, name, email)
SELECT * FROM unnest(%(numbers)s::text[], %(names)s::text[], %(emails)s::text[])
"""
_INVOICES = """
INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on)
SELECT (SELECT id FROM companies), c.id, n.number, 'EUR', n.total, n.total, %(issued_on)s::date, n.due_on
  FROM unnest(%(customers)s::text[], %(numbers)s::text[], %(totals)s::numeric[], %(dues)s::date[])
       AS n (customer, number, total, due_on)
  JOIN customers c ON c.number = n.customer
"""


@dataclass(slots=True)
class Timeline(Generic[V]):
    """What something was, from when to when: (begun, sure, value) in order."""

    entries: list[tuple[datetime, datetime, V]]

    def change(self, begun: datetime, sure: datetime, value: V) -> None:
        self.entries.append((begun, sure, value))

    @property
    def now(self) -> V:
        return self.entries[-1][2]

    def possible(self, armed: datetime, accepted: datetime) -> set[V]:
        """What a mail may say that was armed and accepted then."""
        nexts = [sure for _, sure, _ in self.entries[1:]] + [datetime.max.replace(tzinfo=armed.tzinfo)]
        return {
            value
            for (begun, _, value), superseded in zip(self.entries, nexts, strict=True)
            if begun <= accepted and superseded >= armed
        }


@dataclass(slots=True, kw_only=True)
class Block:
    """Why an invoice was not to be reminded, for a while or for good."""

    kind: Kind
    begun: datetime
    sure: datetime
    ending: datetime | None = None
    ended: datetime | None = None

    def surely_at(self, instant: datetime) -> bool:
        return self.sure < instant and (self.ending is None or instant < self.ending)

    def touches(self, start: datetime, end: datetime) -> bool:
        return self.begun <= end and (self.ended is None or self.ended >= start)


@dataclass(slots=True, kw_only=True)
class Invoice:
    number: str
    customer: str
    due_on: date | None
    balance: Timeline[Decimal]
    blocks: list[Block] = field(default_factory=list)
    references: list[str] = field(default_factory=list)  # of what paid it
    unsure: bool = False  # the answer to one of its commits was lost: nothing is claimed about it any more

    @property
    def blocked(self) -> Block | None:
        return next((block for block in self.blocks if block.ending is None), None)


@dataclass(slots=True, kw_only=True)
class Customer:
    """`broken`: its address is one that no mail can be written to, and our own edge would not have let in."""

    number: str
    address: Timeline[str | None]
    broken: bool = False
    unsure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A business day of the run, and when it was on the database's clock."""

    day: date
    start: datetime
    end: datetime


@dataclass(slots=True)
class Book:
    customers: dict[str, Customer] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)

    def open_customers(self, url: str, count: int, day: date) -> None:
        """New customers with one to three invoices each, most of them overdue on that day."""
        first = len(self.customers) + 1
        with connect(url) as conn:
            now = clock(conn)
            for n in range(first, first + count):
                number = f"K-{n}"
                address: str | None = f"client{n}@client.example"
                if n % 31 == 0:
                    address = None
                broken = n % 29 == 0
                self.customers[number] = Customer(
                    number=number,
                    address=Timeline([(now, now, f"client{n}@@client.example" if broken else address)]),
                    broken=broken,
                )
                for k in range(1, 2 + n % 3):
                    due_on = None if (n * 3 + k) % 47 == 0 else day - timedelta(days=1 if (n + k) % 23 == 0 else 16)
                    total = Decimal(100 + n % 800 + k)
                    name = f"FA-{n}{k}"
                    self.invoices[name] = Invoice(
                        number=name, customer=number, due_on=due_on, balance=Timeline([(now, now, total)])
                    )
            customers = list(self.customers.values())[first - 1 :]
            names = {one.number for one in customers}
            invoices = [one for one in self.invoices.values() if one.customer in names]
            conn.execute(
                _CUSTOMERS.encode(),
                {
                    "numbers": [one.number for one in customers],
                    "names": [f"Canari {one.number}" for one in customers],
                    "emails": [one.address.now for one in customers],
                },
            )
            conn.execute(
                _INVOICES.encode(),
                {
                    "customers": [one.customer for one in invoices],
                    "numbers": [one.number for one in invoices],
                    "totals": [one.balance.now for one in invoices],
                    "dues": [one.due_on for one in invoices],
                    "issued_on": day - timedelta(days=40),
                },
            )


def day_of(number: int) -> date:
    """The business day of a round: far enough apart for the next level to be due."""
    return FIRST_DAY + timedelta(days=DAYS_APART * number)


def clock(conn: Connection) -> datetime:
    """The database's clock."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    conn.commit()
    assert row is not None
    at: datetime = row[0]
    return at
