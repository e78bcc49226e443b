"""`relance import` on a terminal: what it says it did is what it did, and its exit code too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scripts.main import cli
from store.connection import connect
from tests.terminal import PATIENCE_S, command, environment, terminal
from tests.trade import invoice, open_trade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Relance = Callable[..., Result]

GOOD = "facture,montant,payment date\nFA-1,40.00,2026-11-02\n"
PARTLY = f"{GOOD}FA-9,10.00,2026-11-02\n"
BAD = "facture,montant,payment date\nFA-9,10.00,2026-11-02\n"


@pytest.fixture
def relance(database_url: str, tmp_path: Path) -> Relance:
    with connect(database_url) as conn:
        open_trade(conn)
        invoice(conn, "FA-1")

    def run(content: str, *words: object, exit_code: int) -> Result:
        file = tmp_path / "payments.csv"
        file.write_text(content)
        servers = {"DATABASE_URL": database_url, "REDIS_URL": "redis://nowhere.example/0", "COLUMNS": "80"}
        arguments = ["import", file, "--kind", "payments", "--currency", "EUR", *words]
        result = CliRunner().invoke(cli, [str(one) for one in arguments], env=servers)
        assert result.exit_code == exit_code, result.output
        return result

    return run


def test_a_file_of_which_every_row_is_refused_imports_nothing_and_says_so(relance: Relance) -> None:
    assert "nothing was imported: every row is refused" in relance(BAD, "--only-good", "--yes", exit_code=1).stderr


def test_done_in_part_is_said_where_something_was_done(relance: Relance) -> None:
    relance(PARTLY, "--only-good", exit_code=1)
    assert "1 new" in relance(PARTLY, "--only-good", "--yes", exit_code=3).stderr


def test_refused_rows_are_kept_or_nothing_is_done(relance: Relance, tmp_path: Path) -> None:
    nowhere = relance(PARTLY, "--only-good", "--yes", "--bad", tmp_path / "no" / "bad.csv", exit_code=2)
    assert "cannot be written" in nowhere.stderr
    kept = tmp_path / "bad.csv"
    relance(PARTLY, "--only-good", "--yes", "--bad", kept, exit_code=3)
    assert "FA-9" in kept.read_text(encoding="utf-8-sig")
    assert "exists already" in relance(PARTLY, "--only-good", "--yes", "--bad", kept, exit_code=2).stderr


def test_no_file_of_refused_rows_is_left_where_none_was_refused(relance: Relance, tmp_path: Path) -> None:
    relance(GOOD, "--yes", "--bad", tmp_path / "bad.csv", exit_code=0)
    assert not (tmp_path / "bad.csv").exists()


def test_payments_that_are_there_already_count_as_no_fresher(relance: Relance) -> None:
    relance(GOOD, "--yes", exit_code=0)
    assert "relance heartbeat" in relance(GOOD, "--yes", exit_code=0).stderr


def test_what_is_said_while_a_bar_is_shown_has_a_line_of_its_own(
    relance: Relance, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    relance(GOOD, exit_code=0)
    words = ("import", tmp_path / "payments.csv", "--kind", "payments", "--currency", "EUR", "--save-mapping")
    with terminal(
        command(*words, tmp_path / "m.yaml"), environment(database_url, redis_url), stderr_apart=False
    ) as shown:
        assert shown.process.wait(PATIENCE_S) == 0
        shown.until(lambda seen: b"add --yes" in seen)
    (before,) = re.findall(rb"([^\n]*)the mapping is in", shown.written)
    _, _, since_erased = before.rpartition(b"\x1b[2K")
    assert not re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\r", b"", since_erased)


def test_a_register_of_invoices_settles_none_until_somebody_says_by_a_mapping_that_it_lists_payments(
    relance: Relance, tmp_path: Path
) -> None:
    register = "client,facture,date,montant\nC-1,FA-1,2026-10-01,100.00\n"
    kept = tmp_path / "payments.yaml"
    refused = relance(register, "--yes", "--save-mapping", kept, exit_code=1)
    said = "kind: date, montant may as well be of invoices: say --kind invoices, or keep this guess by --save-mapping"
    assert said in refused.stderr
    assert "1 new" in relance(register, "--yes", "--mapping", kept, exit_code=0).stderr
