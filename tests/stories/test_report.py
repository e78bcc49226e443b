"""Who is to know gets the run's report by mail, once, and also for a run that sent nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_the_report_says_what_the_run_did(story: Story) -> None:
    story.rule("Relance 1", report_to=["marie"])
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.00", due="2026-03-10")
    story.read_all().dispute("FA-2")
    story.on("2026-03-13").expect_mail("FA-1", level=1).expect_report("Relance 1", "100,00")
    assert "Relance 1" in story.newest().subject


def test_a_run_that_sent_nothing_is_reported_too(story: Story) -> None:
    story.rule("Relance 2", report_to=["marie"])
    story.on("2026-03-13").expect_report("Relance 2")


def test_a_rule_that_may_not_run_on_a_test_instance_says_so(story: Story) -> None:
    story.rule("Relance 1", on_test_instance=False, report_to=["marie"])
    story.on("2026-03-13").expect_report("test")
    assert story.ask("SELECT state FROM runs ORDER BY rule_id LIMIT 1") == "refused"
