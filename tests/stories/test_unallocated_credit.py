"""Money that came and was allocated to no invoice yet: nobody is chased for what it would cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_credit_on_account_holds_what_it_would_cover(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.00", due="2026-03-10")
    story.on("2026-03-12").pay(None, "150.00", reference="VIR-9")
    story.on("2026-03-13").expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-1": "unallocated_credit", "FA-2": "unallocated_credit"}
    story.on("2026-03-16").reverse("VIR-9")
    story.on("2026-03-17").expect_mail("FA-1", "FA-2", level=1)


def test_credit_that_does_not_cover_it_holds_nothing(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").pay(None, "99.99")
    story.on("2026-03-13").expect_mail("FA-1", level=1)


def test_credit_that_comes_before_the_dot_holds_the_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=lambda: story.pay(None, "100.00"))
    story.on("2026-03-13").expect_no_mail()
    assert (story.mail_states(), story.level("FA-1")) == (["cancelled"], 0)
