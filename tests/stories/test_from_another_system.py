"""Invoices come from another system: levels and dates are set in a batch, and the cycle goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_the_cycle_goes_on_from_the_level_that_was_set(story: Story) -> None:
    story.on("2026-03-02")
    for n in range(1, 5):
        story.issue(f"FA-{n}", "100.00", due="2026-01-15")
    story.correct("FA-2", level=1, last_reminded_on="2026-02-20")
    story.correct("FA-3", level=2, last_reminded_on="2026-02-20")
    story.correct("FA-4", level=3, last_reminded_on="2026-02-20")
    story.on("2026-03-03").expect_mail("FA-1", level=1).expect_mail("FA-2", level=2).expect_mail("FA-3", level=3)
    story.expect_no_mail()
