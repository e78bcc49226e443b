"""Mails as bytes from anybody: structure, headers and text, within bounds."""

from __future__ import annotations

import time

import pytest

from workers.bounces import read_bounces
from workers.incoming import MAX_BYTES, MAX_NESTING, MAX_PARTS, read_fields, read_parts, words
from workflow.errors import InvalidInput


def shape(content: bytes) -> list[tuple[str, int]]:
    return [(part.media_type, part.returned) for part in read_parts(content)]


def text(body: bytes, headers: str) -> str:
    return read_parts(f"{headers}\n\n".encode() + body)[0].text()


def test_the_parts_of_a_mail_come_in_order_with_what_they_are_inside_of() -> None:
    content = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n--a\r\n\r\nfirst\r\n--a\r\n"
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>second\r\n--b--\r\n--a--\r\nepilogue\r\n"
    )
    assert shape(content) == [
        ("multipart/mixed", 0),
        ("text/plain", 0),
        ("message/rfc822", 0),
        ("multipart/alternative", 1),
        ("text/html", 1),
    ]
    parts = read_parts(content)
    assert (parts[1].text().strip(), parts[4].text().strip()) == ("first", "second")


def test_a_boundary_is_a_whole_line() -> None:
    content = b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx --a\n--ab\n--a--\n"
    assert [part.text().strip() for part in read_parts(content)] == ["", "x --a\n--ab"]


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        ("déjà".encode(), "A: b", "déjà"),
        ("déjà".encode("latin-1"), "A: b", "déjà"),
        ("déjà".encode("cp1252"), "Content-Type: text/plain; charset=windows-1252", "déjà"),
        (b"\x1b$B$O$$\x1b(B", "Content-Type: text/plain; charset=iso-2022-jp", "はい"),
        ("déjà".encode(), 'Content-Type: text/plain; charset="no-such"', "déjà"),
        ("déjà".encode(), 'Content-Type: text/plain; charset="\x00"', "déjà"),
        (b"abc", "Content-Type: text/plain; charset=punycode", "abc"),
        (
            b"6162=\n63!",
            "Content-Type: text/plain; charset=hex\nContent-Transfer-Encoding: quoted-printable",
            "616263!",
        ),
        (b"ZMOpasOg!!!=", "Content-Transfer-Encoding: base64", "déjà"),
        (b"a<br>b<!-- c --><style>d</style><p>e &eacute;", "Content-Type: text/html", "a\nb\ne é"),
        (b"a<!-- never closed b", "Content-Type: text/html", "a"),
    ],
)
def test_text_is_read_whatever_it_calls_itself(body: bytes, headers: str, said: str) -> None:
    assert text(body, headers) == said


def test_half_a_character_never_leaves_the_reader() -> None:
    assert text(b"+2AA-", "Content-Type: text/plain; charset=utf-7").encode("utf-8")


def test_headers_are_unfolded_and_nonsense_between_them_left_out() -> None:
    assert read_fields("From x\nA: 1\n\t2\nnonsense\n 3\na : 4\nB:\n") == {"a": ["1 2", "4"], "b": [""]}


@pytest.mark.parametrize("value", ["=?utf-8?q?=C3?=", "=?no?b?!!?=", "=?utf-8?b?x?=", "=?\x00?q?x?=", "=?=?=?"])
def test_broken_encoded_words_cost_letters_only(value: str) -> None:
    assert isinstance(words(value), str)


def test_a_mail_that_is_too_large_is_refused_by_its_size() -> None:
    with pytest.raises(InvalidInput, match="larger than 25 MiB"):
        read_parts(b"x" * (MAX_BYTES + 1))


def test_parts_beyond_a_thousand_are_left_out() -> None:
    content = b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\nx\n" * 5000
    assert len(read_parts(content)) == MAX_PARTS


def test_what_is_nested_too_deep_is_left_out() -> None:
    content = b"Content-Type: message/rfc822\n\n" * 5000
    assert len(read_parts(content)) == MAX_NESTING + 1


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 500_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(2000))
        + b"x\n" * 500_000,
        b"From: mailer-daemon@x.fr\nSubject: failure notice\nContent-Type: text/html\n\n" + b"<!--<style <a" * 200_000,
        b"From: mailer-daemon@x.fr\nSubject: failure notice\n\n" + b"*" * 2_000_000,
        b"From: mailer-daemon@x.fr\nSubject: failure notice\n\n" + b"a@b.fr 550 user unknown domain exceed\n" * 50_000,
        b"Subject: " + b"=?" * 1_000_000,
        b'Content-Type: text/plain; a="' * 70_000,
    ],
    ids=["empty parts", "nesting", "tags", "stars", "recipients", "encoded words", "parameters"],
)
def test_a_mail_that_is_made_to_be_slow_is_not(content: bytes) -> None:
    began = time.process_time()
    assert read_bounces(content)
    assert time.process_time() - began < 5
