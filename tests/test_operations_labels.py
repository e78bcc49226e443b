"""Tags and categories, pauses and promises: what a person puts on invoices and customers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operations.pauses import lift, pause, promise
from operations.tags import save_category, save_tag, tag, tag_customer, untag, untag_customer
from store.facts import Asking, load
from tests.trade import TODAY, but, invoice, journal, open_trade, row, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection
    from workflow.facts import InvoiceFacts

WHO: dict[str, Any] = {"by": "user:marie", "today": TODAY}
FIRST: dict[str, Any] = {"company": "NORD", "invoices": ["FA-1"], "tags": ["Relance 1"], **WHO}
CALL: dict[str, Any] = {
    "company": "NORD", "invoice": "FA-1", "until_on": TODAY + timedelta(days=3), "reason": "on en parle", **WHO,
}  # fmt: skip


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    invoice(database)
    invoice(database, "FA-2")
    for title in ("Relance 1", "Relance 2"):
        save_tag(database, title=title, **WHO)
    return database


def facts(conn: Connection, number: str = "FA-1") -> InvoiceFacts:
    found = conn.execute("SELECT id, company_id FROM invoices WHERE number = %s", [number]).fetchone()
    assert found is not None
    return load(conn, [found[0]], Asking(company_id=found[1], today=TODAY))[0]


def one_only(conn: Connection) -> None:
    save_category(conn, title="Relances", one_only=True, **WHO)
    for title in ("Relance 1", "Relance 2"):
        save_tag(conn, title=title, category="Relances", **WHO)


def test_tags_are_put_on_many_invoices_at_once(conn: Connection) -> None:
    both = but(FIRST, {"invoices": ["FA-2", "FA-1"], "tags": ["Relance 1", "Relance 2"]})
    assert tag(conn, **both) == 4
    assert facts(conn).tags == facts(conn, "FA-2").tags == {"Relance 1", "Relance 2"}


def test_tagging_twice_changes_nothing(conn: Connection) -> None:
    tag(conn, **FIRST)
    before = facts(conn).row_version, written(conn)
    assert tag(conn, **FIRST) == 0
    assert (facts(conn).row_version, written(conn)) == before


def test_in_a_category_that_allows_one_the_other_goes_and_the_journal_tells_both(conn: Connection) -> None:
    one_only(conn)
    tag(conn, **FIRST)
    assert tag(conn, **but(FIRST, {"tags": ["Relance 2"]})) == 1
    assert facts(conn).tags == {"Relance 2"}
    said = [change["tag"] for change in journal(conn, "invoice", facts(conn).id)]
    assert [[old is None, new is None] for old, new in said] == [[True, False], [False, True], [True, False]]


def test_two_tags_of_a_category_that_allows_one_are_refused(conn: Connection) -> None:
    one_only(conn)
    with pytest.raises(InvalidInput, match="tags: the category Relances allows one tag only"):
        tag(conn, **but(FIRST, {"tags": ["Relance 1", "Relance 2"]}))


def test_a_tag_comes_off_again(conn: Connection) -> None:
    tag(conn, **FIRST)
    assert untag(conn, **FIRST) == 1
    assert untag(conn, **FIRST) == 0
    assert facts(conn).tags == set()


def test_unknown_tags_and_invoices_are_named_and_nothing_is_tagged(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="tags: there is no Relance 9") as refused:
        tag(conn, **but(FIRST, {"tags": ["Relance 1", "Relance 9"]}))
    assert refused.value.value == ["Relance 9"]
    with pytest.raises(InvalidInput, match="invoices: 1 of them do not exist in company NORD") as refused:
        tag(conn, **but(FIRST, {"invoices": ["FA-1", "FA-404"]}))
    assert refused.value.value == ["FA-404"]
    assert facts(conn).tags == set()


def test_customers_carry_tags_too(conn: Connection) -> None:
    assert tag_customer(conn, customer="C-1", tags=["Relance 1"], **WHO) == 1
    assert tag_customer(conn, customer="C-1", tags=["Relance 1"], **WHO) == 0
    assert facts(conn).customer.tags == {"Relance 1"}
    assert untag_customer(conn, customer="C-1", tags=["Relance 1"], **WHO) == 1
    assert facts(conn).customer.tags == set()


def test_tags_and_categories_saved_twice_have_not_changed(conn: Connection) -> None:
    category = save_category(conn, title="Relances", collapsed=True, **WHO)
    made = save_tag(conn, title="VIP", colour="#FF0000", category="Relances", **WHO)
    before = written(conn)
    assert save_category(conn, title="Relances", collapsed=True, **WHO) == category
    assert save_tag(conn, title="VIP", colour="#ff0000", category="Relances", **WHO) == made
    assert written(conn) == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"title": ""}, "title"), ({"colour": "red"}, "colour"), ({"category": "Autres"}, "category")],
)
def test_a_tag_that_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_tag(conn, **but({"title": "VIP", **WHO}, changes))
    assert refused.value.field == field


def test_a_pause_is_one_however_often_it_is_asked_for(conn: Connection) -> None:
    first = pause(conn, **CALL)
    before = facts(conn).row_version, written(conn)
    assert pause(conn, **CALL) == first
    assert (facts(conn).row_version, written(conn)) == before
    paused = facts(conn).pause
    assert paused is not None
    assert (paused.until_on, paused.promise) == (TODAY + timedelta(days=3), False)


def test_a_promise_waits_for_the_promised_day(conn: Connection) -> None:
    promise(conn, customer="C-1", paid_on=TODAY, **WHO)
    promised = facts(conn).customer.pause
    assert promised is not None
    assert (promised.until_on, promised.promise, promised.reason) == (TODAY, True, "payment promised")


def test_what_was_paused_is_lifted_whole(conn: Connection) -> None:
    pause(conn, **CALL)
    promise(conn, company="NORD", invoice="FA-1", paid_on=TODAY, **WHO)
    pause(conn, customer="C-1", until_on=TODAY, reason="congés", **WHO)
    assert lift(conn, company="NORD", invoice="FA-1", **WHO) == 2
    assert lift(conn, company="NORD", invoice="FA-1", **WHO) == 0
    assert facts(conn).pause is None
    assert facts(conn).customer.pause is not None
    assert lift(conn, customer="C-1", **WHO) == 1


def test_a_pause_that_has_ended_is_not_lifted(conn: Connection) -> None:
    pause_id = pause(conn, **but(CALL, {"until_on": TODAY}))
    tomorrow = TODAY + timedelta(days=1)
    assert lift(conn, company="NORD", invoice="FA-1", by="system", today=tomorrow) == 0
    assert row(conn, "pauses", pause_id)["lifted_at"] is None


def test_after_it_was_lifted_the_same_pause_is_a_new_one(conn: Connection) -> None:
    first = pause(conn, **CALL)
    lift(conn, company="NORD", invoice="FA-1", **WHO)
    assert pause(conn, **CALL) != first


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"until_on": TODAY - timedelta(days=1)}, "until_on"),
        ({"reason": ""}, "reason"),
        ({"reason": "on\nen parle"}, "reason"),
        ({"company": None}, "invoice"),
        ({"customer": "C-1"}, "invoice"),
        ({"invoice": None}, "invoice"),
        ({"invoice": "FA-404"}, "invoice"),
        ({"company": None, "invoice": None, "customer": "C-404"}, "customer"),
    ],
)
def test_a_pause_that_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        pause(conn, **but(CALL, changes))
    assert refused.value.field == field
    assert conn.execute("SELECT count(*) FROM pauses").fetchone() == (0,)


def test_a_promise_of_yesterday_is_broken_already(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="paid_on: is in the past"):
        promise(conn, customer="C-1", paid_on=TODAY - timedelta(days=1), **WHO)
