"""What a file would do, before it is done: counted, with what is refused and what is odd; `write` then does it."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from operations.importing.days import Moment
from store import imports, lookups
from store.companies import companies
from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from operations.importing.records import Record
    from store.connection import Connection
    from store.invoices import LockedInvoice

    # Called as an import goes on: how much is done, of how much (0: nobody knows).
    Progress = Callable[[int, int], object]

Item = TypeVar("Item")
Key = tuple[str, str]  # an invoice: its company's code and its number

STEP: Final = 5_000

# Odd, and not guessed away: the same thing said in other words; a number that reads as a decimal one; a payment without
# a reference, taken for one that is booked because it says the same; a number that is another's but for leading zeros;
# an invoice that is due before its own day; one that is disputed or refused here, and has an empty state in the file.
Oddity = Literal[
    "said otherwise",
    "reads as a decimal",
    "taken for another",
    "alike but for zeros",
    "due before issued",
    "state left empty",
]


class WrittenMeanwhile(RelanceError):  # noqa: N818 - a fact about others
    """Somebody else wrote the same rows between the plan and the deed."""

    def __init__(self) -> None:
        super().__init__("somebody else wrote the same rows meanwhile; nothing was imported: import again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something odd that the file says of `rows` rows or things: of what, in which field, what is kept, what else."""

    oddity: Oddity
    about: str
    field: str
    kept: str
    others: tuple[str, ...] = ()
    rows: int


@dataclass(slots=True, kw_only=True)
class Plan:
    """Rows by what becomes of them: added + changed + unchanged + repeated + refused are all records.

    `repeated`: said before in the same file. `write` locks, looks again and writes; it raises WrittenMeanwhile.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    repeated: int = 0
    refused: list[tuple[Record, InvalidInput]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    write: Callable[[Connection, Progress], None] = lambda _conn, _progress: None

    @contextmanager
    def refusing(self, record: Record) -> Generator[None]:
        """Refuse the record where what is done with it raises InvalidInput."""
        try:
            yield
        except InvalidInput as wrong:
            self.refused.append((record, wrong))


class Otherwise:
    """Collects what later rows say otherwise than the first one of the same thing, which is kept."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str, str], Counter[str]] = {}

    def compare(self, about: str, kept: dict[str, Any], now: dict[str, Any]) -> None:
        """Note each field that differs."""
        for name, value in now.items():
            if value != kept[name]:
                self._said.setdefault((about, name, str(kept[name])), Counter())[str(value)] += 1

    def notices(self) -> list[Notice]:
        """In the file's order; the commonest first."""
        return [
            Notice(
                oddity="said otherwise",
                about=about,
                field=name,
                kept=kept,
                others=tuple(said for said, _ in others.most_common()),
                rows=others.total(),
            )
            for (about, name, kept), others in self._said.items()
        ]


class Companies:
    """The companies that rows may name; where no column does, the only one there is."""

    def __init__(self, conn: Connection, records: Sequence[Record]) -> None:
        """Raise InvalidInput where several companies could be meant, or none."""
        named = not records or "company" in records[0].values
        self.ids = lookups.companies(conn)
        self._only = next(iter(self.ids)) if len(self.ids) == 1 else None
        if not named and self._only is None:
            known = ", ".join(sorted(self.ids)) or "none yet"
            raise InvalidInput(field="company", value=None, reason=f"say whose, there are several: {known}")

    def of(self, record: Record) -> str:
        """The code of a row's company. Raises InvalidInput."""
        code = self.said(record)
        if code not in self.ids:
            raise InvalidInput(field="company", value=code, reason="does not exist" if code else "is missing")
        return code

    def said(self, record: Record) -> str:
        """The code that a row says, or that of the only company; it may not exist."""
        return record.values.get("company") or self._only or ""

    def invoices(self, conn: Connection, keys: Iterable[Key]) -> dict[Key, LockedInvoice]:
        """Those of these invoices that there are, not locked."""
        numbers: defaultdict[str, set[str]] = defaultdict(set)
        for company, number in keys:
            if company in self.ids and number:
                numbers[company].add(number)
        return {
            (company, invoice.number): invoice
            for company, asked in numbers.items()
            for invoice in imports.invoices(conn, company, asked)
        }


def on_companies_clocks(conn: Connection, records: Sequence[Record]) -> list[Record]:
    """The records with each moment made the day that it is on the clock of the row's company. Raises InvalidInput.

    Where there is no such company it is a day in UTC; such a row is refused.
    """
    if not any(isinstance(value, Moment) for record in records for value in record.values.values()):
        return list(records)
    known = Companies(conn, records)
    clocks = {company.id: company.clock for company in companies(conn).values()}

    def on_clock(record: Record) -> Record:
        clock = clocks.get(known.ids.get(known.said(record), 0), UTC)
        days = {name: value.on(clock) for name, value in record.values.items() if isinstance(value, Moment)}
        return replace(record, values=record.values | days)

    return [on_clock(record) for record in records]


def in_steps(items: Sequence[Item], done: int, total: int, progress: Progress) -> Iterator[list[Item]]:
    """Yield them by the five thousand, telling how far of `total` it is, `done` being done before."""
    remaining = iter(items)
    while step := list(islice(remaining, STEP)):
        yield step
        done += len(step)
        progress(done, total)


def expect(written: int, rows: Sequence[object]) -> None:
    """Raise WrittenMeanwhile unless all of the rows were written."""
    if written != len(rows):
        raise WrittenMeanwhile
