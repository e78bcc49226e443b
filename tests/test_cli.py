"""The command line: data on stdout, messages on stderr, exit codes that mean something, help at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from email.parser import BytesParser
from email.policy import default
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from scripts.caller import Caller, NoDemo, private_folder
from scripts.main import cli
from scripts.printing import clean, plain, spoken
from scripts.sink import Sink
from store.connection import connect
from tests.chasing import RULE, committed_chase, decide_run, decided_run, doubt, fail, one, send_all
from tests.trade import TODAY, invoice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Relance = Callable[..., Result]


@pytest.fixture
def relance(database_url: str, redis_url: str, tmp_path: Path) -> Relance:
    """Run a command on the test's database; without `exit_code` it must succeed."""

    def run(*arguments: object, exit_code: int = 0, **environment: str) -> Result:
        named = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "RELANCE_INSTANCE": f"file:{tmp_path}/instance",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
        }
        result = CliRunner().invoke(cli, [str(one) for one in arguments], env=named | environment)
        assert result.exit_code == exit_code, result.output
        return result

    return run


@pytest.fixture
def run_id(database_url: str) -> int:
    """A chase with a run whose one mail is due."""
    return decided_run(database_url, committed_chase(database_url))


@pytest.fixture
def reminder(database_url: str, run_id: int) -> int:
    with connect(database_url) as conn:
        found = one(conn, "SELECT id FROM reminders WHERE run_id = %s", run_id)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("typed", ["\x1b[31m", "a\nb", "a\rb", "\u202e", "\x9b2J"])
@pytest.mark.parametrize(
    "words",
    [
        ["{}"],
        ["--{}"],
        ["--as", "{}", "status"],
        ["status", "--{}"],
        ["status", "{}"],
        ["runs", "--limit", "{}"],
        ["batch", "--set-level", "{}"],
        ["import", "{}", "--kind", "payments"],
        ["import", "x.csv", "--kind", "{}"],
        ["import", "x.csv", "--kind", "payments", "--mapping", "{}"],
        ["rules", "check", "{}"],
        ["rules", "{}"],
        ["explain", "{}"],
        ["restore", "{}"],
        ["bounces", "classify", "{}"],
        ["print-pile", "--csv", "/nowhere/{}"],
    ],
)
def test_nothing_that_was_typed_obeys_the_terminal(words: list[str], typed: str) -> None:
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}
    result = CliRunner().invoke(cli, [word.format(typed) for word in words], env=nowhere)
    assert result.exit_code in {1, 2}, result.output
    assert not _UNWELCOME.search(result.output), result.output
    if "\n" in typed:
        assert "\nb" not in result.output


def test_help_that_stands_in_for_a_mistake_keeps_its_lines() -> None:
    result = CliRunner().invoke(cli, ["rules"])
    assert result.exit_code == 2
    assert "\n  list " in result.output
    missing = CliRunner().invoke(cli, ["bounces", "classify", "--json"]).output
    assert "\N{REPLACEMENT CHARACTER}" not in missing


_UNWELCOME = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def data(result: Result) -> Any:  # noqa: ANN401 - JSON has no better type
    return json.loads(result.stdout)


def test_help_comes_at_once_and_loads_no_command() -> None:
    probe = (
        "import sys, runpy; sys.argv = ['relance', '--help']\n"
        "try: runpy.run_module('scripts.main', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'psycopg', 'rich', 'dramatiq', 'jinja2', 'redis'} & {*sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]"
    assert "explain" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["preview"],
        ["preview", RULE, "--on", "yesterday"],
        ["outbox", "--eml"],
        ["resolve", "1", "--because", "x"],
        ["replay", "--max", "1"],
        ["hold", "planet", "1", "--because", "x"],
        ["--as", "A B", "status"],
    ],
)
def test_wrong_usage_ends_with_2(relance: Relance, arguments: list[str]) -> None:
    assert relance(*arguments, exit_code=2).stdout == ""


def test_a_mistyped_command_gets_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["explian"])
    assert "did you mean explain?" in result.stderr


def test_a_refusal_is_one_line_without_a_trace(relance: Relance, run_id: int) -> None:
    for arguments in (
        ["preview", "Relanse 1"],
        ["explain", "FA1"],
        ["runs", 99],
        ["outbox", 99],
        ["--as", "nobody", "status"],
    ):
        result = relance(*arguments, exit_code=1)
        assert result.stdout == ""
        assert result.stderr.startswith("relance: no ")
        assert result.stderr.count("\n") == 1


def test_a_database_that_does_not_answer_is_said(relance: Relance) -> None:
    result = relance("status", exit_code=1, DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert result.stderr.startswith("relance: the database does not answer: ")
    assert result.stderr.count("\n") == 1


def test_one_address_without_the_other_is_refused(relance: Relance) -> None:
    assert "set both" in relance("status", exit_code=1, REDIS_URL="").stderr


def test_migrate_brings_an_empty_database_up_to_date(relance: Relance, empty_database_url: str) -> None:
    assert "run: relance migrate" in relance("status", exit_code=1, DATABASE_URL=empty_database_url).stderr
    assert data(relance("migrate", "--json", DATABASE_URL=empty_database_url))["applied"] == ["0001_engine"]
    again = relance("migrate", DATABASE_URL=empty_database_url)
    assert (again.stdout, again.stderr) == ("", "the database is at schema 1 already\n")


def test_preview_prints_mails_and_reasons(relance: Relance, run_id: int, database_url: str) -> None:
    with connect(database_url) as conn:
        invoice(conn, "FA-7", customer="C-2")
    found = data(relance("preview", RULE, "--json"))
    assert [one["invoices"][0]["number"] for one in found["mails"]] == ["FA-7"]
    assert found["candidates"] == 5
    assert {one["invoice"]: one["words"] for one in found["left_out"]}["FA-5"] == "disputed by the customer"
    shown = relance("preview", RULE, "--lang", "fr").stdout
    assert "martin@martin.example" in shown
    assert "contestée par le client" in shown


def test_run_is_a_preview_until_yes(relance: Relance, run_id: int) -> None:
    dry = relance("run", RULE)
    assert "add --yes" in dry.stderr
    made = relance("--as", "marie", "run", RULE, "--yes", "--request", "click")
    assert int(made.stdout) == run_id + 1
    again = data(relance("run", RULE, "--yes", "--request", "click", "--json"))
    assert again == {"run": run_id + 1, "request": "click", "made": False}
    assert [one["started_by"] for one in data(relance("runs", "--json"))] == ["user:marie", "user:marie"]


def test_run_now_sets_the_clock_of_a_test_instance_only(relance: Relance, run_id: int, database_url: str) -> None:
    assert data(relance("run", RULE, "--now", "2026-12-31T10:00", "--json"))["today"] == "2026-12-31"
    relance("run", RULE, "--now", "2026-12-31T10:00", "--yes")
    with connect(database_url) as conn:
        assert str(one(conn, "SELECT business_now FROM settings")) == "2026-12-31 09:00:00+00:00", "ten on Paris' clock"
        conn.execute("UPDATE settings SET business_now = NULL")
        conn.execute("UPDATE settings SET test_instance = false")
    refused = relance("run", RULE, "--now", "2026-12-31T10:00", exit_code=1)
    assert "only a test instance" in refused.stderr


def test_runs_tell_one_run(relance: Relance, run_id: int) -> None:
    found = data(relance("runs", run_id, "--json"))
    assert found["progress"] == {
        "undecided": 0, "waiting": 1, "leaving": 0, "sent": 0, "in_doubt": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    told = relance("runs", run_id, "--lang", "fr").stdout
    assert "aucune adresse où écrire" in told
    assert "FA-6" in told
    assert RULE in relance("runs").stdout


def test_explain_is_readable_on_80_columns(relance: Relance, run_id: int) -> None:
    for number in ("FA-1", "FA-4", "FA-5", "FA-6"):
        shown = relance("explain", number).stdout
        assert max(len(line) for line in shown.splitlines()) <= 80
        assert "days_overdue >= 15" in shown
    assert "disputed by the customer" in relance("explain", "FA-5").stdout
    assert "aucune adresse où écrire" in relance("explain", "FA-6", LC_ALL="fr_FR.UTF-8").stdout


def test_explain_as_json_has_every_clause_and_guard(relance: Relance, run_id: int) -> None:
    found = data(relance("explain", "FA-5", "--rule", RULE, "--json"))
    (rule,) = found["rules"]
    assert rule["reason"] == "disputed"
    assert [part["holds"] for part in rule["filter"]["parts"]] == [True, True]
    assert {guard["guard"] for guard in rule["guards"] if not guard["holds"]} == {"commercial_state"}
    assert [one["words"] for one in found["runs"]] == ["disputed by the customer"]


def test_outbox_lists_and_gives_the_bytes(relance: Relance, database_url: str, tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        (reminder,) = send_all(database_url, decided_run(database_url, rule))
        (taken,) = sink.kept()
        (accepted,) = sink.mails()
    (listed,) = data(relance("outbox", "--json", "--state", "sent"))
    assert listed["sent_at"]
    assert {name: listed[name] for name in ("reminder", "state", "message_id", "recipient", "level", "invoices")} == {
        "reminder": reminder, "state": "sent", "message_id": accepted.message_id, "recipient": "ana@dupont.example",
        "level": 1, "invoices": ["FA-1", "FA-2"],
    }  # fmt: skip
    assert relance("outbox", reminder, "--eml").stdout_bytes == taken
    assert "ana@dupont" in relance("outbox", COLUMNS="200").stdout
    shown = relance("outbox", reminder).stdout
    mail = BytesParser(policy=default).parsebytes(taken)
    assert f"Subject: {mail['Subject']}" in shown
    body = mail.get_body(("plain",))
    assert body is not None
    assert [line.strip() for line in body.get_content().splitlines()] == [
        line.strip() for line in shown.partition("Subject: ")[2].splitlines()[2:]
    ]
    assert data(relance("outbox", "--state", "failed", "--json")) == []


def test_replay_is_dry_until_yes_and_says_what_is_left(relance: Relance, database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        invoice(conn, "FA-7", customer="C-2")
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        for (reminder_id,) in conn.execute("SELECT id FROM reminders").fetchall():
            fail(conn, reminder_id)
    asked = ("replay", "--run", run_id, "--rule", RULE, "--since", TODAY, "--error", "554", "--because", "mended")
    assert "add --yes" in relance(*asked, "--max", 9).stderr
    done = relance(*asked, "--max", 1, "--yes", "--json", exit_code=3)
    assert (len(data(done)["runs"]), data(done)["left"]) == (1, 1)
    decide_run(database_url, data(done)["runs"][0])
    rest = relance(*asked, "--max", 9, "--yes")
    assert "1 failed mail to be decided again" in rest.stderr
    decide_run(database_url, int(rest.stdout.split()[-1]))
    assert "nothing to replay" in relance(*asked, "--max", 9, "--yes").stderr


def test_resolve_is_dry_until_yes(relance: Relance, database_url: str, reminder: int) -> None:
    assert "only a reminder in doubt" in relance("resolve", reminder, "--arrived", "--because", "x", exit_code=1).stderr
    with connect(database_url) as conn:
        doubt(conn, reminder)
    assert "may still arrive" in relance("resolve", reminder, "--send-again", "--because", "x", exit_code=1).stderr
    assert "nothing was done" in relance("resolve", reminder, "--arrived", "--because", "he has it").stderr
    done = relance("resolve", reminder, "--arrived", "--because", "he has it", "--yes", "--json")
    assert data(done)["counts_on"] == TODAY.isoformat()
    (listed,) = data(relance("outbox", reminder, "--json"))
    assert listed["state"] == "sent"


@pytest.mark.parametrize(
    ("kind", "name"), [("rule", "1"), ("account", "sortie"), ("customer", "C-1"), ("invoice", "FA-1")]
)
def test_hold_and_release(relance: Relance, run_id: int, kind: str, name: str) -> None:
    held = data(relance("--as", "marie", "hold", kind, name, "--because", "talks", "--json"))
    assert held == {"kind": kind, "name": name, "held": True, "changed": True}
    (shown,) = data(relance("status", "--json"))["held"]
    assert (shown["kind"], shown["because"]) == (kind, "talks")
    assert "is free" in relance("release", kind, name, "--because", "done").stderr
    assert "was not held" in relance("release", kind, name, "--because", "done").stderr
    assert data(relance("status", "--json"))["held"] == []


@pytest.mark.parametrize("kind", ["rule", "account", "customer", "invoice"])
def test_what_does_not_exist_cannot_be_held(relance: Relance, run_id: int, kind: str) -> None:
    assert "no " in relance("hold", kind, "nothing-like-it", "--because", "x", exit_code=1).stderr


def test_stop_and_resume(relance: Relance, run_id: int) -> None:
    assert data(relance("stop", "--because", "audit", "--json")) == {"stopped": True, "changed": True}
    assert "stopped already" in relance("stop", "--because", "audit").stderr
    assert "ALL MAIL IS STOPPED" in relance("status").stdout
    assert "mail leaves again" in relance("resume", "--because", "done").stderr
    assert data(relance("resume", "--because", "done", "--json")) == {"stopped": False, "changed": False}


def test_status_shows_queues_runs_and_redis(relance: Relance, run_id: int) -> None:
    found = data(relance("status", "--json"))
    assert (found["reminders"]["due"], found["redis"]["reachable"], found["stopped"]) == (1, True, False)
    shown = relance("status", COLUMNS="120").stdout
    assert RULE in shown
    away = relance("status", REDIS_URL="redis://127.0.0.1:1/0").stdout
    assert "Redis does not answer" in away


def test_no_control_character_of_a_name_reaches_the_terminal(relance: Relance, run_id: int, database_url: str) -> None:
    with connect(database_url) as conn:
        conn.execute("UPDATE customers SET name = E'Du\\x1b[31mpont' WHERE number = 'C-1'")
    shown = relance("explain", "FA-1").stdout
    assert "\x1b" not in shown
    assert clean("a\x1b[2Jb\u202ec") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"


def test_the_language_is_that_of_the_environment() -> None:
    assert spoken({}) == "en"
    assert spoken({"LANG": "fr_FR.UTF-8"}) == "fr"
    assert spoken({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}) == "en"


def test_what_has_no_json_form_is_a_fault_and_not_a_guess() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        plain(object())


def test_looking_at_a_demo_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.embedded.default_folder", lambda: tmp_path / "relance")
    with pytest.raises(NoDemo, match="make one: relance demo"):
        private_folder(Caller(demo=True), "")
    (tmp_path / "relance-demo").mkdir()
    assert private_folder(Caller(demo=True), "") == tmp_path / "relance-demo"


def test_private_servers_live_where_they_are_told_to_except_the_demos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.embedded.default_folder", lambda: tmp_path / "relance")
    (tmp_path / "relance-demo").mkdir()
    assert private_folder(Caller(), "") == tmp_path / "relance"
    assert private_folder(Caller(), str(tmp_path / "trial")) == tmp_path / "trial"
    assert private_folder(Caller(demo=True), str(tmp_path / "trial")) == tmp_path / "relance-demo"


def test_up_works_through_a_run_and_stops_cleanly(
    relance: Relance, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with Sink(tmp_path / "sink") as sink:
        rule = committed_chase(database_url, port=sink.port)
        servers = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
        command = [sys.executable, "-m", "scripts.main", "up", "--threads", "2"]
        with (tmp_path / "log").open("w") as log, subprocess.Popen(command, env=servers, stderr=log) as up:
            try:
                relance("run", rule.title, "--yes")
                give_up_at = time.monotonic() + 60
                while not (sent := data(relance("outbox", "--state", "sent", "--json"))):
                    assert time.monotonic() < give_up_at, (tmp_path / "log").read_text()
                    time.sleep(0.2)
            finally:
                up.send_signal(signal.SIGINT)
                status = up.wait(60)
        assert [mail.message_id for mail in sink.mails()] == [sent[0]["message_id"]]
    assert status == 0
    log_lines = (tmp_path / "log").read_text().splitlines()
    assert log_lines[0].startswith("relance is up: a scheduler, 1 x 2 workers, database ")
    assert log_lines[-1] == "relance is down"
