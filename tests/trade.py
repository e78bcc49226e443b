"""A small trade for tests: one company, one customer, invoices with everyday values."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from operations.accounts import save_account
from operations.companies import save_company
from operations.customers import save_customer
from operations.invoices import issue
from operations.users import save_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.connection import Connection
    from workflow.facts import Role

TODAY = date(2026, 11, 24)


def but(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The same values, but for the changes."""
    return values | changes


def open_company(conn: Connection, code: str = "NORD") -> int:
    return save_company(conn, code=code, name="Nord SAS", by="user:marie", today=TODAY)


def open_trade(conn: Connection) -> None:
    """Company NORD with its user marie and its account, and customer C-1."""
    save_user(conn, login="marie", name="Marie Curie", email="marie@nord.example", by="system", today=TODAY)
    open_company(conn)
    open_account(conn)
    save_customer(conn, number="C-1", name="Dupont SARL", by="user:marie", today=TODAY)


def open_account(conn: Connection, name: str = "comptabilité", **changes: object) -> int:
    values: dict[str, Any] = {
        "name": name,
        "company": "NORD",
        "from_name": "Nord SAS",
        "from_address": "relance@nord.example",
        "host": "smtp.nord.example",
        "port": 465,
        "security": "implicit-tls",
        "by": "user:marie",
        "today": TODAY,
    }
    values.update(changes)
    return save_account(conn, **values)


def invoice(
    conn: Connection,
    number: str = "FA-1",
    total: object = "100.00",
    *,
    customer: str = "C-1",
    currency: str = "EUR",
    due_on: date | None = date(2026, 10, 31),
    interlocutors: Mapping[Role, str] | None = None,
    source_version: int | None = None,
) -> int:
    return issue(
        conn,
        company="NORD",
        customer=customer,
        number=number,
        total=total,
        currency=currency,
        issued_on=date(2026, 10, 1),
        due_on=due_on,
        interlocutors=interlocutors,
        source_version=source_version,
        by="user:marie",
        today=TODAY,
    )


def row(conn: Connection, table: str, row_id: int) -> dict[str, Any]:
    """A whole row, by column."""
    cursor = conn.execute(f"SELECT * FROM {table} WHERE id = %s".encode(), [row_id])
    values = cursor.fetchone()
    assert values is not None
    assert cursor.description is not None
    return dict(zip([column.name for column in cursor.description], values, strict=True))


def journal(conn: Connection, subject: str, subject_id: int) -> list[dict[str, Any]]:
    """What the journal says of one thing, in order."""
    found = conn.execute(
        "SELECT change FROM journal WHERE subject = %s AND subject_id = %s ORDER BY id", [subject, subject_id]
    )
    return [change for (change,) in found]


def written(conn: Connection) -> int:
    """How many rows the journal has."""
    counted = conn.execute("SELECT count(*) FROM journal").fetchone()
    return int(counted[0]) if counted else 0


def send(conn: Connection, invoice_id: int, *, last_state: str = "level_0_sending") -> None:
    """Put an invoice where a mail of it is on its way."""
    conn.execute("UPDATE invoices SET state = %s WHERE id = %s", [last_state, invoice_id])
