"""Electronic invoices saved as invoices: of whom, to whom, due when, with the document as the original."""

from __future__ import annotations

import hashlib
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.pq import TransactionStatus

from operations.companies import save_company
from operations.customers import save_contact, save_customer
from operations.einvoices.imports import import_files
from operations.einvoices.read import Read, read
from operations.holds import hold, release
from operations.invoices import cancel
from operations.ledger import record_payment
from store import companies
from store.claims import originals
from store.connection import connect
from tests.einvoice_files import cii, pdf, ubl
from tests.trade import TODAY, invoice, open_company, open_trade, row, written
from workflow.einvoices import CORRECTIONS
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.einvoices.imports import Imported
    from store.connection import Connection
    from workflow.einvoices import EInvoice

NUMBER = "FA-2026-0100"
# Any two SIRENs with a right check digit.
OURS, THEIRS = "732829320", "552100554"


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


@cache
def parsed(content: bytes) -> EInvoice:
    return read(content)


def files(*contents: bytes) -> list[Read]:
    return [
        Read(file=f"{number}.xml", content=one, sha256=hashlib.sha256(one).digest(), einvoice=parsed(one))
        for number, one in enumerate(contents)
    ]


def save(
    conn: Connection, *contents: bytes, dry_run: bool = False, company: str | None = None, customer: str | None = None
) -> list[Imported]:
    read = files(*contents)
    return import_files(conn, read, of=len(read), company=company, customer=customer, dry_run=dry_run, by="user:marie")


def refused(conn: Connection, content: bytes, company: str | None = None) -> str:
    before = written(conn), count(conn)
    (one,) = save(conn, content, company=company)
    assert one.became == "refused"
    assert (written(conn), count(conn)) == before, "nothing is left of it"
    return one.refused


def count(conn: Connection) -> int:
    (number,) = conn.execute("SELECT count(*) FROM invoices").fetchall()[0]
    return int(number)


def saved(conn: Connection, number: str = NUMBER) -> dict[str, Any]:
    found = conn.execute("SELECT id FROM invoices WHERE number = %s", [number]).fetchall()
    return row(conn, "invoices", found[0][0])


def test_an_electronic_invoice_becomes_an_invoice_of_its_payable_amount(conn: Connection) -> None:
    (one,) = save(conn, cii())
    assert (one.became, one.company, one.customer, one.matched) == ("new", "NORD", "C-1", "number")
    kept = saved(conn)
    assert (kept["total"], kept["balance"], kept["currency"]) == (Decimal("100.00"), Decimal("100.00"), "EUR")
    assert (kept["issued_on"], kept["due_on"], one.due_from) == (date(2026, 10, 2), date(2026, 11, 1), "invoice")
    assert (kept["state"], kept["open"], kept["held_because"]) == ("level_0", True, None)


@pytest.mark.parametrize(
    ("content", "media_type", "name"),
    [(cii(), "application/xml", "0.xml"), (pdf({"factur-x.xml": cii()}), "application/pdf", "0.xml.pdf")],
    ids=["xml", "pdf"],
)
def test_the_document_is_the_invoices_original_byte_for_byte(
    conn: Connection, content: bytes, media_type: str, name: str
) -> None:
    save(conn, content)
    invoice_id = saved(conn)["id"]
    kept_name, kept_type, _, kept = originals(conn, [invoice_id])[invoice_id]
    assert (kept_name, kept_type, bytes(kept)) == (name, media_type, content)


def test_the_journal_names_the_document_by_its_hash(conn: Connection) -> None:
    invoice(conn, NUMBER, due_on=date(2026, 11, 1))
    save(conn, cii())
    said = conn.execute("SELECT DISTINCT because FROM journal WHERE because LIKE 'electronic%'").fetchall()
    assert said == [(f"electronic invoice {hashlib.sha256(cii()).hexdigest()[:12]}",)]


def test_a_dry_run_says_the_same_and_leaves_nothing(conn: Connection) -> None:
    before = written(conn)
    told = save(conn, cii(), ubl(number="FA-2"), dry_run=True)
    assert (count(conn), written(conn)) == (0, before)
    assert save(conn, cii(), ubl(number="FA-2")) == told
    assert count(conn) == 2


def test_the_same_file_again_changes_nothing(conn: Connection) -> None:
    save(conn, cii(means=("59",)))
    release(conn, company="NORD", invoice=NUMBER, because="rejected", by="user:marie", today=TODAY)
    before = saved(conn), written(conn)
    (again,) = save(conn, cii(means=("59",)))
    assert (again.became, again.held) == ("unchanged", "")
    assert (saved(conn), written(conn)) == before, "not held again either"


def test_credits_are_not_saved_as_invoices(conn: Connection) -> None:
    assert "credit note (type 381)" in refused(conn, cii(type_code="381"))
    assert "credit note" in refused(conn, ubl(kind="CreditNote", type_code="381"))
    assert "asks for -5.00: a credit" in refused(conn, cii(payable="-5.00"))
    assert "it is paid" in refused(conn, cii(payable="0"))


def test_a_direct_debit_is_held_until_a_person_lets_go_of_it(conn: Connection) -> None:
    (one,) = save(conn, cii(means=("59",)))
    assert "direct debit (means 59)" in one.held
    assert saved(conn)["held_because"] == one.held


def test_an_invoice_that_is_here_is_held_by_its_document_once(conn: Connection) -> None:
    invoice(conn, NUMBER, due_on=date(2026, 11, 1))
    told = [save(conn, cii(means=("59",)))[0] for _ in range(2)]
    assert [one.became for one in told] == ["changed", "unchanged"]
    assert "direct debit (means 59)" in saved(conn)["held_because"]
    assert {one.held for one in told} == {saved(conn)["held_because"]}, "what still holds is told again"
    release(conn, company="NORD", invoice=NUMBER, because="rejected", by="user:marie", today=TODAY)
    assert (save(conn, cii(means=("59",)))[0].held, saved(conn)["held_because"]) == ("", None)


def test_a_persons_hold_stays_behind_the_documents(conn: Connection) -> None:
    invoice(conn, NUMBER, due_on=date(2026, 11, 1))
    hold(conn, company="NORD", invoice=NUMBER, because="x" * 200, by="user:marie", today=TODAY)
    (one,) = save(conn, cii(means=("59",)))
    assert one.held == saved(conn)["held_because"]
    assert one.held.startswith("is collected by direct debit (means 59)")
    assert (len(one.held), "rejected; xxx" in one.held) == (200, True)


def test_an_invoice_that_is_here_is_known_as_factored_by_its_document(conn: Connection) -> None:
    invoice(conn, NUMBER, due_on=date(2026, 11, 1))
    assert save(conn, cii(type_code="393"))[0].became == "changed"
    assert saved(conn)["factored"]


def test_a_factored_invoice_is_not_ours_to_chase(conn: Connection) -> None:
    save(conn, cii(type_code="393"))
    assert saved(conn)["factored"]


# ------------------------------------------------------------------ due dates


def test_without_a_due_date_and_agreed_terms_it_has_none_and_its_terms_are_shown(conn: Connection) -> None:
    (one,) = save(conn, cii(due=""))
    assert (saved(conn)["due_on"], one.due_from) == (None, None)
    assert any("no due date" in notice and "30 jours net" in notice for notice in one.notices)


def test_agreed_terms_give_a_due_date_and_it_says_so(conn: Connection) -> None:
    save_customer(conn, number="C-1", name="Dupont SARL", payment_terms_days=45, by="user:marie")
    (one,) = save(conn, cii(due=""))
    assert (saved(conn)["due_on"], one.due_from) == (date(2026, 11, 16), "customer")
    assert "due by the terms agreed with customer C-1: 45 days" in one.notices


def test_its_own_due_date_comes_before_agreed_terms(conn: Connection) -> None:
    save_customer(conn, number="C-1", name="Dupont SARL", payment_terms_days=45, by="user:marie")
    (one,) = save(conn, cii())
    assert (saved(conn)["due_on"], one.due_from) == (date(2026, 11, 1), "invoice")


def test_agreed_terms_choose_none_of_several_due_dates(conn: Connection) -> None:
    save_customer(conn, number="C-1", name="Dupont SARL", payment_terms_days=45, by="user:marie")
    other = (
        "<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime><udt:DateTimeString>20261201</udt:DateTimeString>"
        "</ram:DueDateDateTime></ram:SpecifiedTradePaymentTerms>"
    )
    (one,) = save(conn, cii(extra=other))
    assert (saved(conn)["due_on"], one.due_on, one.due_from) == (None, None, None)
    assert any("has several due dates, so it is never chased until" in notice for notice in one.notices)


# ------------------------------------------------------------------ whose, and to whom


def test_a_customer_is_matched_by_name_where_no_number_is_known_and_it_says_so(conn: Connection) -> None:
    (one,) = save(conn, cii(buyer_id="", buyer="DUPONT  sarl"))
    assert (one.customer, one.matched) == ("C-1", "name")


def test_an_unknown_customer_is_not_made(conn: Connection) -> None:
    assert "no customer here" in refused(conn, cii(buyer="Martin", buyer_id="M-1"))
    assert conn.execute("SELECT count(*) FROM customers").fetchone() == (1,)


def test_of_two_customers_of_one_name_none_is_guessed(conn: Connection) -> None:
    save_customer(conn, number="C-2", name="dupont sarl", by="user:marie")
    assert "any of C-1, C-2" in refused(conn, cii(buyer_id=""))
    assert save(conn, cii(buyer_id=""), customer="C-2")[0].customer == "C-2"


def test_a_customer_of_the_number_and_another_name_is_not_taken_unless_said(conn: Connection) -> None:
    why = "is to Dupont et Fils, and customer C-1 is Dupont SARL: where they are the same, say --customer C-1"
    assert refused(conn, cii(buyer="Dupont et Fils")) == why
    (one,) = save(conn, cii(buyer="Dupont et Fils"), customer="C-1")
    assert (one.became, one.matched) == ("new", "said")
    assert "customer C-1 is Dupont SARL, the invoice is to Dupont et Fils" in one.notices


def test_an_address_is_proposed_and_never_taken(conn: Connection) -> None:
    proposed = "customer C-1 has no mail address here; the invoice gives achats@dupont.example"
    assert proposed in save(conn, cii())[0].notices
    assert conn.execute("SELECT count(*) FROM contacts").fetchone() == (0,)
    save_contact(conn, customer="C-1", name="Anne", email="anne@dupont.example", by="user:marie")
    assert proposed not in save(conn, cii(number="FA-2"))[0].notices


def test_what_another_company_issued_is_refused(conn: Connection) -> None:
    assert "issued by Sud SA, none of the companies here" in refused(conn, cii(seller="Sud SA"))
    save_company(conn, code="NORD", name="Nord SAS", siren=OURS, by="user:marie")
    theirs = cii(seller_siren=THEIRS)
    assert f"Nord SAS (SIREN {THEIRS})" in refused(conn, theirs), "a name is no proof against another SIREN"
    assert "not by that company" in refused(conn, theirs, company="NORD")


@pytest.mark.parametrize("number", [OURS, f"{OURS}00074", f"FR44{OURS}", "732 829 320"])
def test_a_company_is_matched_by_its_siren_however_it_is_written(conn: Connection, number: str) -> None:
    open_company(conn, "SUD")
    save_company(conn, code="SUD", name="Sud SA", siren=OURS, by="user:marie")
    assert save(conn, cii(seller="Another name", seller_siren=number))[0].company == "SUD"


def test_a_company_may_be_said_where_nothing_tells_it(conn: Connection) -> None:
    assert save(conn, cii(seller="NS"), company="NORD")[0].company == "NORD"


def test_a_seller_that_nothing_tells_from_a_stranger_is_pointed_at(conn: Connection) -> None:
    save_company(conn, code="NORD", name="Nord SAS", iban="DE89370400440532013000", by="user:marie")
    stranger = "the seller is Sud SA; no account, name or SIREN says that it is Nord SAS"
    assert stranger in save(conn, cii(seller="Sud SA"), company="NORD")[0].notices
    assert not any("the seller is" in notice for notice in save(conn, cii(number="FA-2"), company="NORD")[0].notices)
    save_company(conn, code="NORD", name="Nord SAS", iban="FR7630006000011234567890189", by="user:marie")
    assert stranger not in save(conn, cii(number="FA-3", seller="Sud SA"), company="NORD")[0].notices


def test_a_company_is_matched_by_its_account(conn: Connection) -> None:
    save_company(conn, code="NORD", name="N", iban="FR7630006000011234567890189", by="user:marie")
    assert save(conn, cii(seller="X"))[0].company == "NORD"
    assert len(companies.companies(conn)) == 1


# ------------------------------------------------------------------ what is here already


def test_an_invoice_that_is_here_keeps_its_amount_and_gets_the_document(conn: Connection) -> None:
    invoice_id = invoice(conn, NUMBER, "120.00", due_on=date(2026, 11, 1))
    record_payment(
        conn, company="NORD", customer="C-1", invoice=NUMBER, amount="20.00", currency="EUR", received_on=TODAY,
        reference="ACOMPTE", by="system",
    )  # fmt: skip
    (one,) = save(conn, cii())
    kept = row(conn, "invoices", invoice_id)
    assert (one.became, kept["total"], kept["balance"]) == ("changed", Decimal("120.00"), Decimal("100.00"))
    assert invoice_id in originals(conn, [invoice_id])


def test_an_invoice_that_is_here_without_a_due_date_is_given_it(conn: Connection) -> None:
    invoice(conn, NUMBER, due_on=None)
    assert save(conn, cii())[0].became == "changed"
    assert saved(conn)["due_on"] == date(2026, 11, 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (cii(payable="99.00"), "with a total of 100.00"),
        (cii(due="20261115"), "due on 2026-11-01"),
        (cii(currency="CHF"), "for customer C-1 in EUR"),
    ],
    ids=["amount", "due", "currency"],
)
def test_what_differs_from_the_invoice_that_is_here_is_for_a_person(conn: Connection, content: bytes, why: str) -> None:
    invoice(conn, NUMBER, due_on=date(2026, 11, 1))
    assert why in refused(conn, content)


def test_another_original_stays(conn: Connection) -> None:
    save(conn, cii())
    (one,) = save(conn, cii(terms="other words"))
    assert "the invoice has another original, which stays" in one.notices


def test_a_correction_waits_until_what_it_corrects_is_cancelled(conn: Connection) -> None:
    invoice(conn, "FA-1")
    correction = cii(type_code="384", preceding="FA-1")
    assert "corrects FA-1, which is open here: cancel that one first" in refused(conn, correction)
    cancel(conn, company="NORD", number="FA-1", by="user:marie", today=TODAY)
    assert save(conn, correction)[0].became == "new"


@pytest.mark.parametrize("code", sorted(CORRECTIONS))
def test_a_correction_that_comes_before_its_original_is_refused(conn: Connection, code: str) -> None:
    correction = cii(type_code=code, preceding="FA-1")
    assert "corrects FA-1, not here: import that one first, and cancel it" in refused(conn, correction)
    assert "does not name the invoice that it corrects" in refused(conn, cii(type_code=code))
    save(conn, cii(number="FA-1"))
    assert "cancel that one first" in refused(conn, correction)


def test_a_file_that_is_refused_stops_no_other(conn: Connection) -> None:
    unread = Read(file="x.pdf", content=b"", sha256=b"", einvoice=None, refused="is a PDF that cannot be read")
    three = [unread, *files(cii(type_code="381"), cii())]
    done = import_files(conn, three, of=3, dry_run=False, by="user:marie")
    assert [one.became for one in done] == ["refused", "refused", "new"]
    assert done[0].refused == unread.refused


def test_too_many_at_once_are_refused(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="more than 1000"):
        import_files(conn, never_read(), of=1001, dry_run=True, by="user:marie")


def never_read() -> Iterator[Read]:
    pytest.fail("nothing is read before it is known how many there are")
    yield


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_is_locked_while_files_are_read(database_url: str, *, dry_run: bool) -> None:
    with connect(database_url) as conn:
        open_trade(conn)
        conn.commit()

        def reading() -> Iterator[Read]:
            for one in files(cii(), cii(number="FA-2")):
                assert conn.info.transaction_status == TransactionStatus.IDLE
                yield one

        import_files(conn, reading(), of=2, dry_run=dry_run, by="user:marie")
        assert count(conn) == (0 if dry_run else 2)


def test_a_busy_invoice_is_waited_for_and_then_refused_alone(database_url: str) -> None:
    with connect(database_url) as conn, connect(database_url) as batch:
        open_trade(conn)
        for number in ("FA-2", "FA-4"):
            invoice(conn, number, due_on=date(2026, 11, 1))
        conn.execute("SET lock_timeout = '20ms'")
        conn.commit()
        batch.execute("SELECT FROM invoices WHERE number = 'FA-2' FOR UPDATE")
        four = files(*(cii(number=f"FA-{number}") for number in range(1, 5)))
        waited: list[int] = []
        done = import_files(
            conn, four, of=4, dry_run=False, by="user:marie", waiting=lambda: waited.append(count(batch))
        )
        assert [one.became for one in done] == ["new", "refused", "new", "changed"]
        assert "somebody else is changing" in done[1].refused
        assert set(waited) == {3}, "what was saved before is saved for good"
        waited.clear()

        def batch_ends() -> None:
            waited.append(1)
            batch.commit()

        (one,) = import_files(conn, four[1:2], of=1, dry_run=False, by="user:marie", waiting=batch_ends)
        assert (one.became, waited) == ("changed", [1])
