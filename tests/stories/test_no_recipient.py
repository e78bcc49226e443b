"""Nobody to write to is a reported problem, never a silent skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_an_invoice_without_an_address_is_reported(story: Story) -> None:
    story.rule("Relance 1", report_to=["marie"]).customer("C-2")
    story.on("2026-03-02").issue("FA-7", "100.00", due="2026-03-10", customer="C-2")
    story.read_all().on("2026-03-13").expect_report("FA-7", "Client C-2").expect_no_mail()
    assert story.verdicts("Relance 1") == {"FA-7": "no_recipient"}
    assert story.why_not("FA-7", "Relance 1") == "no_recipient"
    story.rule("Relance 1").customer("C-2", "compta@client2.example")
    story.on("2026-03-16").expect_mail("FA-7", level=1, to="compta@client2.example")


def test_an_invoice_without_a_due_date_is_never_chased(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due=None)
    story.on("2026-06-01").expect_no_mail()
    assert story.why_not("FA-1", "Relance 1") in {"filter", "no_due_date"}
