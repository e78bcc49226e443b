"""Read electronic invoices from files: each is parsed apart, and what it says is checked here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import stdnum.iban

from letters.headers import file_name
from operations.acting import line, lines, optional_line, sensible_day
from operations.einvoices.limits import CPU_S, LARGEST, MEMORY_BYTES
from workflow.einvoices import EInvoice, Party
from workflow.errors import InvalidInput
from workflow.money import amount, check_currency, digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path

    from workflow.einvoices import Format

# On a busy machine: what counts is the processor time, and this is only for what waits instead of computing.
WALL_S: Final = 60
_CHILD: Final = (sys.executable, "-I", "-B", "-m", "operations.einvoices.apart")
_DECIMAL: Final = re.compile(r"\+?(-?)0*([0-9]{0,15})(?:\.([0-9]{0,15}?)0*)?")
_LONGEST_TERMS: Final = 2000

Texts = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A file, by its safe name, and the invoice in it, or why there is none that can be read."""

    file: str
    content: bytes
    sha256: bytes
    einvoice: EInvoice | None
    refused: str = ""


def read_files(
    paths: Sequence[Path], *, progress: Callable[[int, int], object] = lambda _done, _all: None
) -> Iterator[Read]:
    """Read files in their order, as many at once as there are processors."""
    at_once = os.cpu_count() or 1
    with ThreadPoolExecutor(at_once) as pool:
        for first in range(0, len(paths), at_once):
            progress(first, len(paths))
            yield from pool.map(read_file, paths[first : first + at_once])


def read_file(path: Path) -> Read:
    """Read one file. Whatever is wrong with it is the answer's `refused`."""
    name = file_name(path.name)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        return Read(file=name, content=b"", sha256=b"", einvoice=None, refused=f"cannot be read: {error.strerror}")
    sha256 = hashlib.sha256(content).digest()
    try:
        return Read(file=name, content=content, sha256=sha256, einvoice=read(content))
    except InvalidInput as error:
        why = error.reason if error.field == "content" else str(error)
        return Read(file=name, content=content, sha256=sha256, einvoice=None, refused=why)


def read(content: bytes) -> EInvoice:
    """Return the invoice that a PDF or XML document holds. Raises InvalidInput, of `content` where it holds none."""
    if len(content) > LARGEST:
        raise _refused(f"is larger than {LARGEST // 1024**2} MiB")
    try:
        child = subprocess.run(  # noqa: S603 - our own words; the document goes to its standard input
            _CHILD,
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            timeout=WALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(f"cannot be read within {WALL_S} s") from error
    if child.returncode > 0:
        raise _refused(f"could not be read (exit code {child.returncode})")
    if child.returncode:  # a signal: the kernel's, at a limit, or a parser's that met one
        raise _refused(f"cannot be read within {MEMORY_BYTES // 1024**2} MiB and {CPU_S} s")
    answer: dict[str, Any] = json.loads(child.stdout)
    if "refused" in answer:
        raise _refused(answer["refused"])
    said = answer["said"]
    written: Format = "factur-x" if said["pdf"] and said["syntax"] == "cii" else said["syntax"]
    return understood(said["fields"], written)


def understood(said: Mapping[str, list[str]], written: Format) -> EInvoice:
    """Check the texts of an invoice's fields, and make values of them. Raises InvalidInput naming the field."""
    currency = _one(said, "currency")
    check_currency(currency)
    total, payable = (_amount(_one(said, name), currency, name) for name in ("total", "payable"))
    prepaid = _amount(_one(said, "prepaid"), currency, "prepaid") if said["prepaid"] else None
    issued_on = _day(_one(said, "issued"), "issued")
    dates = tuple(sorted({_day(text, "due") for text in said["due"]}))
    accounts = list(dict.fromkeys("".join(text.split()) for text in said["iban"]))
    preceding = tuple(optional_line(text, field="preceding") for text in said["preceding"])
    type_code = line(_one(said, "type"), field="type")
    oddities = []
    if len(dates) > 1:
        oddities.append(f"gives several due dates ({', '.join(map(str, dates))}), so it has none here")
    if len(dates) == 1 and dates[0] < issued_on:
        oddities.append("is due before the day of its issue")
    valid = [one for one in accounts if stdnum.iban.is_valid(one)]
    if accounts and not valid:
        oddities.append("names an account that is no valid IBAN")
    return EInvoice(
        format=written,
        number=line(_one(said, "number"), field="number"),
        type_code=type_code,
        issued_on=issued_on,
        due_dates=dates,
        terms=_terms(said["terms"]),
        seller=_party(said, "seller"),
        buyer=_party(said, "buyer"),
        currency=currency,
        total=total,
        prepaid=prepaid,
        payable=payable,
        iban=optional_line((valid or accounts)[0], field="iban") if accounts else None,
        means=tuple(dict.fromkeys(optional_line(text, field="means") for text in said["means"])),
        preceding=preceding,
        oddities=tuple(oddities),
    )


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(field="content", value=None, reason=reason)


def _one(said: Mapping[str, list[str]], name: str) -> str:
    """The one text of a field that an invoice must have, and once."""
    texts = list(dict.fromkeys(" ".join(text.split()) for text in said[name]))
    if not texts:
        raise InvalidInput(field=name, value=None, reason="is missing")
    if len(texts) > 1:
        raise InvalidInput(field=name, value=texts[:5], reason="is given more than once, and not the same")
    return texts[0]


def _amount(text: str, currency: str, field: str) -> Decimal:
    """An xs:decimal: its decimals follow a point and nothing else does, so that `1.500` can only be one and a half."""
    found = _DECIMAL.fullmatch(text)
    if not found or not (found[2] or found[3] or "0" in text):
        raise InvalidInput(field=field, value=text, reason="is no amount")
    decimals = (found[3] or "").ljust(digits(currency), "0")
    return amount(f"{found[1]}{found[2] or '0'}{'.' if decimals else ''}{decimals}", currency, field=field)


def _day(text: str, field: str) -> date:
    """A day as UBL writes it, `2026-03-31`, or CII in its format 102, `20260331`; a zone behind it says nothing."""
    shape = re.fullmatch(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?", text)
    try:
        day = datetime.strptime("".join(shape.group(1, 3, 4)), "%Y%m%d").date() if shape else None  # noqa: DTZ007 - a day
    except ValueError:
        day = None
    if day is None:
        raise InvalidInput(field=field, value=text, reason="is no day such as 2026-03-31")
    return sensible_day(day, field=field)


def _terms(texts: Sequence[str]) -> str:
    text = "\n".join(dict.fromkeys(re.sub(r"[^\S\n]+", " ", text.replace("\r", "\n")).strip() for text in texts))
    return lines(text if len(text) <= _LONGEST_TERMS else f"{text[: _LONGEST_TERMS - 1]}…", field="terms")


def _party(said: Mapping[str, list[str]], name: str) -> Party:
    def each(part: str) -> list[str]:
        texts = (" ".join(text.split()) for text in said[f"{name}{part}"])
        return list(dict.fromkeys(optional_line(text, field=name) for text in texts))

    names, vat, emails = [*each(""), *each("_trading")], each("_vat"), [*each("_email"), *each("_endpoint")]
    if not names:
        raise InvalidInput(field=name, value=None, reason="is missing")
    return Party(
        name=names[0], ids=tuple(each("_ids")), vat=vat[0] if vat else None, email=emails[0] if emails else None
    )
