"""One switch stops all mail, the one at the server's door included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_nothing_leaves_while_all_mail_is_stopped(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=story.stop)
    story.on("2026-03-13").expect_no_mail()
    assert (story.state("FA-1"), story.mail_states()) == ("level_0_sending", ["due"])
    story.on("2026-03-16").expect_no_mail()
    story.resume().expect_mail("FA-1", level=1)


def test_an_account_held_at_the_last_moment_keeps_its_mail(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=lambda: story.hold(account="sortie"))
    story.on("2026-03-13").expect_no_mail()
    story.release(account="sortie").expect_mail("FA-1", level=1)


def test_a_customer_or_invoice_held_at_the_last_moment_is_taken_out(story: Story) -> None:
    story.customer("C-2", "bob@martin.example")
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").issue("FA-2", "50.00", due="2026-03-10")
    story.issue("FA-3", "10.00", due="2026-03-10", customer="C-2")
    story.when("data", then=lambda: story.hold(company="NORD", invoice="FA-2"), to="ana@dupont.example")
    story.when("data", then=lambda: story.hold(customer="C-2"), to="bob@martin.example")
    story.on("2026-03-13").expect_mail("FA-1", level=1).expect_no_mail()
    assert (story.level("FA-2"), story.level("FA-3")) == (0, 0)
