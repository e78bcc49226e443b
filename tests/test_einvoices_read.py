"""Reading electronic invoices, and refusing what is none, or is made to hurt: within limits, and without a trace."""

from __future__ import annotations

import socket
import sys
import time
import tracemalloc
import zlib
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.einvoices.apart import Refused, said_by
from operations.einvoices.limits import LARGEST
from operations.einvoices.read import WALL_S, read, read_file, read_files, understood
from operations.einvoices.syntaxes import CII, SYNTAXES
from tests.einvoice_files import cii, pdf, ubl
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


def why_refused(content: bytes) -> str:
    with pytest.raises(InvalidInput) as refused:
        read(content)
    assert refused.value.field == "content"
    return refused.value.reason


@pytest.mark.parametrize("content", [cii(), pdf({"factur-x.xml": cii()}), pdf({"ZUGFeRD-invoice.xml": cii()})])
def test_a_cii_invoice_says_the_same_alone_and_in_a_pdf(content: bytes) -> None:
    found = read(content)
    assert found.format == ("factur-x" if content.startswith(b"%PDF-") else "cii")
    assert (found.number, found.type_code) == ("FA-2026-0100", "380")
    assert (found.issued_on, found.due_on, found.terms) == (date(2026, 10, 2), date(2026, 11, 1), "30 jours net")
    assert (found.total, found.prepaid, found.payable) == (Decimal("120.00"), Decimal("20.00"), Decimal("100.00"))
    assert (found.seller.name, found.buyer.name, found.buyer.ids) == ("Nord SAS", "Dupont SARL", ("C-1",))
    assert (found.iban, found.means) == ("FR7630006000011234567890189", ("30",))
    assert found.oddities == ()


def test_a_ubl_invoice_is_read_by_its_registered_names() -> None:
    found = read(ubl())
    assert (found.format, found.number, found.payable) == ("ubl", "FA-2026-0100", Decimal("100.50"))
    assert (found.due_on, found.buyer.name) == (date(2026, 11, 1), "Dupont SARL")
    assert read(ubl(kind="CreditNote", type_code="381", due="")).format == "ubl-credit-note"


def test_no_due_date_is_made_up_from_terms() -> None:
    assert read(cii(due="")).due_on is None
    assert read(cii(due="")).terms == "30 jours net"


def test_several_due_dates_are_no_due_date() -> None:
    other = (
        "<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime><udt:DateTimeString>20261201</udt:DateTimeString>"
        "</ram:DueDateDateTime></ram:SpecifiedTradePaymentTerms>"
    )
    found = read(cii(extra=other))
    assert (found.due_on, found.due_dates) == (None, (date(2026, 11, 1), date(2026, 12, 1)))
    assert "2026-11-01, 2026-12-01" in found.oddities[0]


def test_other_files_in_a_pdf_are_left_alone() -> None:
    assert read(pdf({"notes.xml": b"<notes/>", "factur-x.xml": cii()})).number == "FA-2026-0100"
    assert read(pdf({"invoice.xml": cii(), "lieferschein.xml": b"<a/>"})).number == "FA-2026-0100"


def test_two_invoices_in_one_pdf_are_refused() -> None:
    assert "differ" in why_refused(pdf({"factur-x.xml": cii(), "xrechnung.xml": cii(payable="99.00")}))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "neither a PDF nor XML"),
        (b"GIF89a", "neither a PDF nor XML"),
        (b"<a", "not well-formed XML"),
        (b"<a/>", "no electronic invoice: its root is a"),
        (b"<x:Order xmlns:x='urn:y'/>", "is an order"),
        (b"<CrossIndustryDocument/>", "ZUGFeRD 1"),
        (pdf({}), "without an electronic invoice in it"),
        (pdf({"factur-x.xml": b"<a/>"}), "whose attached file is XML, and no electronic invoice"),
        (b"%PDF-1.7\n", "PDF that cannot be read"),
        (pdf({"factur-x.xml": cii()})[:900], "PDF that cannot be read"),
        (cii().ljust(LARGEST + 1), "larger than 10 MiB"),
    ],
    ids=range(11),
)
def test_what_is_no_electronic_invoice_is_refused_with_its_reason(content: bytes, why: str) -> None:
    assert why in why_refused(content)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"payable": "a lot"}, "payable"),
        ({"payable": "1.234"}, "payable"),
        ({"payable": "1e3"}, "payable"),
        ({"payable": ""}, "payable"),
        ({"total": "999999999999999"}, "total"),
        ({"currency": "XXX"}, "currency"),
        ({"due": "20261301"}, "due"),
        ({"due": "10260101"}, "due"),
        ({"number": ""}, "number"),
        ({"number": "A" * 201}, "number"),
        ({"number": "a\N{RIGHT-TO-LEFT OVERRIDE}b"}, "number"),
        ({"buyer": ""}, "buyer"),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_meant_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(cii(**changes))
    assert refused.value.field == field


def test_a_total_that_is_given_twice_and_not_the_same_is_refused() -> None:
    extra = (
        "<ram:SpecifiedTradeSettlementHeaderMonetarySummation><ram:DuePayableAmount>7</ram:DuePayableAmount>"
        "</ram:SpecifiedTradeSettlementHeaderMonetarySummation>"
    )
    with pytest.raises(InvalidInput, match="payable: is given more than once"):
        read(cii(extra=extra))


# ------------------------------------------------------------------ what is made to hurt

LAUGHS = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))


@pytest.mark.parametrize(
    "content",
    [
        cii(head="<!DOCTYPE a [<!ENTITY n 'FA-1'>]>", number="&n;"),
        cii(head=f"{LAUGHS}]>", number="&a11;"),
        f"{LAUGHS}]><a b='&a11;'/>".encode(),
        cii(head="<!DOCTYPE a [<!ENTITY n SYSTEM 'file:///etc/hostname'>]>", number="&n;"),
        cii(head="<!DOCTYPE a SYSTEM 'file:///dev/zero'>"),
        cii(head="<!DOCTYPE a [<!ENTITY % p SYSTEM 'file:///etc/hostname'> %p;]>"),
        ("<?xml version='1.0' encoding='UTF-16'?>" + cii(head="<!DOCTYPE a>").decode()).encode("utf-16"),
    ],
    ids=range(7),
)
def test_entities_and_external_references_are_refused(content: bytes) -> None:
    assert "document type" in why_refused(content) or "well-formed" in why_refused(content)


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        include = f"<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='{url}'/>"
        assert "document type" in why_refused(cii(head=f"<!DOCTYPE a SYSTEM '{url}'>"))
        style = f"<?xml-stylesheet href='{url}' type='text/xsl'?>"
        assert read(cii(head=style, extra=include)).payable == Decimal("100.00")
        server.settimeout(0.2)
        with suppress(TimeoutError):
            server.accept()
            pytest.fail("somebody came")


def flate_bomb(stream: bytes) -> bytes:
    """A PDF whose attached factur-x.xml unpacks to a thousand times what it is."""
    return pdf_with_stream(f"/Filter /FlateDecode /Length {len(stream)}", stream)


def pdf_with_stream(entries: str, stream: bytes) -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles << /Names [(factur-x.xml) 3 0 R] >> >> >>",
        b"<< /Type /Pages /Kids [] /Count 0 >>",
        b"<< /Type /Filespec /F (factur-x.xml) /UF (factur-x.xml) /EF << /F 4 0 R >> >>",
        f"<< /Type /EmbeddedFile {entries} >>\nstream\n".encode() + stream + b"\nendstream",
    ]
    written, places = bytearray(b"%PDF-1.7\n"), []
    for number, one in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    start = len(written)
    written += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(written + b"trailer\n<< /Root 1 0 R /Size 5 >>\nstartxref\n%d\n%%%%EOF" % start)


def test_such_a_pdf_is_read_where_it_holds_an_invoice() -> None:
    assert read(flate_bomb(zlib.compress(cii()))).number == "FA-2026-0100"


@pytest.mark.parametrize(
    ("entries", "kind"), [("/Filter /Nope", "NotImplementedError"), ("/Filter /JBIG2Decode", "DependencyError")]
)
def test_what_the_reader_cannot_do_is_not_told_as_a_limit(entries: str, kind: str) -> None:
    assert why_refused(pdf_with_stream(f"{entries} /Length 3", b"abc")) == f"could not be read ({kind})"


@pytest.mark.parametrize(
    ("ends", "why"),
    [("sys.exit(3)", "could not be read (exit code 3)"), ("os.abort()", "cannot be read within 512 MiB and 10 s")],
)
def test_only_a_signal_is_told_as_a_limit(ends: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.einvoices.read._CHILD", (sys.executable, "-c", f"import os, sys; {ends}"))
    assert why_refused(cii()) == why


@cache
def zeros() -> bytes:
    """600 MiB of zeros, deflated: more than may be in memory."""
    packer, chunk = zlib.compressobj(1), bytes(1024 * 1024)
    return b"".join([*(packer.compress(chunk) for _ in range(600)), packer.flush()])


HURTFUL = {
    "a stream that unpacks to 600 MiB": lambda: flate_bomb(zeros()),
    "a stream packed twice": lambda: pdf_with_stream(
        f"/Filter [/FlateDecode /FlateDecode] /Length {len(zlib.compress(zeros()))}", zlib.compress(zeros())
    ),
    "millions of elements": lambda: b"<a>" + b"<b/>" * (LARGEST // 4 - 2) + b"</a>",
    "millions of attributes": lambda: b"<a " + b" ".join(b'a%x=""' % n for n in range(900_000)) + b"/>",
    "a depth of a million": lambda: b"<a>" * 1_000_000,
    "a name of ten million": lambda: b"<" + b"a" * (LARGEST - 4) + b"/>",
    "a million due dates": lambda: cii(
        extra="<ram:SpecifiedTradePaymentTerms><ram:Description>x</ram:Description></ram:SpecifiedTradePaymentTerms>"
        * 40_000
    ),
    "terms of a book": lambda: cii(terms="x" * 1_000_000),
}


@pytest.mark.parametrize("name", HURTFUL)
def test_what_is_made_to_hurt_is_refused_within_limits(name: str) -> None:
    content = HURTFUL[name]()
    assert len(content) <= LARGEST
    tracemalloc.start()
    began = time.monotonic()
    try:
        assert why_refused(content)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST, "this process holds the document and little else"
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < WALL_S


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_document_is_answered_with_a_trace(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([cii(), ubl(), pdf({"factur-x.xml": cii()})]))
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 200))
    with suppress(Refused):
        said_by(whole[:at] + data.draw(st.binary(max_size=20)) + whole[at + cut :])


TEXTS = st.lists(
    st.one_of(st.text(max_size=40), st.sampled_from(["EUR", "100.00", "20261002", "380", "FA-1"])), max_size=3
)


@given(said=st.fixed_dictionaries(dict.fromkeys(CII, TEXTS)))
@settings(max_examples=60, deadline=None)
def test_whatever_its_fields_say_is_a_value_or_refused(said: dict[str, list[str]]) -> None:
    said["currency"] = ["EUR"]
    with suppress(InvalidInput):
        understood(said, "cii")


def test_both_syntaxes_have_the_same_fields() -> None:
    assert {frozenset(fields) for _, fields in SYNTAXES.values()} == {frozenset(CII)}


def test_files_are_read_in_their_order_and_one_that_cannot_be_stops_no_other(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.xml").write_bytes(cii(number=f"FA-{number}") if number != 2 else b"<a/>")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "none.xml"]
    found = list(read_files(paths))
    assert [one.einvoice.number if one.einvoice else "" for one in found] == ["FA-0", "FA-1", "", "FA-3", "FA-4", ""]
    assert "cannot be read: No such file" in found[-1].refused
    assert read_file(tmp_path).refused == "cannot be read: Is a directory"
