"""Users: who may make them, what a password must be, and that nobody ever reads one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.run import run_by_hand
from operations.users import SHORTEST_PASSWORD, add_user, change_user, save_user, set_active, set_password
from scripts.main import cli
from store.connection import connect
from store.reports import readers, strangers
from store.users import users
from tests.chasing import open_chase, open_rule
from tests.trade import TODAY, but, journal, open_trade, row, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from store.connection import Connection

    Relance = Callable[..., Result]

GOOD = "cheval agrafe pile"
PAUL: dict[str, Any] = {"login": "paul", "name": "Paul Lemoine", "email": "p.lemoine@nord.example", "today": TODAY}


@pytest.fixture
def conn(database: Connection) -> Connection:
    """A trade with marie, who is an accountant, and paul, who is a reader."""
    open_trade(database)
    add_user(database, **PAUL, role="reader", by="system")
    return database


def hash_of(conn: Connection, login: str = "paul") -> str | None:
    found = conn.execute("SELECT password_hash FROM users WHERE login = %s", [login]).fetchone()
    assert found
    value: str | None = found[0]
    return value


def test_a_login_that_somebody_has_is_not_added_again(conn: Connection) -> None:
    before = written(conn)
    with pytest.raises(InvalidInput, match="somebody's already"):
        add_user(conn, **but(PAUL, {"name": "Another Paul"}), by="system")
    assert written(conn) == before


def test_what_is_not_given_stays_when_a_user_is_changed(conn: Connection) -> None:
    set_password(conn, login="paul", password=GOOD, by="system")
    change_user(conn, login="paul", role="administrator", by="system")
    paul = next(user for user in users(conn) if user.login == "paul")
    assert (paul.name, paul.email, paul.role, paul.has_password) == (
        PAUL["name"], PAUL["email"], "administrator", True,
    )  # fmt: skip


def test_only_administrators_manage_users(conn: Connection) -> None:
    for attempt in (
        lambda: save_user(conn, login="eve", name="Eve", email="eve@nord.example", by="user:marie"),
        lambda: change_user(conn, login="marie", role="administrator", by="user:marie"),
        lambda: set_active(conn, login="paul", active=False, by="user:marie"),
        lambda: set_password(conn, login="paul", password=GOOD, by="user:marie"),
        lambda: set_password(conn, login="paul", password=GOOD, by="user:nobody"),
    ):
        with pytest.raises(InvalidInput, match="by: users are managed by administrators"):
            attempt()
    change_user(conn, login="marie", role="administrator", by="system")
    set_password(conn, login="paul", password=GOOD, by="user:marie")


def test_an_administrator_who_was_deactivated_manages_nobody(conn: Connection) -> None:
    change_user(conn, login="marie", role="administrator", by="system")
    set_active(conn, login="marie", active=False, by="system")
    with pytest.raises(InvalidInput, match="by: users are managed by administrators"):
        set_active(conn, login="marie", active=True, by="user:marie")


def test_nobody_deactivates_themselves(conn: Connection) -> None:
    change_user(conn, login="marie", role="administrator", by="system")
    with pytest.raises(InvalidInput, match="your own"):
        set_active(conn, login="marie", active=False, by="user:marie")


def test_a_password_is_kept_as_an_argon2id_hash_that_fits_it_alone(conn: Connection) -> None:
    set_password(conn, login="paul", password=GOOD, by="user:paul", today=TODAY)
    kept = hash_of(conn)
    assert kept is not None
    assert kept.startswith("$argon2id$")
    assert PasswordHasher().verify(kept, GOOD)
    assert GOOD not in kept


def test_a_password_is_the_same_however_its_letters_were_composed(conn: Connection) -> None:
    set_password(conn, login="paul", password="e\u0301cureuil agile", by="system")  # noqa: S106 - a test's
    kept = hash_of(conn)
    assert kept is not None
    assert PasswordHasher().verify(kept, "\u00e9cureuil agile")


def test_the_journal_says_that_a_password_changed_and_keeps_neither_it_nor_its_hash(conn: Connection) -> None:
    paul_id = next(user.id for user in users(conn) if user.login == "paul")
    before = len(journal(conn, "user", paul_id))
    set_password(conn, login="paul", password=GOOD, by="system")
    set_password(conn, login="paul", password=GOOD[::-1], by="system")
    changes = journal(conn, "user", paul_id)[before:]
    assert changes == [{"password": [None, "set"]}, {"password": ["set", "set"]}]


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "at least 12"),
        ("onze lettre", "at least 12"),
        ("x" * 129, "at most 128"),
        ("abcd" * 4, "different characters"),
        ("paul aime les vaches", "must not contain"),
        ("vive M. LEMOINE et fils", "must not contain"),
        ("nul\x00nul\x00nul\x00 abc", "keyboard"),
        ("deux\nlignes en une", "keyboard"),
        ("un demi \ud800 seul ici", "keyboard"),
    ],
)
def test_a_weak_password_is_refused_without_being_shown(conn: Connection, password: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        set_password(conn, login="paul", password=password, by="system")
    assert refused.value.value == "(not shown)"
    assert hash_of(conn) is None


@given(st.text(max_size=140))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_password_or_refused_with_a_reason(conn: Connection, text: str) -> None:
    with conn.transaction(force_rollback=True):
        refused = None
        try:
            set_password(conn, login="paul", password=text, by="system")
        except InvalidInput as error:
            refused = error
        assert (refused is None) == (hash_of(conn) is not None)
        assert refused is None or len(text) < SHORTEST_PASSWORD or text not in str(refused)


def test_a_user_who_was_deactivated_comes_back_with_their_password(conn: Connection) -> None:
    set_password(conn, login="paul", password=GOOD, by="system")
    kept = hash_of(conn)
    assert set_active(conn, login="paul", active=False, by="system")
    assert not set_active(conn, login="paul", active=False, by="system")
    assert set_active(conn, login="paul", active=True, by="system")
    assert hash_of(conn) == kept


def test_a_user_who_was_deactivated_is_told_of_no_run(database: Connection) -> None:
    open_chase(database)
    add_user(database, **PAUL, by="system")
    rule = open_rule(database, report_to=["marie", "paul"])
    run_id = run_by_hand(database, rule, by="user:marie").run_id
    assert [reader.name for reader in readers(database, run_id)] == ["Marie Curie", "Paul Lemoine"]
    set_active(database, login="paul", active=False, by="system")
    assert [reader.name for reader in readers(database, run_id)] == ["Marie Curie"]
    assert strangers(database, run_id) == 1


# ---------------------------------------------------------------- at the command line


@pytest.fixture
def relance(database_url: str, redis_url: str) -> Relance:
    with connect(database_url) as conn:
        open_trade(conn)

    def run(*arguments: str, exit_code: int = 0, typed: str | None = None) -> Result:
        servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "COLUMNS": "80", "NO_COLOR": "1"}
        result = CliRunner().invoke(cli, arguments, env=servers, input=typed)
        assert result.exit_code == exit_code, result.output
        return result

    return run


def added(relance: Relance) -> None:
    relance("user", "add", "paul", "--name", PAUL["name"], "--email", PAUL["email"], "--role", "reader")


def test_a_user_is_added_given_a_password_and_listed(relance: Relance, database_url: str) -> None:
    added(relance)
    said = relance("user", "password", "paul", "--stdin", typed=f"{GOOD}\n")
    assert GOOD not in said.output
    with connect(database_url) as conn:
        kept = hash_of(conn)
        assert kept is not None
        assert PasswordHasher().verify(kept, GOOD)
        paul_id = next(user.id for user in users(conn) if user.login == "paul")
        assert "password_hash" not in row(conn, "journal", 1)["change"]
        assert all("$argon2" not in json.dumps(change) for change in journal(conn, "user", paul_id))
    listed = relance("user", "list", "--json").stdout
    (paul,) = (one for one in json.loads(listed) if one["login"] == "paul")
    assert (paul["role"], paul["has_password"], paul["inactive_since"]) == ("reader", True, None)
    assert "$argon2" not in listed


def test_a_password_is_no_argument(relance: Relance, database_url: str) -> None:
    added(relance)
    relance("user", "password", "paul", GOOD, exit_code=2)
    with connect(database_url) as conn:
        assert hash_of(conn) is None


def test_a_password_is_asked_for_twice_and_not_shown(relance: Relance, database_url: str) -> None:
    added(relance)
    relance("user", "password", "paul", typed=f"{GOOD}\n{GOOD[::-1]}\n", exit_code=1)
    with connect(database_url) as conn:
        assert hash_of(conn) is None
    assert GOOD not in relance("user", "password", "paul", typed=f"{GOOD}\n{GOOD}\n").output
    with connect(database_url) as conn:
        assert hash_of(conn) is not None


def test_a_user_who_was_deactivated_acts_by_no_command(relance: Relance) -> None:
    added(relance)
    relance("--as", "paul", "status", "--json")
    relance("user", "deactivate", "paul")
    relance("--as", "paul", "status", "--json", exit_code=1)
    assert "already" in relance("user", "deactivate", "paul").stderr
    assert "inactive since" in relance("user", "list").stdout
    relance("user", "activate", "paul")
    relance("--as", "paul", "status", "--json")


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "Paul", "--name", "Paul", "--email", "paul@nord.example"],
        ["add", "paul", "--name", "Paul\x1b[2J", "--email", "paul@nord.example"],
        ["add", "paul", "--name", "Paul", "--email", "paul"],
        ["add", "marie", "--name", "Marie", "--email", "marie@nord.example"],
        ["password", "nobody", "--stdin"],
        ["password", "marie", "--stdin"],
        ["deactivate", "nobody"],
        ["change", "nobody", "--role", "reader"],
    ],
)
def test_what_cannot_be_is_refused_in_one_line(relance: Relance, arguments: list[str]) -> None:
    result = relance("user", *arguments, exit_code=1, typed="court\n")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "court" not in result.output
