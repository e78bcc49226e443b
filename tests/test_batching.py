"""Batches, their undoing, letters and replays from a terminal: what is printed, and how a command ends."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.rules import activate
from scripts.main import cli
from scripts.printing import DASH
from store.connection import connect
from tests.chasing import NOW, RULE, committed_chase, decide_run, fail, one
from tests.trade import invoice, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Relance = Callable[..., Result]

LEVEL = ("--set-level", "2", "--because", "old system")


@pytest.fixture
def relance(database_url: str, redis_url: str) -> Relance:
    """Run a command on a chase; without `exit_code` it must succeed."""
    committed_chase(database_url)

    def run(*arguments: object, exit_code: int = 0, typed: bytes | None = None, **environment: str) -> Result:
        servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LC_ALL": "C.UTF-8", "COLUMNS": "80"}
        words = [str(one) for one in arguments]
        result = CliRunner().invoke(cli, words, env=servers | environment, input=typed)
        assert result.exit_code == exit_code, result.output
        return result

    return run


def data(result: Result) -> Any:  # noqa: ANN401 - JSON has no better type
    return json.loads(result.stdout)


def test_a_batch_is_shown_until_yes_then_listed_and_undone(relance: Relance) -> None:
    asked = ("batch", "--filter", "level = 0", "--add-tag", "Relance 1", *LEVEL)
    shown = relance(*asked)
    assert "5 invoices of NORD selected" in shown.stdout
    assert "level 0 → 2, +Relance 1" in shown.stdout
    assert "nothing was done: add --yes" in shown.stderr
    assert data(relance("batches", "--json")) == []
    made = relance("--as", "marie", *asked, "--yes")
    assert "batch 1 is made; take it back: relance undo 1" in made.stderr
    assert "NORD, level = 0: level 2, add tag Relance 1" in " ".join(relance("batches", COLUMNS="200").stdout.split())
    assert [(one["by"], one["counts"]["changed"]) for one in data(relance("batches", "--json"))] == [("user:marie", 5)]
    assert "5 invoices to restore" in relance("undo", 1, "--because", "wrong filter").stderr
    done = relance("undo", 1, "--because", "wrong filter", "--yes", "--json")
    assert (data(done)["invoices"], data(done)["done"]) == (5, True)
    assert "was undone on" in relance("undo", 1, "--because", "again", exit_code=1).stderr
    assert "undone" in relance("batches", COLUMNS="200").stdout


def test_what_a_batch_left_alone_is_listed_and_ends_with_3(relance: Relance, database_url: str) -> None:
    with connect(database_url) as conn:
        busy = one(conn, "SELECT id FROM invoices WHERE number = 'FA-2'")
        assert isinstance(busy, int)
        send(conn, busy)
    asked = ("batch", "--invoices", "FA-1,FA-2", *LEVEL)
    assert "une relance est en cours d'envoi" in relance(*asked, "--lang", "fr").stdout
    done = data(relance(*asked, "--yes", "--json", exit_code=3))
    assert (done["changed"], done["refused"]) == (1, {"busy": ["FA-2"]})
    assert done["words"] == {"busy": "a reminder is on its way or in doubt"}


def test_a_batch_reads_on_80_columns(relance: Relance) -> None:
    for arguments in (
        ("batch", "--filter", "", "--pause", "2026-12-31", "--exclude", *LEVEL),
        ("batches",),
    ):
        assert max(len(line) for line in relance(*arguments).stdout.splitlines()) <= 80


def test_numbers_come_from_a_file_or_standard_input(relance: Relance, tmp_path: Path) -> None:
    listed = tmp_path / "numbers.txt"
    listed.write_bytes(b"\xef\xbb\xbfFA-1\r\n\r\n FA-2 \n")
    assert data(relance("batch", "--invoices", f"@{listed}", *LEVEL, "--json"))["selected"] == 2
    assert data(relance("batch", "--invoices", "@-", *LEVEL, "--json", typed=b"FA-1\n"))["selected"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        LEVEL,
        ("--filter", "", "--invoices", "FA-1", *LEVEL),
        ("--filter", "", "--because", "x"),
        ("--filter", "", "--set-level", "2"),
        ("--filter", "", "--set-level", "4", "--because", "x"),
        ("--filter", "", "--set-last-reminded", "yesterday", "--because", "x"),
        ("--invoices", "@/nowhere/at/all", *LEVEL),
        ("--invoices", "@.", *LEVEL),
        ("--invoices", "@\x00", *LEVEL),
    ],
)
def test_a_batch_asked_wrongly_ends_with_2(relance: Relance, arguments: tuple[str, ...]) -> None:
    assert relance("batch", *arguments, exit_code=2).stdout == ""


def test_a_file_that_is_no_list_is_refused(relance: Relance, tmp_path: Path) -> None:
    binary, large = tmp_path / "binary", tmp_path / "large"
    binary.write_bytes(b"\xff\xfe\x00")
    large.write_bytes(b"A" * (10 * 1024 * 1024 + 1))
    assert "it is not UTF-8 text" in relance("batch", "--invoices", f"@{binary}", *LEVEL, exit_code=2).stderr
    assert "is larger than 10 MiB" in relance("batch", "--invoices", f"@{large}", *LEVEL, exit_code=2).stderr


def test_a_refused_batch_is_one_line(relance: Relance) -> None:
    for arguments in (
        ("batch", "--filter", "level = x", *LEVEL),
        ("batch", "--invoices", "FA-404", *LEVEL),
        ("batch", "--filter", "", "--company", "SUD", *LEVEL),
        ("undo", 9, "--because", "x"),
        ("posted", "FA-404", "--on", "2026-11-20", "--because", "x"),
        ("print-pile", "--rule", "nothing like it"),
        ("print-pile", "--csv", "/nowhere/at/all.csv"),
    ):
        refused = relance(*arguments, exit_code=1)
        assert (refused.stdout, refused.stderr.count("\n")) == ("", 1)


def test_the_pile_is_printed_written_and_worked_off(relance: Relance, database_url: str, tmp_path: Path) -> None:
    with connect(database_url) as conn:
        activate(conn, rule=RULE, by="user:marie", now=NOW)
        conn.execute("UPDATE customers SET name = '=1+1', postal_address = E'1 rue Haute\\nLille' WHERE number = 'C-3'")
    assert "1 rue Haute, Lille, FR" in relance("print-pile").stdout
    assert [letter["invoice"] for letter in data(relance("print-pile", "--json"))] == ["FA-6"]
    relance("print-pile", "--csv", tmp_path / "letters.csv")
    written = (tmp_path / "letters.csv").read_bytes()
    assert relance("print-pile", "--csv", "-").stdout_bytes == written
    (row,) = csv.DictReader(io.StringIO(written.decode("utf-8-sig"), newline=""))
    assert (row["customer_name"], row["postal_address"], row["balance"]) == ("'=1+1", "1 rue Haute\nLille", "100.00")
    asked = ("posted", "FA-6", "--on", "2026-11-20", "--rule", RULE, "--because", "lettre 17")
    assert "FA-6: reminder 1 went by post on 2026-11-20, tagged Relance 1" in relance(*asked).stderr
    assert "nothing goes by post today" in relance("print-pile").stderr
    assert f"posted {DASH} → 2026-11-20, by system (lettre 17)" in " ".join(relance("explain", "FA-6").stdout.split())


def test_failures_are_replayed_by_account_class_and_period(relance: Relance, database_url: str) -> None:
    with connect(database_url) as conn:
        invoice(conn, "FA-7", customer="C-2")
    run_id = int(relance("run", RULE, "--yes").stdout)
    decide_run(database_url, run_id)
    with connect(database_url) as conn:
        for (reminder_id,) in conn.execute("SELECT id FROM reminders").fetchall():
            fail(conn, reminder_id)
    asked = ("replay", "--account", "sortie", "--from", "2026-11-24", "--until", "2026-11-24", "--because", "mended")
    assert "nothing to replay" in relance(*asked, "--class", "4xx", "--max", 9).stderr
    assert "nothing to replay" in relance(*asked, "--account", "comptabilité", "--max", 9).stderr
    assert "1 failed mail more" in relance(*asked, "--class", "5xx", "--max", 1, "--yes", exit_code=3).stderr
    assert "a run decides about it again" in " ".join(relance(*asked, "--max", 9).stdout.split())
    assert "until: is before 2026-11-24" in relance(*asked, "--until", "2026-11-23", "--max", 9, exit_code=1).stderr


# What a person, a script or a slip may type.
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["\x00", "\ud800", "-1", "--", "9" * 30, "FA-1", "level = 0", "x" * 10_000, "🙂", "2026-11-20", "never"]
    ),
)
ANYTHING: dict[str, list[tuple[str, ...]]] = {
    "batch": [("--filter",), ("--invoices",), ("--add-tag",), ("--company",), ("--assign-contact",), ("--because",)],
    "undo": [("--because",), ()],
    "batches": [("--limit",)],
    "posted": [("--on",), ("--level",), ("--rule",), ("--company",), ()],
    "print-pile": [("--rule",)],
    "replay": [("--rule",), ("--account",), ("--class",), ("--error",), ("--run",), ("--until",), ("--max",)],
}
USUAL: dict[str, tuple[str, ...]] = {
    "batch": ("--filter", "", "--set-level", "1", "--because", "x"),
    "undo": ("1", "--because", "x"),
    "batches": (),
    "posted": ("FA-1", "--on", "2026-11-20", "--because", "x"),
    "print-pile": (),
    "replay": ("--max", "1", "--because", "x"),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(ANYTHING)), st.data())
def test_no_argument_ends_in_a_traceback(
    anything: Callable[[str, tuple[str, ...]], Result], name: str, typed: st.DataObject
) -> None:
    option = typed.draw(st.sampled_from(ANYTHING[name]))
    result = anything(name, (*USUAL[name], *option, typed.draw(WORDS)))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in {0, 1, 2, 3}


@pytest.fixture
def anything(relance: Relance, database_url: str, redis_url: str) -> Callable[[str, tuple[str, ...]], Result]:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LC_ALL": "C.UTF-8"}
    return lambda name, words: CliRunner().invoke(cli, [name, *words], env=servers)
