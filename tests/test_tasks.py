"""Tasks, as they are typed and read: what came back and needs a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scripts.main import cli
from store.connection import connect
from tests.chasing import committed_chase, decided_run, one
from tests.returned import bounce, complaint
from tests.trade import open_account

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

ANA = "ana@dupont.example"


class Desk:
    """A command line before a database of which one mail to Ana, about FA-1 and FA-2, has been armed."""

    def __init__(self, url: str, redis_url: str, folder: Path) -> None:
        self.url = url
        self._environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "RELANCE_INSTANCE": f"file:{folder}/instance",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
            "NO_COLOR": "1",
        }
        self._new = folder / "retours" / "new"
        for name in ("new", "cur"):
            (folder / "retours" / name).mkdir(parents=True)
        with connect(url) as conn:
            place = {"maildir": str(folder / "retours")}
            open_account(conn, "sortie", host="127.0.0.1", port=2525, security="plain", mailbox=place)
            conn.execute(
                "UPDATE reminders SET armed_at = now(), state = 'sent', ended_at = now(), ended_on = '2026-11-24'"
            )
            conn.execute("UPDATE reminder_invoices SET outcome = 'accepted'")
            conn.execute(
                "UPDATE invoices SET state = 'level_1', last_reminded_on = '2026-11-24'"
                " WHERE number IN ('FA-1', 'FA-2')"
            )
            self.message_id = str(one(conn, "SELECT message_id FROM reminders"))

    def says(self, *words: str, exit_code: int = 0, **environment: str) -> Result:
        result = CliRunner().invoke(cli, words, env=self._environment | environment)
        assert result.exit_code == exit_code, result.output
        return result

    def comes(self, name: str, content: bytes) -> None:
        (self._new / name).write_bytes(content)

    def ask(self, query: str) -> object:
        with connect(self.url) as conn:
            return one(conn, query)


@pytest.fixture
def desk(database_url: str, redis_url: str, tmp_path: Path) -> Desk:
    decided_run(database_url, committed_chase(database_url))
    return Desk(database_url, redis_url, tmp_path)


def test_from_a_bounce_to_the_same_reminder_anew(desk: Desk) -> None:
    assert "nothing to be done" in desk.says("tasks", "list").stdout
    desk.comes("1.relay", bounce(desk.message_id, ANA))
    dry = desk.says("bounces", "read", "--dry-run").stdout
    assert "1 new mail: 1 new about reminders (dry run)" in dry
    assert "nothing to be done" in desk.says("tasks", "list").stdout
    (account,) = json.loads(desk.says("bounces", "read", "--json").stdout)
    (came,) = account["look"]["came"]
    assert (came["kind"], came["words"], came["suppressed"]) == ("hard", "no such mailbox", True)
    (listed,) = json.loads(desk.says("tasks", "list", "--json").stdout)
    assert listed["task"]["id"] == came["task_id"]
    assert "Tasks to be done: undelivered 1" in desk.says("status").stdout
    number = str(came["task_id"])
    done = desk.says("tasks", "done", number, "--again", "--because", "new address")
    assert "reminded anew: FA-1, FA-2; nobody takes mail there yet" in done.stderr
    assert desk.ask("SELECT state || ' ' || cycle FROM invoices WHERE number = 'FA-1'") == "level_0 2"
    assert "was done already" in desk.says("tasks", "done", number, "--because", "x").stderr
    assert desk.ask("SELECT done_by FROM tasks") == "system"
    assert desk.ask("SELECT because FROM journal WHERE subject = 'task' ORDER BY id DESC LIMIT 1") == "new address"


def test_a_task_reads_on_80_columns_in_both_languages(desk: Desk) -> None:
    desk.comes("1.relay", bounce(desk.message_id, ANA))
    shown = desk.says("bounces", "read").stdout + desk.says("tasks", "list").stdout
    assert "reached nobody: no such mailbox" in shown
    assert "nobody else can be written to" in shown
    french = desk.says("tasks", "list", LC_ALL="fr_FR.UTF-8").stdout
    assert "n'a atteint personne: boîte inexistante" in french
    assert all(len(line) <= 80 for line in (shown + french).splitlines())


def test_a_complaint_is_no_reason_to_remind_anew(desk: Desk) -> None:
    desk.comes("1.relay", complaint(desk.message_id))
    desk.says("bounces", "read")
    number = str(desk.ask("SELECT id FROM tasks"))
    refused = desk.says("tasks", "done", number, "--again", "--because", "x", exit_code=1)
    assert "is for mails that reached nobody" in refused.stderr
    assert desk.ask("SELECT done_at FROM tasks") is None


def test_while_its_mail_is_in_doubt_a_task_reminds_nobody_anew(desk: Desk) -> None:
    desk.comes("1.relay", bounce(desk.message_id, ANA))
    desk.says("bounces", "read")
    with connect(desk.url) as conn:
        conn.execute("UPDATE reminders SET state = 'in_doubt', ended_at = NULL, ended_on = NULL")
    number = str(desk.ask("SELECT id FROM tasks"))
    refused = desk.says("tasks", "done", number, "--again", "--because", "new address", exit_code=1)
    assert "until reminder 1 counts as sent" in refused.stderr
    assert desk.ask("SELECT done_at FROM tasks") is None


def test_a_task_that_was_done_reminds_nobody_anew(desk: Desk) -> None:
    desk.comes("1.relay", bounce(desk.message_id, ANA))
    desk.says("bounces", "read")
    number = str(desk.ask("SELECT id FROM tasks"))
    desk.says("tasks", "done", number, "--because", "rang them up")
    desk.says("tasks", "done", number, "--again", "--because", "x")
    assert desk.ask("SELECT state FROM invoices WHERE number = 'FA-1'") == "level_1"


def test_a_task_that_is_none_is_answered_with_the_nearest(desk: Desk) -> None:
    assert "no task '99'" in desk.says("tasks", "done", "99", "--because", "x", exit_code=1).stderr


def test_a_mailbox_that_cannot_be_read_is_told_and_done_in_part(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "retours").rename(tmp_path / "moved")
    said = desk.says("bounces", "read", exit_code=3).stdout
    assert "cannot be read: maildir: No such file or directory" in said
    assert "The mailbox of sortie cannot be read" in desk.says("status").stdout


def test_a_copy_of_the_database_has_its_mailboxes_left_alone(desk: Desk) -> None:
    refused = desk.says("bounces", "read", exit_code=1, RELANCE_INSTANCE="00000000-0000-0000-0000-000000000001")
    assert "relance instance show" in refused.stderr
