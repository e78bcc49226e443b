"""What rules would send in the days to come: on the calendar, by the decision, through the send window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from workflow.facts import Contact, Pause
from workflow.filter_text import parse_text
from workflow.imaginary import plain_invoice
from workflow.rules import Rule
from workflow.simulation import simulate
from workflow.windows import EVERY_DAY, SendWindow

if TYPE_CHECKING:
    from workflow.facts import InvoiceFacts
    from workflow.simulation import Sent

PARIS = ZoneInfo("Europe/Paris")
WINDOW = SendWindow(zone=PARIS, country="FR")
TUESDAY = date(2026, 11, 24)
START = datetime(2026, 11, 24, 6, tzinfo=UTC)
INVOICE = plain_invoice("NORD", TUESDAY)


def rule(title: str, filter_: str, *lines: str, **changes: Any) -> Rule:  # noqa: ANN401 - as Rule takes them
    return Rule(title=title, filter=parse_text(filter_), texts={}, schedule_lines=lines or ("0 9 * * 1-5",), **changes)


RULES = (
    rule("Relance 1", "level = 0 and days_overdue >= 5", tags=("R1",)),
    rule("Relance 2", "level = 1 and days_since_reminder >= 8", tags=("R2",)),
    rule("Relance 3", "level = 2 and days_since_reminder >= 10", tags=("R3",)),
)


def sent(
    *rules: Rule, invoices: tuple[InvoiceFacts, ...] = (INVOICE,), days: int = 90, window: SendWindow = WINDOW
) -> list[Sent]:
    return list(simulate(invoices, rules, window, after=START, until=START + timedelta(days=days)))


def days(mails: list[Sent]) -> list[tuple[str, str]]:
    return [(mail.rule.title, mail.day.isoformat()) for mail in mails]


def test_an_unpaid_invoice_gets_its_three_reminders_on_working_days() -> None:
    mails = sent(*RULES)
    assert days(mails) == [("Relance 1", "2026-11-30"), ("Relance 2", "2026-12-08"), ("Relance 3", "2026-12-18")]
    assert [mail.invoices[0].level for mail in mails] == [1, 2, 3]
    assert mails[-1].invoices[0].tags == {"R1", "R2", "R3"}
    assert mails[-1].invoices[0].last_reminded_on == date(2026, 12, 18)


def test_what_is_due_outside_the_window_leaves_when_it_opens_and_counts_from_that_day() -> None:
    (mail,) = sent(rule("Samedi", "level = 0 and days_overdue >= 1", "0 10 * * 6"), days=8)
    assert mail.due_at.astimezone(PARIS) == datetime(2026, 11, 28, 10, tzinfo=PARIS)
    assert mail.sent_at.astimezone(PARIS) == datetime(2026, 11, 30, 8, tzinfo=PARIS)
    assert mail.invoices[0].last_reminded_on == mail.day == date(2026, 11, 30)


def test_what_waits_for_the_window_is_taken_by_no_other_rule() -> None:
    both = [rule(f"R{n}", "level = 0 and days_overdue >= 1", "0 10 * * 6,7") for n in (1, 2)]
    assert days(sent(*both, days=8)) == [("R1", "2026-11-30")]


def test_what_is_due_no_longer_when_its_mail_leaves_is_let_go_and_taken_again() -> None:
    friday_night = rule("R", "level = 0 and days_overdue = 4", "0 20 * * 6", "0 9 * * 1-5")
    assert sent(friday_night, days=30) == []
    again = rule("R", "level = 0 and (days_overdue = 4 or days_overdue = 7)", "0 20 * * 6", "0 9 * * 1-5")
    assert days(sent(again, days=30)) == [("R", "2026-12-01")]


def test_a_rule_without_a_schedule_sends_nothing() -> None:
    by_hand = replace(RULES[0], schedule_lines=())
    assert sent(by_hand) == []


def test_a_rule_of_every_minute_is_asked_again_once_something_moved() -> None:
    hurried = [rule(f"R{level}", f"level = {level}", "* * * * *") for level in range(3)]
    mails = sent(*hurried, days=10)
    assert days(mails) == [("R0", "2026-11-25"), ("R1", "2026-11-26"), ("R2", "2026-11-27")]
    assert {mail.sent_at.astimezone(PARIS).time() for mail in mails} == {time(8)}


def test_a_mail_that_frees_another_does_so_the_same_day_where_the_schedule_allows() -> None:
    follow = rule("Envoi", 'tag in ("R1")', "*/10 8-18 * * *", counts=False, minimum_gap_days=400)
    mails = sent(RULES[0], follow, days=20)
    assert days(mails) == [("Relance 1", "2026-11-30"), ("Envoi", "2026-11-30")]
    assert mails[1].due_at.astimezone(PARIS).time() == time(9, 10)
    assert mails[1].invoices[0].level == 1, "it does not count"


def test_a_tag_that_a_waiting_mail_will_put_on_counts_at_once() -> None:
    waits = rule("R1", "level = 0 and days_overdue >= 1", "0 20 * * 6", tags=("R1",))
    follow = rule("Envoi", 'tag in ("R1")', "*/10 19-21 * * 6", counts=False, minimum_gap_days=400)
    mails = sent(waits, follow, days=8)
    assert [f"{mail.due_at.astimezone(PARIS):%a %H:%M}" for mail in mails] == ["Sat 20:00", "Sat 20:10"]
    assert {mail.day.isoformat() for mail in mails} == {"2026-11-30"}


def test_a_rule_that_does_not_count_keeps_its_own_gap() -> None:
    weekly = rule("Envoi", "", "0 9 * * *", counts=False, minimum_gap_days=7)
    assert [mail.day.isoformat() for mail in sent(weekly, days=20)] == ["2026-11-24", "2026-12-01", "2026-12-08"]


def test_a_pause_and_a_dispute_are_kept_to() -> None:
    paused = replace(INVOICE, pause=Pause(reason="vacances", until_on=date(2026, 12, 3)))
    assert days(sent(RULES[0], invoices=(paused,))) == [("Relance 1", "2026-12-04")]
    assert sent(*RULES, invoices=(replace(INVOICE, commercial_state="disputed"),)) == []


def test_a_customers_invoices_share_a_mail_and_what_covers_it_holds_it() -> None:
    other = replace(INVOICE, id=2, number="F2", balance=Decimal(50))
    (mail,) = sent(RULES[0], invoices=(INVOICE, other))
    assert [one.number for one in mail.invoices] == ["F", "F2"]
    covered = replace(INVOICE.customer, unallocated={"EUR": Decimal(150)})
    assert sent(RULES[0], invoices=(replace(INVOICE, customer=covered), replace(other, customer=covered))) == []


def test_the_higher_level_goes_first_and_the_gap_between_two_mails_holds_the_other_back() -> None:
    customer = replace(INVOICE.customer, min_days_between_mails=3)
    first = replace(INVOICE, customer=customer, due_on=date(2026, 11, 1))
    second = replace(first, id=2, number="F2", state="level_1", level=1, last_reminded_on=date(2026, 11, 3))
    mails = sent(*RULES, invoices=(first, second), days=5)
    assert [(mail.rule.title, mail.day.isoformat(), mail.invoices[0].number) for mail in mails] == [
        ("Relance 2", "2026-11-24", "F2"),
        ("Relance 1", "2026-11-27", "F"),
    ]


def test_two_recipients_of_one_run_get_their_mails_whatever_the_gap() -> None:
    customer = replace(INVOICE.customer, min_days_between_mails=3)
    one = replace(INVOICE, customer=customer, due_on=date(2026, 11, 1))
    ana = Contact(id=7, name="Ana", email="ana@client.example")
    other = replace(one, id=2, number="F2", interlocutors={"billing": ana})
    mails = sent(RULES[0], invoices=(one, other), days=1)
    assert [mail.invoices[0].number for mail in mails] == ["F", "F2"]


def test_a_tag_of_a_category_that_allows_one_takes_the_other_off() -> None:
    replaced = {"R1": {"R2", "R3"}, "R2": {"R1", "R3"}, "R3": {"R1", "R2"}}
    mails = list(simulate([INVOICE], RULES, WINDOW, after=START, until=START + timedelta(days=60), replaced=replaced))
    assert [mail.invoices[0].tags for mail in mails] == [{"R1"}, {"R2"}, {"R3"}]


def test_nothing_leaves_after_the_end_even_if_it_was_due_before() -> None:
    always = SendWindow(zone=PARIS, country=None, weekdays=EVERY_DAY, opens=time(0), closes=None)
    due = rule("R", "level = 0 and days_overdue >= 1", "0 20 * * 5")
    until = datetime(2026, 11, 27, 23, tzinfo=PARIS)
    assert list(simulate([INVOICE], [due], WINDOW, after=START, until=until)) == []
    assert len(list(simulate([INVOICE], [due], always, after=START, until=until))) == 1
