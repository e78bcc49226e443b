"""What files become: customers, contacts, invoices, payments and tags; all or what is good, and once."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.companies import save_company
from operations.customers import save_contact, save_customer
from operations.importing.bills import plan_invoices
from operations.importing.imports import (
    Busy,
    Imported,
    InUse,
    Said,
    Understood,
    bad_rows,
    import_file,
    recognise,
    understand,
)
from operations.importing.plans import WrittenMeanwhile
from operations.invoices import cancel, dispute
from operations.ledger import record_payment
from operations.tags import save_category, save_tag, tag
from store.connection import connect
from tests.trade import TODAY, invoice, journal, open_company, open_trade, row, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from operations.importing.fields import Kind
    from store.connection import Connection


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def understood(kind: Kind | None, lines: tuple[str, ...], mapping: str | None = None, **said: Any) -> Understood:  # noqa: ANN401
    content = "\n".join(lines).encode()
    words: dict[str, Any] = {"currency": "EUR", **said}
    sheet, found = recognise(content, name="list.csv", kind=kind, mapping=mapping, said=Said(**words))
    return understand(content, sheet, found, guessed=mapping is None)


def bring(
    conn: Connection,
    kind: Kind | None,
    *lines: str,
    mapping: str | None = None,
    company: str | None = None,
    **how: Any,  # noqa: ANN401
) -> Imported:
    """Import these lines, whose first one is the header."""
    how = {"dry_run": False, "by": "user:marie"} | how
    return import_file(conn, understood(kind, lines, mapping, company=company), **how)


def counts(done: Imported) -> tuple[int, int, int, int]:
    return done.added, done.changed, done.unchanged, done.repeated


def refusals(done: Imported) -> list[tuple[int, str, str, str]]:
    return [(one.line, one.column, one.value, one.reason) for one in done.bad]


def only(conn: Connection, query: str, *parameters: object) -> Any:  # noqa: ANN401
    found = conn.execute(query.encode(), parameters).fetchall()
    assert len(found) == 1
    return found[0] if len(found[0]) > 1 else found[0][0]


def by_number(conn: Connection, number: str) -> dict[str, Any]:
    return row(conn, "invoices", only(conn, "SELECT id FROM invoices WHERE number = %s", number))


CUSTOMERS = (
    "Code client;Raison sociale;Type;Langue;Courriel;Rue;CP;Ville;Délai;Exclu",
    "C-7;Étoile SARL;entreprise;français;compta@ÉTOILE.example;1 rue X;75002;Paris;30;non",
    "C-8;Mairie de Nîmes;collectivité;;;;30000;Nîmes;;oui",
)
INVOICES = (
    "Client;N° facture;Date;Échéance;Total TTC;Statut",
    "C-1;FA-1;01/10/2026;31/10/2026;1 234,50;ouverte",
    "C-1;FA-2;13/10/2026;;60,00;en litige",
)
PAYMENTS = ("Facture,Amount,Payment date", "FA-1,40.00,2026-11-02", "FA-2,60.00,2026-11-03")
FILES: dict[str, tuple[str, ...]] = {
    "customers": CUSTOMERS,
    "contacts": ("Client,Name,Email,Role", "C-1,Zoé,zoe@dupont.example,relance", "C-1,Léo,leo@dupont.example,"),
    "invoices": INVOICES,
    "payments": PAYMENTS,
    "tags": ("facture,tag", "FA-1,litige", "FA-2,litige"),
}


def test_customers_are_made_with_all_that_the_file_says(conn: Connection) -> None:
    done = bring(conn, "customers", *CUSTOMERS)
    assert (done.done, counts(done)) == (True, (2, 0, 0, 0))
    first = row(conn, "customers", only(conn, "SELECT id FROM customers WHERE number = 'C-7'"))
    assert (first["name"], first["kind"], first["language"]) == ("Étoile SARL", "professional", "fr")
    assert (first["email"], first["postal_address"]) == ("compta@xn--toile-9ra.example", "1 rue X\n75002 Paris")
    assert (first["payment_terms_days"], first["excluded"], first["country"]) == (30, False, "FR")
    second = row(conn, "customers", only(conn, "SELECT id FROM customers WHERE number = 'C-8'"))
    assert (second["kind"], second["email"], second["excluded"]) == ("public_body", None, True)


def test_what_no_column_says_of_a_customer_stays(conn: Connection) -> None:
    save_customer(conn, number="C-1", name="Dupont SARL", email="a@dupont.example", kind="consumer", by="system")
    done = bring(conn, "customers", "code,nom", "C-1,Dupont SAS")
    assert counts(done) == (0, 1, 0, 0)
    kept = only(conn, "SELECT name, email, kind FROM customers WHERE number = 'C-1'")
    assert kept == ("Dupont SAS", "a@dupont.example", "consumer")


def test_an_empty_cell_says_nothing_of_what_is_known(conn: Connection) -> None:
    bring(conn, "customers", *CUSTOMERS)
    bring(conn, "invoices", *INVOICES)
    empty = CUSTOMERS[0], "C-8;Mairie de Nîmes;;;;;;;;"
    assert counts(bring(conn, "customers", *empty)) == (0, 0, 1, 0), "who was excluded stays so"
    due = INVOICES[0], "C-1;FA-1;01/10/2026;;1 234,50;", "C-1;FA-2;13/10/2026;;60,00;"
    assert counts(bring(conn, "invoices", *due)) == (0, 0, 2, 0), "a due date stays, and so does a dispute"
    assert by_number(conn, "FA-2")["commercial_state"] == "disputed"


@pytest.mark.parametrize("written", ["$ 500,00", "500,00 USD", "500,00 Cr"])
@pytest.mark.parametrize(
    ("kind", "header", "rest"),
    [
        ("invoices", "client;facture;date facture;total", "C-1;FA-1;13/10/2026;"),
        ("payments", "facture;date paiement;montant", "FA-1;13/10/2026;"),
    ],
)
def test_an_amount_in_another_currency_is_refused(
    conn: Connection, kind: Kind, header: str, rest: str, written: str
) -> None:
    invoice(conn, "FA-1")
    done = bring(conn, kind, header, rest + written)
    assert (done.done, [reason for *_, reason in refusals(done)]) == (False, ["is not in EUR"])


def test_a_payment_that_may_be_another_one_is_told(conn: Connection) -> None:
    invoice(conn, "FA-1", "600.00")
    first = "facture,montant,payment date", "FA-1,300.00,2026-11-02"
    assert bring(conn, "payments", *first).notices == ()
    (notice,) = bring(conn, "payments", *first).notices
    assert (notice.oddity, notice.rows) == ("taken for another", 1)


def test_other_spellings_of_a_customer_are_told_and_the_first_is_kept(conn: Connection) -> None:
    lines = ("cust_number,name_customer,total", "9,WINC co,1", "9,WINC llc,2", "9,WINC co,3", "9,WINC llc,4", "9,W,5")
    done = bring(conn, "customers", *lines)
    assert counts(done) == (1, 0, 0, 4)
    (notice,) = done.notices
    assert (notice.about, notice.field, notice.kept) == ("customer 9", "name", "WINC co")
    assert (notice.others, notice.rows) == (("WINC llc", "W"), 3)
    assert only(conn, "SELECT name FROM customers WHERE number = '9'") == "WINC co"


def test_contacts_are_made_and_given_their_roles(conn: Connection) -> None:
    done = bring(
        conn,
        "contacts",
        "client;nom;courriel;rôle",
        "C-1;Zoé;zoe@dupont.example;relance, facturation",
        "C-1;Léo;leo@dupont.example;",
    )
    assert counts(done) == (2, 0, 0, 0)
    zoe = only(conn, "SELECT id FROM contacts WHERE name = 'Zoé'")
    roles = only(conn, "SELECT dunning_contact_id, billing_contact_id FROM customers WHERE number = 'C-1'")
    assert roles == (zoe, zoe)


def test_a_contact_moves_to_another_role_and_another_name(conn: Connection) -> None:
    ana = save_contact(conn, customer="C-1", name="Ana", email="ana@dupont.example", roles=["billing"], by="system")
    done = bring(conn, "contacts", "client,nom,courriel,role", "C-1,Ana B.,ANA@dupont.example,dunning")
    assert counts(done) == (0, 1, 0, 0)
    assert only(conn, "SELECT name, email FROM contacts") == ("Ana B.", "ANA@dupont.example")
    roles = only(conn, "SELECT dunning_contact_id, billing_contact_id FROM customers WHERE number = 'C-1'")
    assert roles == (ana, ana)


def test_two_contacts_cannot_have_one_role(conn: Connection) -> None:
    done = bring(conn, "contacts", "client,nom,mail,role", "C-1,A,a@x.example,dunning", "C-1,B,b@x.example,dunning")
    assert refusals(done) == [
        (3, "role", "dunning", "customer C-1 has a@x.example for dunning already, on line 2"),
    ]
    assert only(conn, "SELECT count(*) FROM contacts") == 0


def test_invoices_are_issued_as_the_file_says(conn: Connection) -> None:
    done = bring(conn, "invoices", *INVOICES)
    assert counts(done) == (2, 0, 0, 0)
    first, second = by_number(conn, "FA-1"), by_number(conn, "FA-2")
    assert (first["total"], first["balance"]) == (Decimal("1234.50"), Decimal("1234.50"))
    assert (first["issued_on"], first["due_on"]) == (date(2026, 10, 1), date(2026, 10, 31))
    assert (first["state"], first["commercial_state"]) == ("level_0", "open")
    assert (second["commercial_state"], second["due_on"]) == ("disputed", None)


def test_a_corrected_total_meets_what_was_paid(conn: Connection) -> None:
    bring(conn, "invoices", *INVOICES)
    bring(conn, "payments", *PAYMENTS)
    lines = ("Client;N° facture;Date;Total TTC", "C-1;FA-1;01/10/2026;40,00", "C-1;FA-2;13/10/2026;75,00")
    assert counts(bring(conn, "invoices", *lines)) == (0, 2, 0, 0)
    first, second = by_number(conn, "FA-1"), by_number(conn, "FA-2")
    assert (first["commercial_state"], first["balance"], first["due_on"]) == ("paid", Decimal(0), date(2026, 10, 31))
    assert (second["commercial_state"], second["balance"], second["cycle"]) == ("open", Decimal("15.00"), 2)


def test_a_correction_leaves_a_mail_on_its_way(conn: Connection) -> None:
    send(conn, invoice(conn))
    bring(conn, "invoices", "client,number,date,due date,total", "C-1,FA-1,2026-10-01,2026-11-30,100.00")
    after = by_number(conn, "FA-1")
    assert (after["state"], after["due_on"]) == ("level_0_sending", date(2026, 11, 30))


def test_what_is_paid_stays_paid_whatever_the_list_still_says(conn: Connection) -> None:
    bring(conn, "invoices", *INVOICES)
    bring(conn, "payments", "facture,montant,payment date", "FA-2,60.00,2026-11-03")
    before = written(conn)
    assert counts(bring(conn, "invoices", *INVOICES)) == (0, 0, 2, 0)
    assert written(conn) == before
    assert by_number(conn, "FA-2")["commercial_state"] == "paid"


def test_a_list_disputes_cancels_and_lets_stand_again(conn: Connection) -> None:
    invoice(conn)
    lines = "client,number,date,total,state", "C-1,FA-1,2026-10-01,100.00,{}"
    for word, state, cycle in (("litige", "disputed", 1), ("annulée", "cancelled", 1), ("open", "open", 2)):
        bring(conn, "invoices", lines[0], lines[1].format(word))
        after = by_number(conn, "FA-1")
        assert (after["commercial_state"], after["cycle"]) == (state, cycle)


def test_a_column_that_is_not_there_ends_no_dispute(conn: Connection) -> None:
    invoice(conn)
    dispute(conn, company="NORD", number="FA-1", by="user:marie")
    bring(conn, "invoices", "client,number,date,total", "C-1,FA-1,2026-10-01,120.00")
    assert by_number(conn, "FA-1")["commercial_state"] == "disputed"


def test_an_invoice_is_paid_by_payments_only(conn: Connection) -> None:
    lines = ("client,number,date,total,status", "C-1,FA-1,2026-10-01,100.00,payée")
    done = bring(conn, "invoices", *lines)
    assert [(one.line, one.column) for one in done.bad] == [(2, "status")]
    assert "is what payments say" in done.bad[0].reason
    invoice(conn)
    record_payment(
        conn, company="NORD", customer="C-1", invoice="FA-1", amount="100.00", currency="EUR", received_on=TODAY,
        reference="VIR-1", by="system",
    )  # fmt: skip
    assert counts(bring(conn, "invoices", *lines)) == (0, 0, 1, 0)


def test_payments_settle_invoices_and_part_payments_do_not(conn: Connection) -> None:
    bring(conn, "invoices", *INVOICES)
    assert counts(bring(conn, "payments", *PAYMENTS)) == (2, 0, 0, 0)
    assert by_number(conn, "FA-1")["balance"] == Decimal("1194.50")
    assert by_number(conn, "FA-2")["commercial_state"] == "paid"


def test_a_payment_in_two_rows_is_two_payments_and_they_stay_two(conn: Connection) -> None:
    invoice(conn)
    lines = ("facture,montant,payment date", "FA-1,30.00,2026-11-02", "FA-1,30.00,2026-11-02")
    assert counts(bring(conn, "payments", *lines)) == (2, 0, 0, 0)
    assert by_number(conn, "FA-1")["balance"] == Decimal("40.00")
    longer = ("facture;montant;payment date;note", "FA-1;30,00;02/11/2026;x", "FA-1;30,00;02/11/2026;y")
    assert counts(bring(conn, "payments", *longer, "FA-1;15,50;13/11/2026;z")) == (1, 0, 2, 0)
    assert by_number(conn, "FA-1")["balance"] == Decimal("24.50")


def test_a_payment_with_a_reference_is_known_by_it(conn: Connection) -> None:
    invoice(conn)
    header = "facture,montant,payment date,référence"
    assert counts(bring(conn, "payments", header, "FA-1,30.00,2026-11-02,V1", "FA-1,30.00,2026-11-02,V1")) == (
        1,
        0,
        0,
        1,
    )
    done = bring(conn, "payments", header, "FA-1,31.00,2026-11-02,V1")
    assert refusals(done) == [(2, "référence", "V1", "is booked already, with other content")]


def test_one_transfer_for_two_invoices_needs_a_reference_of_two_columns(conn: Connection) -> None:
    invoice(conn)
    invoice(conn, "FA-2")
    lines = ("F,A,D,R", "FA-1,10.00,2026-11-02,V1", "FA-2,10.00,2026-11-02,V1")
    mapping = "kind: payments\ncolumns: {invoice: F, amount: A, received_on: D, reference: %s}"
    done = bring(conn, None, *lines, mapping=mapping % "R")
    assert refusals(done)[0][3] == "is on line 2 already, and says something else: make it of more columns"
    assert counts(bring(conn, None, *lines, mapping=mapping % "[R, F]")) == (2, 0, 0, 0)
    assert {row[0] for row in conn.execute("SELECT reference FROM payments")} == {"V1 FA-1", "V1 FA-2"}


def test_money_without_an_invoice_is_credit_on_account(conn: Connection) -> None:
    before = only(conn, "SELECT row_version FROM customers")
    bring(conn, "payments", "facture,client,montant,payment date", ",C-1,30.00,2026-11-02")
    assert only(conn, "SELECT invoice_id, amount FROM payments") == (None, Decimal("30.00"))
    assert only(conn, "SELECT row_version FROM customers") > before


def test_negative_lines_of_an_invoice_file_are_its_credit_notes(conn: Connection) -> None:
    invoice(conn)
    mapping = (
        "kind: payments\nrows: {only: {T: [AV]}}\ncolumns:\n  invoice: F\n  received_on: D\n  reference: N\n"
        "  kind: {value: credit_note}\n  amount: {column: A, negate: yes}"
    )
    lines = ("N,T,F,D,A", "FA-1,FA,,2026-10-01,100.00", "AV-1,AV,FA-1,2026-10-05,-30.00")
    done = bring(conn, None, *lines, mapping=mapping)
    assert (counts(done), done.left_out) == ((1, 0, 0, 0), 1)
    assert only(conn, "SELECT kind, amount, reference FROM payments") == ("credit_note", Decimal("30.00"), "AV-1")


def test_a_file_without_numbers_gets_the_same_ones_as_invoices_and_as_payments(conn: Connection) -> None:
    lines = ("who,on,amount,settled,days", "C-1,2026-10-01,50.00,50.00,7", "C-1,2026-10-01,50.00,0.00,0",
             "C-1,2026-10-01,50.00,20.00,31")  # fmt: skip
    number = "{derived: [who, on, amount], prefix: X-}"
    bills = f"kind: invoices\ncolumns: {{customer: who, number: {number}, issued_on: on, total: amount}}"
    money = (
        f"kind: payments\nrows: {{skip: {{settled: ['0.00']}}}}\ncolumns:\n  invoice: {number}\n  amount: settled\n"
        "  received_on: {column: on, plus_days: days}"
    )
    assert counts(bring(conn, None, *lines, mapping=bills)) == (3, 0, 0, 0)
    assert counts(bring(conn, None, *lines, mapping=money)) == (2, 0, 0, 0)
    balances = conn.execute("SELECT number, balance FROM invoices ORDER BY id").fetchall()
    names = [number for number, _ in balances]
    assert [balance for _, balance in balances] == [Decimal(0), Decimal(50), Decimal(30)]
    assert names == [names[0], f"{names[0]}-2", f"{names[0]}-3"]
    days = conn.execute("SELECT received_on FROM payments ORDER BY id").fetchall()
    assert days == [(date(2026, 10, 8),), (date(2026, 11, 1),)]


def test_rows_that_are_several_payments_of_one_invoice_are_that(conn: Connection) -> None:
    lines = ("who,on,amount,settled,days", "C-1,2026-10-01,50.00,20.00,7", "C-1,2026-10-01,50.00,25.00,40")
    number = "{derived: [who, on, amount], prefix: X-, again: same}"
    bills = f"kind: invoices\ncolumns: {{customer: who, number: {number}, issued_on: on, total: amount}}"
    money = (
        f"kind: payments\ncolumns:\n  invoice: {number}\n  amount: settled\n"
        "  received_on: {column: on, plus_days: days}"
    )
    assert counts(bring(conn, None, *lines, mapping=bills)) == (1, 0, 0, 1)
    assert counts(bring(conn, None, *lines[:2], mapping=money)) == (1, 0, 0, 0)
    assert counts(bring(conn, None, lines[0], lines[2], mapping=money)) == (1, 0, 0, 0)
    assert only(conn, "SELECT balance FROM invoices") == Decimal(5)


def test_numbers_that_are_alike_but_for_zeros_are_told_and_stay_two_customers(conn: Connection) -> None:
    done = bring(conn, "customers", "number,name", "0200,Nord", "200,Nord", "0020,Sud", "0200,Nord", "0,Est", "X,Ouest")
    assert counts(done) == (5, 0, 0, 1)
    (odd,) = done.notices
    assert (odd.oddity, odd.kept, odd.others, odd.rows) == ("alike but for zeros", "0200", ("200",), 1)


def test_an_invoice_due_before_its_own_day_is_told_and_imported(conn: Connection) -> None:
    lines = ("facture,client,date,échéance,montant", "F-1,C-1,2026-10-02,2026-10-01,5", "F-2,C-1,2026-10-02,,5",
             "F-3,C-1,2026-10-02,2026-10-02,5")  # fmt: skip
    done = bring(conn, "invoices", *lines)
    assert counts(done) == (3, 0, 0, 0)
    assert [(odd.oddity, odd.kept, odd.rows) for odd in done.notices] == [("due before issued", "F-1", 1)]


def test_an_empty_state_ends_no_dispute_and_is_told(conn: Connection) -> None:
    first = ("facture,client,date facture,montant,état", "F-1,C-1,2026-10-02,5,litige", "F-2,C-1,2026-10-02,5,refusée",
             "F-3,C-1,2026-10-02,5,")  # fmt: skip
    assert bring(conn, "invoices", *first).notices == ()
    emptied = (first[0], *(f"{line.rpartition(',')[0]}," for line in first[1:]))
    done = bring(conn, "invoices", *emptied)
    assert counts(done) == (0, 0, 3, 0)
    assert [(odd.oddity, odd.kept, odd.rows) for odd in done.notices] == [("state left empty", "F-1", 2)]
    silent = (line.rpartition(",")[0] for line in first)
    assert bring(conn, "invoices", *silent).notices == (), "a file without such a column is not about states"
    mapping = (
        "kind: invoices\ncolumns: {number: facture, customer: client, issued_on: date facture, total: montant,"
        ' commercial_state: {column: état, words: {"": open}}}'
    )
    assert counts(bring(conn, None, *emptied, mapping=mapping)) == (0, 2, 1, 0)
    assert {by_number(conn, number)["commercial_state"] for number in ("F-1", "F-2")} == {"open"}


def test_tags_are_put_on_invoices_and_made_when_asked(conn: Connection) -> None:
    invoice(conn)
    lines = ("facture,tag", "FA-1,litige")
    done = bring(conn, "tags", *lines)
    assert refusals(done) == [(2, "tag", "litige", "does not exist; --create-tags makes it")]
    assert counts(bring(conn, "tags", *lines, create_tags=True)) == (1, 0, 0, 0)
    assert only(conn, "SELECT t.title FROM taggings JOIN tags t ON t.id = tag_id") == "litige"


def test_a_tag_of_a_category_that_allows_one_replaces_the_other(conn: Connection) -> None:
    save_category(conn, title="suivi", one_only=True, by="system")
    for title in ("calme", "urgent"):
        save_tag(conn, title=title, category="suivi", by="system")
    invoice(conn)
    tag(conn, company="NORD", invoices=["FA-1"], tags=["calme"], by="system")
    done = bring(conn, "tags", "facture,tag", "FA-1,urgent", "FA-1,calme")
    assert refusals(done)[0][3] == "the category suivi allows one tag only, and line 2 says urgent"
    bring(conn, "tags", "facture,tag", "FA-1,urgent")
    assert only(conn, "SELECT t.title FROM taggings JOIN tags t ON t.id = tag_id") == "urgent"


def test_several_tags_in_a_cell_are_put_on_a_customer(conn: Connection) -> None:
    save_tag(conn, title="VIP", by="system")
    save_tag(conn, title="export", by="system")
    mapping = "kind: tags\ncolumns: {customer: C, tag: {column: T, split: '|'}}"
    assert counts(bring(conn, None, "C,T", "C-1,VIP | export", mapping=mapping)) == (1, 0, 0, 0)
    assert only(conn, "SELECT count(*) FROM customer_taggings") == 2
    assert counts(bring(conn, None, "C,T", "C-1,VIP | export", mapping=mapping)) == (0, 0, 1, 0)


@pytest.mark.parametrize("kind", FILES)
def test_the_same_file_a_second_time_changes_nothing(conn: Connection, kind: Kind) -> None:
    if kind in ("payments", "tags"):
        bring(conn, "invoices", *INVOICES)
    first = bring(conn, kind, *FILES[kind], create_tags=True)
    assert (first.bad, first.added) == ((), 2)
    versions = "SELECT (SELECT sum(row_version) FROM invoices), (SELECT sum(row_version) FROM customers)"
    before = written(conn), only(conn, versions)
    again = bring(conn, kind, *FILES[kind])
    assert (again.bad, counts(again)) == ((), (0, 0, 2, 0))
    assert (written(conn), only(conn, versions)) == before


@pytest.mark.parametrize("kind", FILES)
def test_a_dry_run_counts_and_writes_nothing(conn: Connection, kind: Kind) -> None:
    if kind in ("payments", "tags"):
        bring(conn, "invoices", *INVOICES)
    before = written(conn)
    shown = bring(conn, kind, *FILES[kind], create_tags=True, dry_run=True)
    assert (shown.done, written(conn)) == (False, before)
    assert replace(shown, done=True) == bring(conn, kind, *FILES[kind], create_tags=True)


def test_the_journal_says_who_imported_what(conn: Connection) -> None:
    invoice(conn)
    mapped = bring(
        conn, "invoices", "client,number,date,total", "C-1,FA-1,2026-10-01,120.00", because="new year", by="user:paul"
    )
    assert mapped.done
    said = conn.execute("SELECT actor, because, subject FROM journal ORDER BY id DESC LIMIT 2").fetchall()
    (change,) = journal(conn, "import", 0)
    why = f"import {change['sha256'][1][:12]}: new year"  # no file's name, which may say whom it is about
    assert said == [("user:paul", why, "import"), ("user:paul", why, "invoice")]
    assert (change["kind"], change["changed"], change["added"]) == ([None, "invoices"], [None, 1], [None, 0])


def test_nothing_is_imported_when_a_row_is_bad_unless_the_good_ones_are_asked_for(conn: Connection) -> None:
    lines = (*INVOICES, "C-9;FA-3;14/10/2026;;10,00;")
    done = bring(conn, "invoices", *lines)
    assert (done.done, counts(done), len(done.bad)) == (False, (2, 0, 0, 0), 1)
    assert only(conn, "SELECT count(*) FROM invoices") == 0
    done = bring(conn, "invoices", *lines, only_good=True)
    assert (done.done, refusals(done)) == (True, [(4, "Client", "C-9", "does not exist")])
    assert only(conn, "SELECT count(*) FROM invoices") == 2


HEADER = "client,number,date,due,total,currency,company"
GOOD = "C-1,FA-1,2026-10-01,2026-10-31,100.00,EUR,NORD"
AS_SAID = (
    "kind: invoices\ncolumns: {customer: client, number: number, issued_on: date, due_on: due, total: total, "
    "currency: currency, company: company}\ndates: dmy\ndecimal: point"
)


@pytest.mark.parametrize(
    ("bad", "column", "reason"),
    [
        ("C-1,FA-2,2026-10-01,2026-10-31,100.00,EUR", "", "the row has 6 cells, the header 7"),
        (f"{GOOD},x", "", "the row has 8 cells, the header 7"),
        (",FA-2,2026-10-01,,1.00,EUR,NORD", "client", "is missing"),
        ("C-9,FA-2,2026-10-01,,1.00,EUR,NORD", "client", "does not exist"),
        ("C-1,,2026-10-01,,1.00,EUR,NORD", "number", "is missing"),
        ("C-1,FA-1,2026-10-01,,1.00,EUR,NORD", "number", "is on line 2 already, and says something else"),
        (f"C-1,{'9' * 201},2026-10-01,,1.00,EUR,NORD", "number", "is longer than 200 characters"),
        ("C-1,\x1bFA-2,2026-10-01,,1.00,EUR,NORD", "number", "the character U+001B is not allowed"),
        ("C-1,=1+1,2026-10-01,,1.00,EUR,NORD", "number", "begins as a spreadsheet's formula does"),
        ("C-1,@SUM(A1),2026-10-01,,1.00,EUR,NORD", "number", "begins as a spreadsheet's formula does"),
        ("C-1,+cmd|x,2026-10-01,,1.00,EUR,NORD", "number", "begins as a spreadsheet's formula does"),
        ("C-1,FA-2,31/02/2026,,1.00,EUR,NORD", "date", "is no day (day, month, year)"),
        ("C-1,FA-2,,,1.00,EUR,NORD", "date", "is missing"),
        ("C-1,FA-2,2026-10-01,demain,1.00,EUR,NORD", "due", "is no day (day, month, year)"),
        ('C-1,FA-2,2026-10-01,,"1,50",EUR,NORD', "total", "is no amount with a decimal point"),
        ("C-1,FA-2,2026-10-01,,1.001,EUR,NORD", "total", "has more than the 2 decimals of EUR"),
        ("C-1,FA-2,2026-10-01,,-1.00,EUR,NORD", "total", "is a credit: record a credit note"),
        ("C-1,FA-2,2026-10-01,,1.00,XXX,NORD", "currency", "is no ISO 4217 currency, such as EUR"),
        ("C-1,FA-2,2026-10-01,,1.00,EUR,SUD", "company", "does not exist"),
        ("C-1,FA-9,2026-10-01,,90.00,CHF,NORD", "currency", "was EUR: cancel the invoice and issue another"),
        ("C-2,FA-9,2026-10-01,,90.00,EUR,NORD", "client", "was C-1: cancel the invoice and issue another"),
    ],
)
def test_a_bad_row_is_told_with_its_line_column_and_reason(
    conn: Connection, bad: str, column: str, reason: str
) -> None:
    invoice(conn, "FA-9", "90.00")
    save_customer(conn, number="C-2", name="Durand", by="system")
    content = understood(None, (HEADER, GOOD, bad), AS_SAID, currency=None)
    done = import_file(conn, content, dry_run=False, by="system")
    assert [(one.line, one.column, one.reason) for one in done.bad] == [(3, column, reason)]


@pytest.mark.parametrize(
    ("kind", "lines", "column", "reason"),
    [
        ("customers", ("code,nom,mail", "C-7,X,nobody"), "mail", "an address has exactly one @"),
        ("customers", ("code,nom,mail", "C-7,a@b.example,"), "nom", "contains a mail address, which no name does"),
        ("customers", ("code,nom,kind", "C-7,X,business", "C-8,X,alien"), "kind", "must be one of professional,"),
        ("customers", ("code,nom,exclu", "C-7,X,oui", "C-8,X,peut-être"), "exclu", "is neither yes nor no"),
        ("customers", ("code,nom,terms", "C-7,X,400"), "terms", "must be from 0 to 365"),
        ("contacts", ("client,nom,mail,role", "C-1,X,a@x.example,chef"), "role", "must be one of dunning, billing"),
        ("contacts", ("client,contact,mail", "C-9,X,a@x.example"), "client", "does not exist"),
        ("payments", ("facture,montant,payment date", "FA-7,1.00,2026-01-01"), "facture", "does not exist in company"),
        ("payments", ("facture,montant,payment date", "FA-1,0.00,2026-01-01"), "montant", "must be more than nothing"),
        (
            "payments",
            ("facture,client,montant,payment date", "FA-1,C-2,1.00,2026-01-01"),
            "client",
            "the invoice is C-1",
        ),
        ("tags", ("facture,tag", "FA-7,x"), "facture", "does not exist in company NORD"),
        ("tags", ("client,tag", "C-9,x"), "client", "does not exist"),
    ],
)
def test_what_no_person_could_save_no_file_can(
    conn: Connection, kind: Kind, lines: tuple[str, ...], column: str, reason: str
) -> None:
    invoice(conn)
    mapping = None
    if kind == "customers":  # a guess leaves out a column most of whose values do not fit
        header = lines[0].split(",")
        field = {"mail": "email", "terms": "payment_terms_days", "exclu": "excluded"}.get(header[2], header[2])
        mapping = f"kind: customers\ncolumns: {{number: code, name: nom, {field}: {header[2]}}}"
    if kind == "contacts" and "role" in lines[0]:
        mapping = "kind: contacts\ncolumns: {customer: client, name: nom, email: mail, roles: role}"
    done = bring(conn, kind, *lines, mapping=mapping)
    assert [one.column for one in done.bad] == [column]
    assert done.bad[0].reason.startswith(reason)
    assert done.bad[0].line == len(lines)


def test_a_moment_is_a_day_on_the_clock_of_its_company(conn: Connection) -> None:
    save_company(conn, code="OUEST", name="West Inc.", zone="America/New_York", by="system")
    lines = ("company,client,number,date,due date,total", "NORD,C-1,FA-1,2026-03-01T23:30:00Z,2026-04-01,1.00",
             "OUEST,C-1,FA-2,2026-03-01T03:30:00Z,2026-04-30 23:59:00+01:00,1.00")  # fmt: skip
    assert bring(conn, "invoices", *lines).added == 2
    assert [by_number(conn, one)["issued_on"] for one in ("FA-1", "FA-2")] == [date(2026, 3, 2), date(2026, 2, 28)]
    assert by_number(conn, "FA-2")["due_on"] == date(2026, 4, 30)
    paid = ("company,invoice,amount,payment date", "NORD,FA-1,1.00,2026-03-31T22:00:00Z")
    assert counts(bring(conn, "payments", *paid)) == (1, 0, 0, 0)
    assert only(conn, "SELECT received_on FROM payments") == date(2026, 4, 1)
    assert counts(bring(conn, "payments", *paid)) == (0, 0, 1, 0)


def test_days_added_to_a_moment_are_counted_from_its_day(conn: Connection) -> None:
    lines = (
        "client,number,on,total,terms",
        "C-1,FA-1,2026-03-01T22:30:00Z,1.00,60",
        "C-1,FA-2,2026-03-01T22:30:00Z,1.00,-999999",
    )
    mapping = (
        "kind: invoices\ncolumns:\n  customer: client\n  number: number\n  total: total\n  issued_on: on\n"
        "  due_on: {column: on, plus_days: terms}"
    )
    done = bring(conn, None, *lines, mapping=mapping, only_good=True)
    assert [one.reason for one in done.bad] == ["-999999 days later there is no calendar"]
    assert by_number(conn, "FA-1")["due_on"] == date(2026, 4, 30), "not the first of May, as sixty times 24 hours later"


def test_a_moment_of_a_company_that_does_not_exist_is_refused_with_its_row(conn: Connection) -> None:
    lines = ("company,client,number,date,total", "SUD,C-1,FA-1,2026-03-01T23:30:00Z,1.00")
    assert refusals(bring(conn, "invoices", *lines)) == [(2, "company", "SUD", "does not exist")]


def test_a_column_in_which_nothing_tells_day_from_month_is_refused_until_somebody_says_so(conn: Connection) -> None:
    lines = ("client,number,date,total", "C-1,FA-1,3/4/2026,100.00", "C-1,FA-2,4/5/2026,100.00")
    with pytest.raises(InvalidInput, match=r"columns\.issued_on: the column date may have the day or the month first"):
        bring(conn, "invoices", *lines)
    done = import_file(conn, understood("invoices", lines, dates="mdy"), dry_run=False, by="system")
    assert done.added == 2
    assert by_number(conn, "FA-1")["issued_on"] == date(2026, 3, 4)


def test_a_decimal_sign_that_nothing_tells_is_refused_until_somebody_says_so(conn: Connection) -> None:
    lines = ("client;number;date;total", "C-1;FA-1;2026-01-01;1,234")
    with pytest.raises(InvalidInput, match=r"columns\.total: the column total may have a decimal comma"):
        bring(conn, "invoices", *lines)
    import_file(conn, understood("invoices", lines, decimal="point"), dry_run=False, by="system")
    assert by_number(conn, "FA-1")["total"] == Decimal(1234)


def test_numbers_that_read_as_decimals_are_told_and_not_changed_unless_the_mapping_says_so(conn: Connection) -> None:
    lines = ("client,number,date,total", "C-1,12345.0,2026-01-01,1.50", "C-1,12346.0,2026-01-01,1.50")
    mapping = "kind: invoices\ncolumns: {customer: client, number: %s, issued_on: date, total: total}"
    done = bring(conn, None, *lines, mapping=mapping % "number", dry_run=True)
    (notice,) = done.notices
    assert (notice.oddity, notice.about, notice.kept, notice.rows) == (
        "reads as a decimal", "column number", "12345.0", 2,
    )  # fmt: skip
    done = bring(conn, None, *lines, mapping=mapping % "{column: number, format: whole}")
    assert (done.notices, by_number(conn, "12345")["total"]) == ((), Decimal("1.50"))


def test_a_mapping_that_does_not_fit_the_file_is_refused(conn: Connection) -> None:
    mapping = "kind: customers\ncolumns: {number: Code, name: Nom}"
    with pytest.raises(InvalidInput, match=r"columns: there is no such column; did you mean code\? \(got 'Code'\)"):
        bring(conn, None, "code,nom", "C-7,X", mapping=mapping)
    with pytest.raises(InvalidInput, match="columns: 2 columns have this name: rename one"):
        bring(conn, None, "Code,Nom,Nom", "C-7,X,Y", mapping=mapping)
    with pytest.raises(InvalidInput, match="kind: the mapping file is for customers"):
        bring(conn, "contacts", "Code,Nom", "C-7,X", mapping=mapping)


def test_where_there_are_several_companies_somebody_says_whose(conn: Connection) -> None:
    open_company(conn, "SUD")
    with pytest.raises(InvalidInput, match="company: say whose, there are several: NORD, SUD"):
        bring(conn, "invoices", *INVOICES)
    assert bring(conn, "invoices", *INVOICES, company="SUD").added == 2
    assert counts(bring(conn, "payments", *PAYMENTS, company="SUD")) == (2, 0, 0, 0)
    assert len(bring(conn, "payments", *PAYMENTS, company="NORD").bad) == 2


def test_refused_rows_are_written_as_a_file_that_can_be_mended_and_imported(conn: Connection) -> None:
    lines = ("client;number;date;total", "C-1;FA-1;13/10/2026;1,50", '"=cmd|x";"FA\n2";13/10/2026;-2,50', "C-1;FA-3")
    content = understood("invoices", lines)
    done = import_file(conn, content, dry_run=False, by="system", only_good=True)
    rows = list(csv.reader(io.StringIO(bad_rows(content, done.bad).decode("utf-8-sig")), delimiter=";"))
    assert rows == [
        ["line", "problem", "client", "number", "date", "total"],
        ["3", "client: begins as a spreadsheet's formula does", "'=cmd|x", "FA\n2", "13/10/2026", "-2,50"],
        ["5", "the row has 2 cells, the header 4", "C-1", "FA-3"],
    ]
    mended = ("line;problem;client;number;date;total", "3;;C-1;FA-2;13/10/2026;2,50", "5;;C-1;FA-3;14/10/2026;3,50")
    assert counts(bring(conn, "invoices", *mended)) == (2, 0, 0, 0)


def test_one_import_at_a_time(database_url: str) -> None:
    with connect(database_url) as first, connect(database_url) as second:
        open_trade(first)
        first.commit()
        bring(first, "customers", *CUSTOMERS)
        with pytest.raises(Busy, match="another import is at work"):
            bring(second, "customers", *CUSTOMERS)
        second.rollback()
        assert bring(second, "customers", *CUSTOMERS, dry_run=True).added == 2  # looking is free


OTHERS_LOCKS = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND l.pid <> pg_backend_pid()
   AND l.locktype <> 'virtualxid' AND l.mode <> 'AccessShareLock'
"""


def test_payments_wait_for_whoever_holds_their_invoices(database_url: str) -> None:
    with connect(database_url) as conn, connect(database_url) as batch:
        open_trade(conn)
        bring(conn, "invoices", *INVOICES)
        conn.commit()
        conn.execute("SET lock_timeout = '50ms'")
        batch.execute("SELECT id FROM invoices FOR UPDATE")
        waited: list[int] = []

        def somebody_waits() -> None:
            waited.append(1)
            assert only(batch, OTHERS_LOCKS) == 0, "who waits keeps nobody else waiting"
            if len(waited) == 3:
                batch.commit()

        assert counts(bring(conn, "payments", *PAYMENTS, waiting=somebody_waits)) == (2, 0, 0, 0)
        assert len(waited) == 3
        assert only(conn, "SELECT count(*) FROM payments") == 2


def test_who_holds_them_for_too_long_is_told_of_and_nothing_is_imported(database_url: str) -> None:
    with connect(database_url) as conn, connect(database_url) as batch:
        open_trade(conn)
        bring(conn, "invoices", *INVOICES)
        conn.commit()
        conn.execute("SET lock_timeout = '10ms'")
        batch.execute("SELECT id FROM invoices FOR UPDATE")
        with pytest.raises(InUse, match="by a large batch perhaps; nothing was imported: try again later"):
            bring(conn, "payments", *PAYMENTS)
        assert only(conn, "SELECT count(*) FROM payments") == 0
        batch.rollback()


def test_what_somebody_else_wrote_meanwhile_is_not_written_over(database_url: str) -> None:
    with connect(database_url) as conn, connect(database_url) as other:
        open_trade(conn)
        invoice(conn, "FA-1", "10.00")

        def somebody_is_quicker(_done: int, _total: int) -> None:
            if only(other, "SELECT count(*) FROM invoices") == 1:
                invoice(other, "FA-2", "77.00")
            other.commit()

        with pytest.raises(WrittenMeanwhile):
            bring(conn, "invoices", *INVOICES, progress=somebody_is_quicker)
        totals = conn.execute("SELECT total FROM invoices ORDER BY number").fetchall()
        assert totals == [(Decimal("10.00"),), (Decimal("77.00"),)]


def test_a_payment_between_the_plan_and_the_deed_counts(database_url: str) -> None:
    with connect(database_url) as conn, connect(database_url) as other:
        open_trade(conn)
        invoice(conn, "FA-1", "10.00")
        records = understood("invoices", INVOICES[:2], dates="dmy").reading.records
        plan = plan_invoices(conn, records, says_states=False)
        bring(other, "payments", "facture,montant,payment date", "FA-1,4.50,2026-11-02")
        other.commit()
        plan.write(conn, lambda _done, _total: None)
        after = by_number(conn, "FA-1")
        assert (after["total"], after["balance"]) == (Decimal("1234.50"), Decimal("1230.00"))


TOTAL = st.decimals(Decimal("0.01"), Decimal(999_999), places=2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=10),
        st.tuples(
            TOTAL,
            st.dates(date(2000, 1, 1), date(2030, 1, 1)),
            st.none() | st.dates(date(2000, 1, 1), date(2030, 1, 1)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_invoices_that_were_written_to_a_file_are_read_back(
    conn: Connection, rows: dict[str, tuple[Decimal, date, date | None]]
) -> None:
    with conn.transaction(force_rollback=True):
        lines = [
            f"C-1;{number};{issued:%d/%m/%Y};{f'{due:%d/%m/%Y}' if due else ''};{str(total).replace('.', ',')} €"
            for number, (total, issued, due) in rows.items()
        ]
        content = understood("invoices", ("client;number;date;due date;total", *lines), dates="dmy", decimal="comma")
        done = import_file(conn, content, dry_run=False, by="system")
        assert done.bad == ()
        found = conn.execute("SELECT number, total, issued_on, due_on FROM invoices").fetchall()
        assert {number: values for number, *values in found} == {number: list(said) for number, said in rows.items()}


def test_a_cancelled_invoice_stays_cancelled_when_its_total_is_corrected(conn: Connection) -> None:
    invoice(conn)
    cancel(conn, company="NORD", number="FA-1", by="system")
    bring(conn, "invoices", "client,number,date,total", "C-1,FA-1,2026-10-01,120.00")
    assert by_number(conn, "FA-1")["commercial_state"] == "cancelled"
