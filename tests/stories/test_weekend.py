"""A company mails on its business days and hours: what comes due outside waits for the next open ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_what_is_due_on_a_saturday_leaves_on_monday_and_once(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-18")
    story.on("2026-03-21").expect_no_mail()
    assert (story.state("FA-1"), story.mail_states()) == ("level_0_sending", ["due"])
    story.on("2026-03-22").expect_no_mail()
    story.on("2026-03-23").expect_mail("FA-1", level=1)
    assert story.ask("SELECT last_reminded_on::text FROM invoices") == "2026-03-23"


def test_what_was_paid_over_the_weekend_is_not_reminded_on_monday(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-18")
    story.on("2026-03-21").expect_no_mail()
    story.on("2026-03-22").pay("FA-1", "100.00")
    story.on("2026-03-23").expect_no_mail()


def test_easter_monday_is_no_business_day_in_france(story: Story) -> None:
    story.on("2026-03-30").issue("FA-1", "100.00", due="2026-04-03")
    story.on("2026-04-06").expect_no_mail()
    story.on("2026-04-07").expect_mail("FA-1", level=1)


def test_a_run_by_hand_in_the_evening_mails_in_the_morning(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.deactivate("Relance 1").on("2026-03-16", at="19:00").run("Relance 1").expect_no_mail()
    story.on("2026-03-17", at="07:59").expect_no_mail()
    story.on("2026-03-17", at="08:00").expect_mail("FA-1", level=1)


def test_a_window_that_closes_before_the_dot_keeps_the_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.deactivate("Relance 1").on("2026-03-13", at="18:59")
    story.when("data", then=lambda: story.clock("2026-03-13", "19:00")).run("Relance 1").expect_no_mail()
    story.on("2026-03-16").expect_mail("FA-1", level=1)
