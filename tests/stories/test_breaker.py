"""A server that takes no connections is left alone for a while, and tried by one mail before all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story

BROKEN = 1  # no mail server listens at port 1


def broken(story: Story, customers: int) -> Story:
    for number in range(customers):
        story.customer(f"K-{number}", f"k{number}@client.example")
    story.on("2026-03-02")
    for number in range(customers):
        story.issue(f"FA-{number}", "10.00", due="2026-03-10", customer=f"K-{number}")
    story.account(port=BROKEN)
    return story.on("2026-03-13").expect_no_mail()


def attempts(story: Story) -> int:
    return len(story.all("SELECT id FROM attempts"))


def test_after_five_failures_nothing_tries_until_one_mail_does(story: Story) -> None:
    broken(story, 8)
    first = attempts(story)
    assert 5 <= first <= 8
    assert story.mail_states() == ["due"] * 8
    story.minutes_later(0.5)
    assert attempts(story) == first, "left alone"
    story.minutes_later(6)
    assert attempts(story) == first + 1, "one probe, however many wait"
    story.minutes_later(1)
    assert attempts(story) == first + 1, "the second opening is longer"


def test_a_probe_that_gets_through_lets_all_others_leave(story: Story) -> None:
    broken(story, 7).account().minutes_later(6)
    story.minutes_later(6)
    assert story.mail_states() == ["sent"] * 7
    for number in range(7):
        story.expect_mail(f"FA-{number}", level=1)
    assert story.ask("SELECT opened_at IS NULL AND failures = 0 FROM account_breakers")


def test_a_person_may_let_mails_try_at_once(story: Story) -> None:
    broken(story, 6).account()
    story.release(account="sortie").minutes_later(1.5)
    for number in range(6):
        story.expect_mail(f"FA-{number}", level=1)


def test_another_account_is_not_kept_waiting(story: Story) -> None:
    broken(story, 6).account(name="autre")
    story.rule("À part", 'level = 0 and customer = "C-1"', account="autre", schedule_lines=[])
    story.issue("FA-99", "10.00", due="2026-03-01", customer="C-1").run("À part").expect_mail("FA-99", level=1)


def test_what_opened_and_closed_it_is_in_the_journal(story: Story) -> None:
    broken(story, 5).account()
    story.release(account="sortie").minutes_later(1.5).read_all()
    changes = story.all("SELECT change -> 'breaker_open_until' FROM journal WHERE change ? 'breaker_open_until'")
    assert [[bool(one) for one in change] for change in changes] == [[False, True], [True, False]]
