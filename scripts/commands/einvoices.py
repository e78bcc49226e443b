"""Electronic invoices: look at files, and save what they hold as invoices."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.exits import PARTLY_DONE, REFUSED
from scripts.printing import json_option, yes_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from operations.einvoices.imports import Imported
    from scripts.printing import Out
    from workflow.einvoices import EInvoice

_SHOWN: Final = 100
_FILES: Final = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
_MATCHED: Final = {"number": "by number", "name": "by name alone", "said": "as said"}


@click.group()
def einvoice() -> None:
    """Read electronic invoices: Factur-X and ZUGFeRD 2 (PDF), UBL and CII (XML)."""


@einvoice.command()
@_FILES
@json_option
def read(files: Sequence[Path], *, as_json: bool) -> None:
    """Say what the electronic invoice in each FILE says, and change nothing.

    Only the payable amount is ever chased: never a credit note, and what is paid by direct debit or card only once a
    person lets go of it. Without a due date of its own an invoice has none.
    """
    from operations.einvoices.read import read_files  # noqa: PLC0415 - loaded when asked for
    from scripts.progress import progress  # noqa: PLC0415

    with progress("reading", as_json=as_json) as bar:
        found = list(zip(files, read_files(files, progress=bar), strict=True))
    if as_json:
        printing.print_json([_json(path, one.einvoice, one.refused) for path, one in found])
    else:
        out = printing.console()
        rows = [_row(path.name, one.einvoice) for path, one in found if one.einvoice]
        if rows:
            printing.table(out, ("file and number", "issued, due", "from, to", "payable"), rows, right=("payable",))
        _said(out, "Never chased, or not yet", [(path.name, _unchased(one.einvoice)) for path, one in found])
        _said(out, "Terms", [(path.name, _terms(one.einvoice)) for path, one in found])
        _said(out, "To be looked at", [(path.name, _odd(one.einvoice)) for path, one in found])
        _said(out, "Refused", [(path.name, one.refused) for path, one in found])
    _end(refused=sum(bool(one.refused) for _, one in found), of=len(found))


@einvoice.command("import")
@_FILES
@click.option("--company", metavar="CODE", help="Whose they are, where their seller does not say it.")
@click.option("--customer", metavar="NUMBER", help="To whom all of them went, where their buyer does not say it.")
@yes_option
@json_option
@calling
def import_(
    caller: Caller, *, files: Sequence[Path], company: str | None, customer: str | None, yes: bool, as_json: bool
) -> None:
    """Save the electronic invoice in each FILE as an invoice, and the file as its original; --yes does it.

    Company and customer are matched with those that are here, by SIREN, number or name, and never made. The same file
    again changes nothing. Addresses stay the customer's. A customer's agreed terms give a due date where the invoice
    has none, and it says so.
    """
    from operations.einvoices.imports import import_files  # noqa: PLC0415 - loaded when asked for
    from operations.einvoices.read import read_files  # noqa: PLC0415
    from operations.lookup import find_company, find_customer  # noqa: PLC0415
    from scripts.progress import progress  # noqa: PLC0415

    with desk(caller) as at:
        code = find_company(at.conn, company) if company is not None else None
        number = find_customer(at.conn, customer) if customer is not None else None
        at.conn.commit()  # nothing is held while files are read
        with progress("reading", as_json=as_json) as bar:
            done = import_files(
                at.conn,
                read_files(files, progress=bar),
                of=len(files),
                company=code,
                customer=number,
                dry_run=not yes,
                by=at.by,
                waiting=lambda: printing.message(
                    "somebody else is changing the same rows, a large batch perhaps: waiting"
                ),
            )
    if as_json:
        both = zip(files, done, strict=True)
        printing.print_json([{**_json(path, one.einvoice, one.refused), **_became(one)} for path, one in both])
    else:
        _print(printing.console(), done)
    _tell(done, yes=yes)
    _end(refused=sum(bool(one.refused) for one in done), of=len(done))


def _json(path: Path, invoice: EInvoice | None, refused: str) -> dict[str, Any]:
    from workflow.einvoices import chased  # noqa: PLC0415 - loaded when asked for

    verdict, because = chased(invoice) if invoice else (None, None)
    return {
        "file": str(path),
        "format": invoice and invoice.format,
        "number": invoice and invoice.number,
        "type": invoice and invoice.type_code,
        "issued": invoice and invoice.issued_on,
        "due": invoice and invoice.due_on,
        "terms": invoice and invoice.terms,
        "seller": invoice and invoice.seller.name,
        "seller_numbers": invoice and [*invoice.seller.ids, *filter(None, [invoice.seller.vat])],
        "buyer": invoice and invoice.buyer.name,
        "buyer_numbers": invoice and [*invoice.buyer.ids, *filter(None, [invoice.buyer.vat])],
        "buyer_email": invoice and invoice.buyer.email,
        "currency": invoice and invoice.currency,
        "total": invoice and invoice.total,
        "prepaid": invoice and invoice.prepaid,
        "payable": invoice and invoice.payable,
        "iban": invoice and invoice.iban,
        "means": invoice and invoice.means,
        "preceding": invoice and invoice.preceding,
        "chased": verdict,
        "because": because or None,
        "oddities": invoice and invoice.oddities,
        "refused": refused or None,
    }


def _became(one: Imported) -> dict[str, Any]:
    return {
        "became": one.became,
        "company": one.company,
        "customer": one.customer,
        "customer_name": one.customer_name,
        "matched": one.matched,
        "due_here": one.due_on,
        "due_from": one.due_from,
        "held": one.held or None,
        "notices": one.notices,
    }


def _row(name: str, invoice: EInvoice) -> tuple[object, ...]:
    return (
        printing.two_lines(name, f"{invoice.number} ({invoice.format}, {invoice.type_code})"),
        printing.two_lines(str(invoice.issued_on), str(invoice.due_on or "no due date")),
        printing.two_lines(invoice.seller.name, invoice.buyer.name),
        printing.amount(invoice.payable, invoice.currency),
    )


def _unchased(invoice: EInvoice | None) -> str:
    from workflow.einvoices import chased  # noqa: PLC0415 - loaded when asked for

    return chased(invoice)[1] if invoice else ""


def _terms(invoice: EInvoice | None) -> str:
    return " ".join(invoice.terms.split()) if invoice and invoice.due_on is None else ""


def _odd(invoice: EInvoice | None) -> str:
    return "; ".join(invoice.oddities) if invoice else ""


def _print(out: Out, done: Sequence[Imported]) -> None:
    rows = [
        (
            printing.two_lines(one.file, f"{one.einvoice.number}, {one.company}"),
            printing.two_lines(f"{one.customer} {one.customer_name}", _MATCHED[one.matched]),
            one.due_on,
            printing.amount(one.einvoice.payable, one.einvoice.currency),
            f"{one.became}, held" if one.held else one.became,
        )
        for one in done
        if one.einvoice and one.matched
    ]
    if rows:
        columns = ("file and number", "customer", "due", "payable", "becomes")
        printing.table(out, columns, rows[:_SHOWN], right=("payable",))
        printing.and_more(out, len(rows) - _SHOWN, "invoices")
    _said(out, "Held", [(one.file, one.held) for one in done if one.became != "refused"])
    _said(out, "To be looked at", [(one.file, "; ".join(one.notices)) for one in done])
    _said(out, "Refused", [(one.file, one.refused) for one in done])


def _said(out: Out, title: str, said: Iterable[tuple[str, str]]) -> None:
    """What is said of some files, under one heading; nothing where nothing is."""
    told = [(name, text) for name, text in said if text]
    if not told:
        return
    printing.heading(out, title)
    for name, text in told[:_SHOWN]:
        printing.line(out, f"{name}: {text}")
    printing.and_more(out, len(told) - _SHOWN, "of these")


def _tell(done: Sequence[Imported], *, yes: bool) -> None:
    counts = Counter(one.became for one in done)
    told = ", ".join(
        f"{counts[became]} {became}" for became in ("new", "changed", "unchanged", "refused") if counts[became]
    )
    if not counts["new"] and not counts["changed"]:
        printing.message(f"nothing to save: {told}")
    elif yes:
        printing.message(f"saved: {told}")
    else:
        printing.message(f"nothing was saved ({told}): add --yes")


def _end(*, refused: int, of: int) -> None:
    if refused:
        sys.exit(REFUSED if refused == of else PARTLY_DONE)
