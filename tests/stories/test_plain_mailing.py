"""A rule whose mails do not count: a first sending, say. It mails once and touches no level."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


TEXTS = {"fr": {"subject": "Votre facture", "header": "Bonjour,", "footer": "Cordialement"}}


def test_a_mail_that_does_not_count_leaves_once_and_touches_no_level(story: Story) -> None:
    story.tag("Envoyée")
    story.rule("Envoi", 'tag not in ("Envoyée")', counts=False, tags=["Envoyée"], texts=TEXTS)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-31")
    story.on("2026-03-03").expect_mail("FA-1")
    assert (story.level("FA-1"), story.state("FA-1"), story.tags("FA-1")) == (0, "level_0", {"Envoyée"})
    assert story.ask("SELECT last_reminded_on FROM invoices") is None
    story.on("2026-03-04").expect_no_mail()
    story.on("2026-04-03").expect_mail("FA-1", level=1)


def test_a_minimum_gap_spaces_mails_that_do_not_count(story: Story) -> None:
    story.rule("Relevé", "level = 0", counts=False, minimum_gap_days=7, texts=TEXTS)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-04-30")
    story.on("2026-03-03").expect_mail("FA-1")
    story.on("2026-03-09").expect_no_mail()
    story.on("2026-03-10").expect_mail("FA-1")


def test_an_invoice_may_be_in_a_plain_mail_and_a_reminder_of_one_day(story: Story) -> None:
    story.rule("Relevé", "days_overdue >= 3", counts=False, minimum_gap_days=30, texts=TEXTS)
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-10")
    story.on("2026-03-13")
    first, second = sorted(story.unread(), key=lambda mail: mail.level or 0)
    assert (first.level, second.level) == (None, 1)
    assert first.invoices == second.invoices == ("FA-1",)
    story.read_all()
