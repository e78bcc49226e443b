"""An account that may send so many a minute sends so many a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_an_account_with_six_a_minute_sends_one_every_ten_seconds(story: Story) -> None:
    story.account(per_minute=6)
    story.on("2026-03-02")
    for n in range(2, 5):
        story.customer(f"C-{n}", f"dunning@client{n}.example")
        story.issue(f"FA-{n}", "100.00", due="2026-03-10", customer=f"C-{n}")
    story.on("2026-03-13")
    assert [mail.level for mail in story.unread()] == [1]
    story.minutes_later(1 / 6)
    assert [mail.level for mail in story.unread()] == [1, 1]
    story.minutes_later(1 / 6)
    assert sorted(number for mail in story.unread() for number in mail.invoices) == ["FA-2", "FA-3", "FA-4"]
    story.read_all()
