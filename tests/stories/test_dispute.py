"""The customer contests an invoice: nothing leaves until the dispute ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_a_disputed_invoice_waits_for_the_end_of_its_dispute(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.on("2026-03-16").dispute("FA-1")
    story.on("2026-03-18").expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-1": "disputed"}
    story.on("2026-03-24").end_dispute("FA-1")
    story.on("2026-03-25").expect_mail("FA-1", level=1)


def test_a_dispute_before_the_dot_keeps_the_mail_back(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.when("data", then=lambda: story.dispute("FA-1"))
    story.on("2026-03-18").expect_no_mail()
    assert (story.state("FA-1"), story.mail_states()) == ("level_0", ["cancelled"])
    story.on("2026-03-19").end_dispute("FA-1")
    story.on("2026-03-20").expect_mail("FA-1", level=1)


def test_a_dispute_between_two_levels_loses_none(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1)
    story.on("2026-03-16").dispute("FA-1")
    story.on("2026-03-30").expect_no_mail()
    story.end_dispute("FA-1")
    story.on("2026-03-31").expect_mail("FA-1", level=2)
