"""Amounts as files write them: decimal comma or point, thousands, currency signs; the decimal sign is one a column."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Decimals = Literal["comma", "point"]
DECIMALS: Final[tuple[Decimals, ...]] = get_args(Decimals)

_SIGN: Final[dict[Decimals, str]] = {"comma": ",", "point": "."}
# What each sign may stand for (Unicode, currency symbols); any other word must be the code itself.
_SIGNS: Final = {
    "€": frozenset({"EUR"}),
    "£": frozenset({"GBP", "EGP", "GIP", "FKP", "SHP", "LBP", "SYP"}),
    "$": frozenset({"USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN", "BRL", "ARS", "CLP", "COP", "TWD"}),
    "¥": frozenset({"JPY", "CNY"}),
    "Fr.": frozenset({"CHF"}),
    "F": frozenset({"XAF", "XOF", "XPF", "CHF"}),
}

_SPACES = re.compile("[\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}\N{FIGURE SPACE}]")
_APOSTROPHES: Final = "'\N{RIGHT SINGLE QUOTATION MARK}"
_MINUS: Final = ("-", "\N{MINUS SIGN}")
_MARK: Final = r"[^\W\d_]{1,3}\.?|[€£$¥]"
_NUMBER = re.compile(
    rf"(?P<before>{_MARK})? ?(?P<minus>[-+{_MINUS[1]}])? ?(?P<behind>{_MARK})? ?"
    rf"(?P<figures>[0-9]+(?:[ .,{_APOSTROPHES}][0-9]+)*)"
    rf"(?P<trailing> ?-)?(?: ?(?P<after>{_MARK}))?\Z"
)
_GROUPED = re.compile(rf"[1-9][0-9]{{0,2}}(?P<sign>[ .,{_APOSTROPHES}])[0-9]{{3}}(?:(?P=sign)[0-9]{{3}})*\Z")


class NoAmount(ValueError):  # noqa: N818 - a fact about a text
    """A text that is no amount; its words say why."""


def amount(text: str, decimals: Decimals | None, currency: str | None = None) -> str:
    """Return the amount as a plain number, such as -1234.50, as `workflow.money` takes it. Raises NoAmount.

    `decimals` decides where nothing in the text does: 1,234. A mark of anything but `currency` is refused.
    """
    read = _read(text)
    if isinstance(read, str):
        raise NoAmount(read)
    numbers, mark = read
    if currency and mark and currency.upper() not in _meant(mark):
        raise NoAmount(f"is not in {currency}")
    if None in numbers:
        return numbers[None]
    if decimals is None and len(set(numbers.values())) > 1:
        raise NoAmount("may have a decimal comma or a decimal point")
    number = numbers.get(decimals) if decimals else next(iter(numbers.values()))
    if number is None:
        raise NoAmount(f"is no amount with a decimal {decimals}")
    return number


def decimals_of(texts: Iterable[str]) -> Decimals | Literal["ambiguous"] | None:
    """The one decimal sign with which all these texts are amounts; None where none of them has any sign."""
    possible: set[Decimals | None] = set(DECIMALS)
    needed = False
    for text in texts:
        read = _read(text)
        if isinstance(read, str) or None in read[0]:
            continue
        if len(read[0]) == 1 or len(set(read[0].values())) > 1:  # 1 200 is the same with either sign
            needed = True
            possible &= read[0].keys()
    if not needed:
        return None
    return (possible.pop() or "ambiguous") if len(possible) == 1 else "ambiguous"


def currency_of(texts: Iterable[str]) -> str | None:
    """The currency that signs or codes beside these amounts say, where they say one and the same."""
    marks = {read[1] for read in map(_read, texts) if not isinstance(read, str)}
    meant = _meant(marks.pop()) if len(marks) == 1 else frozenset[str]()
    return min(meant) if len(meant) == 1 else None


def _meant(mark: str) -> frozenset[str]:
    if not mark:
        return frozenset()
    return _SIGNS.get(mark) or frozenset({mark.upper()})


@lru_cache(maxsize=65536)
def _read(text: str) -> tuple[dict[Decimals | None, str], str] | str:
    """The numbers that it may be, by decimal sign (None: it has none), and its currency mark; or why it is none."""
    written = _SPACES.sub(" ", text).strip()
    bracketed = written.startswith("(") and written.endswith(")")
    found = _NUMBER.match(written[1:-1].strip() if bracketed else written)
    if found is None:
        return "is no amount"
    numbers = _numbers(found["figures"])
    if not numbers:
        return "has signs that part neither thousands nor decimals"
    negative = bracketed or found["minus"] in _MINUS or found["trailing"]
    mark = found["before"] or found["behind"] or found["after"] or ""
    return {sign: f"-{number}" if negative else number for sign, number in numbers.items()}, mark


def _numbers(figures: str) -> dict[Decimals | None, str]:
    if figures.isdigit():
        return {None: figures}
    numbers: dict[Decimals | None, str] = {}
    for decimals, sign in _SIGN.items():
        whole, part = figures, ""
        if figures.count(sign) == 1:
            whole, _, part = figures.partition(sign)
        grouped = _GROUPED.match(whole)
        if (part.isdigit() or not part) and (whole.isdigit() or (grouped and grouped["sign"] != sign)):
            plain = re.sub("[^0-9]", "", whole)
            numbers[decimals] = f"{plain}.{part}" if part else plain
    return numbers
