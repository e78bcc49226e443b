"""A payment comes while the mail is already at the server, but for its final dot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_a_part_payment_before_the_dot_changes_the_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.when("data", then=lambda: story.pay("FA-1", "40.00"))
    story.on("2026-03-18").expect_mail("FA-1", level=1, saying=("60,00 €", "déjà réglé 40,00 €"))
    assert story.all("SELECT step FROM attempts ORDER BY id") == ["withdrawn", "armed", "accepted"]


def test_a_credit_note_before_the_dot_changes_the_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.when("rcpt", then=lambda: story.credit("FA-1", "10.00"))
    story.on("2026-03-18").expect_mail("FA-1", level=1, saying=("90,00 €",))


def test_an_invoice_paid_before_the_dot_is_not_reminded(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.when("data", then=lambda: story.pay("FA-1", "100.00"))
    story.on("2026-03-18").expect_no_mail()
    assert (story.state("FA-1"), story.level("FA-1"), story.tags("FA-1")) == ("settled", 0, set())
    assert story.mail_states() == ["cancelled"]


def test_a_payment_that_meets_the_dot_finds_the_reminder_sent(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.when("dot", then=lambda: story.pay("FA-1", "100.00"))
    story.on("2026-03-18").expect_mail("FA-1", level=1)
    assert (story.state("FA-1"), story.tags("FA-1")) == ("settled", {"Relance 1"})
    story.on("2026-03-30").expect_no_mail()
