"""A pause ends by itself; a promise to pay that is not kept is broken the day after."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_a_paused_invoice_is_reminded_when_its_pause_has_ended(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-12").pause("FA-1", until="2026-03-17")
    story.on("2026-03-13").expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-1": "paused"}
    story.on("2026-03-17").expect_no_mail()
    story.on("2026-03-18").expect_mail("FA-1", level=1)


def test_a_broken_promise_resumes_by_itself(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1)
    story.on("2026-03-20").promise("FA-1", paid_on="2026-03-25")
    story.on("2026-03-24").expect_no_mail()
    assert story.why_not("FA-1", "Relance 2") == "promised"
    story.on("2026-03-25").expect_no_mail()
    story.on("2026-03-26").expect_mail("FA-1", level=2)


def test_a_promise_made_before_the_dot_keeps_the_mail_back(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=lambda: story.promise("FA-1", paid_on="2026-03-18"))
    story.on("2026-03-13").expect_no_mail()
    assert story.mail_states() == ["cancelled"]
    story.on("2026-03-19").expect_mail("FA-1", level=1)
