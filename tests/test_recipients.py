"""The chain that finds who receives a reminder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest

from tests.test_decision import FACTS, RULE, contact
from workflow.facts import Role
from workflow.recipients import Recipient, next_contact, recipient

if TYPE_CHECKING:
    from workflow.facts import Contact, InvoiceFacts

DUNNING, BILLING, OWN_DUNNING, OWN_BILLING, ADDRESS = (
    contact(name) for name in ("dunning", "billing", "own-dunning", "own-billing", "address")
)


def facts(
    contacts: dict[Role, Contact] | None = None, own: dict[Role, Contact] | None = None, address: Contact | None = None
) -> InvoiceFacts:
    return replace(
        FACTS, interlocutors=own or {}, customer=replace(FACTS.customer, contacts=contacts or {}, address=address)
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            facts({"dunning": DUNNING, "billing": BILLING}, {"billing": OWN_BILLING}, ADDRESS),
            Recipient(DUNNING, "preferred contact"),
        ),
        (
            facts({"billing": BILLING}, {"billing": OWN_BILLING}, ADDRESS),
            Recipient(OWN_BILLING, "invoice's interlocutor"),
        ),
        (
            facts({"billing": BILLING}, {"dunning": OWN_DUNNING}, ADDRESS),
            Recipient(BILLING, "customer's other contact"),
        ),
        (facts({}, {"dunning": OWN_DUNNING}, ADDRESS), Recipient(ADDRESS, "customer's address")),
        (facts(), None),
    ],
)
def test_each_link_of_the_chain_stands_in_for_the_one_before(found: InvoiceFacts, expected: Recipient | None) -> None:
    assert recipient(found, RULE) == expected


def test_a_rule_may_prefer_the_billing_contact_and_the_invoices_dunning_interlocutor() -> None:
    rule = replace(RULE, preferred_contact="billing", interlocutor="dunning")
    both: dict[Role, Contact] = {"dunning": DUNNING, "billing": BILLING}
    assert recipient(facts(both), rule) == Recipient(BILLING, "preferred contact")
    own = facts({"dunning": DUNNING}, {"dunning": OWN_DUNNING, "billing": OWN_BILLING})
    assert recipient(own, rule) == Recipient(OWN_DUNNING, "invoice's interlocutor")


def test_one_role_twice_still_asks_the_customer_first() -> None:
    rule = replace(RULE, preferred_contact="billing", interlocutor="billing")
    assert recipient(facts({"billing": BILLING}, {"billing": OWN_BILLING}), rule) == Recipient(
        BILLING, "preferred contact"
    )
    assert {rule.preferred_contact} < set(get_args(Role))


def test_a_contact_that_refuses_mail_is_still_the_one_and_a_guard_says_so() -> None:
    gone = replace(DUNNING, suppressed=True)
    assert recipient(facts({"dunning": gone, "billing": BILLING}), RULE) == Recipient(gone, "preferred contact")


def test_a_company_may_pass_over_an_address_that_refuses_mail() -> None:
    gone = replace(DUNNING, suppressed=True)
    found = facts({"dunning": gone, "billing": BILLING}, address=ADDRESS)
    passing = replace(found, customer=replace(found.customer, passes_over=True))
    assert recipient(passing, RULE) == Recipient(BILLING, "customer's other contact")
    alone = replace(passing, customer=replace(passing.customer, contacts={"dunning": gone}, address=None))
    assert recipient(alone, RULE) == Recipient(gone, "preferred contact"), "the reason is told where nobody is left"


def test_whoever_takes_mail_next_in_the_chain_is_offered() -> None:
    gone = replace(DUNNING, suppressed=True)
    assert next_contact(facts({"dunning": gone}, address=ADDRESS), RULE) == Recipient(ADDRESS, "customer's address")
    assert next_contact(facts({"dunning": gone}), RULE) is None
