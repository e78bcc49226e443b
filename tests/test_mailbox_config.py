"""Where bounces arrive, as a rulebook says it: checked field by field, secrets by reference, written as it was read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.mailboxes import check_mailbox
from operations.rulebook import export, import_text
from store import mailboxes
from tests.trade import journal, open_trade
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

NOW = datetime(2026, 11, 24, 13, tzinfo=UTC)
IMAP = {"host": "imap.nord.example", "username": "retours@nord.example", "password_ref": "env:NORD_IMAP"}
WHOLE = IMAP | {"port": 993, "security": "implicit-tls", "ca_file": None, "folder": "INBOX", "auth": "password"}
BOOK = """\
rulebook: 1
accounts:
  comptabilité:
    company: NORD
    from_name: Nord SAS
    from_address: relance@nord.example
    host: smtp.nord.example
    port: 465
    security: implicit-tls
    mailbox:
{mailbox}
"""


def book(**mailbox: str) -> str:
    return BOOK.format(mailbox="\n".join(f"      {name}: {value}" for name, value in mailbox.items()))


def imported(conn: Connection, text: str) -> list[str]:
    outcome = import_text(conn, text, because="x", yes=True, by="user:marie", now=NOW)
    return [str(each) for each in outcome.refusals]


def test_a_mailbox_is_whole_with_its_defaults() -> None:
    assert check_mailbox(IMAP) == WHOLE
    assert check_mailbox({"maildir": "/var/mail/retours"}) == {"maildir": "/var/mail/retours"}
    assert check_mailbox(WHOLE) == WHOLE, "checked again it is the same"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"host": "imap nord"}, "mailbox.host"),
        ({"port": "65536"}, "mailbox.port"),
        ({"port": "0"}, "mailbox.port"),
        ({"security": "plain"}, "mailbox.security"),
        ({"auth": "ntlm"}, "mailbox.auth"),
        ({"ca_file": "ca.pem"}, "mailbox.ca_file"),
        ({"folder": ""}, "mailbox.folder"),
        ({"folder": "a\nb"}, "mailbox.folder"),
        ({"username": ""}, "mailbox.username"),
        ({"password_ref": "ouvre-toi"}, "mailbox.password_ref"),
        ({"password_ref": None}, "mailbox.password_ref"),
        ({"maildir": "/var/mail"}, "mailbox.host"),
        ({"password": "ouvre-toi"}, "mailbox.password"),
    ],
)
def test_what_is_wrong_with_a_mailbox_is_told_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as told:
        check_mailbox(IMAP | changes)
    assert told.value.field == field
    assert "ouvre-toi" not in str(told.value), "somebody may have given the password itself"


@pytest.mark.parametrize("maildir", ["mail", "", None])
def test_a_maildir_is_named_by_its_whole_path(maildir: str | None) -> None:
    with pytest.raises(InvalidInput, match=r"mailbox\.maildir"):
        check_mailbox({"maildir": maildir})


@given(
    given_=st.dictionaries(
        st.one_of(st.sampled_from(sorted(WHOLE)), st.just("maildir"), st.text(max_size=10)),
        st.one_of(
            st.none(), st.text(max_size=20), st.integers(), st.sampled_from([str(one) for one in WHOLE.values()])
        ),
        max_size=8,
    )
)
def test_whatever_is_given_is_a_mailbox_or_refused(given_: dict[str, Any]) -> None:
    try:
        found = check_mailbox(given_)
    except InvalidInput:
        return
    assert found.keys() in ({"maildir"}, WHOLE.keys())


def test_a_rulebook_says_where_bounces_arrive_and_says_it_back(database: Connection) -> None:
    open_trade(database)
    text = book(**IMAP, folder="Retours")
    assert imported(database, text) == []
    (box,) = mailboxes.mailboxes(database)
    assert (box.account, box.mailbox) == ("comptabilité", WHOLE | {"folder": "Retours"})
    written = export(database, by="user:marie").text
    assert "mailbox:\n      host: imap.nord.example\n" in written
    assert "folder: Retours" in written
    assert "993" not in written, "defaults are not written"
    assert imported(database, written) == []
    assert mailboxes.mailboxes(database) == [box]


def test_a_mailbox_that_a_rulebook_names_no_longer_is_read_no_longer(database: Connection) -> None:
    open_trade(database)
    imported(database, book(maildir="/var/mail/retours"))
    assert len(mailboxes.mailboxes(database)) == 1
    assert imported(database, BOOK.partition("    mailbox")[0]) == []
    assert mailboxes.mailboxes(database) == []


def test_a_rulebook_that_is_wrong_says_where(database: Connection) -> None:
    open_trade(database)
    (refusal,) = imported(database, book(host="imap.nord.example", username="x"))
    assert refusal.startswith("line 11, accounts / comptabilité: mailbox.password_ref: is missing")
    (refusal,) = imported(database, BOOK.format(mailbox="      - imap"))
    assert "must be a mapping" in refusal


def test_the_journal_keeps_a_hash_of_where_bounces_arrive(database: Connection) -> None:
    open_trade(database)
    imported(database, book(**IMAP))
    (account_id,) = [box.account_id for box in mailboxes.mailboxes(database)]
    written = str(journal(database, "account", account_id))
    assert "sha256:" in written
    assert "retours@" not in written
