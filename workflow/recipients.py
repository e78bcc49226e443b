"""Who receives a reminder: the chain of domain.md, and by which link the address was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from workflow.facts import Contact, InvoiceFacts
    from workflow.rules import Rule

Link = Literal["preferred contact", "invoice's interlocutor", "customer's other contact", "customer's address"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """The person found and the link of the chain that led there."""

    contact: Contact
    link: Link


def chain(facts: InvoiceFacts, rule: Rule) -> tuple[tuple[Link, Contact | None], ...]:
    """Every link, in order, and who stands there.

    The customer's contact of the preferred role, the invoice's own of the other role, the customer's of that role, the
    customer's address.
    """
    customer = facts.customer
    return (
        ("preferred contact", customer.contacts.get(rule.preferred_contact)),
        ("invoice's interlocutor", facts.interlocutors.get(rule.interlocutor)),
        ("customer's other contact", customer.contacts.get(rule.interlocutor)),
        ("customer's address", customer.address),
    )


def recipient(facts: InvoiceFacts, rule: Rule) -> Recipient | None:
    """Find who receives a mail about this invoice. None is a reported problem, never a silent skip.

    The first of the chain; where the company passes over addresses that refuse mail, the first that takes it.
    """
    found = [Recipient(contact, link) for link, contact in chain(facts, rule) if contact]
    if facts.customer.passes_over:
        found = [one for one in found if not one.contact.suppressed] or found
    return found[0] if found else None


def next_contact(facts: InvoiceFacts, rule: Rule) -> Recipient | None:
    """Who could be written to where an address of the chain refuses mail: the first whose address does not."""
    found = [Recipient(contact, link) for link, contact in chain(facts, rule) if contact]
    return next((one for one in found if not one.contact.suppressed), None)
