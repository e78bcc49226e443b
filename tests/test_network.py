"""The network between a worker and its servers: answers that are lost, commits that are, servers that drip."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from scripts.sink import Behaviour, Sink
from store.connection import pool
from tests.chasing import committed_chase, decided_run
from tests.faults.proxy import DatabaseProxy, MailProxy, Weather
from tests.test_sender import QUICK, Desk, wait_until
from workers.office import Office
from workers.sender import Sender
from workers.sending import settle
from workers.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.faults.proxy import AtCommit


class Drizzle(MailProxy):
    """The same weather for the first connection, and fair weather after it."""

    def __init__(self, upstream_port: int, weather: Weather) -> None:
        super().__init__(upstream_port, seed="", longest_stall_s=0)
        self._first = [weather]

    def _weather(self) -> Weather:
        return self._first.pop() if self._first else Weather()


@contextmanager
def desk_behind(url: str, folder: Path, *, weather: Weather | None = None) -> Generator[tuple[Desk, DatabaseProxy]]:
    """A worker that reaches its database and its mail server through proxies."""
    place = str(conninfo_to_dict(url).get("host") or "")
    if not place.startswith("/"):
        pytest.skip("the database is not reached by a socket in a folder")
    with (
        Sink(folder / "sink", behaviour=Behaviour()) as sink,
        Drizzle(sink.port, weather or Weather()) as mail_proxy,
        DatabaseProxy(folder / "db", Path(place), kill=lambda _pid, _step: None) as proxy,
    ):
        proxy.calm = False
        decided_run(url, committed_chase(url, port=mail_proxy.port))
        through = make_conninfo(url, host=str(folder / "db"))
        with pool(through, actor="worker:test:1", size=6) as connections:
            office = Office(pool=connections, settings=QUICK)
            sender = Sender(connections, QUICK, settle)
            sender.start()
            try:
                yield Desk(url, sink, office, sender), proxy
            finally:
                sender.stop()


def send_until_sent(desk: Desk) -> None:
    def sent() -> bool:
        desk.change(
            "UPDATE reminders SET not_before = clock_timestamp(), lease_until = CASE WHEN state = 'claimed'"
            " THEN clock_timestamp() - interval '1 s' ELSE lease_until END"
        )
        with pool(desk.url, actor="scheduler:test:1", size=1) as connections:
            sweep(connections)
        desk.send()
        return desk.ask("SELECT state FROM reminders") == "sent"

    wait_until(sent)


@pytest.mark.parametrize("then", ["its answer lost", "the connection cut before it"])
def test_a_commit_that_arms_and_is_not_heard_of_lets_no_dot_leave(
    database_url: str, tmp_path: Path, then: AtCommit
) -> None:
    with desk_behind(database_url, tmp_path) as (desk, proxy):
        proxy.at_next_commit("arms", then)
        desk.send()
        assert proxy.done == {f"{then}: arms": 1}
        assert desk.sink.mails() == []
        wait_until(lambda: desk.ask("SELECT state FROM reminders") in {"due", "claimed"})
        send_until_sent(desk)
        assert len(desk.sink.mails()) == 1


@pytest.mark.parametrize("then", ["its answer lost", "the connection cut before it"])
def test_a_commit_of_what_was_sent_that_is_not_heard_of_is_repeated_and_no_mail_is(
    database_url: str, tmp_path: Path, then: AtCommit
) -> None:
    with desk_behind(database_url, tmp_path) as (desk, proxy):
        proxy.at_next_commit("sends", then)
        desk.send()
        wait_until(lambda: desk.ask("SELECT state FROM reminders") == "sent")
        assert proxy.done == {f"{then}: sends": 1}
        assert len(desk.sink.mails()) == 1
        assert desk.states() == {"FA-1": "level_1", "FA-2": "level_1"}


# What PostgreSQL says at the commit when its disk is full; the disk itself is everybody's.
FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON attempts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.step = '{step}') EXECUTE FUNCTION full_disk()
"""
ROOM_AGAIN = "DROP TRIGGER full_disk ON attempts"


def test_a_database_whose_disk_is_full_lets_no_dot_leave(database_url: str, tmp_path: Path) -> None:
    with desk_behind(database_url, tmp_path) as (desk, _):
        desk.change(FULL_DISK.format(step="armed"))
        desk.send()
        assert (desk.sink.mails(), desk.steps()) == ([], ["disarmed"])
        desk.change(ROOM_AGAIN)
        send_until_sent(desk)
        assert len(desk.sink.mails()) == 1


def test_a_disk_that_is_full_when_a_mail_was_taken_is_waited_for(database_url: str, tmp_path: Path) -> None:
    with desk_behind(database_url, tmp_path) as (desk, _):
        desk.change(FULL_DISK.format(step="accepted"))
        sending = threading.Thread(target=desk.send)
        sending.start()
        wait_until(lambda: len(desk.sink.mails()) == 1)
        assert desk.ask("SELECT state FROM reminders") == "armed"
        desk.change(ROOM_AGAIN)
        sending.join(30)
        assert desk.ask("SELECT state FROM reminders") == "sent"
        assert len(desk.sink.mails()) == 1


@pytest.mark.parametrize("weather", [Weather(after=0, then="drip"), Weather(after=800, then="drip")])
def test_a_server_that_answers_a_byte_at_a_time_takes_the_mail_once(
    database_url: str, tmp_path: Path, weather: Weather
) -> None:
    with desk_behind(database_url, tmp_path, weather=weather) as (desk, _):
        desk.send()
        assert desk.ask("SELECT state FROM reminders") == "sent"
        assert len(desk.sink.mails()) == 1


def test_a_connection_cut_in_the_envelope_costs_time_and_no_mail(database_url: str, tmp_path: Path) -> None:
    with desk_behind(database_url, tmp_path, weather=Weather(after=30, then="cut")) as (desk, _):
        desk.send()
        assert (desk.sink.mails(), desk.steps()) == ([], ["deferred"])
        send_until_sent(desk)
        assert len(desk.sink.mails()) == 1
