"""Electronic invoices of others against a baseline by plain XPath: docs/einvoices.md tells each difference."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from operations.einvoices.read import Read, read_files
from workflow.einvoices import EInvoice, chased

EINVOICES = Path(__file__).resolve().parents[2] / "shared" / "data" / "einvoices"

Row = dict[str, str]

# By a part of the file's name: the columns that differ there. docs/einvoices.md says why.
DIFFERENCES = {
    "akretion_fixtures/ubl-21-en16931.xml": {"preceding"},
    "EN16931_Haftpflichtversicherung_Versicherungssteuer": {"buyer"},
    "EN16931_Sachversicherung_berechneter_Steuersatz": {"buyer"},
    "kosit/": {"email"},
}
READ_AND_NOT_IN_THE_BASELINE = {"invalid/MustangRE-20171118_506_ZUGFeRD1and2.pdf"}


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Row, Read]]:
    if not EINVOICES.exists():
        pytest.skip("the electronic invoices are not beside this checkout")
    with (EINVOICES / "expected.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) > 100
    return list(zip(rows, read_files([EINVOICES / row["file"] for row in rows]), strict=True))


def said(found: EInvoice) -> Row:
    """What we read, as the baseline writes it."""
    return {
        "number": found.number,
        "typecode": found.type_code,
        "date": f"{found.issued_on:%Y%m%d}",
        "due": f"{found.due_on:%Y%m%d}" if found.due_on else "",
        "terms": " ".join(found.terms.split()),
        "cur": found.currency,
        "buyer": found.buyer.name,
        "email": found.buyer.email or "",
        "iban": found.iban or "",
        "means": ",".join(found.means),
        "total": str(found.total),
        "prepaid": str(found.prepaid if found.prepaid is not None else ""),
        "payable": str(found.payable),
        "preceding": ",".join(found.preceding),
    }


def same(column: str, ours: str, theirs: str) -> bool:
    match column:
        case "date" | "due":
            return ours == theirs.replace("-", "")
        case "iban":
            return ours == "".join(theirs.split())
        case "terms":
            return ours == " ".join(theirs.split())
        case "total" | "prepaid" | "payable":
            return bool(ours) == bool(theirs) and Decimal(ours or 0) == Decimal(theirs or 0)
        case _:
            return ours == theirs


@pytest.mark.timeout(600)
def test_every_file_says_what_the_baseline_says_but_for_what_is_explained(pairs: list[tuple[Row, Read]]) -> None:
    differing: dict[str, set[str]] = {part: set() for part in DIFFERENCES}
    for row, one in pairs:
        if one.einvoice is None or row["file"] in READ_AND_NOT_IN_THE_BASELINE:
            continue
        ours = said(one.einvoice)
        columns = {column for column, value in ours.items() if not same(column, value, row[column])}
        part = next((part for part in DIFFERENCES if part in row["file"]), "")
        assert columns <= DIFFERENCES.get(part, set()), (row["file"], {column: ours[column] for column in columns})
        if part:
            differing[part] |= columns
        known = {*one.einvoice.buyer.ids, one.einvoice.buyer.vat or ""}
        assert not row["buyer_id"] or row["buyer_id"] in known, row["file"]
    assert differing == DIFFERENCES, "nothing is explained that does not differ"


@pytest.mark.timeout(600)
def test_exactly_what_the_baseline_cannot_read_is_refused(pairs: list[tuple[Row, Read]]) -> None:
    refused = {row["file"]: one.refused for row, one in pairs if one.einvoice is None}
    assert set(refused) == {row["file"] for row, _ in pairs if not row["number"]} - READ_AND_NOT_IN_THE_BASELINE
    for name, why in refused.items():
        expected = {
            "zugferd1": "ZUGFeRD 1",
            "fatturapa": "FatturaPA",
            "not_an_einvoice": "without an electronic invoice",
        }
        assert expected[name.partition("/")[0]] in why


@pytest.mark.timeout(600)
def test_credits_and_direct_debits_among_them_are_not_chased(pairs: list[tuple[Row, Read]]) -> None:
    for row, one in pairs:
        if one.einvoice is None or row["file"] in READ_AND_NOT_IN_THE_BASELINE:
            continue
        verdict, _ = chased(one.einvoice)
        if row["typecode"] == "381" or Decimal(row["payable"]) <= 0:
            assert verdict == "never", row["file"]
        elif row["means"] in {"48", "49", "59"}:
            assert verdict == "held", row["file"]
        else:
            assert verdict == "yes", row["file"]
