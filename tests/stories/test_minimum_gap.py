"""A company sets days between two mails to one customer: the higher level goes first, the other waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_of_two_levels_due_on_one_day_the_higher_leaves_and_the_lower_waits(story: Story) -> None:
    story.company(min_days_between_mails=3)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-02-27")
    story.on("2026-03-03").expect_mail("FA-1", level=1)
    story.issue("FA-2", "50.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=2).expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-2": "gap"}
    story.on("2026-03-15").expect_no_mail()
    story.on("2026-03-16").expect_mail("FA-2", level=1)


def test_without_a_gap_two_rules_of_one_day_send_two_mails(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-02-27")
    story.on("2026-03-03").expect_mail("FA-1", level=1)
    story.issue("FA-2", "50.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=2).expect_mail("FA-2", level=1)
