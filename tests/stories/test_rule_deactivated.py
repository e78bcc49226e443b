"""A rule is switched off while its mails leave: what its schedule queued waits until it is on again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_a_rule_switched_off_in_mid_run_holds_the_rest(story: Story) -> None:
    story.account(max_connections=1)
    story.on("2026-03-02")
    for n in range(2, 7):
        story.customer(f"C-{n}", f"dunning@client{n}.example")
        story.issue(f"FA-{n}", "100.00", due="2026-03-10", customer=f"C-{n}")
    story.when("data", then=lambda: story.deactivate("Relance 1"), after=2)
    story.on("2026-03-13")
    assert [mail.level for mail in story.unread()] == [1, 1]
    assert sorted(story.mail_states()) == ["due", "due", "due", "sent", "sent"]
    story.read_all().on("2026-03-14", at="10:00").expect_no_mail()
    story.on("2026-03-16").activate("Relance 1").rest()
    assert [mail.level for mail in story.unread()] == [1, 1, 1]
    story.read_all()


def test_what_a_person_asked_for_leaves_by_a_rule_that_is_off(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10").deactivate("Relance 1")
    story.on("2026-03-13").expect_no_mail()
    story.run("Relance 1").expect_mail("FA-1", level=1)


def test_mails_of_a_rule_held_for_a_day_are_cancelled_and_selected_again(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=lambda: story.hold(rule="Relance 1"))
    story.on("2026-03-13").expect_no_mail()
    assert story.state("FA-1") == "level_0_sending"
    story.minutes_later(24 * 60 + 1).expect_no_mail()
    assert (story.state("FA-1"), story.mail_states()) == ("level_0", ["cancelled"])
    story.release(rule="Relance 1").expect_no_mail()
    story.on("2026-03-16").expect_mail("FA-1", level=1)
