"""Batches: which invoices they select, what hangs on these, what they changed, and what came since.

Locks are taken in the order that store.outcomes names: a batch (when it is undone), then invoices by id, then customers
by id. They are waited for, unlike a worker's: a payment or a tick has them for milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from store.filters import compile_filter
from store.invoices import Correction
from workflow.machine import Position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from store.connection import Connection
    from workflow.filters import Filter

# One invoice's change as it is kept: {"level": [0, 2], …}.
Change = dict[str, list[Any]]

_IDS = """
SELECT i.id FROM invoices i JOIN customers c ON c.id = i.customer_id
 WHERE {selected} ORDER BY i.id LIMIT %(limit)s::bigint
"""
# What is open, as a rule's own filter means it.
_OPEN = sql.SQL("i.open AND i.kind = 'invoice' AND i.company_id = %(company_id)s::bigint AND ({filter})")
_SETTLED_TOO = sql.SQL("i.kind = 'invoice' AND i.company_id = %(company_id)s::bigint AND ({filter})")
_NAMED = sql.SQL("i.kind = 'invoice' AND i.company_id = %(company_id)s::bigint AND i.number = ANY(%(numbers)s::text[])")
_UNKNOWN = """
SELECT number FROM unnest(%(numbers)s::text[]) WITH ORDINALITY AS asked (number, place)
 WHERE NOT EXISTS (SELECT FROM invoices i WHERE i.company_id = %(company_id)s::bigint AND i.kind = 'invoice'
                      AND i.number = asked.number)
 ORDER BY place LIMIT 100
"""
_LOCK_INVOICES = """
SELECT id FROM invoices WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
_LOCK_CUSTOMERS = """
SELECT id FROM customers
 WHERE id IN (SELECT customer_id FROM invoices WHERE id = ANY(%(ids)s::bigint[])) ORDER BY id FOR NO KEY UPDATE
"""
_READ = """
SELECT i.id, i.number, i.customer_id, c.number AS customer, c.name AS customer_name, c.excluded, i.state,
       i.before_settled, i.cycle, i.last_reminded_on, i.dunning_contact_id, i.billing_contact_id
  FROM invoices i JOIN customers c ON c.id = i.customer_id
 WHERE i.id = ANY(%(ids)s::bigint[]) AND {selected}
 ORDER BY i.id
"""
_TAGGINGS = """
SELECT invoice_id, tag_id FROM taggings
 WHERE invoice_id = ANY(%(ids)s::bigint[]) AND tag_id = ANY(%(tag_ids)s::bigint[])
"""
_CONTACTS = """
SELECT customer_id, id FROM contacts
 WHERE customer_id = ANY(%(customer_ids)s::bigint[]) AND lower(email) = lower(%(email)s::text)
"""
_EMAILS = "SELECT id, email FROM contacts WHERE id = ANY(%(ids)s::bigint[])"
_TITLES = "SELECT id, title FROM tags ORDER BY id LIMIT 10000"

_INSERT = """
INSERT INTO batches (company_id, asked, counts, journaled_to, attempted_to)
VALUES (%(company_id)s, %(asked)s::jsonb, %(counts)s::jsonb, (SELECT coalesce(max(id), 0) FROM journal),
        (SELECT coalesce(max(id), 0) FROM attempts))
RETURNING id
"""
_KEEP = "COPY batch_invoices (batch_id, invoice_id, change) FROM STDIN"
_LIST = """
SELECT b.id, b.company_id, co.code AS company, b.at, b.by, b.because, b.asked, b.counts, b.undone_at, b.undone_by,
       b.undone_because
  FROM batches b JOIN companies co ON co.id = b.company_id
"""
_ONE = _LIST + " WHERE b.id = %(batch_id)s::bigint"
_LOCK_BATCH = "SELECT id FROM batches WHERE id = %(batch_id)s::bigint FOR UPDATE"
_LATEST = _LIST + " ORDER BY b.id DESC LIMIT %(limit)s"
_INVOICES_OF = "SELECT invoice_id FROM batch_invoices WHERE batch_id = %(batch_id)s ORDER BY invoice_id"
_CHANGES_OF = """
SELECT i.id, i.number, i.customer_id, c.number AS customer, c.name AS customer_name, i.state, i.before_settled,
       i.cycle, i.last_reminded_on, b.change
  FROM batch_invoices b JOIN invoices i ON i.id = b.invoice_id JOIN customers c ON c.id = i.customer_id
 WHERE b.batch_id = %(batch_id)s AND b.invoice_id BETWEEN %(first)s::bigint AND %(last)s::bigint
 ORDER BY i.id
"""
# A change of a column that the batch changed, told by the journal after the batch's own last line: whoever changes an
# invoice has its lock, so what was written down earlier was there before. A mail that left, or is about to, counts
# whatever the batch changed, and so does a letter: told by the attempts after the batch's end, since who writes down
# that a mail was accepted has its invoices' locks too. No clock is asked, which may have been set meanwhile.
_SINCE = """
SELECT i.number, CASE
           WHEN EXISTS (SELECT FROM reminder_invoices ri
                         WHERE ri.invoice_id = i.id AND ri.outcome IN ('planned', 'in_doubt')) THEN 'reserved'
           WHEN EXISTS (SELECT FROM reminder_invoices ri JOIN attempts a ON a.reminder_id = ri.reminder_id
                         WHERE ri.invoice_id = i.id AND ri.outcome = 'accepted' AND a.id > b.attempted_to)
             OR EXISTS (SELECT FROM journal j WHERE j.subject = 'invoice' AND j.subject_id = i.id
                           AND j.id > b.journaled_to AND j.change ? 'posted') THEN 'reminded'
           WHEN EXISTS (SELECT FROM journal j WHERE j.subject = 'invoice' AND j.subject_id = i.id
                           AND j.id > b.journaled_to
                           AND (j.change ?| ARRAY(SELECT jsonb_object_keys(k.change))
                                OR (k.change ? 'tags' AND j.change ? 'tag'
                                    AND ((j.change #>> '{tag,0}')::bigint = ANY(%(tag_ids)s::bigint[])
                                         OR (j.change #>> '{tag,1}')::bigint = ANY(%(tag_ids)s::bigint[])))))
             OR EXISTS (SELECT FROM pauses p
                         WHERE p.id = (k.change #>> '{pause,1}')::bigint AND p.lifted_at IS NOT NULL)
             OR (k.change ? 'excluded'
                 AND EXISTS (SELECT FROM journal j WHERE j.subject = 'customer' AND j.subject_id = i.customer_id
                                AND j.id > b.journaled_to AND j.change ? 'excluded')) THEN 'changed' END AS why
  FROM batches b JOIN batch_invoices k ON k.batch_id = b.id JOIN invoices i ON i.id = k.invoice_id
 WHERE b.id = %(batch_id)s AND k.invoice_id BETWEEN %(first)s::bigint AND %(last)s::bigint
 ORDER BY i.id
"""
_TAGS_OF = """
SELECT DISTINCT tag_id::bigint
  FROM batch_invoices b CROSS JOIN LATERAL jsonb_path_query(b.change, '$.tags[*][*]') AS t (tag_id)
 WHERE b.batch_id = %(batch_id)s
"""
_UNDONE = """
UPDATE batches SET undone_at = now(), undone_by = acting(), undone_because = acting_because() WHERE id = %(batch_id)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which invoices of a company: a WHERE over invoices i and customers c, with its parameters."""

    company_id: int
    where: sql.Composed
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """An invoice that a batch selects, as it stands."""

    id: int
    number: str
    customer_id: int
    customer: str
    customer_name: str
    excluded: bool
    state: str
    before_settled: str | None
    cycle: int
    last_reminded_on: date | None
    dunning_contact_id: int | None
    billing_contact_id: int | None

    @property
    def place(self) -> Correction:
        """What a correction of its level moves."""
        return Correction(Position(self.state, self.before_settled), self.cycle, self.last_reminded_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An invoice that a batch changed, as it stands now, with what the batch did to it."""

    id: int
    number: str
    customer_id: int
    customer: str
    customer_name: str
    state: str
    before_settled: str | None
    cycle: int
    last_reminded_on: date | None
    change: Change

    @property
    def place(self) -> Correction:
        """What a correction of its level moves."""
        return Correction(Position(self.state, self.before_settled), self.cycle, self.last_reminded_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBatch:
    """A batch as it was made: who, why, what was asked, how many invoices met which end, and whether it was undone."""

    id: int
    company_id: int
    company: str
    at: datetime
    by: str
    because: str
    asked: dict[str, Any]
    counts: dict[str, int]
    undone_at: datetime | None
    undone_by: str | None
    undone_because: str | None


def by_filter(filter_: Filter, company_id: int, today: date, *, settled: bool) -> Selection:
    """The invoices that a filter selects: the open ones, as a rule's filter does, or the settled ones too."""
    where, parameters = compile_filter(filter_, today)
    chosen = (_SETTLED_TOO if settled else _OPEN).format(filter=where)
    return Selection(company_id=company_id, where=chosen, parameters=parameters)


def by_number(numbers: Sequence[str], company_id: int) -> Selection:
    """The company's invoices of these numbers, settled or not."""
    return Selection(company_id=company_id, where=sql.Composed([_NAMED]), parameters={"numbers": list(numbers)})


def unknown(conn: Connection, numbers: Sequence[str], company_id: int) -> list[str]:
    """The first of the numbers that no invoice of the company has."""
    return [row[0] for row in conn.execute(_UNKNOWN, {"numbers": list(numbers), "company_id": company_id})]


def ids(conn: Connection, selection: Selection, *, limit: int) -> list[int]:
    """The first selected ids, in their order."""
    query = sql.SQL(_IDS).format(selected=selection.where)
    return [row[0] for row in conn.execute(query, _parameters(selection) | {"limit": limit})]


def lock(conn: Connection, invoice_ids: Sequence[int], *, customers: bool) -> None:
    """Lock these invoices, and where asked then their customers, until the transaction ends."""
    conn.execute(_LOCK_INVOICES, {"ids": list(invoice_ids)})
    if customers:
        conn.execute(_LOCK_CUSTOMERS, {"ids": list(invoice_ids)})


def read(conn: Connection, selection: Selection, invoice_ids: Sequence[int]) -> list[Selected]:
    """Those of these invoices that are still selected, as they stand now: ask after the lock."""
    query = sql.SQL(_READ).format(selected=selection.where)
    with conn.cursor(row_factory=class_row(Selected)) as cursor:
        return cursor.execute(query, _parameters(selection) | {"ids": list(invoice_ids)}).fetchall()


def taggings(conn: Connection, invoice_ids: Sequence[int], tag_ids: Collection[int]) -> dict[int, set[int]]:
    """Which of these tags each of the invoices carries."""
    found: dict[int, set[int]] = {}
    for invoice_id, tag_id in conn.execute(_TAGGINGS, {"ids": list(invoice_ids), "tag_ids": list(tag_ids)}):
        found.setdefault(invoice_id, set()).add(tag_id)
    return found


def contacts(conn: Connection, customer_ids: Collection[int], email: str) -> dict[int, int]:
    """By customer: its contact of this address."""
    return dict(conn.execute(_CONTACTS, {"customer_ids": sorted(customer_ids), "email": email}).fetchall())


def emails(conn: Connection, contact_ids: Iterable[int]) -> dict[int, str]:
    """The addresses of these contacts."""
    return dict(conn.execute(_EMAILS, {"ids": sorted(contact_ids)}).fetchall())


def tag_titles(conn: Connection) -> dict[int, str]:
    """Every tag's title."""
    return dict(conn.execute(_TITLES).fetchall())


def keep(
    conn: Connection,
    changes: Mapping[int, Change],
    *,
    company_id: int,
    asked: Mapping[str, object],
    counts: Mapping[str, int],
) -> int:
    """Write down a batch whose changes were made, as its transaction's last word. Returns its id."""
    parameters = {"company_id": company_id, "asked": Jsonb(asked), "counts": Jsonb(counts)}
    row = conn.execute(_INSERT, parameters).fetchone()
    batch_id: int = row[0] if row else 0
    with conn.cursor() as cursor, cursor.copy(_KEEP) as copy:
        for invoice_id, change in changes.items():
            copy.write_row((batch_id, invoice_id, Jsonb(change)))
    return batch_id


def latest(conn: Connection, limit: int) -> list[KeptBatch]:
    """The newest batches first."""
    with conn.cursor(row_factory=class_row(KeptBatch)) as cursor:
        return cursor.execute(_LATEST, {"limit": limit}).fetchall()


def one(conn: Connection, batch_id: int) -> KeptBatch | None:
    """A batch."""
    with conn.cursor(row_factory=class_row(KeptBatch)) as cursor:
        return cursor.execute(_ONE, {"batch_id": batch_id}).fetchone()


def lock_batch(conn: Connection, batch_id: int) -> None:
    """Lock a batch until the transaction ends: it is undone once."""
    conn.execute(_LOCK_BATCH, {"batch_id": batch_id})


def invoices_of(conn: Connection, batch_id: int) -> list[int]:
    """The ids of the invoices that it changed, in their order."""
    return [row[0] for row in conn.execute(_INVOICES_OF, {"batch_id": batch_id})]


def changes_of(conn: Connection, batch_id: int, first: int, last: int) -> list[Changed]:
    """What the batch did to its invoices from one id to another, and how they stand now."""
    with conn.cursor(row_factory=class_row(Changed)) as cursor:
        return cursor.execute(_CHANGES_OF, {"batch_id": batch_id, "first": first, "last": last}).fetchall()


def tags_of(conn: Connection, batch_id: int) -> list[int]:
    """The tags that it put on or took off."""
    return [row[0] for row in conn.execute(_TAGS_OF, {"batch_id": batch_id})]


def since(conn: Connection, batch_id: int, first: int, last: int, tag_ids: Collection[int]) -> list[tuple[str, str]]:
    """What came to its invoices, from one id to another, after the batch and forbids undoing it.

    Returns (invoice number, reserved, reminded or changed). `tag_ids`: tags whose coming and going counts as a change,
    where the batch changed tags.
    """
    parameters = {"batch_id": batch_id, "first": first, "last": last, "tag_ids": list(tag_ids)}
    return [(number, why) for number, why in conn.execute(_SINCE, parameters) if why]


def undone(conn: Connection, batch_id: int) -> None:
    """Write down that a locked batch was undone, by whom and why."""
    conn.execute(_UNDONE, {"batch_id": batch_id})


def _parameters(selection: Selection) -> dict[str, object]:
    return {**selection.parameters, "company_id": selection.company_id}
