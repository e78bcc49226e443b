"""The sweep: what somebody who is gone left unfinished goes on, or is shown to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.companies import save_company
from operations.customers import save_contact
from operations.holds import hold
from operations.rules import activate, deactivate
from store.companies import companies
from store.connection import connect, pool
from store.tick import Answered, tick
from tests.chasing import NOW, RULE, committed_chase, decided_run, one
from tests.returned import bounce
from workers.feedback import take
from workers.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.connection import Connection, Pool


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    decided_run(database_url, committed_chase(database_url))
    with connect(database_url) as opened:
        opened.autocommit = True
        yield opened


@pytest.fixture
def connections(database_url: str) -> Iterator[Pool]:
    with pool(database_url, actor="scheduler:test:1", size=2) as opened:
        yield opened


def leave(conn: Connection, state: str, lease: str) -> None:
    """A worker has it, and its lease ends then."""
    conn.execute(
        "UPDATE reminders SET state = %s, fence = 1, lease_until = clock_timestamp() + %s::interval,"
        " armed_at = clock_timestamp(), hinted_until = clock_timestamp() + interval '1 min'",
        [state, lease],
    )


def reminder(conn: Connection) -> tuple[object, ...]:
    return conn.execute("SELECT state, fence, ever_in_doubt FROM reminders").fetchall()[0]


def invoice_states(conn: Connection) -> list[object]:
    return [row[0] for row in conn.execute("SELECT state FROM invoices WHERE number IN ('FA-1', 'FA-2')")]


def test_a_claim_of_a_dead_worker_is_due_again_at_once(conn: Connection, connections: Pool) -> None:
    leave(conn, "claimed", "-1 s")
    sweep(connections)
    assert reminder(conn) == ("due", 1, False)
    assert one(conn, "SELECT hinted_until < now() AND not_before <= clock_timestamp() FROM reminders") is True


def test_a_dot_of_a_dead_worker_is_in_doubt_and_goes_nowhere(conn: Connection, connections: Pool) -> None:
    leave(conn, "armed", "-1 s")
    sweep(connections)
    sweep(connections)
    assert reminder(conn) == ("in_doubt", 1, True)
    assert invoice_states(conn) == ["level_0_in_doubt"] * 2
    assert one(conn, "SELECT array_agg(DISTINCT outcome) FROM reminder_invoices") == ["in_doubt"]
    steps = conn.execute("SELECT step, actor FROM attempts").fetchall()
    assert steps == [("in_doubt", "scheduler:test:1")]


@pytest.mark.parametrize("state", ["claimed", "armed"])
def test_what_is_in_living_hands_is_left_there(conn: Connection, connections: Pool, state: str) -> None:
    leave(conn, state, "1 min")
    sweep(connections)
    assert reminder(conn) == (state, 1, False)


def test_a_row_in_other_hands_is_not_waited_for(conn: Connection, connections: Pool, database_url: str) -> None:
    leave(conn, "armed", "-1 s")
    with connect(database_url) as tick:
        tick.execute("SELECT FROM reminders FOR NO KEY UPDATE")
        sweep(connections)
        assert reminder(conn) == ("armed", 1, False)
        tick.rollback()
    sweep(connections)
    assert reminder(conn)[0] == "in_doubt"


def test_a_bounce_that_overtook_the_servers_answer_lets_the_next_contact_be_reminded_once(
    conn: Connection, connections: Pool
) -> None:
    save_company(conn, code="NORD", name="Nord SAS", after_bounce="next_contact", by="user:marie")
    save_contact(conn, customer="C-1", name="Ben", email="ben@dupont.example", roles=["billing"], by="user:marie")
    leave(conn, "armed", "1 min")
    conn.execute("UPDATE invoices SET state = 'level_0_sending' WHERE number IN ('FA-1', 'FA-2')")
    report = bounce(str(one(conn, "SELECT message_id FROM reminders")), "ana@dupont.example")
    with conn.transaction():
        (came,) = take(conn, report, received_at=None, by="scheduler:test:1")
    assert came.again == (), "nobody knows yet that it left"
    sweep(connections)
    assert invoice_states(conn) == ["level_0_sending"] * 2
    invoice_ids = tuple(row[0] for row in conn.execute("SELECT invoice_id FROM reminder_invoices ORDER BY 1"))
    sellers = companies(conn)
    answered = Answered(
        reminder_id=came.reminder_id, fence=1, company_id=next(iter(sellers)), invoice_ids=invoice_ids, reply="250 ok",
    )  # fmt: skip
    assert tick(conn, [], [answered], lease_s=60, companies=sellers).sent == {came.reminder_id}
    assert invoice_states(conn) == ["level_1"] * 2
    for _ in range(2):
        sweep(connections)
        assert invoice_states(conn) == ["level_0"] * 2
        assert one(conn, "SELECT max(cycle) FROM invoices WHERE number IN ('FA-1', 'FA-2')") == 2
    said = one(conn, "SELECT because FROM journal WHERE change -> 'cycle' IS NOT NULL ORDER BY id DESC LIMIT 1")
    assert said == f"what came back about reminder {came.reminder_id}"


def test_mails_of_a_rule_held_for_a_day_are_cancelled(conn: Connection, connections: Pool) -> None:
    hold(conn, rule=RULE, because="wrong text", by="user:marie")
    sweep(connections)
    assert reminder(conn)[0] == "due"
    conn.execute("UPDATE rules SET held_at = held_at - interval '25 hours'")
    sweep(connections)
    assert reminder(conn)[0] == "cancelled"
    assert invoice_states(conn) == ["level_0"] * 2


@pytest.mark.parametrize(("scheduled", "becomes"), [(True, "cancelled"), (False, "due")])
def test_mails_of_a_rule_that_was_off_for_a_day_are_cancelled_unless_a_person_asked_for_them(
    conn: Connection, connections: Pool, *, scheduled: bool, becomes: str
) -> None:
    if scheduled:
        conn.execute("UPDATE runs SET request_key = NULL")
    activate(conn, rule=RULE, by="user:marie", now=NOW)
    deactivate(conn, rule=RULE, by="user:marie", now=NOW)
    sweep(connections)
    assert reminder(conn)[0] == "due"
    conn.execute("UPDATE rules SET inactive_since = inactive_since - interval '25 hours'")
    sweep(connections)
    assert reminder(conn)[0] == becomes


def test_what_was_ever_in_doubt_is_never_cancelled(conn: Connection, connections: Pool) -> None:
    conn.execute("UPDATE reminders SET ever_in_doubt = true")
    hold(conn, rule=RULE, because="wrong text", by="user:marie")
    conn.execute("UPDATE rules SET held_at = held_at - interval '25 hours'")
    sweep(connections)
    assert reminder(conn)[0] == "due"
