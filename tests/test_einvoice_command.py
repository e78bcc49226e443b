"""`relance einvoice` as it is typed: what it prints, what it saves, how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scripts.main import cli
from store.connection import connect
from tests.einvoice_files import cii, pdf
from tests.trade import open_trade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Relance = Callable[..., Result]


@pytest.fixture
def relance(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relance:
    monkeypatch.chdir(tmp_path)
    with connect(database_url) as conn:
        open_trade(conn)
    (tmp_path / "good.pdf").write_bytes(pdf({"factur-x.xml": cii()}))
    (tmp_path / "nodue.xml").write_bytes(cii(number="FA-2", due=""))
    (tmp_path / "credit.xml").write_bytes(cii(number="AV-1", type_code="381"))
    (tmp_path / "bad.xml").write_bytes(b"<a>")

    def run(*words: str, exit_code: int = 0) -> Result:
        servers = {"DATABASE_URL": database_url, "REDIS_URL": "redis://nowhere.example/0", "COLUMNS": "80"}
        result = CliRunner().invoke(cli, words, env=servers)
        assert result.exit_code == exit_code, result.output
        return result

    return run


def test_each_file_is_told_with_its_fields_or_its_reason(relance: Relance) -> None:
    good, bad = json.loads(relance("einvoice", "read", "good.pdf", "bad.xml", "--json", exit_code=3).stdout)
    asked = "file format number type issued due seller buyer currency total payable iban refused".split()  # noqa: SIM905
    assert {name: good[name] for name in asked} == {
        "file": "good.pdf",
        "format": "factur-x",
        "number": "FA-2026-0100",
        "type": "380",
        "issued": "2026-10-02",
        "due": "2026-11-01",
        "seller": "Nord SAS",
        "buyer": "Dupont SARL",
        "currency": "EUR",
        "total": "120.00",
        "payable": "100.00",
        "iban": "FR7630006000011234567890189",
        "refused": None,
    }
    assert (bad["number"], bad["refused"]) == (None, "is not well-formed XML")
    assert relance("einvoice", "read", "bad.xml", exit_code=1).stdout.strip().endswith("is not well-formed XML")


def test_it_shows_first_and_saves_with_yes_and_once(relance: Relance, database_url: str) -> None:
    words = ("einvoice", "import", "good.pdf", "nodue.xml", "credit.xml")
    shown = relance(*words, exit_code=3)
    assert "nothing was saved (2 new, 1 refused): add --yes" in shown.stderr
    assert "is a credit note (type 381)" in shown.stdout
    with connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM invoices").fetchone() == (0,)
    assert "saved: 2 new, 1 refused" in relance(*words, "--yes", exit_code=3).stderr
    assert "nothing to save: 2 unchanged, 1 refused" in relance(*words, "--yes", exit_code=3).stderr
    became = json.loads(relance(*words, "--json", exit_code=3).stdout)
    assert [one["became"] for one in became] == ["unchanged", "unchanged", "refused"]


def test_the_terms_of_an_invoice_are_kept_and_shown(relance: Relance) -> None:
    relance("einvoice", "import", "nodue.xml", "--yes")
    told = " ".join(relance("explain", "FA-2").stdout.split())
    assert "cii, type 380; it gave no single due date; its terms: 30 jours net" in told
    assert json.loads(relance("explain", "FA-2", "--json").stdout)["einvoice"]["terms"] == "30 jours net"


def test_who_is_not_here_is_refused_by_name(relance: Relance) -> None:
    assert "C-9" in relance("einvoice", "import", "good.pdf", "--customer", "C-9", exit_code=1).stderr
    assert "SUD" in relance("einvoice", "import", "good.pdf", "--company", "SUD", exit_code=1).stderr
    assert "does not exist" in relance("einvoice", "read", "none.pdf", exit_code=2).stderr


def test_no_value_of_a_file_obeys_the_terminal(relance: Relance, tmp_path: Path) -> None:
    (tmp_path / "evil.xml").write_bytes(cii(terms="a\x9b31m", due=""))
    assert "\x9b" not in relance("einvoice", "read", "evil.xml", exit_code=1).output
