"""Money as Decimal with an ISO 4217 currency: what comes from outside is checked once, here, and exact from then on."""

import re
from decimal import Decimal
from typing import Final

from workflow.errors import InvalidInput

# ISO 4217, list one (SIX Financial Information, maintenance agency), as in force in 2026: the money of a country or
# of a union. Funds, metals, units of account and test codes are no money to invoice in.
CURRENCIES: Final = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP
    CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG
    SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV
    WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a table reads better as one
)
# The same list's minor units; every other currency has two decimals.
NO_DECIMALS: Final = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())  # noqa: SIM905 - the same
THREE_DECIMALS: Final = frozenset("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905 - the same

# No invoice reaches a million millions: such a figure is a mistake of unit or of field.
TOO_LARGE: Final = Decimal(10**12)
PLAIN_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.(?P<decimals>[0-9]{1,40}))?")


def check_currency(code: str, *, field: str = "currency") -> None:
    """Raise InvalidInput, naming the field, for what is no current ISO 4217 code in capitals."""
    if code not in CURRENCIES:
        raise InvalidInput(field=field, value=code, reason="is no ISO 4217 currency, such as EUR")


def digits(currency: str) -> int:
    """Return how many decimals the currency has (ISO 4217 minor units): 0, 2 or 3; InvalidInput when unknown."""
    check_currency(currency)
    if currency in NO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def amount(value: object, currency: str, *, field: str) -> Decimal:
    """Return an amount from outside as a Decimal with exactly the currency's decimals; negative for a credit.

    Raises InvalidInput, naming the field, for anything but a plain number in text, an int or a Decimal. A float has
    already lost cents. More decimals than the currency has are refused even when they are zeros: "1.500" may well
    have meant fifteen hundred.
    """
    decimals = digits(currency)
    text = _plain_text(value, field)
    number = PLAIN_NUMBER.fullmatch(text)
    if number is None:
        raise InvalidInput(field=field, value=value, reason="must be a plain number such as 1234.50")
    if len(number["decimals"] or "") > decimals:
        raise InvalidInput(field=field, value=value, reason=f"has more than the {decimals} decimals of {currency}")
    exact = Decimal(text)
    if abs(exact) >= TOO_LARGE:
        raise InvalidInput(field=field, value=value, reason=f"must be under {TOO_LARGE}")
    # Adding zero turns a negative zero into zero.
    return exact.quantize(Decimal(1).scaleb(-decimals)) + 0


def _plain_text(value: object, field: str) -> str:
    match value:
        case str():
            return value
        case Decimal():
            return str(value)
        case int() if not isinstance(value, bool) and abs(value) < TOO_LARGE:
            return str(value)
        case int() if not isinstance(value, bool):
            raise InvalidInput(field=field, value=value, reason=f"must be under {TOO_LARGE}")
        case _:
            raise InvalidInput(field=field, value=value, reason="must be text, a whole number or a Decimal")
