"""A run that would mail far more than usual waits for a person, who is told, and lets it go or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.lookup import find_rule
from operations.preview import preview
from operations.status import status
from store.connection import connect

if TYPE_CHECKING:
    from tests.stories.telling import Story

SMALL = {"run_always_allowed": 3, "run_times_usual": 2}


@pytest.fixture
def tale(story: Story) -> Story:
    """A company whose rule takes one invoice or two a day; runs of three never wait."""
    story.company(**SMALL)
    story.rule("Relance 1", report_to=["marie"])
    for number in range(1, 3):
        story.on(f"2026-03-0{number + 1}").read_all()
        story.issue(f"FA-{number}", "10.00", due=f"2026-03-0{number + 2}")
    for day in ("2026-03-09", "2026-03-10"):
        story.on(day).read_all()
    return story


def issue_many(story: Story, *, of: int = 5) -> None:
    """Somebody imports invoices that are overdue already."""
    for number in range(10, 10 + of):
        story.customer(f"K-{number}", f"k{number}@client.example")
        story.issue(f"FA-{number}", "10.00", due="2026-03-01", customer=f"K-{number}")


def held(story: Story) -> int:
    run_id = story.ask("SELECT id FROM runs WHERE held_because IS NOT NULL AND closed_at IS NULL")
    assert isinstance(run_id, int)
    return run_id


def test_an_unusually_large_run_waits_and_its_readers_are_told_why(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").expect_report("retenue", "5 factures au lieu de 0", f"relance release run {held(tale)}")
    tale.expect_no_mail()
    assert tale.ask("SELECT count(*) FROM reminders WHERE open") == 0
    assert {tale.state(f"FA-{number}") for number in range(10, 15)} == {"level_0"}, "nothing is reserved"


def test_what_a_person_lets_go_leaves_as_the_invoices_are_then(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").read_all().pay("FA-10", "10.00", customer="K-10")
    tale.release(run=held(tale))
    for number in range(11, 15):
        tale.expect_mail(f"FA-{number}", level=1)
    tale.expect_report("Relance 1")
    assert tale.level("FA-10") == 0


def test_the_rule_makes_no_other_run_while_one_waits_and_says_afterwards_what_it_missed(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").read_all()
    tale.on("2026-03-12").on("2026-03-13").expect_no_mail()
    assert tale.ask("SELECT count(*) FROM runs WHERE rule_id = 1 AND closed_at IS NULL") == 1
    tale.release(run=held(tale)).read_all()
    assert tale.ask("SELECT missed FROM runs WHERE rule_id = 1 ORDER BY id DESC LIMIT 1") == 1


def test_a_mistake_that_is_put_right_first_leaves_a_small_run(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").read_all()
    for number in range(11, 15):
        tale.dispute(f"FA-{number}")
    tale.release(run=held(tale)).expect_mail("FA-10", level=1).expect_report("Relance 1")


def test_a_run_by_hand_waits_too_and_its_preview_says_so(tale: Story) -> None:
    issue_many(tale)
    with connect(tale.url) as conn:
        (note,) = preview(conn, find_rule(conn, "Relance 1"), by="system").notes
    assert note.startswith("a run would be held")
    tale.run("Relance 1").expect_report("retenue").expect_no_mail()


def test_a_lower_level_does_not_wait_behind_a_held_run(tale: Story) -> None:
    tale.rule("Relance 2", "level = 1 and days_since_reminder >= 1")
    tale.company(**SMALL | {"run_always_allowed": 1})
    tale.customer("C-2", "bob@martin.example")
    tale.issue("FA-3", "10.00", due="2026-03-01", customer="C-2")
    tale.on("2026-03-11").read_all()
    assert held(tale)
    assert tale.level("FA-3") == 1


def test_a_run_that_a_person_holds_lets_no_mail_of_its_own_leave(tale: Story) -> None:
    tale.issue("FA-3", "10.00", due="2026-03-01")
    tale.stop()
    tale.run("Relance 1")
    (run_id,) = tale.all("SELECT id FROM runs WHERE closed_at IS NULL")
    tale.hold(run=run_id).resume().expect_no_mail()
    tale.release(run=run_id).expect_mail("FA-3", level=1).expect_report("Relance 1")


def test_a_run_that_is_refused_ends_unsent_and_its_readers_are_told(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").read_all()
    run_id = held(tale)
    tale.refuse(run_id, because="importées deux fois")
    tale.expect_report("Refusée, rien ne part", "Marie Curie a refusé", "importées deux fois").expect_no_mail()
    assert tale.ask("SELECT count(*) FROM reminders WHERE run_id = %s", run_id) == 0
    assert {tale.state(f"FA-{number}") for number in range(10, 15)} == {"level_0"}
    who_and_why = "SELECT actor || ': ' || because FROM journal WHERE subject_id = %s AND change ? 'refused_by'"
    assert tale.all(who_and_why, run_id) == ["user:marie: importées deux fois"]


def test_after_a_refusal_the_rule_looks_again_when_it_is_next_due(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").read_all().refuse(held(tale)).read_all()
    for number in range(12, 15):
        tale.pay(f"FA-{number}", "10.00", customer=f"K-{number}")
    tale.on("2026-03-12").expect_mail("FA-10", level=1).expect_mail("FA-11", level=1).expect_report("Relance 1")


def test_what_is_queued_of_a_run_that_a_person_holds_and_refuses_is_cancelled(tale: Story) -> None:
    tale.issue("FA-3", "10.00", due="2026-03-01")
    tale.stop()
    tale.run("Relance 1")
    (run_id,) = tale.all("SELECT id FROM runs WHERE closed_at IS NULL")
    tale.hold(run=run_id).resume().expect_no_mail()
    tale.refuse(run_id).rest().expect_report("Exécution refusée par une personne", "Marie Curie a refusé la suite")
    assert tale.mail_states()[-1] == "cancelled"
    assert (tale.state("FA-3"), tale.ask("SELECT state FROM runs WHERE id = %s", run_id)) == ("level_0", "closed")
    assert tale.ask("SELECT problem FROM reminders WHERE run_id = %s", run_id) == "run_refused"


def test_status_and_the_journal_tell_of_it(tale: Story) -> None:
    issue_many(tale)
    tale.on("2026-03-11").read_all()
    with connect(tale.url) as conn:
        (found,) = status(conn, "redis://127.0.0.1:1/0").held
    assert (found.kind, found.name) == ("run", f"{held(tale)} of Relance 1")
    run_id = held(tale)
    tale.release(run=run_id).read_all()
    changes = tale.all("SELECT change -> 'held_because' FROM journal WHERE subject = 'run' AND change ? 'held_because'")
    assert [[bool(one) for one in change] for change in changes] == [[False, True], [True, False]]
