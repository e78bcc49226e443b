"""A preview is a run that sends nothing: the same rows, the same verdicts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from operations.holds import hold, stop
from operations.ledger import record_payment
from operations.lookup import Unknown, find_rule
from operations.preview import preview
from store import reports
from store.connection import connect
from store.runs import NONE_UNDATED
from tests.chasing import RULE, committed_chase, decided_run, one, open_chase
from tests.trade import TODAY, invoice

if TYPE_CHECKING:
    from store.connection import Connection


def test_one_customer_gets_one_mail_about_all_that_is_due(database: Connection) -> None:
    found = preview(database, open_chase(database), by="system")
    (mail,) = found.mails
    assert (mail.customer, mail.recipient, mail.link) == ("C-1", "ana@dupont.example", "preferred contact")
    assert [one.number for one in mail.invoices] == ["FA-1", "FA-2"]
    assert (mail.amount, mail.currency) == (Decimal("150.50"), "EUR")
    assert mail.invoices[0].days_overdue == 24


def test_whom_it_leaves_out_and_why(database: Connection) -> None:
    found = preview(database, open_chase(database), by="system")
    assert {one.invoice: one.reason for one in found.left_out} == {"FA-5": "disputed", "FA-6": "no_recipient"}
    assert found.reasons == {"reminded": 2, "disputed": 1, "no_recipient": 1}


def test_counts_of_all_are_the_filter_s(database: Connection) -> None:
    found = preview(database, open_chase(database), by="system", first=1)
    assert found.candidates == 4
    assert found.balances == {"EUR": Decimal("350.50")}
    assert found.decided == 2, "the first customer, whole"


def test_what_has_no_due_date_is_reported_though_the_filter_never_sees_it(database: Connection) -> None:
    rule = open_chase(database)
    assert preview(database, rule, by="system").undated == NONE_UNDATED
    for number in range(7):
        invoice(database, f"SD-{number}", due_on=None)
    database.execute("UPDATE invoices SET state = 'level_1' WHERE number = 'SD-6'")
    found = preview(database, rule, by="system")
    assert (found.candidates, found.undated.count) == (4, 6), "SD-6 is at another level"
    assert found.undated.first == ["SD-0", "SD-1", "SD-2", "SD-3", "SD-4"]


def test_a_run_reports_what_had_no_due_date_when_it_began(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        for number in range(7):
            invoice(conn, f"SD-{number}", due_on=None)
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        conn.execute("UPDATE invoices SET due_on = '2026-10-31'")
        (problem,) = (one for one in reports.summary(conn, run_id).problems if one.kind == "no_due_date")
    assert (problem.customer_number, problem.customer_name, problem.count) == ("NORD", "Nord SAS", 7)
    assert problem.invoices == ("SD-0", "SD-1", "SD-2", "SD-3", "SD-4")


def test_a_preview_of_another_day_decides_on_that_day(database: Connection) -> None:
    rule = open_chase(database)
    before = preview(database, rule, by="system", on=date(2026, 11, 10))
    assert before.candidates == 0
    later = preview(database, rule, by="system", on=date(2026, 12, 31))
    assert [one.number for one in later.mails[0].invoices] == ["FA-1", "FA-2", "FA-3"]


def test_a_preview_says_what_else_keeps_the_mails_back(database: Connection) -> None:
    rule = open_chase(database)
    hold(database, rule=RULE, because="new prices", by="user:marie")
    hold(database, account="sortie", because="moving", by="user:marie")
    stop(database, because="audit", by="user:marie")
    database.execute("UPDATE companies SET send_until = '09:00'")
    said = "; ".join(preview(database, find_rule(database, str(rule.id)), by="system").notes)
    for reason in ("new prices", "moving", "audit", "not active", "from 2026-11-25 08:00"):
        assert reason in said


def test_a_preview_changes_nothing(database: Connection) -> None:
    rule = open_chase(database)
    journaled = one(database, "SELECT count(*) FROM journal")
    preview(database, rule, by="system")
    assert one(database, "SELECT count(*) FROM journal") == journaled
    assert one(database, "SELECT current_setting('plan_cache_mode')") == "force_generic_plan"


def test_a_preview_gives_the_verdicts_of_the_run(database_url: str) -> None:
    rule = committed_chase(database_url)
    with connect(database_url) as conn:
        for number, customer in (("FA-7", "C-2"), ("FA-8", "C-2"), ("FA-9", "C-3")):
            invoice(conn, number, "75.00", customer=customer)
        hold(conn, company="NORD", invoice="FA-7", because="talks", by="user:marie")
        record_payment(
            conn, company="NORD", customer="C-2", amount="75.00", currency="EUR", received_on=TODAY,
            reference="ACOMPTE", by="user:marie",
        )  # fmt: skip
        found = preview(conn, rule, by="system")
    previewed = {one.invoice: (one.reason, one.detail) for one in found.left_out}
    previewed |= {one.number: ("reminded", "") for mail in found.mails for one in mail.invoices}
    run_id = decided_run(database_url, rule)
    with connect(database_url) as conn:
        decided = conn.execute(
            "SELECT i.number, c.reason, coalesce(c.detail, '') FROM candidates c JOIN invoices i ON i.id = c.invoice_id"
            " WHERE c.run_id = %s",
            [run_id],
        ).fetchall()
    assert previewed == {number: (reason, detail) for number, reason, detail in decided}
    assert previewed["FA-8"][0] == "unallocated_credit"
    assert len(previewed) == 7


@pytest.mark.parametrize("name", ["relance 1", "RELANCE 1", " Relance 1 "])
def test_a_rule_is_found_by_its_title_whatever_the_case(database: Connection, name: str) -> None:
    open_chase(database)
    assert find_rule(database, name).title == RULE


def test_an_unknown_rule_names_the_nearest(database: Connection) -> None:
    open_chase(database)
    with pytest.raises(Unknown, match="the nearest: Relance 1"):
        find_rule(database, "Relanse 1")
