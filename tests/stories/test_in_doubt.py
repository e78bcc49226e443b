"""The server took the dot and hung up: nobody can know, and nothing leaves again before a person has decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts.sink import Answer
from workers.settings import Settings

if TYPE_CHECKING:
    from tests.stories.telling import Story


TAKEN_AND_SILENT = Answer(drop=True)
LOST = Answer(reply="451 never said", drop=True)


@pytest.fixture
def settings() -> Settings:
    return Settings(lease_s=1.2, answer_s=0.8, dot_budget_s=1, quarantine_s=3, hint_s=2)


def test_a_mail_in_doubt_is_not_sent_again_by_anybody(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").server_says("dot", TAKEN_AND_SILENT)
    story.on("2026-03-13").expect_mail("FA-1", says=1)
    assert (story.state("FA-1"), story.level("FA-1"), story.mail_states()) == ("level_0_in_doubt", 0, ["in_doubt"])
    assert story.tags("FA-1") == set()
    story.on("2026-03-16").expect_no_mail()
    story.run("Relance 1").expect_no_mail()
    story.on("2026-03-30").expect_no_mail()
    story.resolve("arrived")
    assert (story.level("FA-1"), story.tags("FA-1")) == (1, {"Relance 1"})
    story.on("2026-04-20").expect_mail("FA-1", level=2)


def test_a_mail_that_was_lost_is_sent_again_when_a_person_says_so(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").server_says("dot", LOST)
    story.on("2026-03-13").expect_no_mail()
    assert story.mail_states() == ["in_doubt"]
    story.resolve("send again").expect_mail("FA-1", level=1)
    assert story.mail_states() == ["sent"]


def test_a_mail_in_doubt_about_an_invoice_paid_since_goes_back_to_a_person(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").server_says("dot", TAKEN_AND_SILENT)
    story.on("2026-03-13").expect_mail("FA-1", says=1)
    story.pay("FA-1", "100.00").resolve("send again").expect_no_mail()
    assert (story.mail_states(), story.state("FA-1")) == (["in_doubt"], "settled")


def test_an_invoice_in_doubt_is_never_dropped_from_its_mail(story: Story) -> None:
    """Its first mail may have arrived: dropped, its key would be free, and the level could leave twice."""
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.00", due="2026-03-10")
    story.server_says("dot", TAKEN_AND_SILENT)
    story.on("2026-03-13").expect_mail("FA-1", "FA-2", says=1)
    story.dispute("FA-2").resolve("send again").expect_no_mail()
    assert story.mail_states() == ["in_doubt"]
    story.end_dispute("FA-2")
    story.on("2026-03-16").expect_no_mail()
    story.resolve("arrived")
    assert (story.level("FA-1"), story.level("FA-2")) == (1, 1)


def test_a_mail_in_doubt_of_a_refused_run_is_a_persons_and_leaves_no_more_by_itself(story: Story) -> None:
    story.rule("Relance 1", report_to=["marie"])
    story.on("2026-03-02").read_all().issue("FA-1", "100.00", due="2026-03-10").server_says("dot", LOST)
    story.on("2026-03-13").read_all()
    run_id = int(str(story.ask("SELECT run_id FROM reminders")))
    story.hold(run=run_id).refuse(run_id).expect_no_mail()
    assert (story.mail_states(), story.state("FA-1")) == (["in_doubt"], "level_0_in_doubt")
    story.resolve("send again").rest().expect_no_mail()
    assert story.mail_states() == ["in_doubt"], "it goes back to who looks after doubts"
    story.resolve("lost").expect_report("a refusé la suite")
    assert (story.state("FA-1"), story.ask("SELECT state FROM runs WHERE id = %s", run_id)) == ("level_0", "closed")
