"""Reminders by post: who is on the pile, and what a letter that went does to its invoice."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from operations.batch import Chosen, batch
from operations.batch_plan import Asked
from operations.batch_undo import CannotUndo, undo
from operations.customers import exclude, save_contact, save_customer
from operations.explain import explain
from operations.holds import hold
from operations.ledger import record_payment
from operations.lookup import find_invoice
from operations.pauses import pause
from operations.posting import Posted, confirm_posted, print_pile
from operations.rules import activate
from operations.run import run_by_hand
from operations.tags import save_category, save_tag, tag
from store.connection import connect
from tests.chasing import NOW, RULE, committed_chase, decide_run, decided_run, one, open_chase, open_rule, pay
from tests.trade import TODAY, invoice, open_company, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from operations.posting import Letter
    from store.connection import Connection
    from store.rules import SavedRule

DAY = TODAY - timedelta(days=4)


@pytest.fixture
def rule(database: Connection) -> SavedRule:
    """C-3 owes FA-6 and has no address; C-1 and C-2 have one."""
    saved = open_chase(database)
    save_customer(
        database, number="C-3", name="Sans Adresse", postal_address="1 rue Haute\n59000 Lille", country="BE", by="x"
    )  # fmt: skip
    activate(database, rule=RULE, by="user:marie", now=NOW)
    return saved


def pile(conn: Connection, rule: SavedRule | None = None, *, by: str = "user:marie") -> list[Letter]:
    return print_pile(conn, by=by, rule=rule)


def on_pile(conn: Connection) -> list[tuple[str, int]]:
    return [(letter.invoice, letter.level) for letter in pile(conn)]


def post(
    conn: Connection, *numbers: str, on: date = DAY, level: int | None = None, rule: SavedRule | None = None
) -> list[Posted]:
    found = [find_invoice(conn, number) for number in numbers or ("FA-6",)]
    return confirm_posted(conn, found, posted_on=on, level=level, rule=rule, because="lettre 17", by="user:marie")


def suppress(conn: Connection, address: str) -> None:
    conn.execute("INSERT INTO suppressed_addresses (email, because) VALUES (%s, '550 5.1.1')", [address])


def standing(conn: Connection, number: str = "FA-6") -> tuple[object, ...]:
    row = conn.execute(
        "SELECT state, before_settled, level, cycle, last_reminded_on FROM invoices WHERE number = %s", [number]
    ).fetchone()
    assert row is not None
    return row


@pytest.mark.usefixtures("rule")
def test_the_pile_is_what_is_due_and_cannot_be_mailed(database: Connection) -> None:
    (letter,) = pile(database)
    assert (letter.rule, letter.level, letter.company) == (RULE, 1, "NORD")
    assert (letter.customer, letter.postal_address, letter.country) == ("C-3", "1 rue Haute\n59000 Lille", "BE")
    assert (letter.invoice, letter.days_overdue, letter.balance, letter.language) == (
        "FA-6",
        24,
        Decimal("100.00"),
        "fr",
    )


@pytest.mark.usefixtures("rule")
def test_whoever_gets_an_address_leaves_the_pile(database: Connection) -> None:
    save_contact(database, customer="C-3", name="Zoé", email="zoe@c3.example", by="system")
    assert on_pile(database) == [("FA-6", 1)], "a contact without a role is nobody's recipient"
    save_contact(database, customer="C-3", name="Zoé", email="zoe@c3.example", roles=["billing"], by="system")
    assert on_pile(database) == []


@pytest.mark.usefixtures("rule")
def test_whose_address_refuses_mail_is_on_the_pile(database: Connection) -> None:
    save_contact(database, customer="C-1", name="Ana", email="Ana@dupont.example", by="system")
    suppress(database, "ana@dupont.example")
    assert [(letter.customer, letter.invoice, letter.refusing) for letter in pile(database)] == [
        ("C-1", "FA-1", "Ana@dupont.example"), ("C-1", "FA-2", "Ana@dupont.example"), ("C-3", "FA-6", ""),
    ]  # fmt: skip


@pytest.mark.usefixtures("rule")
def test_only_the_address_that_a_mail_would_go_to_counts(database: Connection) -> None:
    save_contact(database, customer="C-3", name="Zoé", email="zoe@c3.example", roles=["billing"], by="system")
    save_contact(database, customer="C-3", name="Max", email="max@c3.example", roles=["dunning"], by="system")
    suppress(database, "zoe@c3.example")
    assert on_pile(database) == [], "the rule writes to Max"
    suppress(database, "max@c3.example")
    assert [letter.refusing for letter in pile(database)] == ["max@c3.example"]


@pytest.mark.usefixtures("rule")
def test_whom_a_guard_refuses_is_not_on_the_pile(database: Connection) -> None:
    invoice(database, "FA-7", customer="C-3")
    pause(database, company="NORD", invoice="FA-6", until_on=TODAY, reason="x", today=TODAY, by="system")
    assert on_pile(database) == [("FA-7", 1)]
    exclude(database, customer="C-3", because="x", by="system")
    assert on_pile(database) == []


def test_the_pile_follows_active_rules_or_the_one_that_is_named(database: Connection, rule: SavedRule) -> None:
    second = open_rule(database, "Relance 1 bis")
    assert [letter.rule for letter in pile(database)] == [RULE], "an inactive rule asks for no letter"
    assert [letter.rule for letter in pile(database, second)] == ["Relance 1 bis"]
    activate(database, rule="Relance 1 bis", by="user:marie", now=NOW)
    assert [letter.rule for letter in pile(database)] == [RULE], "an invoice is there once"
    hold(database, rule=RULE, because="x", by="system", today=TODAY)
    assert [letter.rule for letter in pile(database)] == ["Relance 1 bis"]


def test_a_rule_that_is_not_shared_shows_them_nothing(database: Connection) -> None:
    open_chase(database)
    rule = open_rule(database, "Secrète", shared_with=[])
    activate(database, rule="Secrète", by="user:marie", now=NOW)
    database.execute("INSERT INTO users (login, name, email) VALUES ('paul', 'Paul', 'paul@nord.example')")
    assert len(pile(database)) == 1
    assert pile(database, by="user:paul") == []
    with pytest.raises(InvalidInput, match="not shared"):
        pile(database, rule, by="user:paul")


@pytest.mark.usefixtures("rule")
def test_credit_on_account_is_said_beside_the_balance(database: Connection) -> None:
    record_payment(
        database, company="NORD", customer="C-3", amount="5.00", currency="EUR", received_on=TODAY, reference="x",
        by="x",
    )  # fmt: skip
    assert [letter.credit for letter in pile(database)] == [Decimal("5.00")]


def test_a_letter_counts_as_an_accepted_mail(database: Connection, rule: SavedRule) -> None:
    assert post(database, rule=rule) == [
        Posted(invoice="FA-6", company="NORD", level=1, posted_on=DAY, tags=("Relance 1",))
    ]
    assert standing(database) == ("level_1", None, 1, 1, DAY)
    assert on_pile(database) == []
    told = explain(database, find_invoice(database, "FA-6"), by="user:marie")
    assert told.invoice.tags == {"Relance 1"}
    said = [(change.actor, change.because, change.today, dict(change.change)) for change in told.changes]
    assert ("user:marie", "lettre 17", TODAY, {"posted": [None, DAY.isoformat()]}) in said


def test_in_a_category_that_allows_one_the_other_tag_goes(database: Connection, rule: SavedRule) -> None:
    save_category(database, title="Relances", one_only=True, by="system")
    for title in ("Relance 0", "Relance 1"):
        save_tag(database, title=title, category="Relances", by="system")
    tag(database, company="NORD", invoices=["FA-6"], tags=["Relance 0"], by="system")
    post(database, rule=rule)
    assert explain(database, find_invoice(database, "FA-6"), by="system").invoice.tags == {"Relance 1"}


@pytest.mark.usefixtures("rule")
def test_the_same_letter_told_of_twice_is_one(database: Connection) -> None:
    post(database)
    for on, level in ((DAY, None), (DAY + timedelta(days=1), None), (DAY, 1), (TODAY, 1)):
        with pytest.raises(InvalidInput, match="has had reminder 1"):
            post(database, on=on, level=level)
    assert standing(database) == ("level_1", None, 1, 1, DAY)


@pytest.mark.usefixtures("rule")
def test_the_next_letter_is_of_a_later_day(database: Connection) -> None:
    post(database)
    for on in (DAY, DAY - timedelta(days=1)):
        with pytest.raises(InvalidInput, match="the next reminder is of a later day"):
            post(database, on=on, level=2)
    assert post(database, on=DAY + timedelta(days=1), level=2)[0].level == 2


@pytest.mark.usefixtures("rule")
def test_one_letter_follows_the_other_up_to_the_third(database: Connection) -> None:
    for level in (1, 2, 3):
        post(database, on=DAY + timedelta(days=level), level=level)
    assert standing(database)[:3] == ("level_3", None, 3)
    with pytest.raises(InvalidInput, match="has had all three reminders"):
        post(database, on=TODAY)


@pytest.mark.usefixtures("rule")
def test_a_letter_that_crossed_the_payment_counts_behind_it(database: Connection) -> None:
    pay(database, "FA-6", customer="C-3")
    post(database)
    assert standing(database) == ("settled", "level_1", 1, 1, DAY)


@pytest.mark.parametrize(
    ("state", "reason"), [("level_0_sending", "is on its way"), ("level_0_in_doubt", "is in doubt: resolve it first")]
)
@pytest.mark.usefixtures("rule")
def test_while_a_mail_is_out_no_letter_counts(database: Connection, state: str, reason: str) -> None:
    send(database, find_invoice(database, "FA-6").id, last_state=state)
    with pytest.raises(InvalidInput, match=reason):
        post(database)


@pytest.mark.usefixtures("rule")
def test_what_cannot_have_been_posted_is_refused(database: Connection) -> None:
    before = written(database)
    for on, level, reason in (
        (TODAY + timedelta(days=1), None, "is in the future"),
        (date(2026, 9, 30), None, "was issued on 2026-10-01 only"),
        (DAY, 2, "reminder 1 of FA-6 comes first"),
        (DAY, 4, "must be from 1 to 3"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            post(database, on=on, level=level)
    with pytest.raises(InvalidInput, match="because"):
        confirm_posted(
            database, [find_invoice(database, "FA-6")], posted_on=DAY, because="", by="user:marie"
        )  # fmt: skip
    assert written(database) == before


@pytest.mark.usefixtures("rule")
def test_a_rule_that_the_letter_does_not_stand_for_is_refused(database: Connection) -> None:
    with pytest.raises(InvalidInput, match="reminder 1 of FA-6 comes first"):
        post(database, rule=open_rule(database, "Relance 2", level=1))
    with pytest.raises(InvalidInput, match="sends another reminder"):
        post(database, rule=open_rule(database, "Relance 3", level=2), level=1)
    with pytest.raises(InvalidInput, match="its mails are no reminders"):
        post(database, rule=open_rule(database, "Envoi", counts=False, minimum_gap_days=30))


def test_another_company_s_rule_is_refused(database: Connection, rule: SavedRule) -> None:
    open_company(database, "SUD")
    database.execute("UPDATE invoices SET company_id = (SELECT max(id) FROM companies) WHERE number = 'FA-6'")
    with pytest.raises(InvalidInput, match="chases for another company"):
        post(database, rule=rule)


@pytest.mark.usefixtures("rule")
def test_a_credit_note_is_never_posted(database: Connection) -> None:
    database.execute("UPDATE invoices SET kind = 'credit_note' WHERE number = 'FA-6'")
    with pytest.raises(InvalidInput, match="is a credit note"):
        post(database)


@pytest.mark.usefixtures("rule")
def test_several_invoices_of_a_letter_count_together_or_not_at_all(database: Connection) -> None:
    invoice(database, "FA-7", customer="C-3")
    send(database, find_invoice(database, "FA-7").id)
    with pytest.raises(InvalidInput, match="is on its way"):
        post(database, "FA-6", "FA-7")
    assert standing(database)[2] == 0
    send(database, find_invoice(database, "FA-7").id, last_state="level_0")
    assert [one.invoice for one in post(database, "FA-7", "FA-6", "FA-7")] == ["FA-6", "FA-7"]


@pytest.mark.usefixtures("rule")
def test_a_batch_that_a_letter_followed_cannot_be_undone(database: Connection) -> None:
    made = batch(
        database, Chosen(numbers=("FA-6",)), Asked(add_tags=("Relance 1",)), because="x", by="system", dry_run=False
    )  # fmt: skip
    assert made.id is not None
    post(database)
    with pytest.raises(CannotUndo, match=r"FA-6 \(reminded\)"):
        undo(database, made.id, because="x", by="system", dry_run=False)


def test_no_mail_follows_a_letter_of_the_same_level(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        post(conn, "FA-1")
    decided_run(database_url, rule)
    with connect(database_url) as conn:
        found = conn.execute(
            "SELECT i.number FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id ORDER BY 1"
        ).fetchall()
        assert found == [("FA-2",)]


def test_a_letter_told_of_while_a_run_waits_is_seen_by_it(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        run_id = run_by_hand(conn, rule, by="user:marie").run_id
        post(conn, "FA-1")
    decide_run(database_url, run_id)
    with connect(database_url) as conn:
        assert one(conn, "SELECT count(*) FROM reminder_invoices ri JOIN invoices i ON i.id = ri.invoice_id"
                         " WHERE i.number = 'FA-1'") == 0  # fmt: skip
