"""Reminders by post: the pile of letters to print, and the word that they went."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.files import overwrite_option, write
from scripts.printing import DAY, because_option, json_option

if TYPE_CHECKING:
    from datetime import datetime

    from operations.posting import Letter


@click.command("print-pile")
@click.option("--rule", metavar="RULE", help="Only what this rule would remind of, active or not: a title or an id.")
@click.option(
    "--csv", "csv_file", metavar="FILE", type=click.Path(dir_okay=False), help="Write it as CSV; - is stdout."
)
@overwrite_option
@json_option
@calling
def print_pile(caller: Caller, *, rule: str | None, csv_file: str | None, overwrite: bool, as_json: bool) -> None:
    """List the reminders due today that no mail can carry: no address, or one that refuses mail; and where to write.

    Once a letter went, say so: relance posted.
    """
    from operations import posting  # noqa: PLC0415 - loaded when asked for
    from operations.lookup import find_rule  # noqa: PLC0415
    from scripts.spreadsheet import rows_as_csv  # noqa: PLC0415

    with desk(caller) as at:
        letters = posting.print_pile(at.conn, by=at.by, rule=find_rule(at.conn, rule) if rule else None)
    if csv_file == "-":
        sys.stdout.buffer.write(rows_as_csv(posting.Letter, letters))
    elif csv_file:
        write(Path(csv_file), rows_as_csv(posting.Letter, letters), overwrite=overwrite)
    if as_json:
        printing.print_json(letters)
    elif csv_file is None:
        _show(letters)
    invoices = printing.count(len(letters), "invoice")
    customers = printing.count(len({one.customer for one in letters}), "customer")
    printing.message(f"{invoices} of {customers} to be written to by post" if letters else "nothing goes by post today")


@click.command()
@click.argument("invoices", metavar="INVOICE…", nargs=-1, required=True)
@click.option("--on", type=DAY, metavar="DAY", required=True, help="When it was posted.")
@click.option("--level", type=click.IntRange(1, 3), help="Which reminder it was; needed from the second on.")
@click.option("--rule", metavar="RULE", help="The rule that it stands for, whose tags are put on: a title or an id.")
@click.option("--company", metavar="CODE", help="Whose invoice, where two companies have the number.")
@because_option
@json_option
@calling
def posted(
    caller: Caller,
    *,
    invoices: tuple[str, ...],
    on: datetime,
    level: int | None,
    rule: str | None,
    company: str | None,
    because: str,
    as_json: bool,
) -> None:
    """Say that a reminder of INVOICE (a number, or several) went by post: it counts as a mail that was accepted."""
    from operations.lookup import find_invoice, find_rule  # noqa: PLC0415 - loaded when asked for
    from operations.posting import confirm_posted  # noqa: PLC0415

    with desk(caller) as at:
        done = confirm_posted(
            at.conn,
            [find_invoice(at.conn, number, company) for number in invoices],
            posted_on=on.date(),
            level=level,
            rule=find_rule(at.conn, rule) if rule else None,
            because=because,
            by=at.by,
        )
    if as_json:
        printing.print_json(done)
    for one in done:
        tags = f", tagged {', '.join(one.tags)}" if one.tags else ""
        printing.message(f"{one.invoice}: reminder {one.level} went by post on {one.posted_on}{tags}")


def _show(letters: list[Letter]) -> None:
    out = printing.console()
    for (company, rule, level), group in groupby(letters, key=lambda one: (one.company, one.rule, one.level)):
        printing.heading(out, f"{rule} of {company}, reminder {level}")
        rows = [
            (
                _customer(one),
                one.invoice,
                one.due_on,
                printing.two_lines(printing.amount(one.balance, one.currency), _credit(one)),
            )
            for one in group
        ]
        printing.table(out, ("customer", "invoice", "due", "balance"), rows, right=("balance",))


def _customer(one: Letter) -> Any:  # noqa: ANN401 - a rich Text, which is loaded lazily
    lines = [line for line in one.postal_address.splitlines() if line.strip()]
    home = ", ".join([*lines, one.country]) if lines else "no postal address either"
    return printing.two_lines(
        f"{one.customer} {one.customer_name}", f"{home}; {one.refusing} refuses mail" if one.refusing else home
    )


def _credit(one: Letter) -> str:
    return f"credit {printing.amount(one.credit, one.currency)}" if one.credit else ""
