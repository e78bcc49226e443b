"""What a decision is made from: an invoice and its customer as they stand at one moment, values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from decimal import Decimal

Role = Literal["dunning", "billing"]
CommercialState = Literal["open", "paid", "cancelled", "disputed", "refused"]
CustomerKind = Literal["professional", "public_body", "consumer", "unknown"]
Language = Literal["fr", "en"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A reason to wait and the last day of waiting; a promise to pay is one that ends on the promised day."""

    reason: str
    until_on: date
    promise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Somebody at the customer. `suppressed`: the address has refused mail for good (a 5.1.1, a hard bounce)."""

    id: int
    name: str
    email: str
    language: Language | None = None
    suppressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerFacts:
    """A customer as one company sees it.

    `unallocated`: credits and payments on account that no invoice has taken yet, by currency, in its units.
    `last_mail_on`: business day of the last live or accepted mail of *another* run; None when there is none.
    `min_days_between_mails`: the company's minimum, None where it sets none. `passes_over`: where an address refuses
    mail, the company writes to the chain's next contact.
    """

    id: int
    number: str
    name: str
    kind: CustomerKind
    row_version: int
    language: Language | None = None
    excluded: bool = False
    held_because: str | None = None
    pause: Pause | None = None
    contacts: Mapping[Role, Contact] = field(default_factory=dict)
    address: Contact | None = None
    tags: frozenset[str] = frozenset()
    unallocated: Mapping[str, Decimal] = field(default_factory=dict)
    last_mail_on: date | None = None
    min_days_between_mails: int | None = None
    passes_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFacts:
    """An invoice as it stands: amounts in units of `currency`, days of the company's calendar.

    `state`: the machine's (see workflow.machine); `level`: reminders already sent, 0 to 3.
    `tags`: titles on the invoice, those whose effect is planned included.
    `interlocutors`: the invoice's own contacts by role, where it has any.
    `rule_mailed_on`: last business day on which the deciding rule, where it does not count, mailed about this invoice.
    `rule_live`: such a mail is still on its way. `stale_payments`: what is known of the company's payments is older
    than it allows, in words; None where it is not. `undelivered`: the addresses, in lower case, at which a mail about
    this invoice turned out to reach nobody, with the open task that says so.
    """

    id: int
    number: str
    company: str
    customer: CustomerFacts
    state: str
    level: int
    cycle: int
    row_version: int
    commercial_state: CommercialState
    currency: str
    total: Decimal
    balance: Decimal
    issued_on: date
    due_on: date | None = None
    last_reminded_on: date | None = None
    payment_method: str | None = None
    factored: bool = False
    held_because: str | None = None
    pause: Pause | None = None
    tags: frozenset[str] = frozenset()
    interlocutors: Mapping[Role, Contact] = field(default_factory=dict)
    rule_mailed_on: date | None = None
    rule_live: bool = False
    stale_payments: str | None = None
    undelivered: Mapping[str, int] = field(default_factory=dict)
