"""The server asks for patience: the mail waits a minute, then longer, and leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def wait_s(story: Story) -> float:
    return float(str(story.ask("SELECT extract(epoch FROM not_before - clock_timestamp()) FROM reminders")))


def test_a_mail_deferred_by_the_server_leaves_later(story: Story) -> None:
    story.server_says("rcpt", "451 4.7.1 greylisted").server_says("dot", "452 4.3.1 disk full")
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_no_mail()
    assert (story.state("FA-1"), story.mail_states()) == ("level_0_sending", ["due"])
    assert 30 < wait_s(story) <= 60
    story.minutes_later(1).expect_no_mail()
    assert 240 < wait_s(story) <= 300
    story.minutes_later(4).expect_no_mail()
    story.minutes_later(1).expect_mail("FA-1", level=1)
    assert story.all("SELECT step FROM attempts ORDER BY id") == ["deferred", "armed", "deferred", "armed", "accepted"]


def test_a_mail_deferred_for_five_days_fails_and_is_selected_again(story: Story) -> None:
    story.server_says("rcpt", "451 4.7.1 later").server_says("rcpt", "451 4.7.1 later")
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_no_mail()
    story.minutes_later(5 * 24 * 60 + 1).expect_no_mail()
    assert (story.state("FA-1"), story.ask("SELECT problem FROM reminders")) == ("level_0", "expired")
    story.on("2026-03-18").expect_mail("FA-1", level=1)


def test_an_invoice_paid_while_its_mail_was_deferred_is_not_reminded(story: Story) -> None:
    story.server_says("rcpt", "451 4.7.1 later")
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").pay("FA-1", "100.00").minutes_later(2).expect_no_mail()
    assert story.mail_states() == ["cancelled"]
