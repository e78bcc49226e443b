"""A smarthost's log as evidence: what Postfix writes of a mail, and what proves nothing."""

from __future__ import annotations

import gzip
import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.postfix import PostfixLog
from workers import evidence
from workers.evidence import postfix_log
from workers.imap import Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from workers.evidence.traces import Trace

OURS = "<12.0123456789abcdef0123@nord.example>"
OTHER = "<13.0123456789abcdef0123@nord.example>"
ANA = "ana@dupont.example"


@pytest.fixture
def log(tmp_path: Path) -> PostfixLog:
    return PostfixLog(tmp_path / "mail.log")


def found(log: PostfixLog, *wanted: str, since: datetime | None = None) -> dict[str, Trace]:
    place = {"kind": "postfix_log", "path": str(log.path)}
    return evidence.look(place, dict.fromkeys(wanted or (OURS,), ANA), since or datetime.now(UTC))


def status(log: PostfixLog) -> str:
    trace = found(log).get(OURS)
    return trace.status if trace else "nothing"


def test_a_mail_in_the_queue_was_accepted(log: PostfixLog) -> None:
    queue_id = log.seen(OURS)
    assert status(log) == "nothing", "its header was read, its dot perhaps never seen"
    log.write(log.said("qmgr", f"{queue_id}: from=<relance@nord.example>, size=4711, nrcpt=1 (queue active)"))
    assert status(log) == "accepted"


def test_what_a_delivery_agent_tells_of_was_accepted_and_is_quoted_without_addresses(log: PostfixLog) -> None:
    queue_id = log.seen(OURS)
    log.told(queue_id, ANA, "sent", f"250 2.1.5 <{ANA}> ok\x1b[31m")
    (trace,) = found(log).values()
    assert trace.status == "accepted"
    assert queue_id in trace.quote
    assert "250 2.1.5" in trace.quote
    assert "@" not in trace.quote
    assert "\x1b" not in trace.quote


@pytest.mark.parametrize(("said", "then"), [("sent", "accepted"), ("deferred", "accepted"), ("bounced", "refused")])
def test_a_recipients_own_status_counts(log: PostfixLog, said: str, then: str) -> None:
    queue_id = log.accepted(OURS, "chef@nord.example")
    log.told(queue_id, "Ana@Dupont.example", said, "host mx said: 550 5.1.1 no such user")
    assert status(log) == then


@pytest.mark.parametrize(
    ("first", "then", "shown"),
    [
        ("sent", "bounced", "accepted"),
        ("bounced", "sent", "accepted"),
        ("sent", "deferred", "accepted"),
        ("bounced", "bounced", "refused"),
    ],
)
def test_of_an_address_that_stands_for_several_one_who_got_it_is_enough(
    log: PostfixLog, first: str, then: str, shown: str
) -> None:
    queue_id = log.seen(OURS)
    for number, said in enumerate((first, then)):
        log.told(queue_id, f"{number}@dupont.example>, orig_to=<{ANA}", said, "host mx said: so")
    log.write(log.said("qmgr", f"{queue_id}: from=<relance@nord.example>, status=expired, returned to sender"))
    assert status(log) == shown


def test_a_mail_that_expired_in_the_queue_was_refused(log: PostfixLog) -> None:
    queue_id = log.accepted(OURS, "chef@nord.example")
    log.told(queue_id, ANA, "deferred", "connect timed out")
    log.write(log.said("qmgr", f"{queue_id}: from=<relance@nord.example>, status=expired, returned to sender"))
    assert status(log) == "refused"


@pytest.mark.parametrize(
    ("words", "then"),
    [
        ("milter-reject: END-OF-MESSAGE from app[192.0.2.7]: 5.7.1 Command rejected; from=<a@b.example>", "refused"),
        ("reject: header Subject: x from app[192.0.2.7]; from=<a@b.example>: 5.7.1 not wanted", "refused"),
        ("milter-reject: END-OF-MESSAGE from app[192.0.2.7]: 4.7.1 Service unavailable; from=<a@b.example>", "nothing"),
    ],
)
def test_what_was_refused_at_the_dot_for_good_was_refused(log: PostfixLog, words: str, then: str) -> None:
    queue_id = log.seen(OURS)
    log.write(log.said("cleanup", f"{queue_id}: {words}"))
    assert status(log) == then


def test_of_several_tries_one_that_was_accepted_counts_and_else_the_last(log: PostfixLog) -> None:
    first = log.seen(OURS)
    log.write(log.said("cleanup", f"{first}: milter-reject: END-OF-MESSAGE from a[1]: 5.7.1 no; from=<a@b.example>"))
    second = log.accepted(OURS, ANA)
    assert second in found(log)[OURS].quote
    third = log.seen(OURS)
    log.write(log.said("cleanup", f"{third}: milter-reject: END-OF-MESSAGE from a[1]: 5.7.1 no; from=<a@b.example>"))
    assert status(log) == "accepted"


def test_a_queue_id_is_another_mails_one_day_and_on_another_host(log: PostfixLog) -> None:
    queue_id = log.seen(OURS)
    sent = log.said("smtp", f"{queue_id}: to=<{ANA}>, relay=mx[1]:25, delay=1, dsn=2.0.0, status=sent (250 ok)")
    log.write(sent.replace(" mx1 ", " mx2 "))
    assert status(log) == "nothing"
    log.write(log.said("cleanup", f"{queue_id}: message-id={OTHER}"), sent)
    assert status(log) == "nothing"


@pytest.mark.parametrize(
    "line",
    [
        "Nov  4 09:00:01 mx1 postfix/{daemon}[1]: {words}",
        "2026-11-24T09:00:01.123456+01:00 mx1 postfix/{daemon}[1]: {words}",
        "<22>1 2026-11-24T09:00:01.123456Z mx1 postfix/{daemon} 812 - - {words}",
        "<22>Nov 24 09:00:01 mx1 postfix-out/{daemon}[812]: {words}",
        "Nov 24 09:00:01 mx1 postfix/relay/{daemon}[812]: {words}",
    ],
)
def test_lines_are_read_as_syslogs_write_them(log: PostfixLog, line: str) -> None:
    for daemon, words in (
        ("cleanup", f"4B1: message-id={OURS}"),
        ("qmgr", "4B1: from=<a@b>, size=1, nrcpt=1 (queue a"),
    ):
        log.write(line.format(daemon=daemon, words=words))
    log.write(line.format(daemon="smtp", words=f"ABCDE: to=<{ANA}>, relay=none, status=sent (x)"))
    assert status(log) == "nothing"
    log.write(line.format(daemon="cleanup", words=f"4B1CDEF: message-id={OURS}"))
    log.write(line.format(daemon="qmgr", words="4B1CDEF: from=<a@b>, size=1, nrcpt=1 (queue active)"))
    assert status(log) == "accepted"


@given(st.binary(max_size=2000))
def test_whatever_else_a_log_holds_is_passed_over(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    log = PostfixLog(tmp_path_factory.mktemp("log") / "mail.log")
    log.path.write_bytes(noise + b"\n")
    log.accepted(OURS, ANA)
    assert status(log) == "accepted"


def test_a_line_that_is_still_being_written_waits_for_its_end(log: PostfixLog) -> None:
    queue_id = log.seen(OURS)
    line = log.said("qmgr", f"{queue_id}: from=<a@nord.example>, size=1, nrcpt=1 (queue active)")
    with log.path.open("a", encoding="ascii") as file:
        file.write(line)
    assert status(log) == "nothing"
    log.write("")
    assert status(log) == "accepted"


def test_long_lines_are_passed_over_and_what_has_no_lines_is_no_log(log: PostfixLog) -> None:
    log.write("x" * 3_000_000)
    log.accepted(OURS, ANA)
    assert status(log) == "accepted"
    with log.path.open("a", encoding="ascii") as file:
        file.write("x" * 9_000_000)
    with pytest.raises(Unreadable, match="no log"):
        found(log)


# ---------------------------------------------------------------- rotation


def rotated(log: PostfixLog, name: str) -> Path:
    """As logrotate does with `create`: the old file has another name, the new one is empty."""
    elder = log.path.with_name(name)
    log.path.rename(elder)
    log.path.touch()
    return elder


def test_a_mail_is_found_across_rotations(log: PostfixLog) -> None:
    queue_id = log.seen(OURS)
    rotated(log, "mail.log.1").rename(log.path.with_name("mail.log.2"))
    log.write(log.said("qmgr", f"{queue_id}: from=<a@nord.example>, size=1, nrcpt=1 (queue active)"))
    elder = rotated(log, "mail.log.1")
    assert status(log) == "accepted"
    log.path.with_name("mail.log.1.gz").write_bytes(gzip.compress(elder.read_bytes()))
    elder.unlink()
    log.told(queue_id, ANA, "bounced", "550 5.1.1 nobody")
    assert status(log) == "refused"


def test_a_log_that_was_copied_away_and_truncated_is_found_in_the_copy(log: PostfixLog) -> None:
    log.accepted(OURS, ANA)
    shutil.copyfile(log.path, log.path.with_name("mail.log-20261124"))
    os.truncate(log.path, 0)
    log.accepted(OTHER, ANA)
    assert found(log, OURS, OTHER).keys() == {OURS, OTHER}


def test_old_files_and_other_logs_are_not_read(log: PostfixLog) -> None:
    log.accepted(OURS, ANA)
    elder = rotated(log, "mail.log.9")
    shutil.copyfile(elder, log.path.with_name("mail.log.old"))
    shutil.copyfile(elder, log.path.with_name("mail.log2"))
    assert status(log) == "accepted"
    long_ago = (datetime.now(UTC) - timedelta(days=9)).timestamp()
    os.utime(elder, (long_ago, long_ago))
    assert status(log) == "nothing"


@pytest.mark.parametrize("how", ["renamed", "copied and truncated"])
def test_a_log_that_is_rotated_while_it_is_read_says_nothing(
    log: PostfixLog, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved between two looks at a folder is in neither: its silence would be no proof."""
    log.accepted(OTHER, ANA)
    rotated(log, "mail.log.1")
    log.accepted(OURS, ANA)
    listed = postfix_log._elders  # noqa: SLF001 - the moment between listing and reading

    def list_and_rotate(path: str, since: float) -> object:
        found = listed(path, since)
        monkeypatch.setattr(postfix_log, "_elders", listed)
        log.path.with_name("mail.log.1").rename(log.path.with_name("mail.log.2"))
        if how == "renamed":
            rotated(log, "mail.log.1")
        else:
            shutil.copyfile(log.path, log.path.with_name("mail.log.1"))
            os.truncate(log.path, 0)
        return found

    monkeypatch.setattr(postfix_log, "_elders", list_and_rotate)
    with pytest.raises(Unreadable, match="rotated while it was read"):
        found(log)
    assert status(log) == "accepted"


# ---------------------------------------------------------------- what cannot be read


def test_a_missing_log_is_unreadable(log: PostfixLog) -> None:
    log.path.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        found(log)


def test_a_folder_or_a_pipe_is_no_log_and_keeps_nobody_waiting(log: PostfixLog) -> None:
    log.path.unlink()
    os.mkfifo(log.path)
    with pytest.raises(Unreadable):
        found(log)
    log.path.unlink()
    log.path.mkdir()
    with pytest.raises(Unreadable):
        found(log)


def test_a_half_written_archive_is_unreadable(log: PostfixLog) -> None:
    log.accepted(OURS, ANA)
    packed = gzip.compress(log.path.read_bytes())
    log.path.with_name("mail.log.1.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(Unreadable):
        found(log)
    log.path.with_name("mail.log.1.gz").write_bytes(packed[:12] + b"\xff" * 40)
    with pytest.raises(Unreadable):
        found(log)


def test_a_log_that_is_too_large_is_unreadable(log: PostfixLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.accepted(OURS, ANA)
    monkeypatch.setattr(postfix_log, "_MOST_BYTES", 100)
    with pytest.raises(Unreadable, match="too large"):
        found(log)
