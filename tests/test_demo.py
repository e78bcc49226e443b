"""The demo: one story a seed, in servers of its own, into a sink of its own."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from email.parser import BytesParser
from email.policy import default
from functools import partial
from typing import TYPE_CHECKING

import pytest

from operations.demo.company import NotTheSink, open_company, require_sink_only
from operations.demo.pdf import page
from operations.demo.plan import plan
from operations.demo.trade import FIRST_DAY, LAST_DAY, due_day, payment
from operations.status import status
from scripts import demo_summary, printing
from scripts.demo import DemoBusy, demos_servers, live_through
from scripts.embedded import throwaway
from scripts.sink import read_journal
from store.connection import connect
from store.demo import NotTheDemos, make_anew
from tests.trade import open_account, open_trade
from workers.settings import Settings
from workflow.decision import REASONS

if TYPE_CHECKING:
    from pathlib import Path

    from operations.demo.trade import Invoice
    from store.connection import Connection


@pytest.fixture
def invoice() -> Invoice:
    """Due on 31 October, paid four days after the first reminder."""
    one = next(one for one in plan(1).invoices if one.part is None)
    return replace(one, total=Decimal("100.00"), due_on=date(2026, 10, 31), persuasion=1, after_days=4)


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    assert plan(7) == plan(7)
    assert plan(7).invoices != plan(8).invoices


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_has_all_the_cast_whatever_the_seed(seed: int) -> None:
    made = plan(seed)
    assert (len(made.customers), len(made.invoices)) == (120, 1000)
    assert {customer.currency for customer in made.customers} == {"EUR", "GBP", "USD"}
    assert sum(not (customer.people or customer.email) for customer in made.customers) == 3
    assert sum(one.due_on is None for one in made.invoices) == 4
    assert sum(one.factored for one in made.invoices) == 1
    told = Counter(event.what for events in made.events.values() for event in events)
    assert set(told) == {"dispute", "end_dispute", "promise", "pause", "hold", "cancel", "pay", "reverse"}
    assert all(FIRST_DAY <= day <= LAST_DAY and day.isoweekday() <= 5 for day in made.events)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_in_the_demo_has_an_address_that_could_exist(seed: int) -> None:
    for customer in plan(seed).customers:
        for address in (customer.email, *(person.email for person in customer.people)):
            assert address is None or re.fullmatch(r"[a-z0-9-]+@[a-z0-9-]+\.example", address)


def test_end_of_month_terms_count_the_days_first() -> None:
    assert due_day(date(2026, 7, 20), 45, end_of_month=True) == date(2026, 9, 30)
    assert due_day(date(2026, 7, 20), 45, end_of_month=False) == date(2026, 9, 3)


def test_a_customer_who_waits_for_a_reminder_pays_some_days_after_it(invoice: Invoice) -> None:
    asked = partial(payment, invoice, balance=invoice.total, last_reminded_on=date(2026, 11, 5))
    assert asked(level=0, today=date(2026, 11, 20)) is None
    assert asked(level=1, today=date(2026, 11, 8)) is None
    assert asked(level=1, today=date(2026, 11, 9)) == (Decimal("100.00"), date(2026, 11, 9))


def test_who_pays_in_parts_pays_the_rest_two_weeks_later(invoice: Invoice) -> None:
    parted = replace(invoice, persuasion=0, after_days=-1, part=Decimal("40.00"))
    asked = partial(payment, parted, level=0, last_reminded_on=None)
    assert asked(balance=parted.total, today=date(2026, 11, 1)) == (Decimal("40.00"), date(2026, 10, 30))
    assert asked(balance=Decimal("60.00"), today=date(2026, 11, 12)) is None
    assert asked(balance=Decimal("60.00"), today=date(2026, 11, 13)) == (Decimal("60.00"), date(2026, 11, 13))


def test_an_archived_pdf_finds_its_own_objects() -> None:
    made = page(["Facture (1)", "Échéance : 31/10/2026, 100 €"])
    (start,) = (int(place) for place in re.findall(rb"startxref\n(\d+)\n%%EOF\n$", made))
    assert made[start:].startswith(b"xref\n0 6\n")
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n ", made[start:])]
    assert [made[place:].split(b"\n", 1)[0] for place in places] == [b"%d 0 obj" % n for n in range(1, 6)]
    (length,) = (int(size) for size in re.findall(rb"/Length (\d+)", made))
    assert made.split(b"stream\n", 1)[1][length:].startswith(b"\nendstream")
    assert rb"(Facture \(1\)) Tj" in made


def test_an_account_that_leads_elsewhere_stops_the_demo(database: Connection) -> None:
    open_company(database, plan(1, invoices=50), port=2525)
    require_sink_only(database, port=2525)
    with pytest.raises(NotTheSink):
        require_sink_only(database, port=2526)
    open_account(database, "other", company="VERMEIL", host="127.0.0.1", port=2525, by="system")
    with pytest.raises(NotTheSink) as refused:
        require_sink_only(database, port=2525)
    assert refused.value.account == "other"


def test_a_database_that_the_demo_did_not_make_is_left_alone(database_url: str) -> None:
    with connect(database_url) as conn:
        open_trade(conn)
    with pytest.raises(NotTheDemos):
        make_anew(database_url)
    with connect(database_url) as conn:
        assert conn.execute("SELECT name FROM companies").fetchall() == [("Nord SAS",)]


def test_the_demos_own_database_is_made_anew(database_url: str) -> None:
    make_anew(database_url)
    with connect(database_url) as conn:
        conn.execute("CREATE TABLE companies (name text)")
        conn.execute("INSERT INTO companies VALUES ('Vermeil')")
    make_anew(database_url)
    with connect(database_url) as conn:
        assert conn.execute("SELECT to_regclass('companies')").fetchone() == (None,)


def test_the_demo_has_servers_of_its_own_and_one_demo_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://relance@192.0.2.1/production")
    monkeypatch.setenv("REDIS_URL", "redis://192.0.2.1")
    with throwaway() as private, demos_servers(private.folder) as settings:
        assert (settings.database_url, settings.redis_url) == (private.database_url, private.redis_url)
        with pytest.raises(DemoBusy), demos_servers(private.folder):
            pass


def test_six_weeks_leave_each_reminder_once_and_every_invoice_told(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []
    settings = Settings(database_url=database_url, redis_url=redis_url, connections=4)
    lived = live_through(
        settings,
        tmp_path,
        seed=3,
        invoices=150,
        progress=lambda text, _done, _total: steps.append(text),
        started=time.monotonic(),
    )
    told = demo_summary.count(lived)

    assert told["invoices"] == 150
    assert told["mails_duplicated"] == told["reminders_duplicated"] == 0
    assert told["mails_accepted"] == sum(told["mails_by_level"].values()) == told["mails_by_state"]["sent"] > 50
    assert told["mails_by_state"]["failed"] >= 1  # an address that its server knows no longer
    assert told["reports_accepted"] == 4 * 30  # three rules on thirty days, one of them reported to two users
    assert sum(told["by_level"].values()) == 150
    assert told["reminded"] + sum(told["not_reminded"].values()) == 150
    assert [told["tags"][f"Relance {level}"] for level in (1, 2, 3)] == [
        sum(n for level, n in told["by_level"].items() if int(level) >= least) for least in (1, 2, 3)
    ]
    assert {*told["not_reminded"], *told["held_back"]} <= set(REASONS)
    assert {"no_recipient", "excluded", "unallocated_credit", "customer_paused", "disputed"} <= set(told["held_back"])
    assert set(told["try"]) == {"reminded", "disputed", "without an address"}
    assert steps[1] == "12 October 2026"
    assert steps[-1] == "done"

    journal = list(read_journal(tmp_path / "journal.jsonl"))
    assert len(list((tmp_path / "mails").iterdir())) == len(journal)
    assert all(address.endswith(".example") for entry in journal for address in entry.to)
    for sample in told["samples"]:
        with open(sample["file"], "rb") as file:  # noqa: PTH123 - a path as JSON has it
            mail = BytesParser(policy=default).parse(file)
        assert mail["Subject"] == sample["subject"]
    with connect(database_url) as conn:
        now = status(conn, redis_url)
    assert [one.because for one in now.held if one.kind == "account"] == [
        "the demo is over and its mail sink is closed"
    ]
    assert now.reminders["in_doubt"] == now.reminders["due"] == 0

    printing.plain(told)
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "200")
    demo_summary.show(told)
    shown = capsys.readouterr()
    assert "0 by Message-ID, 0 by invoice, level and cycle" in shown.out
    assert f"--demo explain {told['try']['disputed']}" in shown.out
    assert max(len(line) for line in shown.out.splitlines()) <= 80
