"""What a payment, a correction of the total or a word of the invoicing system does to an invoice: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflow.machine import reopened, settled

if TYPE_CHECKING:
    from decimal import Decimal

    from workflow.facts import CommercialState
    from workflow.machine import Position

SETTLING: Final[frozenset[CommercialState]] = frozenset({"paid", "cancelled"})
# What blocks reminders, and is not forgotten while the invoice counts as paid.
_CONTESTED: Final[dict[str | None, CommercialState]] = {"disputed": "disputed", "refused": "refused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an invoice stands: for business, in money (the total less the ledger's sum), and on the machine."""

    commercial_state: CommercialState
    balance: Decimal
    position: Position
    cycle: int


def as_commercial(standing: Standing, state: CommercialState) -> Standing:
    """Follow the invoicing system's word: paid and cancelled settle, leaving them reopens in a new cycle."""
    position, cycle = standing.position, standing.cycle
    if state in SETTLING:
        position = settled(position)
    elif standing.commercial_state in SETTLING:
        position, cycle = reopened(position), cycle + 1
    return Standing(commercial_state=state, balance=standing.balance, position=position, cycle=cycle)


def with_balance(standing: Standing, balance: Decimal, *, said: str | None = None) -> Standing:
    """Follow the ledger: what is covered is paid, disputed or not; paid and no longer covered is open again.

    `said`: the last word on it; where that contests the invoice, it comes back contested. A cancelled invoice stays
    cancelled, whatever is paid on it.
    """
    moved = Standing(
        commercial_state=standing.commercial_state, balance=balance, position=standing.position, cycle=standing.cycle
    )
    match standing.commercial_state:
        case "open" | "disputed" | "refused" if balance <= 0:
            return as_commercial(moved, "paid")
        case "paid" if balance > 0:
            return as_commercial(moved, _CONTESTED.get(said, "open"))
        case _:
            return moved


def as_listed(standing: Standing, state: CommercialState) -> Standing:
    """Follow a list from the invoicing system: its word counts, but what the ledger covers stays paid.

    `state` is never paid: that is what payments say.
    """
    if state == standing.commercial_state or (standing.commercial_state == "paid" and state != "cancelled"):
        return standing
    told = as_commercial(standing, state)
    return with_balance(told, told.balance)
