"""Where payment data are old, nobody is warned a second time for what may have been paid: those reminders wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations.lookup import find_rule
from operations.preview import preview
from operations.status import status
from store.connection import connect

if TYPE_CHECKING:
    from tests.stories.telling import Story


@pytest.fixture
def tale(story: Story) -> Story:
    """FA-1 has had its first reminder on the 13th; its second is due on the 23rd. Payments may be a day old."""
    story.company(payments_fresh_hours=24)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    return story.on("2026-03-13").expect_mail("FA-1", level=1)


def test_a_second_reminder_waits_for_payment_data_and_leaves_when_they_come(tale: Story) -> None:
    tale.on("2026-03-23").expect_no_mail()
    assert tale.state("FA-1") == "level_1", "not even reserved"
    tale.heartbeat().rest().expect_mail("FA-1", level=2)


def test_who_has_paid_is_not_warned_once_the_payment_is_known(tale: Story) -> None:
    tale.on("2026-03-23").expect_no_mail()
    tale.pay("FA-1", "100.00").heartbeat().rest().expect_no_mail()
    assert tale.verdicts("Relance 2") == {"FA-1": "paid"}


def test_fresh_data_let_it_leave_at_once(tale: Story) -> None:
    tale.clock("2026-03-22", "18:00").heartbeat()
    tale.on("2026-03-23").expect_mail("FA-1", level=2)


def test_a_first_reminder_does_not_wait(tale: Story) -> None:
    tale.customer("C-2", "bob@martin.example").issue("FA-2", "50.00", due="2026-03-15", customer="C-2")
    tale.on("2026-03-23").expect_mail("FA-2", level=1)
    assert tale.level("FA-1") == 1


def test_a_rule_may_ask_for_fresh_data_for_its_first_reminder_too_or_for_none(tale: Story) -> None:
    tale.rule("Relance 1", needs_fresh_payments=True).rule("Relance 2", needs_fresh_payments=False)
    tale.customer("C-2", "bob@martin.example").issue("FA-2", "50.00", due="2026-03-15", customer="C-2")
    tale.on("2026-03-23").expect_mail("FA-1", level=2)
    assert tale.level("FA-2") == 0
    tale.heartbeat().rest().expect_mail("FA-2", level=1)


def test_a_mail_that_is_queued_when_the_data_grow_old_waits_too(tale: Story) -> None:
    tale.clock("2026-03-22", "18:00").heartbeat()
    tale.hold(account="sortie")
    tale.on("2026-03-23").clock("2026-03-24", "09:30").release(account="sortie").expect_no_mail()
    assert tale.mail_states()[-1] == "due"
    tale.heartbeat().rest().expect_mail("FA-1", level=2)


def test_a_mail_about_to_leave_stays_when_the_data_grow_old(tale: Story) -> None:
    tale.clock("2026-03-22", "18:00").heartbeat()
    tale.when("data", then=lambda: tale.clock("2026-03-24", "09:30"))
    tale.on("2026-03-23").expect_no_mail()
    tale.heartbeat().rest().expect_mail("FA-1", level=2)


def test_preview_explanation_and_status_agree_with_the_run(tale: Story) -> None:
    tale.on("2026-03-23").expect_no_mail()
    assert tale.why_not("FA-1", "Relance 2") == "stale_payments"
    with connect(tale.url) as conn:
        shown = preview(conn, find_rule(conn, "Relance 2"), by="system")
        assert shown.reasons == {"reminded": 0, "stale_payments": 1}
        assert any("wait for newer payment data" in note for note in shown.notes)
        assert set(status(conn, "redis://127.0.0.1:1/0").stale) == {"NORD"}
    tale.heartbeat()
    assert tale.why_not("FA-1", "Relance 2") == "reminded"


def test_a_company_that_says_nothing_waits_for_nothing(tale: Story) -> None:
    tale.company()
    tale.on("2026-03-23").expect_mail("FA-1", level=2)


def test_a_heartbeat_is_in_the_journal(tale: Story) -> None:
    tale.heartbeat()
    assert tale.all("SELECT actor FROM journal WHERE subject = 'company' AND change ? 'heard_at'") == ["user:marie"]
