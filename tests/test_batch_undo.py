"""A batch taken back: exactly, whole, once, and only while nothing has followed it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from operations.batch import Chosen, batch
from operations.batch_plan import Asked
from operations.batch_undo import CannotUndo, Undone, undo
from operations.customers import exclude, include, save_contact, save_customer
from operations.invoices import update
from operations.ledger import reverse
from operations.levels import correct
from operations.lookup import Unknown
from operations.pauses import lift, pause
from operations.resolve import resolve
from operations.tags import save_category, save_tag, tag, untag
from store.connection import connect
from tests.chasing import committed_chase, decided_run, doubt, fail, one, open_rule, pay, send_all
from tests.trade import TODAY, invoice, journal, open_trade, send, written
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.connection import Connection

LAST = date(2026, 11, 2)
LATER = TODAY + timedelta(days=30)
WHOLE = Asked(
    level=2, last_reminded_on=LAST, add_tags=("Relance 2",), remove_tags=("litige",), pause_until=LATER, exclude=True,
    contact="ana@dupont.example",
)  # fmt: skip
WHO: dict[str, Any] = {"by": "user:marie", "today": TODAY}


@pytest.fixture
def conn(database: Connection) -> Connection:
    """C-1 owes FA-1, which is tagged Relance 1 and litige, and FA-2; the category of reminders allows one tag."""
    open_trade(database)
    save_contact(database, customer="C-1", name="Ana", email="ana@dupont.example", by="user:marie")
    save_category(database, title="Relances", one_only=True, by="user:marie")
    for title in ("Relance 1", "Relance 2", "Relance 3"):
        save_tag(database, title=title, category="Relances", by="user:marie")
    save_tag(database, title="litige", by="user:marie")
    invoice(database, "FA-1")
    invoice(database, "FA-2")
    tag(database, company="NORD", invoices=["FA-1"], tags=["Relance 1", "litige"], by="user:marie")
    return database


def batched(conn: Connection, asked: Asked, *numbers: str) -> int:
    made = batch(
        conn, Chosen(numbers=numbers or ("FA-1", "FA-2")), asked, because="x", by="user:marie", dry_run=False
    )  # fmt: skip
    assert made.id is not None
    return made.id


def undone(conn: Connection, batch_id: int, *, dry_run: bool = False) -> Undone:
    return undo(conn, batch_id, because="wrong filter", by="user:paul", dry_run=dry_run)


def standing(conn: Connection) -> dict[str, tuple[Any, ...]]:
    """All that a batch can change, by invoice."""
    found = conn.execute(
        """
        SELECT i.number, i.state, i.before_settled, i.level, i.cycle, i.last_reminded_on, i.dunning_contact_id,
               i.billing_contact_id, c.excluded,
               ARRAY(SELECT title FROM taggings g JOIN tags t ON t.id = g.tag_id WHERE g.invoice_id = i.id ORDER BY 1),
               ARRAY(SELECT p.until_on FROM pauses p WHERE p.invoice_id = i.id AND p.lifted_at IS NULL ORDER BY 1)
          FROM invoices i JOIN customers c ON c.id = i.customer_id ORDER BY i.number
        """
    )
    return {row[0]: row[1:] for row in found}


def test_undoing_restores_exactly_what_was(conn: Connection) -> None:
    before = standing(conn)
    batch_id = batched(conn, WHOLE)
    assert standing(conn) != before
    done = undone(conn, batch_id)
    assert (done.invoices, done.customers, done.done) == (2, 1, True)
    assert standing(conn) == before


def test_undoing_is_journaled_with_who_and_why(conn: Connection) -> None:
    batch_id = batched(conn, WHOLE)
    last = one(conn, "SELECT max(id) FROM journal")
    undone(conn, batch_id)
    assert journal(conn, "batch", batch_id)[-1] == {"undone": [False, True]}
    said = conn.execute("SELECT DISTINCT actor, because, today FROM journal WHERE id > %s", [last]).fetchall()
    assert said == [("user:paul", "wrong filter", TODAY)]
    kept = conn.execute("SELECT undone_by, undone_because FROM batches WHERE id = %s", [batch_id]).fetchone()
    assert kept == ("user:paul", "wrong filter")


def test_a_dry_run_shows_what_would_be_restored(conn: Connection) -> None:
    batch_id = batched(conn, WHOLE)
    before, rows = standing(conn), written(conn)
    shown = undone(conn, batch_id, dry_run=True)
    assert (shown.invoices, shown.done) == (2, False)
    assert shown.samples[0].change == {
        "level": (2, 0), "last_reminded_on": (LAST.isoformat(), None), "paused_until": (LATER.isoformat(), None),
        "tags": (["Relance 2"], ["Relance 1", "litige"]), "excluded": (True, False),
        "dunning_contact": ("ana@dupont.example", None),
    }  # fmt: skip
    assert (standing(conn), written(conn)) == (before, rows)


def test_a_batch_is_undone_once(conn: Connection) -> None:
    batch_id = batched(conn, WHOLE)
    undone(conn, batch_id)
    with pytest.raises(InvalidInput, match=r"was undone on .* by user:paul: make a new batch"):
        undone(conn, batch_id)
    assert batched(conn, WHOLE) != batch_id


def test_an_unknown_batch_is_said(conn: Connection) -> None:
    with pytest.raises(Unknown, match="no batch '7'"):
        undone(conn, 7)
    with pytest.raises(InvalidInput, match="because"):
        undo(conn, 7, because="", by="user:paul", dry_run=True)


def test_what_the_batch_left_alone_stays_as_it_is(conn: Connection) -> None:
    pause(conn, company="NORD", invoice="FA-1", until_on=LATER, reason="x", **WHO)
    exclude(conn, customer="C-1", because="x", **WHO)
    before = standing(conn)
    undone(conn, batched(conn, WHOLE))
    assert standing(conn) == before


def test_another_change_since_then_stays(conn: Connection) -> None:
    batch_id = batched(conn, Asked(level=2, add_tags=("Relance 2",)))
    save_tag(conn, title="VIP", by="user:marie")
    tag(conn, company="NORD", invoices=["FA-1"], tags=["VIP"], **WHO)
    pause(conn, company="NORD", invoice="FA-2", until_on=LATER, reason="x", **WHO)
    undone(conn, batch_id)
    assert standing(conn)["FA-1"][8] == ["Relance 1", "VIP", "litige"]
    assert standing(conn)["FA-2"][9] == [LATER]


def test_a_payment_since_then_stays_and_the_level_comes_back_behind_it(conn: Connection) -> None:
    batch_id = batched(conn, Asked(level=2))
    pay(conn, "FA-1")
    undone(conn, batch_id)
    assert standing(conn)["FA-1"][:4] == ("settled", "level_0", 0, 1)
    reverse(conn, company="NORD", reference="VIR-FA-1", reversed_on=TODAY, **WHO)
    assert standing(conn)["FA-1"][:4] == ("level_0", None, 0, 2)


def test_what_was_lowered_comes_back_in_its_old_cycle(conn: Connection) -> None:
    ids = [row[0] for row in conn.execute("SELECT id FROM invoices")]
    for invoice_id in ids:
        send(conn, invoice_id, last_state="level_2")
    batch_id = batched(conn, Asked(level=0))
    assert standing(conn)["FA-1"][2:4] == (0, 2)
    undone(conn, batch_id)
    assert standing(conn)["FA-1"][2:4] == (2, 1)


def test_undoing_a_raise_opens_no_new_cycle(conn: Connection) -> None:
    undone(conn, batched(conn, Asked(level=3)))
    assert standing(conn)["FA-1"][2:4] == (0, 1)


SINCE: dict[str, tuple[Asked, Callable[[Connection], object]]] = {
    "the level corrected": (
        Asked(level=2),
        lambda conn: correct(
            conn, company="NORD", invoices=["FA-1"], level=3, last_reminded_on=None, because="x", **WHO
        ),
    ),
    "the level corrected and corrected back": (
        Asked(level=2),
        lambda conn: [
            correct(conn, company="NORD", invoices=["FA-1"], level=to, last_reminded_on=None, because="x", **WHO)
            for to in (3, 2)
        ],
    ),
    "the day of the last reminder": (
        Asked(last_reminded_on=LAST),
        lambda conn: correct(
            conn, company="NORD", invoices=["FA-1"], level=0, last_reminded_on=TODAY, because="x", **WHO
        ),
    ),
    "the tag taken off": (
        Asked(add_tags=("Relance 3",)),
        lambda conn: untag(conn, company="NORD", invoices=["FA-1"], tags=["Relance 3"], **WHO),
    ),
    "the tag taken off and put on again": (
        Asked(add_tags=("Relance 3",)),
        lambda conn: [
            f(conn, company="NORD", invoices=["FA-1"], tags=["Relance 3"], **WHO) for f in (untag, tag)
        ],
    ),
    "another tag of the category that allows one": (
        Asked(remove_tags=("Relance 1",)),
        lambda conn: tag(conn, company="NORD", invoices=["FA-1"], tags=["Relance 3"], **WHO),
    ),
    "the pause lifted": (
        Asked(pause_until=LATER),
        lambda conn: lift(conn, company="NORD", invoice="FA-1", **WHO),
    ),
    "the customer included and excluded again": (
        Asked(exclude=True),
        lambda conn: [f(conn, customer="C-1", because="x", **WHO) for f in (include, exclude)],
    ),
    "the interlocutor": (
        Asked(contact="ana@dupont.example"),
        lambda conn: update(conn, company="NORD", number="FA-1", interlocutors={}, **WHO),
    ),
    "a letter that went by post": (
        Asked(add_tags=("Relance 3",)),
        lambda conn: conn.execute(
            "INSERT INTO journal (subject, subject_id, change)"
            " SELECT 'invoice', id, '{\"posted\": [null, \"2026-11-24\"]}' FROM invoices WHERE number = 'FA-1'"
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SINCE)
def test_the_same_changed_again_forbids_undoing_and_is_named(conn: Connection, what: str) -> None:
    asked, change = SINCE[what]
    batch_id = batched(conn, asked)
    change(conn)
    before = standing(conn)
    for dry_run in (True, False):
        with pytest.raises(CannotUndo, match=r"FA-1 \(") as refused:
            undone(conn, batch_id, dry_run=dry_run)
        assert refused.value.invoices[0][0] == "FA-1"
    assert standing(conn) == before


def test_many_that_forbid_it_are_counted(conn: Connection) -> None:
    save_customer(conn, number="C-2", name="Martin SA", by="user:marie")
    numbers = [f"FA-{n}" for n in range(10, 25)]
    for number in numbers:
        invoice(conn, number, customer="C-2")
    batch_id = batched(conn, Asked(level=1), *numbers)
    batched(conn, Asked(level=2), *numbers)
    with pytest.raises(CannotUndo, match=r"FA-19 \(changed\) and 5 more"):
        undone(conn, batch_id)


def committed(url: str, asked: Asked, *numbers: str) -> int:
    with connect(url) as conn:
        return batched(conn, asked, *numbers)


def refused(url: str, batch_id: int) -> dict[str, str]:
    with connect(url) as conn, pytest.raises(CannotUndo) as found:
        undone(conn, batch_id)
    return dict(found.value.invoices)


def test_a_mail_on_its_way_forbids_undoing_and_one_that_left_for_good(database_url: str, tmp_path: Path) -> None:
    from scripts.sink import Sink

    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        batch_id = committed(database_url, Asked(add_tags=("Relance 1",)), "FA-1", "FA-3")
        run_id = decided_run(database_url, rule)
        assert refused(database_url, batch_id) == {"FA-1": "reserved"}
        send_all(database_url, run_id)
        assert refused(database_url, batch_id) == {"FA-1": "reminded"}


@pytest.mark.parametrize("counts", [True, False])
def test_no_clock_says_whether_a_mail_left_after_the_batch(database_url: str, tmp_path: Path, *, counts: bool) -> None:
    """The database's clock was an hour ahead when the first batch was made, and an hour behind at the second."""
    from scripts.sink import Sink

    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        if not counts:
            with connect(database_url) as conn:
                rule = open_rule(conn, "Information", counts=False, minimum_gap_days=30)
        first = committed(database_url, Asked(add_tags=("Relance 1",)), "FA-1", "FA-3")
        send_all(database_url, decided_run(database_url, rule))
        second = committed(database_url, Asked(pause_until=LATER), "FA-1", "FA-3")
        with connect(database_url) as conn:
            for batch_id, hours in ((first, 1), (second, -1)):
                conn.execute("UPDATE batches SET at = at + make_interval(hours => %s) WHERE id = %s", [hours, batch_id])
        assert refused(database_url, first) == {"FA-1": "reminded"}
        with connect(database_url) as conn:
            assert undone(conn, second).done


def test_a_mail_in_doubt_that_a_person_says_arrived_left_after_the_batch(database_url: str) -> None:
    committed_chase(database_url)
    with connect(database_url) as conn:
        rule = open_rule(conn, "Information", counts=False, minimum_gap_days=30)
    decided_run(database_url, rule)
    with connect(database_url) as conn:
        reminder_id = one(conn, "SELECT min(id) FROM reminders")
        assert isinstance(reminder_id, int)
        doubt(conn, reminder_id)
    batch_id = committed(database_url, Asked(add_tags=("Relance 1",)), "FA-1")
    assert refused(database_url, batch_id) == {"FA-1": "reserved"}
    with connect(database_url) as conn:
        resolve(conn, reminder_id, "arrived", because="x", quarantine_s=0, dry_run=False, by="user:marie")
    assert refused(database_url, batch_id) == {"FA-1": "reminded"}


def test_a_mail_that_left_before_the_batch_does_not_forbid_undoing(database_url: str, tmp_path: Path) -> None:
    """And the level that it used stays used: an undo opens no cycle in which it could leave again."""
    from scripts.sink import Sink

    with Sink(tmp_path) as sink:
        rule = committed_chase(database_url, port=sink.port)
        send_all(database_url, decided_run(database_url, rule))
        batch_id = committed(database_url, Asked(level=0, last_reminded_on="never"), "FA-1", "FA-2")
        with connect(database_url) as conn:
            undone(conn, batch_id)
        with connect(database_url) as conn:
            assert standing(conn)["FA-1"][:5] == ("level_1", None, 1, 1, TODAY)
        send_all(database_url, decided_run(database_url, rule))
        assert len(sink.mails()) == 1


def test_a_mail_that_failed_does_not_forbid_undoing(database_url: str) -> None:
    committed_chase(database_url)
    with connect(database_url) as conn:
        rule = open_rule(conn, "Relance 2", level=1)
    batch_id = committed(database_url, Asked(level=1), "FA-1", "FA-2")
    decided_run(database_url, rule)
    with connect(database_url) as conn:
        reminder_id = one(conn, "SELECT id FROM reminders WHERE state = 'due'")
        assert isinstance(reminder_id, int)
        fail(conn, reminder_id)
    with connect(database_url) as conn:
        assert undone(conn, batch_id).done
        assert standing(conn)["FA-1"][:4] == ("level_0", None, 0, 1)
