"""A rule that sends the invoices' PDFs attaches the archived ones, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40 + b"\n.\r\n..\n%%EOF"


def test_the_archived_invoice_travels_byte_for_byte(story: Story) -> None:
    story.on("2026-03-02").rule("Relance 1", attach_invoices=True)
    story.issue("FA-1", "100.00", due="2026-03-10").attach("FA-1", PDF)
    story.issue("FA-2", "50.00", due="2026-03-10").attach("FA-2", PDF[:-1])
    story.on("2026-03-13").expect_mail("FA-1", "FA-2", level=1)
    assert story.newest().attachments == {"FA-1.pdf": PDF, "FA-2.pdf": PDF[:-1]}


def test_an_invoice_whose_original_is_missing_fails_alone(story: Story) -> None:
    story.on("2026-03-02").rule("Relance 1", attach_invoices=True, grouping="invoice")
    story.issue("FA-1", "100.00", due="2026-03-10")
    story.issue("FA-2", "50.00", due="2026-03-10").attach("FA-2", PDF)
    story.on("2026-03-13").expect_mail("FA-2", level=1)
    assert (story.state("FA-1"), sorted(story.mail_states())) == ("level_0", ["failed", "sent"])
    story.attach("FA-1", PDF).replay().expect_mail("FA-1", level=1)
