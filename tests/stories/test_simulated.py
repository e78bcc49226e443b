"""What a simulation says will leave is what leaves: the same days, levels and invoices, through the whole engine."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from store import companies, facts, rules, settings
from store.connection import connect
from tests.stories.telling import PARIS
from workflow.simulation import simulate

if TYPE_CHECKING:
    from tests.stories.telling import Story

FIRST = date(2026, 3, 2)
LAST = date(2026, 4, 4)


def test_a_month_happens_as_it_was_simulated(story: Story) -> None:
    story.company(min_days_between_mails=3)
    story.on(FIRST.isoformat(), at="08:30")
    story.issue("FA-1", "100.00", due="2026-03-02").issue("FA-2", "50.00", due="2026-03-11")
    with connect(story.url) as conn:
        (company,) = companies.companies(conn).values()
        asking = facts.Asking(company_id=company.id, today=FIRST, min_days_between_mails=company.min_days_between_mails)
        invoices = facts.load(conn, [row[0] for row in conn.execute("SELECT id FROM invoices")], asking)
        active = [saved.rule for saved in rules.saved(conn) if saved.active]
        now = settings.read(conn).business_now
    until = datetime(LAST.year, LAST.month, LAST.day, 23, tzinfo=PARIS)
    said = [
        (mail.day, mail.rule.level, one.number)
        for mail in simulate(invoices, active, company.window, after=now, until=until)
        for one in mail.invoices
    ]
    assert len(said) > 4
    day = FIRST
    while day <= LAST:
        story.on(day.isoformat()).read_all()
        day += timedelta(days=1)
    with connect(story.url) as conn:
        happened = conn.execute(
            "SELECT r.ended_on, ri.level, i.number FROM reminders r JOIN reminder_invoices ri ON ri.reminder_id = r.id"
            " JOIN invoices i ON i.id = ri.invoice_id WHERE r.state = 'sent' ORDER BY r.ended_on, r.id, i.number"
        ).fetchall()
    assert happened == said
