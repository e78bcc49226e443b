"""Invoices issued, corrected, disputed, refused, cancelled, and their archived originals."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from operations.customers import save_contact, save_customer
from operations.invoices import (
    LARGEST_PDF,
    attach_original,
    cancel,
    dispute,
    end_dispute,
    refuse,
    reinstate,
    update,
)
from operations.ledger import record_payment
from tests.trade import TODAY, but, invoice, journal, open_trade, row, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

WHO: dict[str, Any] = {"company": "NORD", "number": "FA-1", "by": "user:marie", "today": TODAY}
PDF = b"%PDF-1.7\nours\n%%EOF"


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def pay(conn: Connection, amount: str, reference: str = "VIR-1") -> None:
    record_payment(
        conn, company="NORD", customer="C-1", invoice="FA-1", amount=amount, currency="EUR", received_on=TODAY,
        reference=reference, by="system",
    )  # fmt: skip


def test_an_issued_invoice_is_open_at_level_0_with_all_to_pay(conn: Connection) -> None:
    issued = row(conn, "invoices", invoice(conn))
    assert (issued["state"], issued["commercial_state"], issued["cycle"]) == ("level_0", "open", 1)
    assert issued["balance"] == issued["total"] == Decimal("100.00")
    assert issued["open"]


def test_issuing_the_same_invoice_twice_changes_nothing(conn: Connection) -> None:
    invoice_id = invoice(conn)
    before = row(conn, "invoices", invoice_id), written(conn)
    assert invoice(conn) == invoice_id
    assert (row(conn, "invoices", invoice_id), written(conn)) == before


def test_issuing_it_with_other_content_corrects_it(conn: Connection) -> None:
    invoice_id = invoice(conn)
    invoice(conn, total="120.00", due_on=None)
    corrected = row(conn, "invoices", invoice_id)
    assert (corrected["total"], corrected["balance"], corrected["due_on"]) == (Decimal(120), Decimal(120), None)


def test_a_late_word_of_the_invoicing_system_changes_nothing(conn: Connection) -> None:
    invoice_id = invoice(conn, total="120.00", source_version=7)
    invoice(conn, total="100.00", source_version=6)
    invoice(conn, total="110.00", source_version=7)
    assert row(conn, "invoices", invoice_id)["total"] == Decimal("120.00")
    invoice(conn, total="130.00", source_version=8)
    after = row(conn, "invoices", invoice_id)
    assert (after["total"], after["source_version"]) == (Decimal("130.00"), 8)


def test_a_newer_word_that_says_the_same_is_remembered_as_newer(conn: Connection) -> None:
    invoice_id = invoice(conn, source_version=7)
    invoice(conn, source_version=8)
    assert row(conn, "invoices", invoice_id)["source_version"] == 8


def test_an_invoice_of_nothing_is_paid_from_the_start(conn: Connection) -> None:
    issued = row(conn, "invoices", invoice(conn, total="0.00"))
    assert (issued["commercial_state"], issued["state"], issued["before_settled"]) == ("paid", "settled", "level_0")


def test_an_invoice_has_interlocutors_of_its_own(conn: Connection) -> None:
    zoe = save_contact(conn, customer="C-1", name="Zoé", email="zoe@client.example", by="system")
    invoice_id = invoice(conn, interlocutors={"billing": "ZOE@client.example"})
    issued = row(conn, "invoices", invoice_id)
    assert (issued["billing_contact_id"], issued["dunning_contact_id"]) == (zoe, None)
    update(conn, **WHO, interlocutors={"dunning": "zoe@client.example"})
    issued = row(conn, "invoices", invoice_id)
    assert (issued["billing_contact_id"], issued["dunning_contact_id"]) == (None, zoe)


def test_an_interlocutor_must_be_the_customers_contact(conn: Connection) -> None:
    save_customer(conn, number="C-2", name="Durand", by="system")
    save_contact(conn, customer="C-2", name="Zoé", email="zoe@client.example", by="system")
    with pytest.raises(InvalidInput, match=r"interlocutors\.billing: does not exist"):
        invoice(conn, interlocutors={"billing": "zoe@client.example"})
    assert conn.execute("SELECT count(*) FROM invoices").fetchone() == (0,)
    invoice(conn)
    with pytest.raises(InvalidInput, match=r"interlocutors\.dunning: does not exist"):
        update(conn, **WHO, interlocutors={"dunning": "zoe@client.example"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": ""}, "number: is missing"),
        ({"number": "FA\n1"}, "number: the character"),
        ({"total": "-1.00"}, "total: is a credit"),
        ({"total": "1,00"}, "total: must be a plain number"),
        ({"total": 1.0}, "total: must be text"),
        ({"total": "1e3"}, "total: must be a plain number"),
        ({"total": "1000000000000"}, "total: must be under"),
        ({"currency": "EURO"}, "currency: is no ISO 4217"),
        ({"customer": "C-404"}, "customer: does not exist"),
        ({"interlocutors": {"sales": "a@b.example"}}, "interlocutors: must be one of dunning, billing"),
    ],
)
def test_an_invoice_that_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        invoice(conn, **changes)
    assert conn.execute("SELECT count(*) FROM invoices").fetchone() == (0,)


def test_an_invoice_changes_neither_customer_nor_currency(conn: Connection) -> None:
    invoice(conn)
    save_customer(conn, number="C-2", name="Durand", by="system")
    with pytest.raises(InvalidInput, match="customer: was C-1: cancel the invoice and issue another"):
        invoice(conn, customer="C-2")
    with pytest.raises(InvalidInput, match="currency: was EUR: cancel"):
        invoice(conn, currency="CHF")


def test_only_what_is_given_is_corrected(conn: Connection) -> None:
    invoice_id = invoice(conn)
    assert update(conn, **WHO, due_on=date(2026, 12, 31)) is True
    assert update(conn, **WHO, due_on=date(2026, 12, 31)) is False
    assert update(conn, **WHO) is False
    after = row(conn, "invoices", invoice_id)
    assert (after["due_on"], after["total"]) == (date(2026, 12, 31), Decimal("100.00"))
    assert journal(conn, "invoice", invoice_id) == [{"due_on": ["2026-10-31", "2026-12-31"]}]
    update(conn, **WHO, factored=True, payment_method="LCR")
    assert row(conn, "invoices", invoice_id)["payment_method"] == "LCR"


def test_what_does_not_exist_is_not_corrected(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="invoice: does not exist in company NORD"):
        update(conn, **WHO, total="1.00")


def test_a_dispute_begins_and_ends(conn: Connection) -> None:
    invoice_id = invoice(conn)
    assert dispute(conn, **WHO, because="manque un carton") is True
    assert dispute(conn, **WHO) is False
    assert row(conn, "invoices", invoice_id)["commercial_state"] == "disputed"
    assert end_dispute(conn, **WHO) is True
    assert end_dispute(conn, **WHO) is False
    after = row(conn, "invoices", invoice_id)
    assert (after["commercial_state"], after["cycle"]) == ("open", 1)


def test_a_dispute_leaves_the_machine_alone_while_the_mail_is_out(conn: Connection) -> None:
    invoice_id = invoice(conn)
    send(conn, invoice_id)
    dispute(conn, **WHO)
    assert row(conn, "invoices", invoice_id)["state"] == "level_0_sending"


def test_a_cancelled_invoice_is_settled_and_a_reinstated_one_starts_a_new_cycle(conn: Connection) -> None:
    invoice_id = invoice(conn)
    send(conn, invoice_id, last_state="level_1_in_doubt")
    assert cancel(conn, **WHO) is True
    assert cancel(conn, **WHO) is False
    cancelled = row(conn, "invoices", invoice_id)
    assert (cancelled["state"], cancelled["before_settled"]) == ("settled", "level_1_in_doubt")
    assert reinstate(conn, **WHO) is True
    assert reinstate(conn, **WHO) is False
    after = row(conn, "invoices", invoice_id)
    assert (after["state"], after["commercial_state"], after["cycle"]) == ("level_1_in_doubt", "open", 2)


def test_a_refused_invoice_can_be_reinstated_in_its_cycle(conn: Connection) -> None:
    invoice_id = invoice(conn)
    assert refuse(conn, **WHO) is True
    assert reinstate(conn, **WHO) is True
    after = row(conn, "invoices", invoice_id)
    assert (after["commercial_state"], after["cycle"]) == ("open", 1)


def test_what_was_paid_while_cancelled_is_paid_when_reinstated(conn: Connection) -> None:
    invoice_id = invoice(conn)
    cancel(conn, **WHO)
    pay(conn, "100.00")
    reinstate(conn, **WHO)
    assert row(conn, "invoices", invoice_id)["commercial_state"] == "paid"


def test_a_paid_invoice_may_be_cancelled_but_not_disputed(conn: Connection) -> None:
    invoice_id = invoice(conn)
    pay(conn, "100.00")
    with pytest.raises(InvalidInput, match="invoice: is paid, not disputed"):
        dispute(conn, **WHO)
    cancel(conn, **WHO)
    after = row(conn, "invoices", invoice_id)
    assert (after["commercial_state"], after["before_settled"]) == ("cancelled", "level_0")


def test_an_original_is_archived_once_by_its_bytes(conn: Connection) -> None:
    first = invoice(conn)
    invoice(conn, "FA-2")
    digest = attach_original(conn, **WHO, content=PDF, name="FA-1.pdf")
    before = row(conn, "invoices", first), written(conn)
    assert attach_original(conn, **WHO, content=PDF, name="FA-1.pdf") == digest
    assert (row(conn, "invoices", first), written(conn)) == before
    attach_original(conn, **but(WHO, {"number": "FA-2"}), content=PDF, name="FA-2.pdf")
    assert conn.execute("SELECT encode(sha256, 'hex'), content FROM attachments").fetchall() == [(digest, PDF)]


def test_another_original_replaces_the_first_and_the_journal_says_so(conn: Connection) -> None:
    invoice_id = invoice(conn)
    attach_original(conn, **WHO, content=PDF, name="FA-1.pdf")
    version = row(conn, "invoices", invoice_id)["row_version"]
    attach_original(conn, **WHO, content=PDF + b"\n", name="FA-1.pdf")
    assert len(journal(conn, "original", invoice_id)) == 2
    assert row(conn, "invoices", invoice_id)["row_version"] == version + 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("FA-1.pdf", "FA-1.pdf"),
        ("FA-1.PDF", "FA-1.PDF"),
        ("../../etc/passwd", "etc_passwd.pdf"),
        ("C:\\factures\\FA-1.pdf", "C_factures_FA-1.pdf"),
        ("FA-1.pdf\x00.exe", "FA-1.pdf_.exe.pdf"),
        ("con.pdf", "_con.pdf"),
        ("", "attachment.pdf"),
    ],
)
def test_the_name_of_an_original_is_made_safe(conn: Connection, name: str, kept: str) -> None:
    invoice(conn)
    attach_original(conn, **WHO, content=PDF, name=name)
    assert conn.execute("SELECT name FROM invoice_attachments").fetchone() == (kept,)


def test_a_long_name_is_cut(conn: Connection) -> None:
    invoice(conn)
    attach_original(conn, **WHO, content=PDF, name="é" * 300)
    found = conn.execute("SELECT name FROM invoice_attachments").fetchone()
    assert found is not None
    assert found[0].endswith(".pdf")
    assert len(found[0]) <= 130


def test_what_is_no_pdf_or_too_large_is_refused(conn: Connection) -> None:
    invoice(conn)
    with pytest.raises(InvalidInput, match="content: is no PDF"):
        attach_original(conn, **WHO, content=b"MZ...", name="FA-1.pdf")
    with pytest.raises(InvalidInput, match="content: is larger than 10 MiB"):
        attach_original(conn, **WHO, content=PDF.ljust(LARGEST_PDF + 1), name="FA-1.pdf")


def test_a_thousand_invoices_are_issued_in_one_transaction(conn: Connection) -> None:
    with conn.transaction():
        for number in range(1000):
            invoice(conn, f"FA-{number}")
    assert conn.execute("SELECT count(*) FROM invoices WHERE open").fetchone() == (1000,)
