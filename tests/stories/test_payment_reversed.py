"""The bank sends a payment back: the invoice is open again, in a new cycle, and its past stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_an_invoice_whose_payment_is_reversed_is_reminded_again(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1)
    story.on("2026-03-16").pay("FA-1", "100.00", reference="VIR-77")
    story.on("2026-03-24").expect_no_mail()
    story.reverse("VIR-77")
    assert (story.state("FA-1"), story.ask("SELECT cycle FROM invoices")) == ("level_1", 2)
    story.on("2026-03-25").expect_mail("FA-1", level=2, saying=("100,00 €",))
    assert story.tags("FA-1") == {"Relance 1", "Relance 2"}
    accepted = story.all(
        "SELECT level || '/' || cycle FROM reminder_invoices WHERE outcome = 'accepted' ORDER BY reminder_id"
    )
    assert accepted == ["0/1", "1/2"]


def test_a_level_may_leave_once_more_in_a_new_cycle(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1)
    story.correct("FA-1", level=0)
    story.on("2026-03-16").expect_mail("FA-1", level=1)
    assert story.all("SELECT cycle FROM reminder_invoices ORDER BY reminder_id") == [1, 2]
