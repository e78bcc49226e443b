"""A look at a mailbox: every mail once and in its order, none lost, none hot, whatever is wrong with its neighbour."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from operations.bounces import read as read_all
from store import mailboxes
from store.connection import connect, pool
from tests.chasing import committed_chase, decided_run, one
from tests.imap_server import ImapServer
from tests.returned import answer, bounce, full
from tests.trade import open_account
from workers import feedback, mailbox
from workers.imap import Unreadable
from workers.mailbox import MOST_BYTES, Look, look
from workers.mailroom import MOST_THREADS, Mailroom
from workers.process import schedule
from workers.settings import Settings
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator

    from store.connection import Connection
    from store.mailboxes import Mailbox

CERTIFICATE = Path(__file__).with_name("localhost.pem")
ANA = "ana@dupont.example"
BY = "scheduler:test:1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[ImapServer]:
    monkeypatch.setenv("RELANCE_TEST_IMAP", "ouvre-toi")
    with ImapServer(CERTIFICATE) as listening:
        yield listening


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "retours" / folder).mkdir(parents=True)
    return tmp_path / "retours"


@pytest.fixture
def conn(database_url: str) -> Generator[Connection]:
    """One mail to Ana has been armed: it may have left."""
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as connection:
        connection.execute("UPDATE reminders SET armed_at = now()")
        connection.commit()
        yield connection


def by_imap(conn: Connection, server: ImapServer, **changes: object) -> Mailbox:
    place: dict[str, object] = {
        "host": "localhost",
        "port": server.port,
        "ca_file": str(CERTIFICATE),
        "username": "relance",
        "password_ref": "env:RELANCE_TEST_IMAP",
    }
    return saved(conn, place | changes)


def in_maildir(conn: Connection, maildir: Path) -> Mailbox:
    return saved(conn, {"maildir": str(maildir)})


def saved(conn: Connection, place: dict[str, object]) -> Mailbox:
    open_account(conn, "sortie", host="127.0.0.1", port=2525, security="plain", mailbox=place)
    conn.commit()
    (box,) = mailboxes.mailboxes(conn)
    conn.commit()
    return box


def ours(conn: Connection) -> str:
    found = str(one(conn, "SELECT message_id FROM reminders"))
    conn.commit()
    return found


def kinds(found: Look) -> list[str]:
    return [came.kind for came in found.came]


def deliver(maildir: Path, name: str, content: bytes, folder: str = "new") -> Path:
    path = maildir / folder / name
    path.write_bytes(content)
    return path


# ------------------------------------------------------------------ IMAP


def test_each_mail_is_read_once(conn: Connection, server: ImapServer) -> None:
    box = by_imap(conn, server)
    server.inbox.add(full(ours(conn), ANA))
    server.inbox.add(b"From: a@b.example\r\n\r\nAdvertising\r\n")
    assert kinds(look(conn, box, by=BY)) == ["soft"]
    assert look(conn, box, by=BY).mails == 0
    server.inbox.add(bounce(ours(conn), ANA))
    found = look(conn, box, by=BY)
    assert (found.mails, kinds(found)) == (1, ["hard"])
    assert all(not mail.flags for mail in server.inbox.mails), "nothing is marked, nothing deleted"


def test_uids_that_begin_anew_are_read_anew_and_change_nothing(conn: Connection, server: ImapServer) -> None:
    box = by_imap(conn, server)
    server.inbox.add(bounce(ours(conn), ANA))
    assert kinds(look(conn, box, by=BY)) == ["hard"]
    server.inbox.uid_validity = 2
    found = look(conn, box, by=BY)
    assert (found.mails, found.came) == (1, ())


def test_another_mailbox_is_read_from_its_beginning(conn: Connection, server: ImapServer) -> None:
    server.folders["Retours"] = replace(server.inbox, mails=[])
    server.inbox.add(b"\r\n")
    look(conn, by_imap(conn, server), by=BY)
    server.folders["Retours"].add(bounce(ours(conn), ANA))
    assert kinds(look(conn, by_imap(conn, server, folder="Retours"), by=BY)) == ["hard"]


def test_a_reader_that_dies_between_two_mails_goes_on_after_the_first(conn: Connection, server: ImapServer) -> None:
    box = by_imap(conn, server)
    server.inbox.add(full(ours(conn), ANA))
    server.inbox.add(bounce(ours(conn), ANA))
    asked = iter([False, True])
    first = look(conn, box, by=BY, stopped=lambda: next(asked))
    assert (kinds(first), first.more) == (["soft"], True)
    assert kinds(look(conn, box, by=BY)) == ["hard"]


def test_many_mails_are_read_in_turns(conn: Connection, server: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MOST_MAILS", 3)
    box = by_imap(conn, server)
    for _ in range(4):
        server.inbox.add(answer(ours(conn), ANA))
    assert [(found.mails, found.more) for found in (look(conn, box, by=BY) for _ in range(3))] == [
        (3, True),
        (1, False),
        (0, False),
    ]


def test_of_a_large_report_the_beginning_is_enough(conn: Connection, server: ImapServer) -> None:
    report = bounce(ours(conn), ANA).replace(b"Bonjour", b"x" * (3 * MOST_BYTES))
    server.inbox.add(report)
    assert kinds(look(conn, by_imap(conn, server), by=BY)) == ["hard"]
    asked = [one for one in server.commands if "FETCH" in one]
    assert all(f"<0.{MOST_BYTES}>" in one for one in asked)


def test_a_server_that_drops_after_some_mails_has_been_read_so_far(conn: Connection, server: ImapServer) -> None:
    box = by_imap(conn, server)
    server.inbox.add(full(ours(conn), ANA))
    server.inbox.add(bounce(ours(conn), ANA))

    server.trouble[2] = "hang up"
    first = look(conn, box, by=BY)
    assert (kinds(first), first.failed, first.more) == (["soft"], 0, True)
    server.trouble.clear()
    assert kinds(look(conn, box, by=BY)) == ["hard"]


@pytest.mark.parametrize("word", ["NO", "BAD"])
def test_a_mail_that_the_server_refuses_stops_no_other(
    conn: Connection, server: ImapServer, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    box = by_imap(conn, server)
    server.inbox.add(b"\r\n")
    server.inbox.add(bounce(ours(conn), ANA))
    server.trouble[1] = word
    found = look(conn, box, by=BY)
    assert (found.mails, found.failed, kinds(found)) == (2, 1, ["hard"])
    assert '"mail":"UID 1"' in capsys.readouterr().err
    server.trouble.clear()
    assert look(conn, box, by=BY).mails == 0


def test_a_server_that_gives_nothing_for_a_while_loses_nothing(conn: Connection, server: ImapServer) -> None:
    box = by_imap(conn, server)
    server.inbox.add(full(ours(conn), ANA))
    server.inbox.add(bounce(ours(conn), ANA))
    server.trouble = {1: "BAD", 2: "BAD"}
    for _ in range(2):
        with pytest.raises(Unreadable, match="refused reading a mail"):
            look(conn, box, by=BY)
    server.trouble.clear()
    assert kinds(look(conn, box, by=BY)) == ["soft", "hard"]


@pytest.mark.parametrize("trouble", ["NO", "hang up"])
def test_a_mail_at_which_a_third_look_ends_is_passed_over(conn: Connection, server: ImapServer, trouble: str) -> None:
    box = by_imap(conn, server)
    server.inbox.add(b"\r\n")
    server.trouble[1] = trouble
    for _ in range(2):
        with pytest.raises(Unreadable):
            look(conn, box, by=BY)
    dry = look(conn, box, by=BY, keep=False)
    third = look(conn, box, by=BY)
    assert (dry.failed, third.mails, third.failed, third.more) == (1, 1, 1, True)
    server.inbox.add(bounce(ours(conn), ANA))
    assert kinds(look(conn, box, by=BY)) == ["hard"]


def test_a_mail_of_which_more_is_sent_than_was_asked_for_is_passed_over(conn: Connection, server: ImapServer) -> None:
    box = by_imap(conn, server)
    server.inbox.add(b"\r\n")
    server.inbox.add(bounce(ours(conn), ANA))
    server.trouble[1] = "lie"
    first = look(conn, box, by=BY)
    assert (first.mails, first.failed, first.more) == (1, 1, True)
    assert kinds(look(conn, box, by=BY)) == ["hard"]


# ------------------------------------------------------------------ maildir


def test_a_maildir_is_read_whatever_flags_its_mails_get(conn: Connection, maildir: Path) -> None:
    box = in_maildir(conn, maildir)
    path = deliver(maildir, "1700000000.M1P2.relay", bounce(ours(conn), ANA))
    assert kinds(look(conn, box, by=BY)) == ["hard"]
    path.rename(maildir / "cur" / "1700000000.M1P2.relay:2,S")
    deliver(maildir, "1700000001.M1P2.relay:2,RS", full(ours(conn), ANA), folder="cur")
    found = look(conn, box, by=BY)
    assert (found.mails, kinds(found)) == (1, ["soft"])
    assert sorted(each.name for each in (maildir / "cur").iterdir()) == [
        "1700000000.M1P2.relay:2,S",
        "1700000001.M1P2.relay:2,RS",
    ]


def test_what_was_read_is_forgotten_once_it_is_gone(conn: Connection, maildir: Path) -> None:
    box = in_maildir(conn, maildir)
    path = deliver(maildir, "1.a.relay", b"\n")
    look(conn, box, by=BY)
    path.unlink()
    look(conn, box, by=BY)
    assert one(conn, "SELECT count(*) FROM mails_read") == 0


def test_what_is_no_mail_in_a_maildir_is_passed_over(conn: Connection, maildir: Path) -> None:
    box = in_maildir(conn, maildir)
    (maildir / "new" / "folder").mkdir()
    (maildir / "new" / "link").symlink_to("/etc/passwd")
    deliver(maildir, ".hidden", b"x")
    assert look(conn, box, by=BY).mails == 0


def test_a_folder_that_is_no_maildir_says_so(conn: Connection, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="maildir: No such file or directory"):
        look(conn, in_maildir(conn, tmp_path / "nowhere"), by=BY)


# ------------------------------------------------------------------ what is wrong with one mail


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\x00" * 1000,
        b"From: \xff\xfe\r\nMessage-ID: <\x00a@b>\r\nIn-Reply-To: <1.\x00@c>\r\n\r\n",
        b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n" * 200,
        b"Subject: =?utf-8?q?" + b"=" * 5000 + b"?=\r\n\r\n",
    ],
)
def test_a_malformed_mail_stops_no_neighbour(conn: Connection, maildir: Path, wrong: bytes) -> None:
    deliver(maildir, "1.wrong", wrong)
    deliver(maildir, "2.right", bounce(ours(conn), ANA))
    found = look(conn, in_maildir(conn, maildir), by=BY)
    assert (found.mails, kinds(found)) == (2, ["hard"])


def test_a_mail_that_cannot_be_worked_on_is_passed_over_once(
    conn: Connection, maildir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box = in_maildir(conn, maildir)
    deliver(maildir, "1.wrong", b"Subject: canari\r\n\r\n")
    deliver(maildir, "2.right", bounce(ours(conn), ANA))

    def fails_on_the_first(content: bytes) -> object:
        if b"canari" in content:
            raise RuntimeError("canari@dupont.example")
        return real(content)

    real = feedback.read_bounces
    monkeypatch.setattr(feedback, "read_bounces", fails_on_the_first)
    found = look(conn, box, by=BY)
    assert (found.mails, found.failed, kinds(found)) == (2, 1, ["hard"])
    assert look(conn, box, by=BY).mails == 0
    assert "canari" not in capsys.readouterr().err


# ------------------------------------------------------------------ by hand


def test_a_dry_run_tells_and_keeps_nothing(conn: Connection, server: ImapServer) -> None:
    by_imap(conn, server)
    server.inbox.add(bounce(ours(conn), ANA))
    for _ in range(2):
        (told,) = read_all(conn, dry_run=True, by="user:marie", instance="")
        assert told.look is not None
        assert kinds(told.look) == ["hard"]
    assert one(conn, "SELECT count(*) FROM feedback") == 0
    assert one(conn, "SELECT count(*) FROM tasks") == 0
    (done,) = read_all(conn, account="sortie", by="user:marie", instance="")
    assert done.look is not None
    assert kinds(done.look) == ["hard"]
    assert one(conn, "SELECT actor FROM journal WHERE subject = 'task'") == "user:marie"


def test_one_mailbox_that_cannot_be_read_stops_no_other(conn: Connection, server: ImapServer, maildir: Path) -> None:
    by_imap(conn, server, username="somebody")
    open_account(conn, "autre", mailbox={"maildir": str(maildir)})
    deliver(maildir, "1.a", bounce(ours(conn), ANA))
    other, refused = read_all(conn, by="user:marie", instance="")
    assert other.look is not None
    assert kinds(other.look) == ["hard"]
    assert (refused.look, refused.error) == (None, "the server refused the login")
    standing = {each.account: each for each in mailboxes.standing(conn)}
    assert (standing["sortie"].failures, standing["sortie"].error) == (1, "the server refused the login")
    assert standing["autre"].looked_at is not None


def test_without_a_mailbox_there_is_nothing_to_read(conn: Connection) -> None:
    with pytest.raises(InvalidInput, match="no mailbox"):
        read_all(conn, by="user:marie", instance="")


# ------------------------------------------------------------------ by itself


def rounds(url: str, settings: Settings, done: str, patience_s: float = 10) -> None:
    """Let a mailroom work until this query says true."""
    give_up_at = time.monotonic() + patience_s
    with pool(url, actor=BY, size=2) as connections, Mailroom(settings, actor=BY) as room, connect(url) as conn:
        conn.autocommit = True
        while not one(conn, done):
            assert time.monotonic() < give_up_at, done
            room.round(connections)
            time.sleep(0.02)


def test_a_mailroom_reads_what_comes_and_waits_between_two_looks(
    conn: Connection, server: ImapServer, database_url: str
) -> None:
    by_imap(conn, server)
    server.inbox.add(bounce(ours(conn), ANA))
    settings = Settings(database_url=database_url, mailbox_s=3600)
    rounds(database_url, settings, "SELECT EXISTS (SELECT FROM mailboxes WHERE looked_at IS NOT NULL)")
    assert one(conn, "SELECT count(*) FROM tasks") == 1
    conn.commit()
    with pool(database_url, actor=BY, size=2) as connections, Mailroom(settings, actor=BY) as room:
        assert room.round(connections) == 0, "the next look is in an hour"


def test_a_scheduler_reads_mailboxes_beside_its_other_work(
    conn: Connection, maildir: Path, database_url: str, redis_url: str
) -> None:
    in_maildir(conn, maildir)
    deliver(maildir, "1.a", bounce(ours(conn), ANA))
    stop = threading.Event()
    settings = Settings(database_url=database_url, redis_url=redis_url)
    scheduler = threading.Thread(target=schedule, args=(settings, stop))
    scheduler.start()
    try:
        give_up_at = time.monotonic() + 10
        while one(conn, "SELECT count(*) FROM tasks") == 0:
            conn.rollback()
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
    finally:
        stop.set()
        scheduler.join(10)
    assert str(one(conn, "SELECT actor FROM journal WHERE subject = 'task'")).startswith("scheduler:")


def test_a_refused_login_is_tried_ever_more_seldom(conn: Connection, server: ImapServer, database_url: str) -> None:
    by_imap(conn, server, username="somebody")
    settings = Settings(database_url=database_url, mailbox_s=0.05)
    rounds(database_url, settings, "SELECT EXISTS (SELECT FROM mailboxes WHERE failures >= 3)")
    waits = one(conn, "SELECT next_look_at - clock_timestamp() < interval '1 hour' FROM mailboxes")
    assert waits is True
    conn.execute("UPDATE mailboxes SET failures = 40")
    box = mailboxes.mailboxes(conn)[0]
    mailboxes.failed(conn, box.account_id, "the server refused the login", every_s=60)
    seconds = one(conn, "SELECT extract(epoch FROM next_look_at - clock_timestamp())::float8 FROM mailboxes")
    assert isinstance(seconds, float)
    assert 1795 < seconds <= 1800


def test_a_mailbox_that_never_answers_keeps_neither_round_nor_neighbour(
    conn: Connection, server: ImapServer, maildir: Path, database_url: str
) -> None:
    by_imap(conn, server)
    server.inbox.add(b"\r\n")
    server.pause_s = 60
    open_account(conn, "autre", mailbox={"maildir": str(maildir)})
    deliver(maildir, "1.a", bounce(ours(conn), ANA))
    conn.commit()
    begun = time.monotonic()
    rounds(database_url, Settings(database_url=database_url), "SELECT EXISTS (SELECT FROM tasks)")
    assert time.monotonic() - begun < 10


def test_no_more_than_a_few_looks_at_once(conn: Connection, server: ImapServer, database_url: str) -> None:
    for number in range(MOST_THREADS + 2):
        place = {
            "host": "localhost", "port": server.port, "ca_file": str(CERTIFICATE), "username": "relance",
            "password_ref": "env:RELANCE_TEST_IMAP",
        }  # fmt: skip
        open_account(conn, f"compte {number}", mailbox=place)
    conn.commit()
    server.inbox.add(b"\r\n")
    server.pause_s = 60
    settings = Settings(database_url=database_url)
    with pool(database_url, actor=BY, size=2) as connections, Mailroom(settings, actor=BY) as room:
        assert room.round(connections) == MOST_THREADS
        assert room.round(connections) == 0
        assert sum(each.name.startswith("mailbox-") for each in threading.enumerate()) == MOST_THREADS
        server.pause_s = 0
        server.hang_up()


def test_a_copy_of_the_database_reads_no_mailbox(conn: Connection, maildir: Path, database_url: str) -> None:
    in_maildir(conn, maildir)
    settings = Settings(database_url=database_url, instance="00000000-0000-0000-0000-000000000001")
    with pool(database_url, actor=BY, size=2) as connections, Mailroom(settings, actor=BY) as room:
        assert room.round(connections) == 0


def test_logs_hold_no_address_and_no_word_of_a_mail(
    conn: Connection, server: ImapServer, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    by_imap(conn, server)
    server.inbox.add(answer(ours(conn), "canari@dupont.example", body="canari"))
    settings = Settings(database_url=database_url, mailbox_s=3600)
    rounds(database_url, settings, "SELECT EXISTS (SELECT FROM mailboxes WHERE looked_at IS NOT NULL)")
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "mailbox" in line]
    assert [(line["event"], line["mails"], line["came"]) for line in told] == [("mailbox_read", 1, 1)]
    assert "canari" not in str(told)
    assert "@" not in str(told)
