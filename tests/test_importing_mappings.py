"""The mapping file: what it may say, what it may not, and that what is written is read back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.importing.fields import FIELDS, KINDS, Kind, plain
from operations.importing.guesses import check_complete, check_meant, guess
from operations.importing.mappings import Mapping, Source, parse, write
from operations.importing.sheets import read
from workflow.errors import InvalidInput

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLE = README.split("```yaml\nkind: invoices")[1].split("```")[0]
INVOICES = "kind: invoices\ncolumns:\n"


def test_the_mapping_in_the_readme_is_one() -> None:
    mapping = parse(f"kind: invoices{EXAMPLE}")
    assert (mapping.encoding, mapping.delimiter, mapping.dates, mapping.decimal) == (
        "windows-1252", ";", "dmy", "comma",
    )  # fmt: skip
    assert mapping.sources["company"] == Source(value="NORD")
    assert mapping.sources["number"] == Source(columns=("Pièce",), format="whole")
    assert mapping.sources["due_on"] == Source(columns=("Date",), plus_days="Délai")
    assert mapping.sources["total"].negate
    assert mapping.sources["commercial_state"].words == {"Oui": "disputed", "Non": "open"}
    assert (mapping.filled, mapping.only) == (("Pièce",), {"Journal": ("VE", "VT")})
    assert parse(write(mapping)) == mapping


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_in_the_readme(kind: Kind) -> None:
    section = README.split("## Importing")[1].split("```yaml")[0]
    told = section.split(f"\n- {kind}: ")[1].split("\n- ")[0]
    assert [name for name in FIELDS[kind] if f"`{name}`" not in told] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_a_column_is_written_as_it_is_compared(kind: Kind) -> None:
    for known in FIELDS[kind].values():
        assert [name for name in (*known.names, *known.words) if plain(name) != name] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kind: must be one of customers"),
        ("kind: bills", r"kind: must be one of .* \(got 'bills'\)"),
        ("- a", "file: must be a mapping"),
        ("kind: tags\ncolour: red", "colour: is not known here"),
        ("kind: tags\nencoding: latin1", "encoding: must be one of utf-8, windows-1252"),
        ("kind: tags\ndelimiter: x", "delimiter: must be one of"),
        ("kind: tags\ndates: mdx", "dates: must be one of dmy, mdy, ymd"),
        ("kind: tags\ndecimal: dot", "decimal: must be one of comma, point"),
        ("kind: tags\ncurrency: EUR", "currency: is no field of tags"),
        ("kind: tags\ncompany: A\ncolumns: {company: B}", "company: is given among the columns too"),
        ("kind: tags\nrows: {fill: [A]}", "rows.fill: is not known here; did you mean filled"),
        ("kind: tags\nrows: {only: [A]}", "rows.only: must be a mapping"),
        (INVOICES + "  totl: A", "columns.totl: is no field of invoices; did you mean total"),
        (INVOICES + "  total:", "columns.total: names no column"),
        (INVOICES + "  total: []", "columns.total: names no column"),
        (INVOICES + "  total: [[a]]", "columns.total: must be text"),
        (INVOICES + "  total: {column: A, value: 1}", "columns.total: needs one of column"),
        (INVOICES + "  total: {column: A, format: dmy}", "columns.total.format: must be one of comma, point"),
        (INVOICES + "  total: {column: A, plus_days: 3}", "columns.total.plus_days: is not known here"),
        (INVOICES + "  total: {column: A, negate: perhaps}", "columns.total.negate: must be one of yes, no"),
        (INVOICES + "  total: {derived: [A]}", "columns.total: only numbers and references can be derived"),
        (INVOICES + "  number: {column: A, prefix: F}", "columns.number.prefix: is not known here"),
        (INVOICES + "  number: {derived: A, again: twice}", "columns.number.again: must be one of other, same"),
        (INVOICES + "  due_on: {column: A, plus_days: 99999}", "columns.due_on.plus_days: is more than"),
        (INVOICES + "  number: A\n  number: B", "line 4, column 3: is given twice"),
    ],
)
def test_what_a_mapping_may_not_say_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse(text)


NAME = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)
SOURCE = st.one_of(
    st.builds(Source, columns=st.lists(NAME, min_size=1, max_size=3).map(tuple)),
    st.builds(Source, value=NAME, words=st.dictionaries(NAME, NAME, max_size=2)),
    st.builds(Source, columns=st.tuples(NAME), derived=st.just(value=True), prefix=NAME, same=st.booleans()),
    st.builds(Source, columns=st.tuples(NAME), format=st.just("whole")),
)


@given(
    sources=st.dictionaries(st.sampled_from(["number", "name", "email"]), SOURCE),
    filled=st.lists(NAME, max_size=2).map(tuple),
    skip=st.dictionaries(NAME, st.lists(NAME, min_size=1, max_size=2).map(tuple), max_size=2),
)
def test_a_mapping_that_was_written_is_read_back(
    sources: dict[str, Source], filled: tuple[str, ...], skip: dict[str, tuple[str, ...]]
) -> None:
    mapping = Mapping(kind="customers", delimiter="\t", sources=sources, filled=filled, skip=skip)
    assert parse(write(mapping)) == mapping


@given(st.text(max_size=100))
def test_no_text_is_worse_than_refused(text: str) -> None:
    with suppress(InvalidInput):
        parse(f"kind: invoices\n{text}")


def guessed(kind: Kind, *lines: str) -> dict[str, str]:
    mapping = guess(read("\n".join(lines).encode(), name="x.csv"), kind)
    return {name: source.label for name, source in mapping.sources.items()}


def test_columns_are_known_by_their_names_in_french_and_english() -> None:
    french = "N° Facture;Code Client;Date d'émission;Échéance;Montant TTC;Devise"
    assert guessed("invoices", french, "1;2;;;3,5;EUR") == {
        "number": "N° Facture", "customer": "Code Client", "due_on": "Échéance", "total": "Montant TTC",
        "currency": "Devise",
    }  # fmt: skip
    assert guessed("invoices", "invoiceNumber,customerID,InvoiceDate,DueDate,Amount", "1,2,3/4/2026,4/5/2026,3.5") == {
        "number": "invoiceNumber", "customer": "customerID", "issued_on": "InvoiceDate", "due_on": "DueDate",
        "total": "Amount",
    }  # fmt: skip


def test_a_column_of_the_right_name_and_the_wrong_values_is_not_taken() -> None:
    lines = ("client,number,date,total,amount", "C-1,F-1,2026-01-01,see below,12.50")
    assert guessed("invoices", *lines)["total"] == "amount"


def test_an_address_and_a_currency_are_known_without_a_name() -> None:
    assert guessed("customers", "code,nom,x", "C-1,Ana,ana@x.example")["email"] == "x"
    assert guessed("invoices", "client,number,date,total,y", "C-1,F-1,2026-01-01,12.50,EUR")["currency"] == "y"
    assert guessed("invoices", "client,number,date,total", "C-1,F-1,2026-01-01,12 €")["currency"] == "= EUR"


def test_two_columns_of_one_name_are_not_guessed_from() -> None:
    assert "number" not in guessed("customers", "code,code,nom", "C-1,C-2,Ana")


def test_rows_without_a_day_of_payment_are_no_payments() -> None:
    sheet = read(b"invoice,amount,paid date\nF-1,12.50,2026-01-01\nF-2,13.50,\n", name="x.csv")
    assert guess(sheet, "payments").filled == ("paid date",)


def test_numbers_that_read_as_decimals_are_read_whole_by_a_guess_that_says_so() -> None:
    sheet = read(b"invoice,amount,paid date\n1930571429.0,12.50,2026-01-01\n", name="x.csv")
    assert guess(sheet, "payments").sources["invoice"].format == "whole"


@pytest.mark.parametrize(
    ("kind", "header", "missing"),
    [
        ("customers", "nom", "say number"),
        ("invoices", "client,number,date,total", r"say currency \(or --currency EUR\)"),
        ("payments", "amount,currency,paid date", "say invoice"),
        ("tags", "tag", "of invoices or of customers"),
    ],
)
def test_a_guess_that_lacks_something_needed_is_refused(kind: Kind, header: str, missing: str) -> None:
    values = {"date": "2026-01-01", "paid date": "2026-01-01", "total": "1.5", "amount": "1.5", "currency": "EUR"}
    row = ",".join(values.get(name, "x") for name in header.split(","))
    sheet = read(f"{header}\n{row}\n".encode(), name="x.csv")
    with pytest.raises(InvalidInput, match=missing):
        check_complete(guess(sheet, kind), sheet)


def check_guess(kind: Kind, header: str) -> None:
    dates, amounts = ("date", "echeance", "reglee le", "emise le"), ("montant", "total", "solde", "credit")
    cells = ["2026-01-31" if plain(title).startswith(dates) else "12.50 EUR" if plain(title).startswith(amounts) else
             "a@x.example" if plain(title) == "courriel" else "X-1" for title in header.split(";")]  # fmt: skip
    sheet = read(f"{header}\n{';'.join(cells)}\n".encode(), name="x.csv")
    mapping = guess(sheet, kind)
    check_complete(mapping, sheet)
    check_meant(mapping, sheet)


@pytest.mark.parametrize(
    "header",
    [
        "Client;N° facture;Date;Échéance;Montant TTC",
        "Client;Facture;Date;Montant",
        "Facture;Date;Total",
        "N° facture;Nom du client;Date;Total",
        "Client;Facture;Date;Échéance;Montant TTC;Montant réglé;Solde",
        "Client;Facture;Date;Échéance;Montant;Nature",
        "Client;Facture;Date facture;Date;Montant",
    ],
)
def test_a_register_of_invoices_is_never_guessed_to_be_payments(header: str) -> None:
    with pytest.raises(InvalidInput, match=r"^kind: .* may as well be of invoices.*--kind invoices.*--mapping"):
        check_guess("payments", header)


def test_the_column_that_tells_the_other_kind_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"^kind: Date, Montant TTC may as well be of invoices \(Échéance tells\)"):
        check_guess("payments", "Client;Facture;Date;Échéance;Montant TTC")


@pytest.mark.parametrize(
    ("kind", "header", "other"),
    [
        ("invoices", "Client;Facture;Date;Montant", "payments"),
        ("invoices", "Référence;Facture;Client;Date;Montant", "payments"),
        ("customers", "Client;Nom;Courriel;Rôle", "contacts"),
        ("contacts", "Client;Nom;Courriel;Adresse", "customers"),
        ("tags", "Client;Libellé", "customers"),
    ],
)
def test_a_guess_that_fits_another_kind_as_well_is_refused(kind: Kind, header: str, other: str) -> None:
    with pytest.raises(InvalidInput, match=f"may as well be of {other}"):
        check_guess(kind, header)


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("payments", "Facture;Montant;Réglée le"),
        ("payments", "Facture;Date;Montant réglé"),
        ("payments", "Référence;Facture;Client;Date;Montant"),
        ("payments", "Client;Facture;Émise le;Échéance;Total TTC;Date paiement;Montant réglé"),
        ("invoices", "Client;Facture;Émise le;Échéance;Total TTC;Date paiement;Montant réglé"),
        ("invoices", "Client;Facture;Date;Échéance;Montant"),
        ("invoices", "Client;Numéro;Date;Total"),
        ("customers", "Client;Raison sociale"),
        ("customers", "Client;Nom;Facture;Date;Échéance;Montant"),
        ("customers", "Client;Nom;Courriel;Adresse"),
        ("contacts", "Client;Nom;Courriel;Rôle"),
        ("tags", "Facture;Étiquette"),
    ],
)
def test_a_guess_whose_kind_its_columns_tell_is_followed(kind: Kind, header: str) -> None:
    check_guess(kind, header)
