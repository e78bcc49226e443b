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


def recipient(facts: InvoiceFacts, rule: Rule) -> Recipient | None:
    """Find who receives a mail about this invoice. None is a reported problem, never a silent skip.

    The chain: the customer's contact of the preferred role, the invoice's own of the other role, the customer's of that
    role, the customer's address.
    """
    customer = facts.customer
    if contact := customer.contacts.get(rule.preferred_contact):
        return Recipient(contact, "preferred contact")
    if contact := facts.interlocutors.get(rule.interlocutor):
        return Recipient(contact, "invoice's interlocutor")
    if contact := customer.contacts.get(rule.interlocutor):
        return Recipient(contact, "customer's other contact")
    if customer.address:
        return Recipient(customer.address, "customer's address")
    return None
