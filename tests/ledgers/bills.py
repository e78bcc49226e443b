"""Three ledgers made by others, read plainly: the dates and amounts from which it can be judged who was to be reminded.

They are no part of the project. Nothing here uses the importer, but for the numbers that a mapping makes of a row.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from operations.importing.records import digest

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, str]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "ar"
MAPPINGS = ROOT / "docs" / "ledgers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """`line`: the file's, as written."""

    line: str
    on: date
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """An invoice and what was paid of it, oldest first. `line`: the file's; `known_on`: the day of its recording."""

    line: str
    number: str
    company: str
    customer: str
    currency: str
    due_on: date
    known_on: date
    total: Decimal
    payments: tuple[Payment, ...] = ()
    disputed: bool = False

    def paid_on(self, *, whole: bool) -> date | None:
        """The day of the first payment, or of the one with which the whole was paid."""
        paid = Decimal(0)
        for payment in self.payments:
            paid += payment.amount
            if paid >= self.total or not whole:
                return payment.on
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A file and how its owner reminds: after `first_days` overdue, then each `then_days` after the reminder before.

    `countries`: the holidays of each company. `gap_days`: between two mails to one customer. `no_address`: customers
    of whom nobody has one.
    """

    name: str
    file: str
    header: str
    bills: tuple[Bill, ...]
    countries: dict[str, str]
    first_days: int
    then_days: int
    gap_days: int | None = None
    no_address: frozenset[str] = frozenset()

    def only(self, wanted: Callable[[Bill], bool]) -> Ledger:
        """The same, but for the other bills and for companies that have none of these."""
        bills = tuple(filter(wanted, self.bills))
        countries = {bill.company: self.countries[bill.company] for bill in bills}
        return replace(self, bills=bills, countries=countries)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its file is imported as, in this order."""
        return tuple(kind for kind in ("customers", "invoices", "payments") if self.mapping(kind).exists())

    def mapping(self, kind: str) -> Path:
        return MAPPINGS / f"{self.name}-{kind}.yaml"


def ibm() -> Ledger:
    """Paid whole, at most 34 days late: the first reminder comes early. Who is billed on paper only has no address."""
    header, rows = _rows("ibm_accounts_receivable.csv")
    reachable = {row["customerID"] for _, row in rows if row["PaperlessBill"] == "Electronic"}
    return Ledger(
        name="ibm",
        file="ibm_accounts_receivable.csv",
        header=header,
        bills=tuple(
            Bill(
                line=line,
                number=row["invoiceNumber"],
                company="NORD",
                customer=row["customerID"],
                currency="USD",
                due_on=_day(row["DueDate"], "%m/%d/%Y"),
                known_on=_day(row["InvoiceDate"], "%m/%d/%Y"),
                total=Decimal(row["InvoiceAmount"]),
                payments=(
                    Payment(line=line, on=_day(row["SettledDate"], "%m/%d/%Y"), amount=Decimal(row["InvoiceAmount"])),
                ),
                disputed=row["Disputed"] == "Yes",
            )
            for line, row in rows
        ),
        countries={"NORD": "FR"},
        first_days=3,
        then_days=10,
        no_address=frozenset(row["customerID"] for _, row in rows) - reachable,
    )


def cassandra() -> Ledger:
    """Recorded late or ahead of their date, paid in parts, on terms of a day to two months; known by names only."""
    header, rows = _rows("cassandra_invoices.csv")
    of_one: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for line, row in rows:
        of_one[f"K-{digest(row[title].strip() for title in _SAYS)}"].append((line, row))
    return Ledger(
        name="cassandra",
        file="cassandra_invoices.csv",
        header=header,
        bills=tuple(
            Bill(
                line=lines[0][0],
                number=number,
                company="NORD",
                customer=lines[0][1]["Vendor_Name"],
                currency="EUR",
                due_on=_day(lines[0][1]["Due_Date"], "%d-%b-%y"),
                known_on=_day(lines[0][1]["Created"], "%d-%m-%Y %H:%M"),
                total=Decimal(lines[0][1]["Amount"]),
                payments=tuple(sorted((_settled(line, row) for line, row in lines), key=lambda one: one.on)),
            )
            for number, lines in of_one.items()
        ),
        countries={"NORD": "FR"},
        first_days=15,
        then_days=15,
    )


_SAYS = ("Vendor_Name", "Created", "Invoice_Date", "Due_Date", "Amount", "Description")


def _settled(line: str, row: Row) -> Payment:
    days = timedelta(int(row["Number_of_Days_until_Payment"]))
    return Payment(line=line, on=_day(row["Invoice_Date"], "%d-%b-%y") + days, amount=Decimal(row["Settled"]))


def highradius() -> Ledger:
    """All open, of five companies in two currencies; some customers get an invoice a day, so that mails are spaced."""
    header, rows = _rows("highradius_open_items.csv")
    return Ledger(
        name="highradius",
        file="highradius_open_items.csv",
        header=header,
        bills=tuple(
            Bill(
                line=line,
                number=row["invoice_id"].removesuffix(".0"),
                company=row["business_code"],
                customer=row["cust_number"],
                currency=row["invoice_currency"],
                due_on=_day(row["due_in_date"], "%Y-%m-%d"),
                known_on=_day(row["posting_date"], "%Y-%m-%d"),
                total=Decimal(row["total_open_amount"]),
            )
            for line, row in rows
        ),
        countries={"U001": "US", "U002": "US", "U005": "US", "U013": "US", "CA02": "CA"},
        first_days=15,
        then_days=15,
        gap_days=7,
    )


LEDGERS: dict[str, Callable[[], Ledger]] = {"ibm": ibm, "cassandra": cassandra, "highradius": highradius}


def _rows(name: str) -> tuple[str, list[tuple[str, Row]]]:
    """The header line, and each line with what it says."""
    path = DATA / name
    if not path.exists():
        pytest.skip("the ledgers are not beside this checkout")
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader([header, *lines]))
    return header, list(zip(lines, rows, strict=True))  # no cell has a line end in it, or this would raise


def _day(text: str, form: str) -> date:
    return datetime.strptime(text, form).replace(tzinfo=UTC).date()
