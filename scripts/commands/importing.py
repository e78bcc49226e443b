"""Import customers, contacts, invoices, payments and tags from a CSV file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.exits import PARTLY_DONE, REFUSED
from scripts.printing import json_option, yes_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.importing.fields import Kind
    from operations.importing.imports import Imported, Understood
    from operations.importing.plans import Notice
    from operations.importing.records import Bad
    from scripts.printing import Out


_KINDS = ("customers", "contacts", "invoices", "payments", "tags")
_BAD_SHOWN: Final = 20
_NOTICES_SHOWN: Final = 10
_OTHERS_SHOWN: Final = 3
_LONGEST: Final = 40


@click.command("import")
@click.argument("file")
@click.option("--kind", type=click.Choice(_KINDS), help="What the rows are; a mapping file says it too.")
@click.option("--mapping", "mapping_file", metavar="M.yaml", help="Follow this mapping file instead of guessing.")
@click.option("--save-mapping", metavar="M.yaml", help="Keep the mapping in a new file, to be mended and followed.")
@click.option("--company", metavar="CODE", help="Whose they are, where no column says it and there are several.")
@click.option("--currency", metavar="CODE", help="Their currency, where no column says it.")
@click.option("--dates", type=click.Choice(["dmy", "mdy", "ymd"]), help="What comes first in a date, where in doubt.")
@click.option("--decimal", type=click.Choice(["comma", "point"]), help="The decimal sign, where in doubt.")
@click.option("--only-good", is_flag=True, help="Import the good rows though others are refused; exit code 3.")
@click.option("--bad", "bad_file", metavar="FILE.csv", help="Write the refused rows there with the reasons.")
@click.option("--create-tags", is_flag=True, help="Make the tags that do not exist.")
@click.option("--because", default="", metavar="TEXT", help="Why: kept in the journal beside the file's hash.")
@click.option("--dry-run", is_flag=True, help="Only show what would happen, as without --yes.")
@yes_option
@json_option
@calling
def import_(
    caller: Caller,
    /,
    *,
    file: str,
    kind: Kind | None,
    mapping_file: str | None,
    save_mapping: str | None,
    bad_file: str | None,
    only_good: bool,
    create_tags: bool,
    because: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **said: Any,  # noqa: ANN401 - what operations.importing.imports.Said declares
) -> None:
    """Import a CSV FILE: its columns, dates and amounts are guessed and shown; --yes then does it, all or nothing.

    The same file again changes nothing. A file may be imported several times, each time as another kind: its
    customers, then its invoices, then its payments. A row that is refused is told with its line, column and reason.
    """
    from operations.importing import imports, mappings  # noqa: PLC0415 - loaded when asked for
    from scripts.progress import progress  # noqa: PLC0415
    from workflow.errors import InvalidInput  # noqa: PLC0415

    if dry_run and yes:
        raise click.UsageError("--dry-run and --yes say opposite things")
    if kind is None and mapping_file is None:
        raise click.UsageError("say what the rows are: --kind")
    _check_places(save_mapping, bad_file)
    content = _read(file, "FILE")
    mapping = _text(mapping_file) if mapping_file else None
    with progress("importing", as_json=as_json) as bar:
        sheet, found = imports.recognise(
            content, name=Path(file).name, kind=kind, mapping=mapping, said=imports.Said(**said)
        )
        try:
            understood = imports.understand(content, sheet, found, guessed=mapping is None, progress=bar)
        except InvalidInput:
            if save_mapping:
                _keep(save_mapping, mappings.write(found))
            raise
        if save_mapping:
            _keep(save_mapping, mappings.write(understood.mapping))
        if bad_file:
            _reserve(bad_file)
        with desk(caller) as at:
            done = imports.import_file(
                at.conn,
                understood,
                only_good=only_good,
                create_tags=create_tags,
                because=because,
                dry_run=not yes,
                by=at.by,
                progress=bar,
                waiting=lambda: printing.message(
                    "somebody else is changing the same rows, a large batch perhaps: waiting"
                ),
            )
    if bad_file:
        _keep_bad(bad_file, imports.bad_rows(understood, done.bad) if done.bad else None)
    _print(understood, done, as_json=as_json)
    _tell(done, bad_file, yes=yes, only_good=only_good)
    if done.bad:
        sys.exit(PARTLY_DONE if done.done and (done.added or done.changed or done.unchanged) else REFUSED)


def _check_places(save_mapping: str | None, bad_file: str | None) -> None:
    """Refuse to write over what is there: what is read, or what somebody may have mended."""
    if save_mapping and Path(save_mapping).exists():
        raise click.UsageError(f"{save_mapping} exists already: name another file for --save-mapping")
    if bad_file and Path(bad_file).exists():
        raise click.UsageError(f"{bad_file} exists already: name another file for --bad")
    if bad_file and bad_file == save_mapping:
        raise click.UsageError("--bad and --save-mapping name one file")


def _reserve(place: str) -> None:
    """Make sure that the refused rows can be kept before anything is done."""
    try:
        Path(place).open("xb").close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file is named so"
        raise click.UsageError(f"--bad {place} cannot be written: {reason}") from error


def _keep_bad(place: str, rows: bytes | None) -> None:
    if rows is None:
        Path(place).unlink()
    else:
        Path(place).write_bytes(rows)


def _read(place: str, parameter: str) -> bytes:
    from operations.importing.sheets import LARGEST  # noqa: PLC0415 - loaded when asked for

    try:
        with sys.stdin.buffer if place == "-" else Path(place).open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file is named so"
        raise click.UsageError(f"{parameter} {place} cannot be read: {reason}") from error


def _text(place: str) -> str:
    try:
        return _read(place, "--mapping").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--mapping {place} cannot be read: it is not UTF-8 text") from error


def _keep(place: str, text: str) -> None:
    with Path(place).open("x", encoding="utf-8") as file:
        file.write(text)
    printing.message(f"the mapping is in {place}")


def _tell(done: Imported, bad_file: str | None, *, yes: bool, only_good: bool) -> None:
    if done.bad and bad_file:
        printing.message(f"the refused rows are in {bad_file}")
    if done.bad and not only_good:
        what = printing.count(len({one.line for one in done.bad}), "row")
        printing.message(
            f"nothing {'was' if yes else 'would be'} imported: {what} refused; --only-good leaves them out"
        )
    elif done.bad and not (done.added or done.changed or done.unchanged):
        printing.message("nothing was imported: every row is refused")
    elif done.done and not (done.added or done.changed):
        printing.message("nothing to do: everything is there already")
        if done.kind == "payments":
            printing.message("payments count as no fresher for it; where there were none: relance heartbeat COMPANY")
    elif done.done:
        changed = f", {done.changed} changed" if done.changed else ""
        printing.message(f"imported {done.kind}: {done.added} new{changed}")
    else:
        printing.message("nothing was imported: add --yes")


def _print(understood: Understood, done: Imported, *, as_json: bool) -> None:
    from operations.importing.imports import shown, unused  # noqa: PLC0415 - loaded when asked for

    sheet = understood.sheet
    fields, left = shown(understood), unused(understood)
    if as_json:
        written = {"encoding": sheet.encoding, "delimiter": sheet.delimiter, "guessed": understood.guessed}
        printing.print_json(
            {**printing.plain(done), **written, "columns": fields, "unused": left, "sha256": understood.sha256}
        )
        return
    out = printing.console()
    delimiter = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}[sheet.delimiter]
    encoding = {"utf-8": "UTF-8", "windows-1252": "Windows-1252"}[sheet.encoding]
    printing.heading(out, f"{done.file}: {done.kind} ({encoding}, parted by {delimiter})")
    rows = [
        (one.field, f"{one.source}{f' ({one.format})' if one.format else ''}", _samples(one.samples)) for one in fields
    ]
    printing.table(out, ("field", "column", "for example"), rows)
    if left:
        printing.line(out, f"not used: {', '.join(left)}", indent=0, style="dim")
    _print_counts(out, done)
    _print_notices(out, done.notices)
    _print_bad(out, done.bad)


def _samples(samples: Sequence[tuple[str, str]]) -> str:
    return "; ".join(
        _short(text) if text == read else f"{_short(text)} \N{RIGHTWARDS ARROW} {_short(read)}"
        for text, read in samples
    )


def _print_counts(out: Out, done: Imported) -> None:
    counts = {
        "new": done.added,
        "changed": done.changed,
        "as they are": done.unchanged,
        "said again": done.repeated,
        "left out by the mapping": done.left_out,
        "refused": len({one.line for one in done.bad}),
    }
    printing.heading(out, printing.count(done.rows, "row"))
    printing.table(out, ("", ""), [(f"{number:,}", what) for what, number in counts.items() if number], right=("",))


def _print_notices(out: Out, notices: Sequence[Notice]) -> None:
    if not notices:
        return
    printing.heading(out, "Odd, and kept as it stands")
    for one in notices[:_NOTICES_SHOWN]:
        printing.line(out, _odd(one))
    printing.and_more(out, len(notices) - _NOTICES_SHOWN, "of these")


def _odd(one: Notice) -> str:
    if one.oddity == "reads as a decimal":
        return f"{one.about}: {printing.count(one.rows, 'row')} such as {one.kept}; format: whole would read a number"
    if one.oddity == "taken for another":
        payments = printing.count(one.rows, "payment")
        why = "same customer, invoice, amount and day; others need a reference of their own"
        return f"{payments} without a reference taken for one that is here already: {why}"
    if one.oddity == "alike but for zeros":
        numbers = printing.count(one.rows, "number")
        pair = f"{_short(one.kept)} and {_short(one.others[0])}"
        return f"{numbers} like another's but for leading zeros, such as {pair}: each is a customer"
    if one.oddity == "due before issued":
        return f"{printing.count(one.rows, 'invoice')} due before the day of issue, such as {_short(one.kept)}"
    if one.oddity == "state left empty":
        invoices = printing.count(one.rows, "invoice")
        meant = 'to end that where empty means open, map it (words: {"": open})'
        return f"{invoices} disputed or refused here, the state empty in the file, such as {_short(one.kept)}: {meant}"
    others = ", ".join(_short(other) for other in one.others[:_OTHERS_SHOWN])
    more = len(one.others) - _OTHERS_SHOWN
    said = f"{others} and {more} more" if more > 0 else others
    return f"{one.about}, {one.field}: {_short(one.kept)} is kept; {printing.count(one.rows, 'row')} said {said}"


def _print_bad(out: Out, bad: Sequence[Bad]) -> None:
    if not bad:
        return
    printing.heading(out, "Refused")
    rows = [(one.line, one.column, _short(one.value), one.reason) for one in bad[:_BAD_SHOWN]]
    printing.table(out, ("line", "column", "value", "why"), rows, right=("line",))
    printing.and_more(out, len(bad) - _BAD_SHOWN, "refused")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
