"""`relance rules` on a terminal: readable in two languages, machine-readable, and refusing in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.main import cli
from store.connection import connect
from tests.chasing import open_chase, open_rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Relance = Callable[..., Result]

FILTER = {"all": [{"field": "level", "op": "=", "value": 1}, {"field": "days_since_reminder", "op": "=", "value": 9}]}


@pytest.fixture
def relance(database_url: str) -> Relance:
    with connect(database_url) as conn:
        open_chase(conn)
        open_rule(conn, schedule_lines=["0 9 * * 1-5", "30 19 * * *"])
        open_rule(conn, "Relance 2", 1, filter=FILTER, schedule_lines=["*/10 9-17 * * 1-5"])

    def run(*arguments: object, exit_code: int | None = 0, **environment: str) -> Result:
        servers = {
            "DATABASE_URL": database_url,
            "REDIS_URL": "redis://nowhere.example/0",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
        }
        typed = environment.pop("typed", None)
        result = CliRunner().invoke(cli, [str(one) for one in arguments], env=servers | environment, input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert exit_code in {None, result.exit_code}, result.output
        return result

    return run


def data(result: Result) -> Any:  # noqa: ANN401 - JSON has no better type
    return json.loads(result.stdout)


def test_the_list_and_one_in_full_fit_80_columns_in_both_languages(relance: Relance) -> None:
    for words in (["list"], ["show", "Relance 1"], ["next", "--days", "3"], ["check"]):
        for lang in ("fr", "en"):
            result = relance("rules", *words, "--lang", lang, exit_code=0)
            assert max(map(len, result.stdout.splitlines()), default=0) <= 80
    listed = relance("rules", "list", "--lang", "fr").stdout
    assert "du lundi au vendredi à 9\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}00" in listed, "on one line"
    shown = relance("rules", "show", "Relance 1", LC_ALL="fr_FR.UTF-8").stdout
    assert "du lundi au vendredi à 9\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}00" in shown
    assert "level = 0 and days_overdue >= 15" in shown
    assert "mer. 25 nov. 2026 09:00" in shown
    assert "Bonjour {{ contact.name }}," in shown


def test_activated_rules_are_on_the_calendar(relance: Relance) -> None:
    assert "no active rule is due within 30 days" in relance("rules", "next").stderr
    assert data(relance("rules", "activate", "1", "--json")) == {"rule": "Relance 1", "active": True, "changed": True}
    assert "already" in relance("rules", "activate", "Relance 1").stderr
    relance("rules", "activate", "relance 2")
    shown = relance("rules", "next", "--days", "2").stdout
    assert "Wed 25 Nov 2026" in shown
    assert "what is due at 19:30 leaves on Wed 25" in shown, "half past seven in the evening is outside the window"
    assert "09:00, 09:10, 09:20, 09:30 and 50 more until 17:50" in shown
    first, *_ = data(relance("rules", "next", "--json"))["instants"]
    assert first["rule"] == "Relance 2"
    assert relance("rules", "deactivate", "Relance 1").stderr == "the rule Relance 1 is not active\n"


def test_check_says_what_is_wrong_with_days_and_ends_with_1(relance: Relance) -> None:
    for title in ("Relance 1", "Relance 2"):
        relance("rules", "activate", title)
    result = relance("rules", "check", exit_code=1)
    assert "error: Relance 2: skips invoices by the calendar" in result.stdout.replace("\n  ", " ")
    assert "→ ask for >= rather than for one exact number of days" in result.stdout
    assert "What becomes of an invoice that nobody pays" in result.stdout
    assert "1 error, 2 warnings, 1 info" in result.stderr
    assert "erreur" in relance("rules", "check", "--lang", "fr", exit_code=1).stdout
    found = data(relance("rules", "check", "--json", exit_code=1))
    assert found["error"] == 1
    (skips,) = [one for one in found["findings"] if one["code"] == "skips"]
    assert skips["severity"] == "error"
    assert skips["examples"][0]["steps"][0]["level"] == 1
    assert found["chases"]["NORD"][0]["words"].startswith("an invoice due on ")


def test_a_file_goes_out_is_checked_changed_and_comes_back(relance: Relance, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    assert f"written to {file}" in relance("rules", "export", file).stderr
    text = file.read_text(encoding="utf-8")
    assert relance("rules", "export").stdout == text
    because = ("--because", "firmer")
    assert "nothing to change" in relance("rules", "import", file, *because, "--yes").stderr
    file.write_text(text.replace("= 9", ">= 9").replace("Cordialement", "Salutations", 1), encoding="utf-8")
    assert "skips" not in relance("rules", "check", file).stdout
    dry = relance("rules", "import", file, *because)
    assert "days_since_reminder = 9 → " in dry.stdout.replace("\n", " ").replace("  ", " ")
    assert "add --yes to create 0 and change 2" in dry.stderr
    done = data(relance("--as", "marie", "rules", "import", "-", *because, "--yes", "--json", typed=file.read_text()))
    assert done["done"] is True
    assert {one["name"] for one in done["changes"] if one["became"] == "changed"} == {"Relance 1", "Relance 2"}
    assert "nothing to change" in relance("rules", "import", file, *because).stderr


def test_a_changed_text_is_shown_line_by_line(relance: Relance, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    text = relance("rules", "export").stdout
    file.write_text(text.replace("header: |-\n", "header: |-\n          Madame, Monsieur,\n"), encoding="utf-8")
    shown = relance("rules", "import", file, "--because", "x", "--lang", "fr").stdout
    assert "~ Relance 1: modifié" in shown
    assert "+ Madame, Monsieur," in shown


def test_a_renamed_rule_is_a_new_one_and_that_is_said(relance: Relance, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(relance("rules", "export").stdout.replace("  Relance 2:", "  Rappel 2:"), encoding="utf-8")
    result = relance("rules", "import", file, "--because", "x", "--yes")
    assert "a rule under another title is a new rule, and the old one stays" in result.stderr
    assert "new rules wait for relance rules activate" in result.stderr
    assert "+ Rappel 2: created" in result.stdout
    assert "not in the file, left alone: Relance 2" in result.stdout


def test_what_is_wrong_with_a_file_is_said_with_its_lines_and_nothing_is_done(relance: Relance, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    text = relance("rules", "export").stdout
    file.write_text(text.replace("account: sortie", "acount: sortie"), encoding="utf-8")
    result = relance("rules", "import", file, "--because", "x", "--yes", exit_code=1)
    assert "acount is no field of a rule; the nearest is account" in result.stderr
    assert "nothing is imported: 4 problems to correct" in result.stderr
    shown = relance("rules", "check", file, exit_code=1).stdout
    assert "error: rules / Relance 1: refused: line" in shown


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00", b"[" * 100_000, b"a: &a [*a]", b"a" * 2_000_000])
def test_a_file_that_is_none_is_refused_in_a_line(relance: Relance, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(content)
    result = relance("rules", "import", file, "--because", "x", "--yes", exit_code=1)
    assert 1 <= result.stderr.count("\n") <= 3


@pytest.mark.parametrize("name", ["nothing.yaml", ".", "a\0b"])
def test_a_file_that_is_not_there_is_refused_in_a_line(relance: Relance, name: str) -> None:
    code = 2 if "\0" in name else 1
    for words in (["import", name, "--because", "x"], ["check", name]):
        relance("rules", *words, exit_code=code)
    nowhere = name.replace("nothing", "nowhere/nothing")
    relance("rules", "export", nowhere, "--overwrite", exit_code=code)


def test_an_export_writes_over_no_file_unless_it_is_told_to(relance: Relance, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("mine")
    assert "exists already: add --overwrite" in relance("rules", "export", file, exit_code=2).stderr
    assert file.read_text() == "mine"
    relance("rules", "export", file, "--overwrite")
    assert file.read_text(encoding="utf-8") == relance("rules", "export").stdout


def test_no_colour_and_no_control_character_reach_who_asked_for_none(relance: Relance) -> None:
    for words in (["list"], ["check"], ["show", "Relance 1"]):
        assert "\x1b" not in relance("rules", *words, NO_COLOR="1").stdout


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_a_file_ends_in_a_trace(relance: Relance, tmp_path: Path, data: st.DataObject) -> None:
    text = relance("rules", "export").stdout
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    put = data.draw(st.text(max_size=10) | st.sampled_from(["\n  ", ": ", "[", "{", "null", "- "]))
    file = tmp_path / "rules.yaml"
    file.write_text(text[:start] + put + text[end:], encoding="utf-8", errors="replace")
    relance("rules", "check", file, exit_code=None)
