"""Import a CSV file: understood first, without a database; then planned, shown, and done in one transaction."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from letters.headers import file_name
from operations.acting import HASH_CHARACTERS, HELD_BY_OTHERS, acting, patiently
from operations.formulas import harmless
from operations.importing import mappings, records, sheets
from operations.importing.bills import plan_invoices
from operations.importing.fields import FIELDS
from operations.importing.guesses import check_complete, check_meant, guess
from operations.importing.marks import plan_tags
from operations.importing.money import plan_payments
from operations.importing.people import plan_contacts, plan_customers
from operations.importing.plans import Companies, Notice, on_companies_clocks
from operations.importing.records import Bad
from store import freshness, imports, journal, settings
from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from operations.importing.amounts import Decimals
    from operations.importing.days import Order
    from operations.importing.fields import Kind
    from operations.importing.mappings import Mapping
    from operations.importing.plans import Plan, Progress
    from operations.importing.records import Reading, Record
    from operations.importing.sheets import Sheet
    from store.connection import Connection

SAMPLES: Final = 3


class Busy(RelanceError):  # noqa: N818 - a fact about others
    """Another import is at work."""

    def __init__(self) -> None:
        super().__init__("another import is at work: try again when it has ended")


class InUse(RelanceError):  # noqa: N818 - a fact about others
    """What is to be changed was being changed by others for too long: by a large batch, say."""

    def __init__(self) -> None:
        super().__init__(
            "somebody else is changing the same rows, by a large batch perhaps; nothing was imported: try again later"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Given beside the file and its mapping; what is given here counts before them."""

    company: str | None = None
    currency: str | None = None
    dates: Order | None = None
    decimal: Decimals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A file and what it says. `guessed`: nobody wrote the mapping."""

    sheet: Sheet
    mapping: Mapping
    guessed: bool
    sha256: str
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One field as the mapping finds it: the first texts and what is read in them."""

    field: str
    source: str
    format: str | None
    samples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import does, or did where `done`: rows by what becomes of them, those refused, and what is odd."""

    kind: Kind
    file: str
    rows: int
    added: int
    changed: int
    unchanged: int
    repeated: int
    left_out: int
    bad: tuple[Bad, ...]
    notices: tuple[Notice, ...]
    done: bool


def recognise(
    content: bytes, *, name: str, kind: Kind | None, mapping: str | None, said: Said
) -> tuple[Sheet, Mapping]:
    """Find out how a file is written and which column says what: as the mapping file says, else guessed.

    The mapping may still lack fields: `understand` refuses that. Raises InvalidInput.
    """
    parsed = mappings.parse(mapping) if mapping is not None else None
    if parsed and kind and parsed.kind != kind:
        raise InvalidInput(field="kind", value=kind, reason=f"the mapping file is for {parsed.kind}")
    asked = parsed.kind if parsed else kind
    if asked is None:
        raise InvalidInput(field="kind", value=None, reason=f"must be one of {', '.join(FIELDS)}")
    sheet = sheets.read(
        content,
        name=file_name(name),
        encoding=parsed.encoding if parsed else None,
        delimiter=parsed.delimiter if parsed else None,
    )
    found = parsed or guess(sheet, asked)
    for field in mappings.CONSTANTS:
        value = getattr(said, field)
        if value is not None and field in FIELDS[asked]:
            found = found.with_source(field, mappings.Source(value=value))
    return sheet, replace(found, dates=said.dates or found.dates, decimal=said.decimal or found.decimal)


def understand(
    content: bytes, sheet: Sheet, mapping: Mapping, *, guessed: bool, progress: Progress = lambda _done, _total: None
) -> Understood:
    """Read every row as the mapping says, its open formats decided over whole columns. Raises InvalidInput."""
    check_complete(mapping, sheet)
    if guessed:
        check_meant(mapping, sheet)
    progress(0, 0)
    settled = records.settled(mapping, sheet)
    return Understood(
        sheet=sheet,
        mapping=settled,
        guessed=guessed,
        sha256=hashlib.sha256(content).hexdigest(),
        reading=records.read(sheet, settled),
    )


def shown(understood: Understood) -> list[Shown]:
    """Each field with its column, its format and the first texts, as what they are read."""
    mapping = understood.mapping
    return [
        Shown(
            field=name,
            source=source.label,
            format="derived" if source.derived else source.format,
            samples=()
            if source.value is not None
            else tuple(records.samples(understood.sheet, mapping, name, SAMPLES)),
        )
        for name, source in mapping.sources.items()
    ]


def unused(understood: Understood) -> list[str]:
    """The columns that no field reads."""
    sources = understood.mapping.sources.values()
    used = {column for source in sources for column in source.columns}
    used |= {source.plus_days for source in sources if isinstance(source.plus_days, str)}
    used |= {*understood.mapping.filled, *understood.mapping.only, *understood.mapping.skip}
    return [column for column in understood.sheet.header if column and column not in used]


def import_file(
    conn: Connection,
    understood: Understood,
    *,
    only_good: bool = False,
    create_tags: bool = False,
    because: str = "",
    dry_run: bool,
    by: str,
    progress: Progress = lambda _done, _total: None,
    waiting: Callable[[], object] = lambda: None,
) -> Imported:
    """Do what the file says, all of it or, asked so, what is good of it; the same file again changes nothing.

    With a bad row and not `only_good` nothing is done. While others hold what it changes it begins again, locking
    nothing meanwhile, and calls `waiting` each time. Raises InvalidInput, Busy, InUse, WrittenMeanwhile.
    """
    how = {"only_good": only_good, "create_tags": create_tags, "dry_run": dry_run}
    do = partial(_import, conn, understood, because=because, by=by, progress=progress, **how)
    try:
        return patiently(do, waiting)
    except HELD_BY_OTHERS:
        raise InUse from None


def _import(
    conn: Connection,
    understood: Understood,
    *,
    only_good: bool,
    create_tags: bool,
    because: str,
    dry_run: bool,
    by: str,
    progress: Progress,
) -> Imported:
    reading, mapping = understood.reading, understood.mapping
    why = f"import {understood.sha256[:HASH_CHARACTERS]}{': ' if because else ''}{because}"
    with acting(conn, by=by, because=why, today=settings.read(conn).business_now.date()):
        if not dry_run and not imports.alone(conn):
            raise Busy
        dated = on_companies_clocks(conn, reading.records)
        plan = _planner(mapping, create_tags=create_tags)(conn, dated)
        bad = sorted([*reading.bad, *_bad(plan, mapping)], key=lambda one: one.line)
        writes = not dry_run and (only_good or not bad)
        if writes and (plan.added or plan.changed):
            plan.write(conn, progress)
            counts = {"kind": mapping.kind, "sha256": understood.sha256, "added": plan.added, "changed": plan.changed}
            journal.write(conn, "import", 0, {name: (None, value) for name, value in counts.items()})
        # A file that brings nothing new may be yesterday's, again: it is no word of what was paid since.
        if writes and not bad and mapping.kind == "payments" and (plan.added or plan.changed):
            known = Companies(conn, dated)
            freshness.heard(conn, {known.ids[known.of(record)] for record in dated}, "import")
    return Imported(
        kind=mapping.kind,
        file=understood.sheet.name,
        rows=reading.rows,
        added=plan.added,
        changed=plan.changed,
        unchanged=plan.unchanged,
        repeated=plan.repeated,
        left_out=reading.left_out,
        bad=tuple(bad),
        notices=(*_decimal_ids(reading), *plan.notices),
        done=writes,
    )


def bad_rows(understood: Understood, bad: Sequence[Bad]) -> bytes:
    """The refused rows as a file of the same kind, each with its line and the reason before it, to be mended.

    Encoding and delimiter are the file's own, so that the same mapping reads it.
    """
    reasons = {one.line: f"{one.column}: {one.reason}" if one.column else one.reason for one in bad}
    written = StringIO(newline="")
    writer = csv.writer(written, delimiter=understood.sheet.delimiter)
    writer.writerow(["line", "problem", *understood.sheet.header])
    for line, cells in understood.sheet.rows():
        if line in reasons:
            writer.writerow([line, *map(harmless, (reasons[line], *cells))])
    encoding = "utf-8-sig" if understood.sheet.encoding == "utf-8" else "cp1252"
    return written.getvalue().encode(encoding, "replace")


def _planner(mapping: Mapping, *, create_tags: bool) -> Callable[[Connection, Sequence[Record]], Plan]:
    planners: dict[Kind, Callable[..., Plan]] = {
        "customers": plan_customers,
        "contacts": plan_contacts,
        "invoices": partial(plan_invoices, says_states="commercial_state" in mapping.sources),
        "payments": plan_payments,
        "tags": partial(plan_tags, create=create_tags),
    }
    return planners[mapping.kind]


def _bad(plan: Plan, mapping: Mapping) -> list[Bad]:
    return [
        Bad(
            line=record.line,
            column=mapping.sources[wrong.field].label if wrong.field in mapping.sources else wrong.field,
            value=_text(wrong.value),
            reason=wrong.reason,
        )
        for record, wrong in plan.refused
    ]


def _decimal_ids(reading: Reading) -> list[Notice]:
    return [
        Notice(oddity="reads as a decimal", about=f"column {column}", field=column, kept=text, rows=rows)
        for column, (text, rows) in reading.decimal_ids.items()
    ]


def _text(value: Any) -> str:  # noqa: ANN401 - whatever an error names
    return "" if value is None else str(value)
