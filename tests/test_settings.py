"""The settings of a process: read from variables that are all documented, and never contradicting each other."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from workers.settings import VARIABLES, Settings, check, read, secret
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

BOTH = {"DATABASE_URL": "postgresql://db/relance", "REDIS_URL": "redis://hints/0"}


def variable(name: str) -> str:
    return name.upper() if name.endswith("_url") else f"RELANCE_{name.upper()}"


def test_every_setting_is_a_documented_variable_and_every_variable_a_setting() -> None:
    assert {variable(each.name) for each in fields(Settings)} == set(VARIABLES)
    assert all(len(meaning) > 10 for meaning in VARIABLES.values())


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("connections", "3", 3),
        ("lease_s", "2.5", 2.5),
        ("answer_s", "300", 300),
        ("quarantine_s", "900.5", 900.5),
        ("dot_budget_s", "1", 1),
        ("sweep_s", "0.3", 0.3),
        ("hint_s", "0.5", 0.5),
        ("close_s", "60", 60),
        ("folder", "/srv/relance", "/srv/relance"),
        ("database_url", "postgresql://db/relance", "postgresql://db/relance"),
        ("redis_url", "redis://hints/0", "redis://hints/0"),
    ],
)
def test_each_setting_is_read_from_its_variable(name: str, raw: str, value: object) -> None:
    assert getattr(read(BOTH | {variable(name): raw}), name) == value


def test_a_part_of_a_connection_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        read({"RELANCE_CONNECTIONS": "2.5"})
    assert refused.value.field == "RELANCE_CONNECTIONS"


def test_without_variables_the_defaults_hold_and_the_servers_are_embedded() -> None:
    assert read({}) == Settings()
    assert read({}).embedded
    assert read({"RELANCE_LEASE_S": "  "}) == Settings()
    assert not read(BOTH).embedded


@pytest.mark.parametrize("named", sorted(BOTH))
def test_one_server_alone_is_refused_naming_the_other(named: str) -> None:
    (missing,) = set(BOTH) - {named}
    with pytest.raises(InvalidInput) as refused:
        read({named: BOTH[named]})
    assert refused.value.field == missing


@pytest.mark.parametrize("raw", ["relance", "./relance", "~/relance"])
def test_a_folder_that_is_another_one_in_another_place_is_refused(raw: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read({"RELANCE_FOLDER": raw})
    assert (refused.value.field, refused.value.value) == ("RELANCE_FOLDER", raw)


@pytest.mark.parametrize("raw", ["soon", "0", "-3", "1e99", "nan", "inf"])
@pytest.mark.parametrize("name", ["RELANCE_LEASE_S", "RELANCE_CONNECTIONS"])
def test_what_is_no_positive_number_is_refused_by_name(name: str, raw: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read({name: raw})
    assert (refused.value.field, refused.value.value) == (name, raw)


def test_a_quarantine_shorter_than_a_dot_may_take_is_refused() -> None:
    """A dead process may deliver its dot for as long as its lease and the server's patience allow."""
    with pytest.raises(InvalidInput) as refused:
        read({"RELANCE_QUARANTINE_S": "660"})
    assert refused.value.field == "RELANCE_QUARANTINE_S"
    assert read({"RELANCE_QUARANTINE_S": "661"}).quarantine_s == 661


@pytest.mark.parametrize("budget_s", ["60", "61"])
def test_a_dot_budget_as_long_as_the_lease_is_refused(budget_s: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read({"RELANCE_DOT_BUDGET_S": budget_s})
    assert refused.value.field == "RELANCE_DOT_BUDGET_S"


def test_the_defaults_do_not_contradict_each_other() -> None:
    check(Settings())
    assert Settings().armed_lease_s == 660


def test_a_secret_is_where_its_reference_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "ouvre-toi")
    kept = tmp_path / "password"
    kept.write_text("sésame\n", encoding="utf-8")
    assert secret("env:MAIL_PASSWORD") == "ouvre-toi"
    assert secret(f"file:{kept}") == "sésame"


@pytest.mark.parametrize("reference", ["env:NOBODY_SET_THIS", "file:/nowhere/at/all", "ouvre-toi", ""])
def test_a_reference_that_leads_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInput, match="no secret here"):
        secret(reference)
