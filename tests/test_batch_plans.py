"""A batch pauses so many at once that statistics are wrong right after it: pauses are looked up by key all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from operations.batch import Chosen, batch
from operations.batch_plan import Asked
from store import pauses
from tests.test_plans import Explained
from tests.trade import TODAY, invoice, open_trade

if TYPE_CHECKING:
    from store.connection import Connection

MANY = 2000


def grown(conn: Connection) -> list[int]:
    """Ids of many invoices at level 3 with a pause each, where the statistics know of none that is paused."""
    open_trade(conn)
    invoice(conn, "FA-1")
    conn.execute(
        "INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on)"
        " SELECT company_id, customer_id, 'M-' || n, 'EUR', 1, 1, issued_on, due_on"
        "   FROM invoices, generate_series(1, %s) AS n WHERE number = 'FA-1'",
        [MANY],
    )
    conn.execute(
        "INSERT INTO pauses (invoice_id, reason, until_on, lifted_at)"
        " SELECT id, 'x', '2026-12-31', now() FROM invoices, generate_series(1, 3)"
    )
    conn.execute("ANALYZE invoices, pauses, batch_invoices")
    asked = Asked(level=3, pause_until=TODAY)
    batch(conn, Chosen(filter="level = 0"), asked, because="x", by="user:marie", dry_run=False)
    return [row[0] for row in conn.execute("SELECT id FROM invoices ORDER BY id")]


def plan_of(explained: Explained) -> str:
    (plan,) = explained.plans
    return plan


def test_whether_an_invoice_is_paused_so_is_looked_up_by_its_id(database: Connection) -> None:
    ids = grown(database)
    explained = Explained(database, planned_on=database)
    pauses.paused_so(cast("Connection", explained), ids, reason="x", until_on=TODAY)
    assert "Index Cond: (invoice_id = i.id)" in plan_of(explained)


def test_pauses_are_lifted_by_their_ids(database: Connection) -> None:
    ids = grown(database)
    explained = Explained(database, planned_on=database)
    pauses.lift_these(cast("Connection", explained), ids)
    assert "pauses_pkey" in plan_of(explained)
    assert "pauses_of_invoices" not in plan_of(explained)


def test_many_pauses_are_journaled_quickly_in_a_session_that_began_with_one(database: Connection) -> None:
    """A trigger keeps the plan of its first call: for one row a nested loop, which compares all of many with all."""
    grown(database)
    database.execute("INSERT INTO pauses (invoice_id, reason, until_on) SELECT invoice_id, 'y', until_on FROM pauses")
    database.execute("UPDATE pauses SET lifted_at = now() WHERE id = (SELECT max(id) FROM pauses)")
    database.execute("SET LOCAL statement_timeout = '6s'")
    database.execute("UPDATE pauses SET lifted_at = now() + interval '1 s'")
    lifted = database.execute(
        "SELECT count(*) FROM journal WHERE subject = 'pause' AND change ? 'lifted_at'"
    ).fetchone()
    assert lifted is not None
    assert lifted[0] > 8 * MANY
