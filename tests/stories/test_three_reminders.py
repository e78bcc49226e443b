"""The tutorial's road: three reminders, each firmer, ten days apart, with their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_an_unpaid_invoice_is_reminded_three_times_and_no_more(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.on("2026-03-16").expect_no_mail()
    story.on("2026-03-18").expect_mail("FA-1", level=1, to="ana@dupont.example", saying=("FA-1", "100,00 €"))
    assert story.tags("FA-1") == {"Relance 1"}
    story.on("2026-03-27").expect_no_mail()
    story.on("2026-03-30").expect_mail("FA-1", level=2)
    assert story.tags("FA-1") == {"Relance 1", "Relance 2"}
    story.on("2026-04-09").expect_mail("FA-1", level=3)
    assert story.tags("FA-1") == {"Relance 1", "Relance 2", "Relance 3"}
    story.on("2026-06-01").expect_no_mail()
    assert story.why_not("FA-1", "Relance 3") == "filter"
    assert (story.state("FA-1"), story.ask("SELECT last_reminded_on::text FROM invoices")) == ("level_3", "2026-04-09")


def test_the_second_mail_answers_the_first(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1)
    first = story.newest().message_id
    story.on("2026-03-23").expect_mail("FA-1", level=2)
    assert first in story.sink.kept()[-1].decode()


def test_a_payment_stops_the_second_reminder(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-15")
    story.on("2026-03-18").expect_mail("FA-1", level=1)
    story.on("2026-03-20").pay("FA-1", "100.00")
    story.on("2026-03-30").expect_no_mail()
    assert story.state("FA-1") == "settled"
    assert story.why_not("FA-1", "Relance 2") == "paid"
