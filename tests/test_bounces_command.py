"""`relance bounces classify`: files and folders in, one line or one object a recipient out."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scripts.main import cli
from tests.test_bounces_reading import OURS, RECIPIENT, mail, report
from workers.incoming import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def classify(*arguments: object, exit_code: int = 0, **environment: str) -> Result:
    everywhere = {"LC_ALL": "C.UTF-8", "COLUMNS": "80"} | environment
    result = CliRunner().invoke(cli, ["bounces", "classify", *map(str, arguments)], env=everywhere)
    assert result.exit_code == exit_code, result.output
    return result


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in ("cur", "new", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cur" / "1.relay:2,S").write_bytes(report(RECIPIENT))
    (tmp_path / "new" / "2.person").write_bytes(
        mail("Payé hier", **{"from": "anne@client.example"}, subject="Re: FA-1")
    )
    return tmp_path


def test_a_maildir_is_read_to_the_last_file(maildir: Path) -> None:
    bounce, person = json.loads(classify(maildir, "--json").stdout)
    assert bounce == {
        "file": str(maildir / "cur" / "1.relay:2,S"),
        "kind": "hard",
        "status": "5.1.1",
        "reply": "550",
        "address": "Paul.Durand@client.example",
        "reminder": 42,
        "message_id": OURS,
        "reason": "no_mailbox",
        "said": "550 5.1.1 <paul@client.example>: User unknown",
        "words": "no such mailbox",
    }
    assert (person["kind"], person["address"], person["reminder"]) == ("none", "", None)


def test_people_see_a_table_in_their_language(maildir: Path) -> None:
    shown = classify(maildir, "--lang", "fr").stdout
    assert "boîte inexistante" in shown
    assert "pas un rapport" in shown
    assert shown.rstrip().endswith("hard 1, none 1")
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_file_that_cannot_be_taken_stops_no_other(maildir: Path) -> None:
    with (maildir / "cur" / "0.large").open("wb") as large:
        large.truncate(MAX_BYTES + 1)
    kinds = [(one["kind"], one["reason"]) for one in json.loads(classify(maildir, "--json").stdout)]
    assert kinds == [("none", "too_large_to_read"), ("hard", "no_mailbox"), ("none", "not_a_report")]


def test_a_mail_never_writes_to_the_terminal_as_it_likes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(mail("550 5.1.1 <p\x1b[31m@client.example> \x1b]0;x\x07 user unknown"))
    assert "\x1b" not in classify(tmp_path).stdout
    assert "\x1b" not in classify(tmp_path, "--json").stdout


def test_a_file_name_of_any_bytes_is_shown(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(report(RECIPIENT))
    assert json.loads(classify(tmp_path, "--json").stdout)[0]["kind"] == "hard"


def test_an_empty_folder_has_no_mail(tmp_path: Path) -> None:
    assert json.loads(classify(tmp_path, "--json").stdout) == []
    assert "no mail there" in classify(tmp_path).stdout


def test_what_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert classify(tmp_path / "nowhere", exit_code=2).stdout == ""
    assert classify(exit_code=2).stdout == ""


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in classify(tmp_path / "pipe", exit_code=1).stderr
