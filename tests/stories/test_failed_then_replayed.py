"""An address that does not exist: a task for the accountant, who corrects it and replays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


NOBODY = "550 5.1.1 no such user"


def test_a_refused_address_is_corrected_and_its_mail_replayed(story: Story) -> None:
    story.server_says("rcpt", NOBODY)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_no_mail()
    assert (story.level("FA-1"), story.state("FA-1"), story.tags("FA-1")) == (0, "level_0", set())
    assert story.mail_states() == ["failed"]
    assert story.ask("SELECT last_error FROM reminders") == f"rcpt: {NOBODY}"
    assert story.all("SELECT email FROM suppressed_addresses") == ["ana@dupont.example"]
    story.on("2026-03-16").expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-1": "suppressed"}
    story.customer("C-1", "bob@dupont.example")
    story.replay().expect_mail("FA-1", level=1, to="bob@dupont.example")
    story.replay().expect_no_mail()
    assert story.mail_states() == ["failed", "sent"]


def test_a_mail_refused_for_what_it_says_keeps_the_address(story: Story) -> None:
    story.server_says("dot", "554 5.7.1 not wanted")
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_no_mail()
    assert (story.mail_states(), story.all("SELECT email FROM suppressed_addresses")) == (["failed"], [])
    story.on("2026-03-14", at="12:00").expect_no_mail()
    story.on("2026-03-16").expect_mail("FA-1", level=1)


def test_one_refused_address_stops_no_other(story: Story) -> None:
    story.on("2026-03-02")
    for n in range(2, 7):
        story.customer(f"C-{n}", f"dunning@client{n}.example")
        story.issue(f"FA-{n}", "100.00", due="2026-03-10", customer=f"C-{n}")
    story.server_says("rcpt", NOBODY, to="dunning@client4.example")
    story.on("2026-03-13")
    for n in (2, 3, 5, 6):
        story.expect_mail(f"FA-{n}", level=1)
    story.expect_no_mail()
    assert story.level("FA-4") == 0
