"""Users, companies, mail accounts, customers and contacts: saved by their names, checked at the edge."""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING, Any

import pytest

from operations.acting import LONGEST_LINE
from operations.companies import save_company
from operations.customers import clear_role, exclude, include, save_contact, save_customer
from operations.users import save_user
from tests.trade import TODAY, but, journal, open_account, open_trade, row, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

LOGIN: dict[str, Any] = {"username": "relance", "password_ref": "env:SMTP_PASSWORD"}
OTHER_LOGIN: dict[str, Any] = {"username": "other", "password_ref": "file:/run/secrets/new"}
LOG: dict[str, Any] = {"kind": "postfix_log", "path": "/var/log/mail.log"}
ARCHIVE: dict[str, Any] = {
    "kind": "imap", "host": "imap.nord.example", "folder": "Archive", "username": "a", "password_ref": "env:ARCHIVE",
}  # fmt: skip
USER: dict[str, Any] = {"login": "paul", "name": "Paul", "email": "paul@nord.example", "by": "system"}
COMPANY: dict[str, Any] = {"code": "SUD", "name": "Sud SAS", "by": "user:marie", "today": TODAY}
WHOLE_COMPANY: dict[str, Any] = COMPANY | {
    "legal_line": "SAS au capital de 10 000 €", "siren": "732 829 320", "address": "1 rue du Port\n13002 Marseille",
    "country": "FR", "email": "Compta@SUD.example", "phone": "+33 4 91 00 00 00", "web": "https://sud.example",
    "iban": "FR76 3000 6000 0112 3456 7890 189", "bic": "AGRIFRPP", "language": "en", "zone": "Indian/Reunion",
    "send_weekdays": {5, 1, 2}, "send_from": time(9),
    "send_until": None, "send_on_holidays": True, "min_days_between_mails": 2,
}  # fmt: skip
ZOE: dict[str, Any] = {"customer": "C-1", "name": "Zoé", "email": "zoe@client.example", "by": "user:marie"}
CUSTOMER: dict[str, Any] = {"number": "C-7", "name": "Martin", "by": "user:marie", "today": TODAY}
WHOLE_CUSTOMER: dict[str, Any] = CUSTOMER | {
    "kind": "professional", "language": "en", "email": "martin@client.example", "postal_address": "2 rue Basse\nLyon",
    "country": "BE", "payment_terms_days": 30, "payment_method": "virement",
}  # fmt: skip


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_trade(database)
    return database


def test_a_user_is_saved_by_login(conn: Connection) -> None:
    user_id = save_user(conn, **USER)
    assert row(conn, "users", user_id)["role"] == "accountant"
    before = written(conn)
    assert save_user(conn, **USER) == user_id
    assert written(conn) == before
    assert save_user(conn, **USER, role="administrator") == user_id
    assert row(conn, "users", user_id)["role"] == "administrator"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"login": "Paul"}, "login"),
        ({"login": "paul martin"}, "login"),
        ({"login": ""}, "login"),
        ({"name": " "}, "name"),
        ({"email": "paul"}, "email"),
        ({"email": "Paul <paul@nord.example>"}, "email"),
        ({"language": "de"}, "language"),
    ],
)
def test_a_user_who_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_user(conn, **but(USER, changes))
    assert refused.value.field == field


@pytest.mark.parametrize("values", [COMPANY, WHOLE_COMPANY])
def test_a_company_saved_twice_has_not_changed(conn: Connection, values: dict[str, Any]) -> None:
    company_id = save_company(conn, **values)
    before = written(conn)
    assert save_company(conn, **values) == company_id
    assert written(conn) == before


def test_a_companys_numbers_are_kept_in_their_compact_form(conn: Connection) -> None:
    company = row(conn, "companies", save_company(conn, **WHOLE_COMPANY))
    assert (company["siren"], company["iban"]) == ("732829320", "FR7630006000011234567890189")
    assert (company["send_weekdays"], company["send_until"]) == ([1, 2, 5], None)
    assert company["email"] == "Compta@sud.example"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "a b"}, "code"),
        ({"name": ""}, "name"),
        ({"name": "Sud\r\nBcc: x@y.example"}, "name"),
        ({"siren": "732829321"}, "siren"),
        ({"web": "sud.example"}, "web"),
        ({"iban": "FR7630006000011234567890188"}, "iban"),
        ({"bic": "AGRIFRP"}, "bic"),
        ({"country": "France"}, "country"),
        ({"country": "XX"}, "country"),
        ({"language": "de"}, "language"),
        ({"zone": "Paris"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"zone": "Europe"}, "zone"),
        ({"email": "compta@"}, "email"),
        ({"send_weekdays": []}, "send_weekdays"),
        ({"send_weekdays": [0]}, "send_weekdays"),
        ({"send_from": time(9, 0, 30)}, "send_from"),
        ({"send_until": time(7)}, "send_until"),
        ({"min_days_between_mails": 0}, "min_days_between_mails"),
        ({"address": "1 rue\x00"}, "address"),
        ({"address": "x" * 2001}, "address"),
    ],
)
def test_a_company_that_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_company(conn, **but(COMPANY, changes))
    assert refused.value.field == field


def test_an_account_saved_twice_has_not_changed(conn: Connection) -> None:
    account_id = open_account(conn, **LOGIN)
    before = written(conn)
    assert open_account(conn, **LOGIN) == account_id
    assert open_account(conn) == account_id
    assert written(conn) == before


@pytest.mark.parametrize("moved", [{"host": "smtp.other.example"}, {"port": 587}])
def test_an_account_that_is_pointed_elsewhere_forgets_its_login(conn: Connection, moved: dict[str, Any]) -> None:
    account_id = open_account(conn, **LOGIN)
    open_account(conn, **moved)
    account = row(conn, "mail_accounts", account_id)
    assert (account["username"], account["password_ref"]) == (None, None)


def test_an_account_that_moves_may_bring_a_login(conn: Connection) -> None:
    open_account(conn, **LOGIN)
    account_id = open_account(conn, host="smtp.other.example", **OTHER_LOGIN)
    account = row(conn, "mail_accounts", account_id)
    assert (account["username"], account["password_ref"]) == ("other", "file:/run/secrets/new")


def test_a_login_is_forgotten_when_asked(conn: Connection) -> None:
    open_account(conn, **LOGIN)
    account = row(conn, "mail_accounts", open_account(conn, username=""))
    assert (account["username"], account["password_ref"]) == (None, None)


def test_an_account_keeps_where_its_evidence_is(conn: Connection) -> None:
    account_id = open_account(conn, **LOGIN, doubt_policy="evidence", evidence=ARCHIVE)
    before = written(conn)
    assert open_account(conn, doubt_policy="evidence", evidence=ARCHIVE | {"port": "993"}) == account_id
    assert written(conn) == before
    kept = row(conn, "mail_accounts", account_id)["evidence"]
    assert kept == ARCHIVE | {"port": 993, "security": "implicit-tls", "ca_file": None, "auth": "password"}
    assert "imap.nord.example" not in str(journal(conn, "account", account_id)), "a login may be an address"
    open_account(conn)
    assert row(conn, "mail_accounts", account_id)["evidence"] is None


def test_an_account_may_be_a_users(conn: Connection) -> None:
    account = row(conn, "mail_accounts", open_account(conn, "marie", company=None, user="marie"))
    assert account["user_id"] is not None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_plain_is_for_this_machine(conn: Connection, host: str) -> None:
    open_account(conn, "local", host=host, port=25, security="plain")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"company": None}, "company"),
        ({"user": "marie"}, "company"),
        ({"company": "SUD"}, "company"),
        ({"company": None, "user": "paul"}, "user"),
        ({"company": None, "user": "marie"}, "name"),
        ({"from_name": "Nord\nBcc: x@y.example"}, "from_name"),
        ({"from_address": "relance"}, "from_address"),
        ({"host": "smtp.nord.example\r\n"}, "host"),
        ({"host": "smtp nord"}, "host"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"security": "starttls"}, "security"),
        ({"auth": "ntlm"}, "auth"),
        ({"auth": "xoauth2"}, "username"),
        ({"doubt_policy": "guess"}, "doubt_policy"),
        ({"doubt_policy": "evidence"}, "evidence"),
        ({"evidence": LOG}, "evidence"),
        ({"doubt_policy": "resend", "evidence": LOG}, "evidence"),
        ({"doubt_policy": "evidence", "evidence": {"kind": "tarot"}}, "evidence.kind"),
        ({"doubt_policy": "evidence", "evidence": {"kind": "postfix_log"}}, "evidence.path"),
        ({"doubt_policy": "evidence", "evidence": LOG | {"path": "mail.log"}}, "evidence.path"),
        ({"doubt_policy": "evidence", "evidence": LOG | {"password": "hunter2"}}, "evidence.password"),
        ({"doubt_policy": "evidence", "evidence": ARCHIVE | {"security": "plain"}}, "evidence.security"),
        ({"doubt_policy": "evidence", "evidence": ARCHIVE | {"maildir": "/var/mail/a"}}, "evidence.maildir"),
        ({"doubt_policy": "evidence", "evidence": ARCHIVE | {"port": True}}, "evidence.port"),
        ({"doubt_policy": "evidence", "evidence": ARCHIVE | {"folder": "a\r\nb"}}, "evidence.folder"),
        ({"doubt_policy": "evidence", "evidence": ARCHIVE | {"password_ref": "hunter2"}}, "evidence.password_ref"),
        ({"doubt_policy": "provider_key", "key_header": "Idempotency-Key"}, "key_hours"),
        ({"doubt_policy": "provider_key", "key_header": "Bcc", "key_hours": 24}, "key_header"),
        ({"doubt_policy": "provider_key", "key_header": "a: b", "key_hours": 24}, "key_header"),
        ({"doubt_policy": "provider_key", "key_header": "Idempotency-Key", "key_hours": 0}, "key_hours"),
        ({"security": "plain"}, "security"),
        ({"security": "plain", "host": "10.0.0.1"}, "security"),
        ({"security": "plain", "host": "127.1"}, "security"),
        ({"security": "plain", "host": "localhost", "username": "u", "password_ref": "env:P"}, "security"),
        ({"username": "relance"}, "password_ref"),
        ({"password_ref": "env:P"}, "username"),
        ({"username": "re\nlance", "password_ref": "env:P"}, "username"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_connections": 65}, "max_connections"),
        ({"per_minute": 0}, "per_minute"),
        ({"ca_file": "/etc/ca\x00"}, "ca_file"),
    ],
)
def test_an_account_that_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], field: str) -> None:
    before = written(conn)
    with pytest.raises(InvalidInput) as refused:
        open_account(conn, **changes)
    assert refused.value.field == field
    assert written(conn) == before


@pytest.mark.parametrize(
    "secret", ["hunter2", "hunter\n2", "", "env:hunter 2", "ENV:hunter2", "file:relative", "file:/run/hunter\n2"]
)
def test_a_bare_password_is_refused_and_not_shown(conn: Connection, secret: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_account(conn, username="relance", password_ref=secret)
    assert refused.value.field == "password_ref"
    assert "hunter" not in str(refused.value)
    assert refused.value.value == "(not shown)"


@pytest.mark.parametrize("values", [CUSTOMER, WHOLE_CUSTOMER])
def test_a_customer_saved_twice_has_not_changed(conn: Connection, values: dict[str, Any]) -> None:
    customer_id = save_customer(conn, **values)
    before = row(conn, "customers", customer_id), written(conn)
    assert save_customer(conn, **values) == customer_id
    assert (row(conn, "customers", customer_id), written(conn)) == before


def test_saving_a_customer_keeps_contacts_and_exclusion(conn: Connection) -> None:
    customer_id = save_customer(conn, **CUSTOMER)
    contact_id = save_contact(conn, **but(ZOE, {"customer": "C-7", "roles": ("dunning",)}))
    exclude(conn, customer="C-7", because="en procédure", by="user:marie")
    save_customer(conn, **WHOLE_CUSTOMER)
    customer = row(conn, "customers", customer_id)
    assert (customer["dunning_contact_id"], customer["excluded"], customer["country"]) == (contact_id, True, "BE")


@pytest.mark.parametrize("name", ["Doe, Jane", "Lounge@Paris", "Is it =?", '"; DROP TABLE', "<script>", "é" * 200])
def test_a_name_is_kept_as_it_is_spelled(conn: Connection, name: str) -> None:
    customer = row(conn, "customers", save_customer(conn, **but(CUSTOMER, {"name": name})))
    assert customer["name"] == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a\nb",
        "a\rb",
        "a\x00b",
        "a\x0bb",
        "a\u2028b",
        "a\x85b",
        "a\u202eb",
        "x" * (LONGEST_LINE + 1),
        "Doe, evil@x.y",
        "=?utf-8?Q?a=0ABcc:_x@y?=",
    ],
)
def test_a_name_that_could_break_a_mail_is_refused(conn: Connection, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_customer(conn, **but(CUSTOMER, {"name": name}))
    assert refused.value.field == "name"
    with pytest.raises(InvalidInput):
        save_contact(conn, **but(ZOE, {"name": name}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"number": ""}, "number"),
        ({"kind": "company"}, "kind"),
        ({"language": "de"}, "language"),
        ({"email": "a@b@c.example"}, "email"),
        ({"country": "fr"}, "country"),
        ({"payment_terms_days": -1}, "payment_terms_days"),
        ({"payment_terms_days": 366}, "payment_terms_days"),
        ({"payment_method": "vire\nment"}, "payment_method"),
        ({"by": ""}, "by"),
        ({"by": "marie "}, "by"),
    ],
)
def test_a_customer_who_cannot_be_is_refused(conn: Connection, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_customer(conn, **but(CUSTOMER, changes))
    assert refused.value.field == field


def test_a_contact_is_saved_once_whatever_the_capitals(conn: Connection) -> None:
    first = save_contact(conn, **ZOE)
    again = save_contact(conn, **but(ZOE, {"name": "Zoé Petit", "email": "Zoe@client.example"}))
    assert first == again
    assert row(conn, "contacts", first)["name"] == "Zoé Petit"


def test_a_contact_saved_twice_has_not_changed(conn: Connection) -> None:
    both: dict[str, Any] = but(ZOE, {"roles": ("dunning", "billing")})
    save_contact(conn, **both)
    before = conn.execute("SELECT row_version FROM customers").fetchone(), written(conn)
    save_contact(conn, **both)
    assert (conn.execute("SELECT row_version FROM customers").fetchone(), written(conn)) == before


def test_a_role_can_be_left_empty(conn: Connection) -> None:
    save_contact(conn, **but(ZOE, {"roles": ("billing",)}))
    assert clear_role(conn, customer="C-1", role="billing", by="user:marie") is True
    assert clear_role(conn, customer="C-1", role="billing", by="user:marie") is False


def test_a_contact_needs_a_customer_and_a_known_role(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="customer: does not exist"):
        save_contact(conn, **but(ZOE, {"customer": "C-404"}))
    with pytest.raises(InvalidInput, match="roles: must be one of dunning, billing"):
        save_contact(conn, **but(ZOE, {"roles": ("sales",)}))


def test_a_customer_is_excluded_with_a_reason_and_included_again(conn: Connection) -> None:
    assert exclude(conn, customer="C-1", because="en procédure", by="user:marie") is True
    assert exclude(conn, customer="C-1", because="en procédure", by="user:marie") is False
    said = conn.execute("SELECT because, actor FROM journal ORDER BY id DESC LIMIT 1").fetchone()
    assert said == ("en procédure", "user:marie")
    assert include(conn, customer="C-1", by="user:marie") is True
    assert include(conn, customer="C-1", by="user:marie") is False
    with pytest.raises(InvalidInput, match="because: is missing"):
        exclude(conn, customer="C-1", because=" ", by="user:marie")


def test_the_journal_never_learns_a_name_or_an_address(conn: Connection) -> None:
    customer_id = save_customer(conn, **WHOLE_CUSTOMER)
    (change,) = journal(conn, "customer", customer_id)
    assert change["name"][1].startswith("sha256:")
    assert change["kind"] == [None, "professional"]
