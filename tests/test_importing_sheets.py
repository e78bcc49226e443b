"""Which encoding and delimiter a file has, on which line a row stands, and what is no CSV file at all."""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.importing.sheets import DELIMITERS, LARGEST, Encoding, read
from workflow.errors import InvalidInput


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("Société,Ville\nÉtoile,Nîmes\n".encode(), "utf-8"),
        ("Société,Ville\nÉtoile,Nîmes\n".encode("utf-8-sig"), "utf-8"),
        ("Société,Ville\nÉtoile,Nîmes\n".encode("cp1252"), "windows-1252"),
        ("Société,Ville\nÉtoile €,Nîmes\n".encode("cp1252"), "windows-1252"),
    ],
)
def test_utf_8_is_read_with_or_without_its_mark_and_else_windows_1252(content: bytes, encoding: Encoding) -> None:
    sheet = read(content, name="x.csv")
    assert (sheet.encoding, sheet.header) == (encoding, ("Société", "Ville"))
    assert next(sheet.rows())[1][1] == "Nîmes"


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_the_delimiter_is_the_one_that_parts_rows_alike(delimiter: str) -> None:
    lines = [["Client", "Montant", "Note"], ["C-1", "1 234,50", "a, b; c | d"], ["C-2", "12,00", "x"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(lines)
    sheet = read(text.getvalue().encode(), name="x.csv")
    assert sheet.delimiter == delimiter
    assert [cells for _, cells in sheet.rows()] == lines[1:]


def test_excel_may_say_the_delimiter_on_a_line_of_its_own() -> None:
    sheet = read(b"sep=;\r\na;b\r\n1,2;3\r\n", name="x.csv")
    assert (sheet.delimiter, sheet.header, list(sheet.rows())) == (";", ("a", "b"), [(3, ["1,2", "3"])])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_stands_on_the_line_where_it_begins(end: str) -> None:
    text = f'a,b{end}"one{end}two",1{end}{end}, {end}x,"y{end}z"{end}last,2'
    assert list(read(text.encode(), name="x.csv").rows()) == [
        (2, [f"one{end}two", "1"]),
        (6, ["x", f"y{end}z"]),
        (8, ["last", "2"]),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (b",,\n,,\n", "holds nothing"),
        (b"PK\x03\x04\x00\x00", "is a workbook such as .xlsx"),
        (b"\xd0\xcf\x11\xe0", "is an old workbook"),
        (b"%PDF-1.7\n", "is a PDF"),
        ("a,b\n".encode("utf-16"), "is UTF-16"),
        (b"a,b\n1,\x002\n", "has a NUL byte on line 2"),
        (b"a,b\n1,\x81\n", "is neither UTF-8 nor Windows-1252: see line 2"),
        (b",".join([b"c"] * 501), "has more than 500 columns"),
        (b"a" * (LARGEST + 1), "is larger than 64 MiB"),
    ],
)
def test_what_is_no_csv_file_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        read(content, name="x.csv")


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n1,2\n"3,4\n5,6\n',
        b'a,b\n1,2\n"3"x,4\n',
        b"a,b\n1,2\n3," + b"x" * 10_000_000,
    ],
    ids=["a quote that never ends", "words behind a quote", "a cell of ten megabytes"],
)
def test_what_cannot_be_parted_is_refused_with_its_line(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot be read as CSV from line 3 on"):
        list(read(content, name="x.csv").rows())


def test_an_encoding_that_is_said_is_not_guessed() -> None:
    with pytest.raises(InvalidInput, match="is not UTF-8: see line 2"):
        read("a,b\né,1\n".encode("cp1252"), name="x.csv", encoding="utf-8")
    assert read("a,b\né,1\n".encode(), name="x.csv", encoding="windows-1252").encoding == "windows-1252"


@given(st.binary(max_size=300))
def test_no_bytes_are_worse_than_refused(content: bytes) -> None:
    with suppress(InvalidInput):
        list(read(content, name="x.csv").rows())


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=8),
    delimiter=st.sampled_from(DELIMITERS),
)
def test_what_a_writer_wrote_is_read_back(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    sheet = read(text.getvalue().encode(), name="x.csv", delimiter=delimiter)
    assert [tuple(cells) for _, cells in sheet.rows()] == [row for row in rows if any(map(str.strip, row))]
