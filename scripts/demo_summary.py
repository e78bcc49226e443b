"""What the demo did: counted from the sink's journal and the rows, then shown to a person or printed as JSON."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from operations.demo.days import COMPANY
from operations.demo.trade import FIRST_DAY, LAST_DAY
from operations.outbox import outbox
from scripts import printing
from scripts.sink import read_journal
from store import companies, facts, rules
from store import demo as stored
from store.connection import connect
from workflow.decision import REASONS, decide_customer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from operations.demo.days import Received
    from scripts.demo import Lived
    from scripts.sink import Accepted
    from store.connection import Connection
    from store.outbox import Posted
    from workflow.facts import InvoiceFacts
    from workflow.rules import Rule

WIDTH: Final = 80
SOON_DAYS: Final = 10
_BAR: Final = 24


def count(lived: Lived) -> dict[str, Any]:
    """Everything the summary says, ready for JSON."""
    plan, folder = lived.plan, lived.folder
    journal = list(read_journal(folder / "journal.jsonl"))
    reminders = [entry for entry in journal if entry.reminder]
    with connect(lived.settings.database_url) as conn:
        posted = outbox(conn, limit=1_000_000)
        promised = stored.promises(conn, {entry.message_id for entry in reminders})
        held_back = stored.held_back(conn)
        found = _facts(conn, list(lived.books.ids.values()))
        chasing = {rule.rule.level: rule.rule for rule in rules.saved(conn)}
    sent = [one for one in posted if one.state == "sent"]
    reminded = {number for one in sent for number in one.invoices}
    leaving = Counter(one.message_id for one in reminders)
    claims = Counter(promise for entry in reminders for promise in promised.get(entry.message_id, ()))
    return {
        "company": "Atelier Vermeil",
        "seed": plan.seed,
        "from": FIRST_DAY,
        "until": LAST_DAY,
        "customers": len(plan.customers),
        "invoices": len(found),
        "amounts": _by_currency((one.currency, one.total) for one in found),
        "outstanding": _by_currency((one.currency, one.balance) for one in found if one.state != "settled"),
        "mails_accepted": len(reminders),
        "mails_duplicated": sum(times - 1 for times in leaving.values()),
        "reminders_duplicated": sum(times - 1 for times in claims.values()),
        "reports_accepted": len(journal) - len(reminders),
        "mails_by_level": _levels(((one.level or 0) + 1 for one in sent), range(1, 4)),
        "mails_by_state": dict(Counter(one.state for one in posted)),
        "by_level": _levels((one.level for one in found), range(4)),
        "settled": sum(one.state == "settled" for one in found),
        "tags": dict(sorted(Counter(tag for one in found for tag in one.tags).items())),
        "reminded": len(reminded),
        "not_reminded": _not_reminded(found, reminded, chasing),
        "held_back": held_back,
        "collected": _collected(lived.books.received),
        "folder": str(folder),
        "mails": str(folder / "mails"),
        "samples": _samples(journal, sent, folder / "mails"),
        "try": _to_try(found, reminded),
        "seconds": lived.seconds,
    }


def _facts(conn: Connection, ids: Sequence[int]) -> list[InvoiceFacts]:
    seller = next(one for one in companies.companies(conn).values() if one.code == COMPANY)
    return facts.load(conn, list(ids), facts.Asking(company_id=seller.id, today=LAST_DAY))


def _levels(levels: Iterable[int], known: Iterable[int]) -> dict[str, int]:
    counted = Counter(levels)
    return {str(level): counted[level] for level in known}


def _by_currency(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in amounts:
        total[currency] += amount
    return dict(sorted(total.items()))


def _not_reminded(
    found: Sequence[InvoiceFacts], reminded: set[str], chasing: Mapping[int | None, Rule]
) -> dict[str, int]:
    """By reason: the invoices of which no mail has left here, with `reminded` they are all there are."""
    reasons: Counter[str] = Counter()
    for level, rule in chasing.items():
        by_customer: dict[int, list[InvoiceFacts]] = defaultdict(list)
        for one in found:
            if min(one.level, 2) == level:
                by_customer[one.customer.id].append(one)
        for group in by_customer.values():
            for verdict in decide_customer(group, rule, LAST_DAY):
                if verdict.invoice.number not in reminded:
                    said = [check.reason for check in verdict.checks if check.reason]
                    # The filter's no is the reason only where no guard has a better one.
                    reasons[next((one for one in said if one != "filter"), said[0] if said else "reminded")] += 1
    return dict(reasons.most_common())


def _collected(received: Sequence[Received]) -> dict[str, dict[str, Any]]:
    """By level: euros that came within some days of that reminder, how many payments, and the median of their days."""
    shown = {}
    for level in (1, 2, 3):
        soon = [
            one
            for one in received
            if one.level == level and one.currency == "EUR" and one.days is not None and one.days <= SOON_DAYS
        ]
        days = sorted(one.days for one in soon if one.days is not None)
        shown[str(level)] = {
            "payments": len(soon),
            "amount": sum((one.amount for one in soon), Decimal(0)),
            "median_days": days[len(days) // 2] if days else None,
        }
    return shown


def _samples(journal: Sequence[Accepted], sent: Sequence[Posted], mails: Path) -> list[dict[str, Any]]:
    """One mail a level and one in English, with the file that holds it."""
    places = {entry.message_id: place for place, entry in enumerate(journal, 1)}
    wanted: dict[str, Posted] = {}
    for one in sorted(sent, key=lambda each: each.reminder):
        english = one.currency != "EUR"
        name = "english" if english else str((one.level or 0) + 1)
        if name not in wanted or (len(one.invoices) > 1 and len(wanted[name].invoices) == 1):
            wanted[name] = one
    return [
        {
            "reminder": one.reminder,
            "to": one.recipient,
            "subject": one.subject,
            "file": str(mails / f"{places[one.message_id]:06}.eml"),
        }
        for _, one in sorted(wanted.items())
    ]


def _to_try(found: Sequence[InvoiceFacts], reminded: set[str]) -> dict[str, str]:
    """Invoices worth explaining: the furthest reminded, a disputed, one without an address."""
    shown: dict[str, str] = {}
    for one in sorted(found, key=lambda each: (-each.level, each.number)):
        customer = one.customer
        if one.number in reminded and one.state != "settled":
            shown.setdefault("reminded", one.number)
        if one.commercial_state == "disputed" and one.number in reminded:
            shown["disputed"] = one.number
        elif one.commercial_state == "disputed":
            shown.setdefault("disputed", one.number)
        if (
            one.state != "settled"
            and one.due_on
            and one.due_on < LAST_DAY
            and not (customer.contacts or customer.address)
        ):
            shown.setdefault("without an address", one.number)
    return {kind: shown[kind] for kind in ("reminded", "disputed", "without an address") if kind in shown}


def show(counted: Mapping[str, Any]) -> None:
    """Print the summary, 80 columns wide."""
    out = printing.console()
    out.width = min(out.width, WIDTH)
    amounts, owed = counted["amounts"], counted["outstanding"]
    printing.heading(out, f"{counted['company']}, {counted['from']:%d %B} to {counted['until']:%d %B %Y}")
    out.print(f"{counted['invoices']:,} invoices to {counted['customers']} customers: {_money(amounts)}.")
    out.print(f"{counted['settled']:,} are settled; still owed: {_money(owed)}.")
    printing.heading(out, "Mails")
    out.print(
        f"{counted['mails_accepted']:,} reminders and {counted['reports_accepted']} run reports reached the sink."
    )
    out.print(
        f"Duplicates: {counted['mails_duplicated']} by Message-ID,"
        f" {counted['reminders_duplicated']} by invoice, level and cycle."
    )
    _bars(out, ((f"Relance {level}", number) for level, number in counted["mails_by_level"].items()), "mails")
    printing.heading(out, "Invoices by level (reminders gone so far)")
    _bars(out, ((f"level {level}", number) for level, number in counted["by_level"].items()), "invoices")
    out.print("Tags: " + ", ".join(f"{title} on {number}" for title, number in counted["tags"].items()))
    printing.heading(out, "Held back when a rule selected them (invoices, each counted once a reason)")
    _reasons(out, counted["held_back"])
    printing.heading(
        out, f"Never reminded: {sum(counted['not_reminded'].values())} of {counted['invoices']:,} invoices"
    )
    _reasons(out, counted["not_reminded"])
    printing.heading(out, f"Money that came within {SOON_DAYS} days of a reminder")
    rows = [
        (f"Relance {level}", one["payments"], printing.amount(one["amount"], "EUR"), one["median_days"])
        for level, one in counted["collected"].items()
    ]
    columns = ("after", "payments", "amount", "median days")
    printing.table(out, columns, rows, right=columns[1:])
    _mails(out, counted)
    printing.heading(out, "Look around")
    relance = _relance()
    for kind, number in counted["try"].items():
        out.print(f"{relance} --demo explain {number}", style="cyan", end="")
        out.print(f"   # {kind}", style="dim")
    for command in ("outbox", "status"):
        out.print(f"{relance} --demo {command}", style="cyan")
    out.print()
    out.print(f"{counted['seconds']} s in all.", style="dim")


def _relance() -> str:
    """What to type here: in a checkout, whose command is on no PATH, its way in."""
    in_checkout = Path("run").is_file() and Path(".venv/bin/relance").is_file()
    return "./run" if in_checkout and not shutil.which("relance") else "relance"


def _bars(out: Console, rows: Iterable[tuple[str, int]], unit: str) -> None:
    shown = list(rows)
    most = max((number for _, number in shown), default=1) or 1
    for name, number in shown:
        bar = "█" * round(_BAR * number / most) or ("▏" if number else "")
        out.print(f"{name:<10} ", end="")
        out.print(f"{bar:<{_BAR}}", style="cyan", end="")
        out.print(f" {number:>5,} {unit}")


def _reasons(out: Console, reasons: Mapping[str, int]) -> None:
    printing.table(out, ("n", "why"), [(n, REASONS[why]["en"]) for why, n in reasons.items()], right=("n",))


def _mails(out: Console, counted: Mapping[str, Any]) -> None:
    printing.heading(out, "The mails lie in")
    out.print(str(counted["mails"]))
    for one in counted["samples"]:
        out.print(f"{one['file'].rpartition('/')[2]}  {one['to']}", style="dim")
        out.print(f"  {printing.clean(one['subject'])}")


def _money(amounts: Mapping[str, Decimal]) -> str:
    return ", ".join(printing.amount(amount, currency) for currency, amount in amounts.items())
