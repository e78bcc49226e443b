"""Independent completeness, for a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import json_option

if TYPE_CHECKING:
    from workflow.audit import Audit

_WORDS = {
    "reminded": "reminded",
    "waiting": "waiting to leave, or for their turn",
    "in_doubt": "to be checked",
    "failed": "failed: relance replay",
    "cancelled": "cancelled before they left, with a reason",
    "withdrawn": "taken out of their mail before it left",
    "left_out": "left out for a reason: relance runs ID, relance explain",
    "by_a_later_run": "looked at by a later run",
    "no_run": "not looked at: no run",
    "missing": "not looked at",
    "unfounded": "left out for a reason that is not so",
}


@click.command()
@click.option("--days", type=click.IntRange(1, 92), default=7, show_default=True, help="How many days back.")
@json_option
@calling
def audit(caller: Caller, *, days: int, as_json: bool) -> None:
    """Work out anew who should have been reminded by now, from ledger and journal, and print the difference.

    A scheduler has it done once a day; relance status shows the last one. Exit code 1 where there is a difference.
    """
    from operations.audit import audit as look  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = look(at.conn, days=days)
    if as_json:
        printing.print_json(found)
    else:
        _show(found)
    if found.findings:
        sys.exit(1)


def _show(found: Audit) -> None:
    from workflow.audit import FINDINGS  # noqa: PLC0415 - loaded when asked for

    out = printing.console()
    looked = ", ".join(
        (
            printing.count(found.rules, "active rule"),
            printing.count(found.runs, "run"),
            printing.count(found.invoices, "open invoice"),
        )
    )
    out.print(f"From {printing.minute(found.since)} to {printing.minute(found.until)}: {looked}.")
    for note in found.notes:
        out.print(f"! {printing.clean(note)}", style="yellow")
    if found.became:
        printing.heading(out, f"{printing.count(found.owed, 'reminder')} owed")
        rows = [(count, _WORDS.get(word, word)) for word, count in found.became.items()]
        printing.table(out, ("invoices", "what became of them"), rows, right=("invoices",))
    if not found.findings:
        out.print("Nobody who was due was missed.", style="green")
        return
    printing.heading(out, "The difference")
    rows_of_findings = [
        (
            one.run_id or printing.DASH,
            one.rule or one.company,
            printing.minute(one.due_at),
            f"{', '.join(one.invoices)}{' …' if one.count > len(one.invoices) else ''} ({one.count})",
            f"{FINDINGS[one.kind]}{f': {one.detail}' if one.detail else ''}",
        )
        for one in found.findings
    ]
    printing.table(out, ("run", "rule", "due", "invoices", "what is wrong"), rows_of_findings, right=("run",))
