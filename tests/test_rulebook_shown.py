"""Rules as they are looked at: a list, one in full, the calendar; each for whom it is shared with."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from operations import holds
from operations.companies import save_company
from operations.lookup import Unknown
from operations.rulebook_shown import MOST_INSTANTS, calendar, details, listed
from operations.rules import activate
from operations.users import save_user
from tests.chasing import NOW, open_chase, open_rule
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from store.connection import Connection

PARIS = ZoneInfo("Europe/Paris")
MARIE = "user:marie"


@pytest.fixture
def conn(database: Connection) -> Connection:
    open_chase(database)
    open_rule(database, schedule_lines=["0 9 * * 1-5", "0 9 * * 1", "30 18 1 * *"])
    activate(database, rule="Relance 1", by=MARIE, now=NOW)
    return database


def test_a_rule_is_listed_with_its_schedule_in_words_and_its_next_instant(conn: Connection) -> None:
    (line,) = listed(conn, "fr", by="system")
    assert (line.title, line.company, line.level, line.active, line.account) == ("Relance 1", "NORD", 0, True, "sortie")
    assert line.schedule[0] == "du lundi au vendredi à 9\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}00"
    assert line.next_at == datetime(2026, 11, 25, 9, tzinfo=PARIS)
    assert line.filter == "level = 0 and days_overdue >= 15"


def test_one_that_is_not_active_is_due_never(conn: Connection) -> None:
    open_rule(conn, "Relance 2", 1, schedule_lines=["0 9 * * *"])
    assert [line.next_at is None for line in listed(conn, "en", by="system")] == [False, True]


def test_in_full_it_says_who_sends_who_sees_and_the_next_five_instants(conn: Connection) -> None:
    found = details(conn, "relance 1", "en", by=MARIE)
    assert (found.owner, found.seen_by, found.company_name) == ("marie", None, "Nord SAS")
    assert (found.sender, found.server) == ("Nord SAS <relance@nord.example>", "127.0.0.1:2525, plain")
    assert [at.isoformat() for at in found.next_at] == [
        "2026-11-25T09:00:00+01:00", "2026-11-26T09:00:00+01:00", "2026-11-27T09:00:00+01:00",
        "2026-11-30T09:00:00+01:00", "2026-12-01T09:00:00+01:00",
    ]  # fmt: skip
    assert found.definition["filter"] == "level = 0 and days_overdue >= 15"


def test_the_calendar_has_each_instant_once_and_says_what_waits_for_the_window(conn: Connection) -> None:
    save_company(conn, code="NORD", name="Nord SAS", send_until=time(18), by=MARIE)
    found = calendar(conn, days=7, by="system")
    assert found.more is False
    days = [one.due_at.date() for one in found.instants]
    assert days == [date(2026, 11, 25), date(2026, 11, 26), date(2026, 11, 27), date(2026, 11, 30), date(2026, 12, 1)]
    (late,) = [one for one in calendar(conn, days=8, by="system").instants if one.leaves_at != one.due_at]
    assert (late.due_at, late.leaves_at) == (
        datetime(2026, 12, 1, 18, 30, tzinfo=PARIS), datetime(2026, 12, 2, 8, tzinfo=PARIS),
    )  # fmt: skip


def test_a_calendar_ends_somewhere(conn: Connection) -> None:
    open_rule(conn, schedule_lines=["* * * * *"])
    found = calendar(conn, days=30, by="system")
    assert (len(found.instants), found.more) == (MOST_INSTANTS, True)
    assert found.until - NOW == timedelta(days=30)


def test_what_is_held_or_not_active_is_not_due(conn: Connection) -> None:
    open_rule(conn, "Relance 2", 1, schedule_lines=["0 9 * * *"])
    holds.hold(conn, rule="Relance 1", because="x", by=MARIE)
    assert calendar(conn, days=30, by="system").instants == ()


def test_a_rule_is_seen_by_those_it_is_shared_with(conn: Connection) -> None:
    for login, role in (("paul", "accountant"), ("anne", "accountant"), ("root", "administrator")):
        save_user(conn, login=login, name=login, email=f"{login}@nord.example", role=role, by="system")  # type: ignore[arg-type]
    open_rule(conn, schedule_lines=["0 9 * * *"], shared_with=["paul"])
    for by in (MARIE, "user:paul", "user:root", "system"):
        assert len(listed(conn, "en", by=by)) == 1
        assert details(conn, "Relance 1", "en", by=by).seen_by == ("marie", "paul")
        assert calendar(conn, days=9, by=by).instants
    assert listed(conn, "en", by="user:anne") == []
    assert calendar(conn, days=9, by="user:anne").instants == ()
    with pytest.raises(InvalidInput, match="not shared with them"):
        details(conn, "Relance 1", "en", by="user:anne")


def test_a_rule_that_nobody_has_is_answered_with_the_nearest(conn: Connection) -> None:
    with pytest.raises(Unknown, match="the nearest: Relance 1"):
        details(conn, "Relanse", "en", by="system")


def test_a_line_that_another_version_saved_is_shown_as_it_is_and_due_never(conn: Connection) -> None:
    conn.execute('UPDATE rule_versions SET definition = definition || \'{"schedule_lines": ["noon"]}\'')
    (line,) = listed(conn, "en", by="system")
    assert "must have five fields" in line.schedule[0]
    assert (line.next_at, calendar(conn, days=9, by="system").instants) == (None, ())
