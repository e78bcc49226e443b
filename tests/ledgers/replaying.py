"""A ledger goes through `relance import` and lives its months in a story, as its owner would have had them.

First the customers and their contacts; then, each morning on which something may happen, what was recorded and paid
since the last one, until yesterday evening; at half past nine in Paris, or in the afternoon for the other side of the
ocean, the rules have fired and what can leave has left.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from operations.companies import save_company
from scripts.main import cli
from store.connection import connect
from tests.ledgers.bills import DATA
from tests.ledgers.expected import CAUSES, LEVELS, Mailed, Reminder, expected
from tests.stories.staging import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.ledgers.bills import Ledger
    from tests.stories.telling import Story

# Nobody dies in a replay: whoever is slow on a busy machine is waited for.
PATIENT = replace(SETTINGS, lease_s=120, answer_s=60)
# The audit goes through each run's invoices once more: of months of large runs that would take minutes.
AUDITED_DAYS = 7
_HELD = """
SELECT id FROM runs WHERE state = 'due' AND held_because IS NOT NULL AND oversize IS NOT NULL ORDER BY level DESC, id
"""
# A busy machine took too long, or its mail server did: the mail tries again in minutes of machine time.
_PUT_OFF = """
SELECT count(*) FROM reminders
 WHERE open AND state = 'due' AND not_before > clock_timestamp() AND waits_for IS DISTINCT FROM 'window'
"""
_PATIENT_MINUTES = 600
_ZONES = {"FR": "Europe/Paris", "US": "America/New_York", "CA": "America/Toronto"}
# Nine o'clock has passed there, and business hours have not.
_LOOK_AT = {"FR": "09:30", "US": "16:00", "CA": "16:00"}


@dataclass(slots=True)
class Replay:
    """What came of it. `let_go`: runs that a person let go; `put_off`: mails that the machine was too slow for.

    `imports`: what the imports said, by kind.

    `wall_s`, `cpu_s`: of this process alone.
    """

    reminders: set[Reminder] = field(default_factory=set)
    mails: set[Mailed] = field(default_factory=set)
    let_go: int = 0
    put_off: int = 0
    imports: dict[str, Counter[str]] = field(default_factory=dict)
    days: int = 0
    wall_s: float = 0
    cpu_s: float = 0


def opening_day(ledger: Ledger) -> date:
    """The day before anything was recorded."""
    return min(bill.known_on for bill in ledger.bills) - timedelta(1)


def replay(story: Story, ledger: Ledger, folder: Path, *, eves: bool = False) -> Replay:
    """Live the ledger through, in a story that begins on its opening day; every mail counts as read.

    `eves`: each day before one on which something may happen is lived too, so that what leaves a day early shows.
    """
    wall, cpu = time.monotonic(), time.process_time()
    done = Replay()
    _set_up(story, ledger)
    desk = _Desk(story, ledger, folder, done.imports)
    desk.bring("customers", (bill.line for bill in ledger.bills))
    addresses = _addresses(ledger)
    desk.bring_contacts(addresses)
    at = max(_LOOK_AT[country] for country in ledger.countries.values())
    learnt = date.min
    busy = expected(ledger, CAUSES).busy
    for today in sorted(busy | {day - timedelta(1) for day in busy} if eves else busy):
        story.clock(today.isoformat(), "07:45")
        desk.bring("invoices", (bill.line for bill in ledger.bills if learnt <= bill.known_on < today))
        payments = (payment for bill in ledger.bills for payment in bill.payments)
        desk.bring("payments", (payment.line for payment in payments if learnt <= payment.on < today))
        learnt = today
        story.on(today.isoformat(), at)
        done.let_go += _let_go(story)
        done.put_off += _let_minutes_go(story)
        for mail in story.unread():
            assert mail.level in LEVELS, mail.subject
            mailed = Mailed(today, mail.level, addresses[mail.to[0]], frozenset(mail.invoices))
            assert mailed not in done.mails, f"twice: {mailed}"
            done.mails.add(mailed)
            done.reminders |= {Reminder(number, mail.level, today) for number in mail.invoices}
        story.read_all()
        done.days += 1
    done.wall_s, done.cpu_s = time.monotonic() - wall, time.process_time() - cpu
    return done


def _let_go(story: Story) -> int:
    """A person looks at the runs that wait for their size, finds them right, and lets them go."""
    waiting = story.all(_HELD)
    for run_id in waiting:
        story.release(run=run_id)
    return len(waiting)


def _let_minutes_go(story: Story) -> int:
    """Machine time stands nearly still in a story: what was put off for minutes leaves on the same day all the same."""
    put_off, waited = int(str(story.ask(_PUT_OFF))), 0
    while story.ask(_PUT_OFF) and waited < _PATIENT_MINUTES:
        story.minutes_later(5)
        waited += 5
    return put_off


def open_companies(database_url: str, ledger: Ledger) -> None:
    """Make the ledger's companies, as its file names them."""
    with connect(database_url) as conn:
        for code, country in ledger.countries.items():
            save_company(conn, code=code, name=f"{code} SAS", country=country, by="system")


def bring_whole(database_url: str, ledger: Ledger, kind: str) -> dict[str, Any]:
    """Import the whole file and return what the importer says."""
    company = () if "NORD" not in ledger.countries or kind == "customers" else ("--company", "NORD")
    return _relance(database_url, DATA / ledger.file, "--mapping", ledger.mapping(kind), *company, "--yes")


def _set_up(story: Story, ledger: Ledger) -> None:
    """The ledger's companies, each with the tutorial's three rules, which fire every day at nine on its clock."""
    spaced: dict[str, Any] = {"min_days_between_mails": ledger.gap_days} if ledger.gap_days else {}
    filters = (
        f"level = 0 and days_overdue >= {ledger.first_days}",
        f"level = 1 and days_since_reminder >= {ledger.then_days}",
        f"level = 2 and days_since_reminder >= {ledger.then_days}",
    )
    for code, country in ledger.countries.items():
        story.company(code=code, name=f"{code} SAS", country=country, zone=_ZONES[country], **spaced)
        if code == "NORD":
            account, titles = "sortie", [f"Relance {level}" for level in LEVELS]
        else:
            account, titles = f"sortie {code}", [f"Relance {level} {code}" for level in LEVELS]
            story.account(name=account, company=code)
        for title, filter_, level in zip(titles, filters, LEVELS, strict=True):
            story.rule(title, filter_, account=account, company=code, tags=[f"Relance {level}"])
    if "NORD" not in ledger.countries:
        for level in LEVELS:
            story.deactivate(f"Relance {level}")


def _addresses(ledger: Ledger) -> dict[str, str]:
    """By address its customer: nobody's is in the files, so each customer gets one that leads nowhere."""
    known = sorted({bill.customer for bill in ledger.bills} - ledger.no_address)
    return {f"c{place}@customer.example": customer for place, customer in enumerate(known)}


class _Desk:
    """Who brings the files of the day."""

    def __init__(self, story: Story, ledger: Ledger, folder: Path, told: dict[str, Counter[str]]) -> None:
        self._url = story.url
        self._ledger = ledger
        self._file = folder / "day.csv"
        self._told = told

    def bring(self, kind: str, lines: Iterable[str]) -> None:
        """Import these rows of the ledger as one file; nothing where there are none."""
        chosen = list(lines)
        if chosen:
            company = ["--company", "NORD"] if "NORD" in self._ledger.countries and kind != "customers" else []
            self._import(kind, [self._ledger.header, *chosen], "--mapping", self._ledger.mapping(kind), *company)

    def bring_contacts(self, addresses: Mapping[str, str]) -> None:
        rows = (f"{customer},Ana,{address},dunning" for address, customer in addresses.items())
        self._import("contacts", ["customer,name,email,role", *rows], "--kind", "contacts")

    def _import(self, kind: str, lines: list[str], *words: object) -> None:
        self._file.write_text("\n".join(lines), encoding="utf-8")
        said = _relance(self._url, self._file, *words, "--yes")
        names = ("rows", "added", "changed", "unchanged", "repeated")
        self._told.setdefault(kind, Counter()).update({name: said[name] for name in names})


def _relance(database_url: str, file: Path, *words: object) -> dict[str, Any]:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": "redis://nowhere.example/0"}
    arguments = ["import", file, *words, "--json"]
    result = CliRunner().invoke(cli, [str(one) for one in arguments], env=servers)
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    return said
