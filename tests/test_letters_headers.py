from __future__ import annotations

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from letters.headers import (
    Mailbox,
    check_address,
    check_header_text,
    check_message_id,
    file_name,
    file_name_parameter,
    mailboxes_header,
    references_header,
    text_header,
)
from workflow.errors import InvalidInput

PAYLOADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "payloads"

readable_text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]), max_size=190).filter(
    lambda text: not {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"} & {*text}
)


def parsed(header: str) -> EmailMessage:
    assert header.endswith("\r\n")
    assert all(line[:1] in " \t" for line in header.split("\r\n")[1:-1])
    message = message_from_bytes(header.encode("ascii") + b"\r\n", policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    assert len(message.keys()) == 1
    return message


def shown_name(header: str) -> str:
    """The name before the address. (Python's own address parser puts a space between two encoded words: RFC 2047
    wants none, so a folded name is decoded here.)
    """
    if header.count("=?utf-8?b?") > 1:
        phrase = header.partition(":")[2].rpartition("<")[0]
        return str(make_header(decode_header(phrase.replace("\r\n", "").strip())))
    (address,) = parsed(header)["To"].addresses
    return str(address.display_name)


def lines(name: str) -> list[str]:
    path = PAYLOADS / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout")
    return path.read_text(encoding="utf-8").split("\n")


@given(readable_text)
@example("Relance 1 — 1\u202f234,50\u00a0€")
@example("a=?b?=c")
@example("=?")
@example('"quoted", <a@b.fr>; Bcc: x@y.z')
def test_a_subject_is_read_as_it_was_given(text: str) -> None:
    try:
        given_text = check_header_text(text, field="subject")
    except InvalidInput:
        assert "=?" in text
        return
    header = text_header("Subject", text, field="subject")
    assert all(len(line) <= 76 or " " not in line.strip() for line in header.split("\r\n"))
    subject = parsed(header)["Subject"]
    assert subject == given_text
    assert subject.defects == ()


@given(readable_text)
@example("Doe, evil@x.y")
@example('Le "Grand" Café')
@example('A "B" \\ C')
@example("Société <évil@x.y>, x")
@example("a (comment) b")
@example("J. Dupont; x: y@z;")
@example("=?")
def test_a_name_never_adds_a_recipient(name: str) -> None:
    try:
        given_name = check_header_text(name, field="name")
    except InvalidInput:
        assert "=?" in name
        return
    header = mailboxes_header("To", [Mailbox(name=name, address="a@example.fr")], field="recipient")
    assert all(len(line) <= 76 or '"' in line or " " not in line.strip() for line in header.split("\r\n"))
    to = parsed(header)["To"]
    assert [each.addr_spec for each in to.addresses] == ["a@example.fr"]
    assert shown_name(header) == " ".join(given_name.split())
    assert to.defects == ()
    assert [address for _, address in getaddresses([header[4:].replace("\r\n", "")])] == ["a@example.fr"]


@pytest.mark.parametrize(
    "character", ["\r", "\n", "\0", "\x0b", "\x0c", "\x1b", "\x85", "\u2028", "\u202e", "\ud800", "\t"]
)
def test_a_control_character_is_refused_by_field_and_number(character: str) -> None:
    with pytest.raises(InvalidInput, match=rf"recipient\.name: the character U\+{ord(character):04X} is not allowed"):
        mailboxes_header("To", [Mailbox(name=f"a{character}Bcc: x@y.z", address="a@x.fr")], field="recipient")


@pytest.mark.parametrize(
    "text",
    ["=?utf-8?Q?a=0ABcc:_x@y?=", "x =?utf-8?b?YQpCY2M6IHhAeQ==?= y", "=?utf-8?q?=0D=0A?=", "=?a?B?", "=??q?x?="],
)
def test_an_encoded_word_is_refused_as_name_and_subject(text: str) -> None:
    with pytest.raises(InvalidInput, match="looks like an encoded header"):
        check_header_text(text, field="name")


def test_a_text_of_more_than_200_characters_is_refused() -> None:
    assert len(check_header_text("é" * 200, field="subject")) == 200
    with pytest.raises(InvalidInput, match="200"):
        check_header_text("é" * 201, field="subject")


def test_naughty_strings_are_refused_or_read_as_they_were_given() -> None:
    for name in lines("blns.txt") + lines("crlf_fuzzdb.txt"):
        try:
            given_name = check_header_text(name, field="name")
        except InvalidInput:
            continue
        header = mailboxes_header("To", [Mailbox(name=name, address="a@x.fr")], field="to")
        assert [each.addr_spec for each in parsed(header)["To"].addresses] == ["a@x.fr"]
        assert shown_name(header) == " ".join(given_name.split())


def test_several_mailboxes_stand_one_a_line() -> None:
    header = mailboxes_header("Cc", [Mailbox(name="Doe, J.", address="a@x.fr"), Mailbox(address="b@x.fr")], field="cc")
    assert header == 'Cc: "Doe, J." <a@x.fr>,\r\n b@x.fr\r\n'


@pytest.mark.parametrize(
    ("given_address", "kept"),
    [
        ("firstname.lastname@address.com", "firstname.lastname@address.com"),
        ("firstname+lastname@Address.COM", "firstname+lastname@address.com"),
        ("0123456789@address-one.co.jp", "0123456789@address-one.co.jp"),
        ("!#$%&'*+-/=?^_`{}|~@address.org", "!#$%&'*+-/=?^_`{}|~@address.org"),
        ("a@localhost", "a@localhost"),
        ("compta@société.fr", "compta@xn--socit-esab.fr"),
    ],
)
def test_a_business_address_is_taken(given_address: str, kept: str) -> None:
    assert check_address(given_address, field="email") == kept


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "a@",
        "@x.fr",
        "a",
        "a@b@x.fr",
        "a b@x.fr",
        "a@x .fr",
        " a@x.fr",
        "a@x.fr ",
        "a@x.fr\r\nRCPT TO:<b@x.fr>",
        "a\0@x.fr",
        "a@x.fr\n",
        "a@x.fr,b@x.fr",
        "a@x.fr;b@x.fr",
        "<a@x.fr>",
        "Jean <a@x.fr>",
        '"a b"@x.fr',
        ".a@x.fr",
        "a.@x.fr",
        "a..b@x.fr",
        "é@x.fr",
        "a@-x.fr",
        "a@x-.fr",
        "a@x..fr",
        "a@x.fr.",
        "a@.fr",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@x_y.fr",
        "a@\u2028x.fr",
        "a@é\u3002.fr\u3002",
        "a" * 65 + "@x.fr",
        "a@" + "x" * 64 + ".fr",
        "a@" + "x." * 126 + "fr",
        "a@" + "é" * 60 + ".fr",
        "(a)b@x.fr",
        "a@x.fr (comment)",
        "a\\b@x.fr",
    ],
)
def test_what_is_no_business_address_is_refused_by_field(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"^contact\.email: "):
        check_address(address, field="contact.email")


def test_fuzzed_addresses_are_refused_or_plain() -> None:
    for address in lines("email_invalid_fuzzdb.txt"):
        try:
            kept = check_address(address, field="email")
        except InvalidInput:
            continue
        assert kept.isascii()
        assert kept.count("@") == 1
        assert not {*kept} & {*' "(),:;<>[\\]\r\n\t'}


@given(st.text(max_size=40))
def test_an_address_that_is_taken_is_one_line_of_plain_characters(text: str) -> None:
    for address in (text, f"{text}@x.fr", f"a@{text}"):
        try:
            kept = check_address(address, field="email")
        except InvalidInput:
            continue
        assert kept.isascii()
        assert kept.isprintable()
        assert not {*kept} & {*' "(),:;<>[\\]'}
        assert check_address(kept, field="email") == kept


@pytest.mark.parametrize(
    "text", ["", "a@x.fr", "<a>", "<a@x.fr>\r\nBcc: b@x.fr", "<a b@x.fr>", "<a@x.fr><b@x.fr>", "<é@x>"]
)
def test_what_is_no_message_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="message_id"):
        check_message_id(text, field="message_id")


def test_references_stand_one_a_line() -> None:
    assert references_header("References", ["<a@x.fr>", "<b@x.fr>"], field="references") == (
        "References: <a@x.fr>\r\n <b@x.fr>\r\n"
    )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Facture FA-1.pdf", "Facture FA-1.pdf"),
        ("Relevé été.pdf", "Relevé été.pdf"),
        ("../../etc/passwd", "etc_passwd"),
        ("..\\..\\con.pdf", "_con.pdf"),
        ("con.pdf", "_con.pdf"),
        ("NUL", "_NUL"),
        ("C:\\x.pdf", "C_x.pdf"),
        ("a\r\nBcc: x.pdf", "a_Bcc_ x.pdf"),
        ("facture\u202efdp.exe", "facture_fdp.exe"),
        ("..%2f..%2fx.pdf", "2f.._2fx.pdf"),
        ('a".pdf; x="', "a_.pdf; x="),
        ("", "attachment"),
        ("...", "attachment"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_a_file_name_is_made_safe_to_show_and_to_save(text: str, kept: str) -> None:
    assert file_name(text) == kept


@given(st.text(max_size=200))
def test_any_file_name_arrives_as_it_was_sanitised(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= 121
    assert file_name(name) == name
    header = f"Content-Disposition: attachment;{file_name_parameter(name)}\r\n"
    assert all(len(line) <= 90 for line in header.split("\r\n"))
    assert parsed(header).get_filename() == name
