"""The same change on many invoices: shown first, made in one go, kept with what was before."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operations.batch import STEP, Batch, Chosen, batch
from operations.batch_plan import Asked
from operations.customers import save_contact, save_customer
from operations.invoices import cancel
from operations.tags import save_category, save_tag, tag
from store.batches import KeptBatch, latest
from tests.trade import TODAY, invoice, journal, open_company, open_trade, row, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

LAST = date(2026, 11, 2)
LATER = TODAY + timedelta(days=30)
OVERDUE = Chosen(filter="days_overdue >= 15")
MIGRATION = Asked(level=2, last_reminded_on=LAST, add_tags=("Relance 1", "Relance 2"))


@pytest.fixture
def conn(database: Connection) -> Connection:
    """C-1 owes FA-1 and FA-2, C-2 owes FA-3; FA-4 is not due yet."""
    open_trade(database)
    save_customer(database, number="C-2", name="Martin SA", by="user:marie")
    invoice(database, "FA-1")
    invoice(database, "FA-2")
    invoice(database, "FA-3", customer="C-2")
    invoice(database, "FA-4", due_on=date(2026, 12, 31))
    for title in ("Relance 1", "Relance 2", "litige"):
        save_tag(database, title=title, by="user:marie")
    return database


def batched(
    conn: Connection, asked: Asked, chosen: Chosen = OVERDUE, *, because: str = "reprise", dry_run: bool = False
) -> Batch:
    return batch(conn, chosen, asked, because=because, by="user:marie", dry_run=dry_run)


def numbered(*numbers: str) -> Chosen:
    return Chosen(numbers=numbers)


def find(conn: Connection, number: str) -> dict[str, Any]:
    found = conn.execute("SELECT id FROM invoices WHERE number = %s ORDER BY id", [number]).fetchone()
    assert found is not None
    return row(conn, "invoices", found[0])


def tags(conn: Connection, number: str) -> set[str]:
    found = conn.execute(
        "SELECT t.title FROM taggings g JOIN tags t ON t.id = g.tag_id JOIN invoices i ON i.id = g.invoice_id"
        " WHERE i.number = %s",
        [number],
    )
    return {title for (title,) in found}


def kept(conn: Connection) -> KeptBatch:
    (only,) = latest(conn, 10)
    return only


def test_invoices_of_another_system_go_on_from_where_they_were(conn: Connection) -> None:
    made = batched(conn, MIGRATION)
    assert (made.selected, made.changed, made.unchanged, made.refused, made.done) == (3, 3, 0, {}, True)
    for number in ("FA-1", "FA-2", "FA-3"):
        after = find(conn, number)
        assert (after["state"], after["cycle"], after["last_reminded_on"]) == ("level_2", 1, LAST)
        assert tags(conn, number) == {"Relance 1", "Relance 2"}
    assert find(conn, "FA-4")["level"] == 0


def test_a_dry_run_shows_what_would_be_and_writes_nothing(conn: Connection) -> None:
    before = written(conn)
    shown = batched(conn, MIGRATION, dry_run=True)
    assert (shown.selected, shown.changed, shown.id, shown.done) == (3, 3, None, False)
    assert [one.invoice for one in shown.samples] == ["FA-1", "FA-2", "FA-3"]
    assert shown.samples[0].change == {
        "level": (0, 2), "last_reminded_on": (None, LAST.isoformat()), "tags": ([], ["Relance 1", "Relance 2"]),
    }  # fmt: skip
    assert written(conn) == before
    assert latest(conn, 10) == []


def test_what_was_done_is_what_the_dry_run_said(conn: Connection) -> None:
    send(conn, find(conn, "FA-2")["id"])
    shown, made = batched(conn, MIGRATION, dry_run=True), batched(conn, MIGRATION)
    assert (shown.changed, shown.unchanged, shown.refused, shown.samples) == (
        made.changed, made.unchanged, made.refused, made.samples,
    )  # fmt: skip


def test_a_batch_is_kept_and_journaled_with_who_and_why(conn: Connection) -> None:
    made = batched(conn, MIGRATION)
    one = kept(conn)
    assert (one.id, one.by, one.because) == (made.id, "user:marie", "reprise")
    assert one.asked == {
        "filter": "days_overdue >= 15", "add_tags": ["Relance 1", "Relance 2"], "level": 2,
        "last_reminded_on": LAST.isoformat(),
    }  # fmt: skip
    assert one.counts == {"selected": 3, "changed": 3, "unchanged": 0, "customers": 0}
    assert made.id is not None
    assert journal(conn, "batch", made.id) == [{"invoices": [None, 3]}]
    said = conn.execute(
        "SELECT DISTINCT actor, because, today FROM journal WHERE subject = 'invoice' AND change ?| '{level,tag}'"
    ).fetchall()
    assert said == [("user:marie", "reprise", TODAY)]


def test_the_same_batch_twice_changes_nothing(conn: Connection) -> None:
    whole = Asked(level=1, add_tags=("litige",), pause_until=LATER, exclude=True)
    batched(conn, whole)
    before = written(conn)
    again = batched(conn, whole)
    assert (again.changed, again.unchanged, again.id, again.done) == (0, 3, None, False)
    assert written(conn) == before
    assert len(latest(conn, 10)) == 1


@pytest.mark.parametrize("state", ["level_0_sending", "level_1_in_doubt"])
def test_an_invoice_with_a_mail_out_is_left_alone_and_listed(conn: Connection, state: str) -> None:
    send(conn, find(conn, "FA-2")["id"], last_state=state)
    made = batched(conn, MIGRATION)
    assert (made.changed, made.refused) == (2, {"busy": ("FA-2",)})
    assert (find(conn, "FA-2")["state"], tags(conn, "FA-2")) == (state, set())


def test_a_tag_is_put_on_an_invoice_with_a_mail_out(conn: Connection) -> None:
    send(conn, find(conn, "FA-2")["id"])
    assert batched(conn, Asked(add_tags=("litige",))).refused == {}
    assert tags(conn, "FA-2") == {"litige"}


def test_downwards_starts_a_new_cycle(conn: Connection) -> None:
    send(conn, find(conn, "FA-1")["id"], last_state="level_3")
    batched(conn, Asked(level=0, last_reminded_on="never"), numbered("FA-1"))
    after = find(conn, "FA-1")
    assert (after["level"], after["cycle"], after["last_reminded_on"]) == (0, 2, None)


def test_a_level_alone_leaves_the_day_and_a_day_alone_the_level(conn: Connection) -> None:
    batched(conn, MIGRATION)
    batched(conn, Asked(level=3), numbered("FA-1"))
    batched(conn, Asked(last_reminded_on=TODAY), numbered("FA-2"))
    assert (find(conn, "FA-1")["level"], find(conn, "FA-1")["last_reminded_on"]) == (3, LAST)
    assert (find(conn, "FA-2")["level"], find(conn, "FA-2")["last_reminded_on"]) == (2, TODAY)


def test_in_a_category_that_allows_one_the_other_tag_goes(conn: Connection) -> None:
    save_category(conn, title="Relances", one_only=True, by="user:marie")
    for title in ("Relance 1", "Relance 2"):
        save_tag(conn, title=title, category="Relances", by="user:marie")
    tag(conn, company="NORD", invoices=["FA-1"], tags=["Relance 1"], by="user:marie")
    made = batched(conn, Asked(add_tags=("Relance 2",), remove_tags=("litige",)))
    assert made.samples[0].change == {"tags": (["Relance 1"], ["Relance 2"])}
    assert tags(conn, "FA-1") == tags(conn, "FA-3") == {"Relance 2"}


def test_what_is_paused_is_paused_until_the_day_and_why(conn: Connection) -> None:
    batched(conn, Asked(pause_until=LATER), numbered("FA-1"), because="on en parle")
    made = batched(conn, Asked(pause_until=LATER), because="on en parle")
    assert (made.changed, made.unchanged) == (2, 1)
    found = conn.execute("SELECT DISTINCT reason, until_on, promise, customer_id FROM pauses").fetchall()
    assert found == [("on en parle", LATER, False, None)]
    assert conn.execute("SELECT count(*) FROM pauses").fetchone() == (3,)


def test_a_pause_raises_the_version_of_its_invoice(conn: Connection) -> None:
    before = find(conn, "FA-1")["row_version"], find(conn, "FA-4")["row_version"]
    batched(conn, Asked(pause_until=LATER))
    assert (find(conn, "FA-1")["row_version"], find(conn, "FA-4")["row_version"]) == (before[0] + 1, before[1])


def test_customers_are_excluded_once_each(conn: Connection) -> None:
    made = batched(conn, Asked(exclude=True))
    assert (made.changed, made.customers) == (3, 2)
    assert conn.execute("SELECT bool_and(excluded) FROM customers").fetchone() == (True,)


def test_a_contact_becomes_the_interlocutor_where_the_customer_has_it(conn: Connection) -> None:
    ana = save_contact(conn, customer="C-1", name="Ana", email="ana@dupont.example", by="user:marie")
    made = batched(conn, Asked(contact="ANA@dupont.example", role="billing"))
    assert (made.changed, made.refused) == (2, {"no_contact": ("FA-3",)})
    assert made.samples[0].change == {"billing_contact": (None, "ana@dupont.example")}
    assert (find(conn, "FA-1")["billing_contact_id"], find(conn, "FA-1")["dunning_contact_id"]) == (ana, None)
    assert any("no rule of NORD" in note for note in made.notes)


def test_a_filter_takes_open_invoices_and_settled_ones_only_when_asked(conn: Connection) -> None:
    cancel(conn, company="NORD", number="FA-1", by="user:marie")
    assert batched(conn, Asked(level=1), dry_run=True).selected == 2
    none = batched(conn, Asked(level=1), Chosen(filter='commercial_state = "cancelled"'), dry_run=True)
    assert (none.selected, [note for note in none.notes if "--settled" in note] != []) == (0, True)
    made = batched(conn, Asked(level=1), Chosen(filter='commercial_state = "cancelled"', settled=True))
    assert made.changed == 1
    after = find(conn, "FA-1")
    assert (after["state"], after["before_settled"]) == ("settled", "level_1")


def test_an_invoice_named_twice_is_one(conn: Connection) -> None:
    assert batched(conn, Asked(level=1), numbered("FA-1", "FA-1")).selected == 1


def test_of_several_companies_one_is_named(conn: Connection) -> None:
    open_company(conn, "SUD")
    with pytest.raises(InvalidInput, match="name one of NORD, SUD"):
        batched(conn, Asked(level=1))
    assert batched(conn, Asked(level=1), Chosen(company="SUD", filter="")).selected == 0
    with pytest.raises(InvalidInput, match="the nearest: NORD"):
        batched(conn, Asked(level=1), Chosen(company="NORT", filter=""))


@pytest.mark.parametrize(
    ("asked", "chosen", "field"),
    [
        (Asked(), OVERDUE, "change"),
        (Asked(role="billing"), OVERDUE, "change"),
        (Asked(level=4), OVERDUE, "level"),
        (Asked(last_reminded_on=TODAY + timedelta(days=1)), OVERDUE, "last_reminded_on"),
        (Asked(pause_until=TODAY - timedelta(days=1)), OVERDUE, "pause_until"),
        (Asked(add_tags=("nouveau",)), OVERDUE, "tags"),
        (Asked(remove_tags=("a\x00b",)), OVERDUE, "tags"),
        (Asked(add_tags=("litige",), remove_tags=("litige",)), OVERDUE, "tags"),
        (Asked(contact="nobody"), OVERDUE, "contact"),
        (Asked(level=1), Chosen(filter="level = seven"), "filter"),
        (Asked(level=1), Chosen(), "invoices"),
        (Asked(level=1), Chosen(filter="", numbers=("FA-1",)), "invoices"),
        (Asked(level=1), numbered(), "invoices"),
        (Asked(level=1), numbered("FA-1", "FA-404"), "invoices"),
        (Asked(level=1), numbered("FA\x00"), "invoices"),
        (Asked(level=1), numbered("\ud800"), "invoices"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_whole(conn: Connection, asked: Asked, chosen: Chosen, field: str) -> None:
    before = written(conn)
    with pytest.raises(InvalidInput) as refused:
        batched(conn, asked, chosen)
    assert refused.value.field == field
    assert written(conn) == before


def test_unknown_invoices_are_named(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="NORD has no invoice FA-404, FA-405"):
        batched(conn, Asked(level=1), numbered("FA-404", "FA-1", "FA-405"))


def test_two_tags_of_a_category_that_allows_one_are_refused(conn: Connection) -> None:
    save_category(conn, title="Relances", one_only=True, by="user:marie")
    for title in ("Relance 1", "Relance 2"):
        save_tag(conn, title=title, category="Relances", by="user:marie")
    with pytest.raises(InvalidInput, match="allows one tag only"):
        batched(conn, MIGRATION)


def test_a_reason_is_needed(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="because"):
        batched(conn, MIGRATION, because=" ")


def test_many_invoices_change_step_by_step_and_all_together(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO invoices (company_id, customer_id, number, currency, total, balance, issued_on, due_on)"
        " SELECT company_id, customer_id, 'M-' || n, 'EUR', 1, 1, issued_on, due_on"
        "   FROM invoices, generate_series(1, %s) AS n WHERE number = 'FA-1'",
        [STEP + 7],
    )
    told: list[tuple[int, int]] = []

    def tell(done: int, of: int) -> None:
        told.append((done, of))

    asked = Asked(level=1, add_tags=("litige",), pause_until=LATER)
    made = batch(
        conn, Chosen(filter="total = 1"), asked, because="x", by="user:marie", dry_run=False, progress=tell
    )  # fmt: skip
    assert made.changed == STEP + 7
    assert told == [(0, STEP + 7), (STEP, STEP + 7), (STEP + 7, STEP + 7)]
    for query in (
        "SELECT count(*) FROM invoices WHERE level = 1",
        "SELECT count(*) FROM taggings",
        "SELECT count(*) FROM pauses",
        "SELECT count(*) FROM batch_invoices WHERE change -> 'pause' ->> 1 IS NOT NULL",
    ):
        assert conn.execute(query.encode()).fetchone() == (STEP + 7,)
