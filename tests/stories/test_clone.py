"""A copy of production knows that it is one: it mails nobody until it is adopted, and as a test only where asked."""

from __future__ import annotations

import email
from email import policy
from typing import TYPE_CHECKING

from operations import instance
from store.connection import connect

if TYPE_CHECKING:
    from tests.stories.telling import Story

MARIE = "user:marie"
TESTER = "essais@nord.example"


def redirect(story: Story, to: str | None) -> None:
    with connect(story.url) as conn:
        instance.make_test(conn, "", redirect_to=to, because="trying", by=MARIE)


def becomes_anothers(story: Story) -> None:
    """The database is restored elsewhere, or comes from elsewhere: this host does not belong to it."""
    with connect(story.url) as conn:
        conn.execute("UPDATE settings SET instance_id = gen_random_uuid(), instance_place = place()")


def becomes_ours(story: Story) -> None:
    with connect(story.url) as conn:
        conn.execute("UPDATE settings SET instance_id = NULL, instance_place = NULL")


def test_a_database_that_is_anothers_mails_nobody_and_goes_on_where_it_was(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    becomes_anothers(story)
    story.on("2026-03-13").expect_no_mail()
    assert story.ask("SELECT count(*) FROM reminders") == 0
    becomes_ours(story)
    story.rest().expect_mail("FA-1", level=1)


def test_a_mail_about_to_leave_stays_when_the_database_becomes_anothers(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=lambda: becomes_anothers(story))
    story.on("2026-03-13").expect_no_mail()
    assert story.mail_states() == ["due"]
    becomes_ours(story)
    story.rest().expect_mail("FA-1", level=1)


def test_all_mail_of_a_test_goes_to_one_address_and_says_for_whom_it_was(story: Story) -> None:
    story.rule("Relance 1", cc=["chef@nord.example"], bcc=["archive@nord.example"], report_to=["marie"])
    redirect(story, TESTER)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.expect_report("Relance 1", to=TESTER)
    story.on("2026-03-13").expect_report("Relance 1", to=TESTER)
    story.expect_mail("FA-1", level=1, to=TESTER)
    (raw,) = (each for each in story.sink.kept() if b"X-Relance-Reminder" in each)
    message = email.message_from_bytes(raw, policy=policy.default)
    assert message["X-Relance-Original-To"] == "ana@dupont.example, chef@nord.example, archive@nord.example"
    assert (message["Subject"], message["Cc"]) == ("[Test] Relance 1", None)
    stored = story.ask("SELECT subject FROM mails")
    assert stored == "[Test] Relance 1", "the stored letter says so"
    assert story.ask("SELECT recipient FROM reminders") == TESTER


def test_a_redirection_that_comes_at_the_last_moment_holds_for_the_mail_on_its_way(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.when("data", then=lambda: redirect(story, TESTER))
    story.on("2026-03-13").expect_mail("FA-1", level=1, to=TESTER)
