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


def six_mails(story: Story) -> None:
    """Three to one provider, three to places of their own."""
    story.on("2026-03-02")
    for n in range(2, 8):
        story.customer(f"C-{n}", f"client{n}@boite.example" if n < 5 else f"dunning@client{n}.example")
        story.issue(f"FA-{n}", "100.00", due="2026-03-10", customer=f"C-{n}")


def to_the_provider(story: Story) -> int:
    return sum(mail.to[0].endswith("@boite.example") for mail in story.unread())


def test_one_domain_gets_its_mails_one_by_one_and_the_others_do_not_wait(story: Story) -> None:
    story.company(domain_per_minute=6)
    six_mails(story)
    story.on("2026-03-13")
    assert (len(story.unread()), to_the_provider(story)) == (4, 1)
    story.minutes_later(1 / 6)
    assert to_the_provider(story) == 2
    story.minutes_later(1 / 6)
    assert to_the_provider(story) == 3
    story.read_all()


def test_without_the_setting_all_leave_at_once(story: Story) -> None:
    six_mails(story)
    story.on("2026-03-13")
    assert len(story.unread()) == 6
    story.read_all()


def test_a_mail_that_waits_for_its_domain_leaves_the_accounts_turn_to_another(story: Story) -> None:
    story.company(domain_per_minute=6).account(per_minute=18)
    six_mails(story)
    story.on("2026-03-13")
    assert (len(story.unread()), to_the_provider(story)) == (3, 1), "three a ten seconds, one of them the provider's"
    story.minutes_later(1).minutes_later(1)
    assert len(story.unread()) == 6
    story.read_all()
