"""A chunk of candidates becomes reminders: one transaction, set by set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from store.connection import Connection

_LOCK_CHUNK = """
SELECT invoice_ids FROM chunks WHERE run_id = %(run_id)s AND number = %(number)s AND open FOR UPDATE SKIP LOCKED
"""
_LEAVE = """
UPDATE chunks SET invoice_ids = %(left)s::bigint[], hinted_until = '-infinity'
 WHERE run_id = %(run_id)s AND number = %(number)s
"""
_CUSTOMERS_OF = "SELECT id, customer_id FROM invoices WHERE id = ANY(%(ids)s::bigint[])"
_IDS = """
SELECT nextval(pg_get_serial_sequence('reminders', 'id')) FROM generate_series(1, %(count)s)
"""
_STATES = """
UPDATE invoices i SET state = n.state
  FROM unnest(%(ids)s::bigint[], %(states)s::text[]) AS n (id, state)
 WHERE i.id = n.id
"""
_REMINDERS = """
COPY reminders (id, run_id, rule_id, rule_version, company_id, customer_id, currency, level, recipient, message_id)
FROM STDIN
"""
_INVOICES = """
COPY reminder_invoices (reminder_id, invoice_id, rule_id, run_id, counts, level, cycle, amount) FROM STDIN
"""
_CANDIDATES = "COPY candidates (run_id, invoice_id, reason, detail, reminder_id) FROM STDIN"
_EFFECTS = "COPY effects (reminder_id, kind, tag_ids) FROM STDIN"
_TAG_IDS = "SELECT id FROM tags WHERE title = ANY(%(titles)s::text[]) ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReminder:
    """A mail to be written down. `invoices`: (id, level, cycle, amount claimed)."""

    id: int
    customer_id: int
    currency: str
    level: int | None
    recipient: str
    message_id: str
    invoices: tuple[tuple[int, int, int, Decimal], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A candidate's verdict, as the run keeps it."""

    invoice_id: int
    reason: str
    detail: str | None = None
    reminder_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Under:
    """The run and rule version that reserve."""

    run_id: int
    rule_id: int
    rule_version: int
    company_id: int
    counts: bool
    tag_ids: tuple[int, ...]


def lock_chunk(conn: Connection, run_id: int, number: int) -> list[int] | None:
    """Lock a chunk's undecided candidates; None when another worker has it or nothing is left."""
    row = conn.execute(_LOCK_CHUNK, {"run_id": run_id, "number": number}).fetchone()
    return list(row[0]) if row else None


def leave(conn: Connection, run_id: int, number: int, left: Sequence[int]) -> None:
    """Write down which of the chunk's candidates are still undecided."""
    conn.execute(_LEAVE, {"run_id": run_id, "number": number, "left": list(left)})


def customers_of(conn: Connection, invoice_ids: Sequence[int]) -> dict[int, int]:
    """Each invoice's customer."""
    return dict(conn.execute(_CUSTOMERS_OF, {"ids": invoice_ids}).fetchall())


def tag_ids(conn: Connection, titles: Iterable[str]) -> tuple[int, ...]:
    """The ids of these tags; unknown titles are left out."""
    return tuple(row[0] for row in conn.execute(_TAG_IDS, {"titles": list(titles)}))


def new_ids(conn: Connection, count: int) -> list[int]:
    """Ids for that many reminders."""
    return [row[0] for row in conn.execute(_IDS, {"count": count})] if count else []


def move_invoices(conn: Connection, states: dict[int, str]) -> None:
    """Give locked invoices the states that the machine said."""
    if states:
        conn.execute(_STATES, {"ids": list(states), "states": list(states.values())})


def write(conn: Connection, under: Under, reminders: Sequence[NewReminder], decided: Sequence[Decided]) -> None:
    """Insert a chunk's reminders, their invoices, planned effects and every candidate's verdict.

    Raises psycopg.errors.UniqueViolation where the promise would be broken: nothing of the chunk is kept then.
    """
    with conn.cursor() as cursor:
        if reminders:
            with cursor.copy(_REMINDERS) as copy:
                for new in reminders:
                    copy.write_row(
                        (
                            new.id, under.run_id, under.rule_id, under.rule_version, under.company_id,
                            new.customer_id, new.currency, new.level, new.recipient, new.message_id,
                        )
                    )  # fmt: skip
            with cursor.copy(_INVOICES) as copy:
                for new in reminders:
                    for invoice_id, level, cycle, amount in new.invoices:
                        copy.write_row(
                            (new.id, invoice_id, under.rule_id, under.run_id, under.counts, level, cycle, amount)
                        )
            if under.tag_ids:
                with cursor.copy(_EFFECTS) as copy:
                    for new in reminders:
                        copy.write_row((new.id, "tags", list(under.tag_ids)))
        with cursor.copy(_CANDIDATES) as copy:
            for one in decided:
                copy.write_row((under.run_id, one.invoice_id, one.reason, one.detail, one.reminder_id))
