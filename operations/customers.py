"""Customers with their management block, their contacts, and whether they may be reminded at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, get_args

from letters.headers import check_address
from operations.acting import acting, address, existing, line, lines, number, one_of, optional_line, person_name
from operations.companies import check_country
from store.people import CONTACTS, CUSTOMERS, set_excluded, set_role
from store.saving import id_of, save
from workflow.facts import CustomerKind, Language, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from store.connection import Connection


class CustomerValues(TypedDict, total=False):
    """What is kept of a customer, beside contacts, tags, exclusion and holds."""

    number: str
    name: str
    kind: CustomerKind
    language: Language | None
    email: str | None
    postal_address: str
    country: str
    payment_terms_days: int | None
    payment_method: str | None


class ContactValues(TypedDict, total=False):
    """What is kept of a contact, beside whose it is."""

    name: str
    email: str
    language: Language | None


def save_customer(
    conn: Connection,
    *,
    number: str,
    name: str,
    kind: CustomerKind = "unknown",
    language: Language | None = None,
    email: str | None = None,
    postal_address: str = "",
    country: str = "FR",
    payment_terms_days: int | None = None,
    payment_method: str | None = None,
    by: str,
    today: date | None = None,
) -> int:
    """Save a customer by number; what is not given takes its default. Returns the id. Raises InvalidInput.

    Contacts, tags, exclusion and holds stay as they are: they have operations of their own.
    """
    values = checked_customer(
        CustomerValues(
            number=number,
            name=name,
            kind=kind,
            language=language,
            email=email,
            postal_address=postal_address,
            country=country,
            payment_terms_days=payment_terms_days,
            payment_method=payment_method,
        )
    )
    with acting(conn, by=by, today=today):
        return save(conn, CUSTOMERS, values)


def save_contact(
    conn: Connection,
    *,
    customer: str,
    name: str,
    email: str,
    language: Language | None = None,
    roles: Sequence[Role] = (),
    by: str,
    today: date | None = None,
) -> int:
    """Save a customer's contact by address, and make it the customer's for these roles. Returns the contact's id."""
    for role in roles:
        one_of(role, get_args(Role), field="roles")
    values = checked_contact(ContactValues(name=name, email=email, language=language))
    with acting(conn, by=by, today=today):
        customer_id = customer_id_of(conn, customer)
        contact_id = save(conn, CONTACTS, values | {"customer_id": customer_id})
        for role in roles:
            set_role(conn, customer_id, role, contact_id)
        return contact_id


def assign_role(conn: Connection, *, customer: str, role: Role, email: str, by: str, today: date | None = None) -> bool:
    """Make the contact with this address the customer's for this role. False when it was. Raises InvalidInput."""
    one_of(role, get_args(Role), field="role")
    with acting(conn, by=by, today=today):
        customer_id = customer_id_of(conn, customer)
        found = id_of(conn, CONTACTS, {"customer_id": customer_id, "email": email})
        return set_role(conn, customer_id, role, existing(found, email, field="contact"))


def clear_role(conn: Connection, *, customer: str, role: Role, by: str, today: date | None = None) -> bool:
    """Leave the customer without a contact for this role. False when there was none."""
    one_of(role, get_args(Role), field="role")
    with acting(conn, by=by, today=today):
        return set_role(conn, customer_id_of(conn, customer), role, None)


def exclude(conn: Connection, *, customer: str, because: str, by: str, today: date | None = None) -> bool:
    """Remind this customer of nothing from now on. False when it was so already."""
    line(because, field="because")
    with acting(conn, by=by, because=because, today=today):
        return set_excluded(conn, [customer_id_of(conn, customer)], excluded=True) == 1


def include(conn: Connection, *, customer: str, because: str = "", by: str, today: date | None = None) -> bool:
    """Remind this customer as any other. False when it was so already."""
    with acting(conn, by=by, because=because, today=today):
        return set_excluded(conn, [customer_id_of(conn, customer)], excluded=False) == 1


def customer_id_of(conn: Connection, number: str) -> int:
    """The id of the customer with this number. Raises InvalidInput."""
    return existing(id_of(conn, CUSTOMERS, {"number": number}), number, field="customer")


def checked_customer(given: CustomerValues) -> dict[str, Any]:
    """Return what was given, as it is kept. Raises InvalidInput."""
    values: dict[str, Any] = dict(given)
    if "number" in given:
        values["number"] = line(given["number"], field="number")
    if "name" in given:
        values["name"] = person_name(given["name"], field="name")
    if "kind" in given:
        one_of(given["kind"], get_args(CustomerKind), field="kind")
    if "language" in given:
        _check_language(given["language"])
    if "email" in given:
        values["email"] = address(given["email"], field="email")
    if "postal_address" in given:
        values["postal_address"] = lines(given["postal_address"], field="postal_address")
    if "country" in given:
        check_country(given["country"])
    if "payment_terms_days" in given:
        number(given["payment_terms_days"], range(366), field="payment_terms_days")
    if "payment_method" in given:
        values["payment_method"] = optional_line(given["payment_method"] or "", field="payment_method") or None
    return values


def checked_contact(given: ContactValues) -> dict[str, Any]:
    """Return what was given, as it is kept. Raises InvalidInput."""
    values: dict[str, Any] = dict(given)
    if "name" in given:
        values["name"] = person_name(given["name"], field="name")
    if "email" in given:
        values["email"] = check_address(given["email"], field="email")
    if "language" in given:
        _check_language(given["language"])
    return values


def _check_language(language: Language | None) -> None:
    if language is not None:
        one_of(language, get_args(Language), field="language")
