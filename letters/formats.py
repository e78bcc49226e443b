"""Amounts and days as a reader of each language expects them; Babel knows the customs, a cache makes them cheap."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from babel import Locale
from babel.dates import format_date
from babel.numbers import (
    format_currency,
    get_currency_precision,
    get_decimal_symbol,
    get_group_symbol,
    list_currencies,
)

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import date

    from workflow.facts import Language

# A language is written as its own locale says, save where a business letter in Europe wants another one.
_LOCALES: Final = {"en": "en_GB"}
# In a table: 01/03/2026, save where day and month could be mistaken for each other.
_SHORT_DAYS: Final = {"en": "medium"}
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_MINUS: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """How one currency is written in one language: what stands around, between and behind the digits."""

    before: str
    after: str
    separators: dict[int, str]
    decimals: int
    unit: Decimal


def money(amount: Decimal, currency: str, language: Language) -> str:
    """Write an amount: `1 234,50 €` in French (U+202F, then U+00A0), `€1,234.50` in English.

    Rounded half up to the currency's own decimals (none for JPY, three for TND). Raises InvalidInput for a currency
    that ISO 4217 does not know and for an amount that is no number.
    """
    if not amount.is_finite():
        raise InvalidInput(field="amount", value=amount, reason="is not a number")
    style = _style(currency, language)
    rounded = amount.quantize(style.unit, rounding=ROUND_HALF_UP)
    digits = f"{abs(rounded):,.{style.decimals}f}".translate(style.separators)
    return f"{_MINUS if rounded < 0 else ''}{style.before}{digits}{style.after}"


@lru_cache(maxsize=8192)
def long_day(day: date, language: Language) -> str:
    """Write a day as in a sentence: `1er mars 2026` (the first alone has the "er"), `1 March 2026`."""
    written = format_date(day, format="long", locale=_locale(language))
    return f"1er{written[1:]}" if language == "fr" and day.day == 1 else written


@lru_cache(maxsize=8192)
def short_day(day: date, language: Language) -> str:
    """Write a day as in a table: `01/03/2026`, `1 Mar 2026`."""
    return format_date(day, format=_SHORT_DAYS.get(language, "short"), locale=_locale(language))


def grouped_by_four(identifier: str) -> str:
    """Write an IBAN as people read it aloud: `FR76 3000 6000 …`."""
    compact = "".join(identifier.split())
    return _NO_BREAK.join(compact[start : start + 4] for start in range(0, len(compact), 4))


@lru_cache(maxsize=512)
def _style(currency: str, language: Language) -> _Style:
    if currency not in list_currencies():
        raise InvalidInput(field="currency", value=currency, reason="is not an ISO 4217 currency")
    locale = _locale(language)
    written = format_currency(Decimal(0), currency, locale=locale)
    before, after = written[: written.index("0")], written[written.rindex("0") + 1 :]
    if before[-1:].isalpha():
        before += _NO_BREAK  # CHF 12.00: letters do not stick to digits
    decimals = get_currency_precision(currency)
    return _Style(
        before=before,
        after=after,
        separators=str.maketrans({",": get_group_symbol(locale), ".": get_decimal_symbol(locale)}),
        decimals=decimals,
        unit=Decimal(1).scaleb(-decimals),
    )


@lru_cache(maxsize=32)
def _locale(language: Language) -> Locale:
    return Locale.parse(_LOCALES.get(language, language))
