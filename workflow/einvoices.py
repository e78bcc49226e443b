"""What an electronic invoice says (EN 16931), and whether the sum that it asks for is chased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

# factur-x: CII within a PDF (Factur-X 1.0, ZUGFeRD 2, XRechnung).
Format = Literal["factur-x", "cii", "ubl", "ubl-credit-note"]
# held: saved, and chased once a person lets go of it. never: it is not saved as an invoice.
Chased = Literal["yes", "held", "never"]

# UNTDID 1001 as EN 16931 restricts it (BT-3). Those of its other codes that ask for no payment (325, a pro forma
# invoice; 751, for accounting only …) are in neither list. 471 to 473 and 500 to 503 are the French additions.
CREDITS: Final = frozenset("81 83 261 262 296 308 381 396 420 457 458 502 503 532".split())  # noqa: SIM905 - a table reads better as one
CLAIMS: Final = frozenset(
    """
    71 80 82 84 211 218 219 295 326 331 380 382 383 384 385 386 387 388 389 390 393 394 395 456 471 472 473 500 501 527
    575 623 633 780 875 876 877
    """.split()  # noqa: SIM905 - the same
)
CORRECTIONS: Final = frozenset({"384", "471", "472", "473"})
FACTORED: Final = frozenset({"393", "472", "473", "501"})
# UNTDID 4461 (BT-81).
DIRECT_DEBITS: Final = frozenset({"49", "59"})
CARDS: Final = frozenset({"48", "54", "55"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A seller or buyer as the invoice names it. `ids`: whatever numbers it is given, of any register."""

    name: str
    ids: tuple[str, ...] = ()
    vat: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EInvoice:
    """An electronic invoice. `payable` (BT-115) is what is still asked for; `due_dates`: all that stand in it.

    `iban`: the seller's account as it is written, without spaces. `oddities`: what a person should look at.
    """

    format: Format
    number: str
    type_code: str
    issued_on: date
    due_dates: tuple[date, ...]
    terms: str
    seller: Party
    buyer: Party
    currency: str
    total: Decimal
    prepaid: Decimal | None
    payable: Decimal
    iban: str | None
    means: tuple[str, ...] = ()
    preceding: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def due_on(self) -> date | None:
        """Its due date; None where it gives none, and where it gives several."""
        return self.due_dates[0] if len(self.due_dates) == 1 else None

    @property
    def factored(self) -> bool:
        """Assigned to a factor: not the seller's to chase."""
        return self.type_code in FACTORED


def chased(invoice: EInvoice) -> tuple[Chased, str]:
    """Whether its payable amount is chased, and else why not.

    A direct debit among its means of payment will take the money; cards do only where there is no other means.
    """
    if never := _why_never(invoice):
        return "never", never
    debits = [one for one in invoice.means if one in DIRECT_DEBITS]
    if debits:
        return "held", f"is collected by direct debit (means {debits[0]}): release it once the debit is rejected"
    if invoice.means and CARDS.issuperset(invoice.means):
        return "held", f"is paid by card (means {invoice.means[0]}): release it once the card is refused"
    return "yes", ""


def _why_never(invoice: EInvoice) -> str:
    code = invoice.type_code
    if invoice.format == "ubl-credit-note" or code in CREDITS:
        return f"is a credit note (type {code})"
    if invoice.payable < 0:
        return f"asks for {invoice.payable}: a credit"
    if code not in CLAIMS:
        return f"is a document of type {code}, which asks for no payment"
    return "asks for nothing: it is paid" if invoice.payable == 0 else ""
