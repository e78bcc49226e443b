"""What a run selects of one customer goes in one mail for each recipient and currency."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_several_invoices_of_a_customer_are_one_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.50", due="2026-03-09")
    story.issue("FA-3", "10.00", due="2026-03-12")
    story.on("2026-03-13").expect_mail("FA-1", "FA-2", level=1, saying=("150,50 €",))
    story.on("2026-03-16").expect_mail("FA-3", level=1)


def test_two_currencies_are_two_mails(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.issue("FA-2", "80.00", due="2026-03-10", currency="CHF")
    story.on("2026-03-13").expect_mail("FA-1", level=1, saying=("100,00 €",))
    story.expect_mail("FA-2", level=1, saying=("80,00 CHF",))


def test_an_invoice_paid_before_the_dot_is_taken_out_of_the_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.50", due="2026-03-10")
    story.when("data", then=lambda: story.pay("FA-2", "50.50"))
    story.on("2026-03-13").expect_mail("FA-1", level=1, saying=("Total à régler", "100,00 €"))
    assert (story.state("FA-2"), story.level("FA-2"), story.tags("FA-2")) == ("settled", 0, set())
    assert story.tags("FA-1") == {"Relance 1"}


def test_an_invoice_paid_while_its_mail_was_queued_is_taken_out_of_it(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.50", due="2026-03-10")
    story.hold(account="sortie")
    story.on("2026-03-13").expect_no_mail()
    story.pay("FA-2", "50.50")
    story.release(account="sortie").expect_mail("FA-1", level=1)


def test_a_rule_may_ask_for_one_mail_an_invoice(story: Story) -> None:
    story.on("2026-03-02").rule("Relance 1", grouping="invoice")
    story.issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.50", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1).expect_mail("FA-2", level=1)


def test_an_invoice_issued_after_the_run_is_not_in_its_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("mail", then=lambda: story.issue("FA-2", "50.50", due="2026-03-05"))
    story.on("2026-03-13").expect_mail("FA-1", level=1)
    story.on("2026-03-16").expect_mail("FA-2", level=1)
