"""A mail that reached nobody is no reminder: nothing firmer follows there until somebody has seen to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.bounces import read
from operations.customers import save_contact
from operations.explain import explain
from operations.lookup import find_invoice
from operations.tasks import TaskLine, finish, listed
from store.connection import connect
from tests.returned import answer, bounce, complaint, full

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stories.telling import Story

ANA, BEN, MARIE = "ana@dupont.example", "ben@dupont.example", "user:marie"


class Postbox:
    """The maildir of the account's bounces."""

    def __init__(self, folder: Path, story: Story) -> None:
        self._folder = folder
        self._story = story
        self._delivered = 0
        for name in ("new", "cur", "tmp"):
            (folder / name).mkdir(parents=True)
        story.account(mailbox={"maildir": str(folder)})

    def comes(self, content: bytes) -> None:
        """A mail is delivered, and read."""
        self._delivered += 1
        (self._folder / "new" / f"{self._delivered}.relay").write_bytes(content)
        with connect(self._story.url) as conn:
            (done,) = read(conn, by="system", instance="")
        assert done.look is not None
        assert (done.look.mails, done.look.failed) == (1, 0)


@pytest.fixture
def postbox(story: Story, tmp_path: Path) -> Postbox:
    """FA-1 had its first reminder on a Friday, to Ana."""
    box = Postbox(tmp_path / "retours", story)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13").expect_mail("FA-1", level=1, to=ANA)
    return box


def tasks(story: Story) -> list[TaskLine]:
    with connect(story.url) as conn:
        return listed(conn)


def new_address(story: Story, email: str = "ana.durand@dupont.example") -> str:
    story.customer("C-1", email)
    return email


def test_nothing_firmer_follows_a_mail_that_bounced_until_the_address_changes(story: Story, postbox: Postbox) -> None:
    postbox.comes(bounce(story.newest().message_id, ANA))
    (line,) = tasks(story)
    assert (line.task.kind, line.task.customer, line.task.invoices) == ("undelivered", "C-1", ["FA-1"])
    story.on("2026-03-23").expect_no_mail()
    assert story.verdicts("Relance 2") == {"FA-1": "undelivered"}
    with connect(story.url) as conn:
        told = explain(conn, find_invoice(conn, "FA-1"), by="system", rule="Relance 2")
    assert (told.rules[0].reason, told.rules[0].detail) == ("undelivered", f"task {line.task.id}")
    assert [one.kind for mail in told.reminders for one in told.feedback[mail.id]] == ["hard"]
    new = new_address(story)
    story.on("2026-03-24").expect_mail("FA-1", level=2, to=new)


def test_the_same_reminder_leaves_anew_where_somebody_wants_it(story: Story, postbox: Postbox) -> None:
    postbox.comes(bounce(story.newest().message_id, ANA))
    (line,) = tasks(story)
    new = new_address(story)
    with connect(story.url) as conn:
        done = finish(conn, line.task.id, because="new address by phone", again=True, by=MARIE)
    assert (done.changed, done.again) == (True, ("FA-1",))
    assert tasks(story) == []
    story.on("2026-03-16").expect_mail("FA-1", level=1, to=new)
    story.on("2026-03-25").expect_no_mail()
    story.on("2026-03-26").expect_mail("FA-1", level=2, to=new)


def test_a_task_that_is_done_lets_rules_go_on_with_what_the_address_says(story: Story, postbox: Postbox) -> None:
    postbox.comes(bounce(story.newest().message_id, ANA))
    (line,) = tasks(story)
    with connect(story.url) as conn:
        finish(conn, line.task.id, because="rang them up", by=MARIE)
    story.on("2026-03-23").expect_no_mail()
    assert story.why_not("FA-1", "Relance 2") == "suppressed"


def test_the_chain_s_next_contact_is_offered_or_reminded_as_the_company_wants(story: Story, postbox: Postbox) -> None:
    with connect(story.url) as conn:
        save_contact(conn, customer="C-1", name="Ben", email=BEN, roles=["billing"], by=MARIE, today=story.today)
    first = story.newest().message_id
    story.issue("FA-2", "50.00", due="2026-03-14")
    postbox.comes(bounce(first, ANA))
    (line,) = tasks(story)
    assert line.offered is not None
    assert (line.offered.contact.email, line.offered.link) == (BEN, "customer's other contact")
    story.on("2026-03-17").expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-2": "suppressed"}
    story.company(after_bounce="next_contact")
    story.on("2026-03-18").expect_mail("FA-2", level=1, to=BEN)
    story.on("2026-03-23").expect_mail("FA-1", level=2, to=BEN)


def test_the_next_contact_gets_the_very_reminder_that_bounced(story: Story, postbox: Postbox) -> None:
    story.company(after_bounce="next_contact", min_days_between_mails=7)
    with connect(story.url) as conn:
        save_contact(conn, customer="C-1", name="Ben", email=BEN, roles=["billing"], by=MARIE, today=story.today)
    postbox.comes(bounce(story.newest().message_id, ANA))
    story.on("2026-03-16").expect_mail("FA-1", level=1, to=BEN)
    story.on("2026-03-26").expect_mail("FA-1", level=2, to=BEN)


def test_a_second_reminder_that_bounces_is_made_again_as_the_second(story: Story, postbox: Postbox) -> None:
    story.on("2026-03-23").expect_mail("FA-1", level=2, to=ANA)
    story.company(after_bounce="next_contact")
    with connect(story.url) as conn:
        save_contact(conn, customer="C-1", name="Ben", email=BEN, roles=["billing"], by=MARIE, today=story.today)
    postbox.comes(bounce(story.newest().message_id, ANA))
    assert story.level("FA-1") == 1
    assert str(story.ask("SELECT last_reminded_on FROM invoices WHERE number = 'FA-1'")) == "2026-03-13"
    story.on("2026-03-24").expect_mail("FA-1", level=2, to=BEN)
    story.on("2026-04-03").expect_mail("FA-1", level=3, to=BEN)


def test_a_full_mailbox_an_absence_and_an_answer_change_nothing(story: Story, postbox: Postbox) -> None:
    sent = story.newest().message_id
    postbox.comes(full(sent, ANA))
    postbox.comes(answer(sent, ANA, automatic=True))
    postbox.comes(answer(sent, ANA))
    story.on("2026-03-23").expect_mail("FA-1", level=2, to=ANA)
    assert tasks(story) == []


def test_whoever_complained_gets_no_more_mail(story: Story, postbox: Postbox) -> None:
    postbox.comes(complaint(story.newest().message_id))
    story.on("2026-03-23").expect_no_mail()
    assert story.verdicts("Relance 2") == {"FA-1": "suppressed"}
    assert [line.task.kind for line in tasks(story)] == ["complaint"]


def test_a_stranger_s_reports_silence_nobody(story: Story, postbox: Postbox) -> None:
    number, _, rest = story.newest().message_id.partition(".")
    for forged in (f"{number}.{'0' * 20}@{rest.partition('@')[2]}", "<x@evil.example>"):
        postbox.comes(bounce(forged, ANA))
        postbox.comes(complaint(forged, ANA))
    story.on("2026-03-23").expect_mail("FA-1", level=2, to=ANA)


def test_a_bounce_that_comes_while_the_next_mail_is_uploaded_keeps_that_back(story: Story, postbox: Postbox) -> None:
    first = story.newest().message_id
    story.when("data", then=lambda: postbox.comes(bounce(first, ANA)))
    story.on("2026-03-23").expect_no_mail()
    assert story.mail_states() == ["sent", "cancelled"]
    assert story.ask("SELECT problem FROM reminders WHERE state = 'cancelled'") == "undelivered"
    assert story.level("FA-1") == 1
