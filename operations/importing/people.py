"""Customers and their contacts as a file lists them."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from operations.acting import existing
from operations.customers import ContactValues, CustomerValues, checked_contact, checked_customer
from operations.importing.plans import Notice, Otherwise, Plan, expect, in_steps
from store import imports
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Mapping as Map

    from operations.importing.plans import Progress
    from operations.importing.records import Record
    from store.connection import Connection
    from store.imports import Row
    from workflow.facts import Role

_Person = tuple[str, str]  # a contact: the customer's number and the address in small letters

_DEFAULTS: Final[Row] = {
    "kind": "unknown", "language": None, "email": None, "postal_address": "", "country": "FR",
    "payment_terms_days": None, "payment_method": None, "excluded": False,
}  # fmt: skip
_NONE_IF_EMPTY: Final = ("language", "email")


def plan_customers(conn: Connection, records: Sequence[Record]) -> Plan:
    """Each customer once, as its first row says; a field that no column says stays as it is."""
    plan, otherwise = Plan(), Otherwise()
    wanted: dict[str, Row] = {}
    for record in records:
        with plan.refusing(record):
            values = _customer(record)
            number = values.pop("number")
            kept = wanted.setdefault(number, values)
            if kept is not values:
                plan.repeated += 1
                otherwise.compare(f"customer {number}", kept, values)
    known = imports.customers(conn, wanted)
    new = [_DEFAULTS | {"number": number} | values for number, values in wanted.items() if number not in known]
    changed = [row["id"] for number, row in known.items() if _differs(row, wanted[number])]
    plan.added, plan.changed, plan.unchanged = len(new), len(changed), len(known) - len(changed)
    plan.notices = [*_alike(wanted), *otherwise.notices()]

    plan.write = partial(_write_customers, new=new, changed=changed, wanted=wanted)
    return plan


def _alike(numbers: Iterable[str]) -> Iterator[Notice]:
    """Told once: how many numbers are another's but for leading zeros, and the first of them. Both are kept."""
    firsts: dict[str, str] = {}
    alike = [
        (first, number) for number in numbers if (first := firsts.setdefault(number.lstrip("0"), number)) != number
    ]
    if alike:
        kept, other = alike[0]
        yield Notice(
            oddity="alike but for zeros", about="customers", field="number", kept=kept, others=(other,), rows=len(alike)
        )


def _write_customers(
    conn: Connection, progress: Progress, *, new: list[Row], changed: list[int], wanted: dict[str, Row]
) -> None:
    total = len(changed) + len(new)
    locked = imports.lock_customers(conn, changed)
    rows = [row | wanted[number] for number, row in locked.items() if _differs(row, wanted[number])]
    for step in in_steps(rows, 0, total, progress):
        expect(imports.change_customers(conn, step), step)
    for step in in_steps(new, len(changed), total, progress):
        expect(imports.add_customers(conn, step), step)


def plan_contacts(conn: Connection, records: Sequence[Record]) -> Plan:
    """Each contact once, by customer and address, as its first row says; and whose it is for which role."""
    plan, otherwise = Plan(), Otherwise()
    customers = imports.customers(conn, {record.values["customer"] for record in records})
    wanted: dict[_Person, Row] = {}
    roles: defaultdict[_Person, list[Role]] = defaultdict(list)
    holders: dict[tuple[str, Role], tuple[str, int]] = {}
    for record in records:
        with plan.refusing(record):
            customer = record.values["customer"]
            if customer not in customers:
                existing(None, customer, field="customer")
            values = _contact(record)
            person = (customer, values["email"].lower())
            _claim(holders, customer, person[1], record)
            roles[person] += record.values.get("roles", ())
            kept = wanted.setdefault(person, values)
            if kept is not values:
                plan.repeated += 1
                otherwise.compare(f"contact {values['email']} of customer {customer}", kept, values)
    known = imports.contacts(conn, customers)
    new = [person for person in wanted if person not in known]
    changed = [
        person
        for person, contact in known.items()
        if person in wanted
        and (_differs(contact, wanted[person]) or _moves(customers[person[0]], roles[person], contact["id"]))
    ]
    plan.added, plan.changed = len(new), len(changed)
    plan.unchanged = len(wanted) - len(new) - len(changed)
    plan.notices = otherwise.notices()
    owners = {customers[number]["id"] for number, _ in (*new, *changed)}
    plan.write = partial(_write_contacts, owners=owners, new=new, changed=changed, wanted=wanted, roles=roles)
    return plan


def _write_contacts(
    conn: Connection,
    progress: Progress,
    *,
    owners: set[int],
    new: list[_Person],
    changed: list[_Person],
    wanted: dict[_Person, Row],
    roles: Map[_Person, Sequence[Role]],
) -> None:
    total = 2 * (len(new) + len(changed))
    locked = imports.lock_customers(conn, owners)
    known = imports.contacts(conn, {number for number, _ in changed})
    rows = [known[one] | wanted[one] for one in changed if one in known and _differs(known[one], wanted[one])]
    for step in in_steps(rows, 0, total, progress):
        expect(imports.change_contacts(conn, step), step)
    made = [{"customer_id": locked[one[0]]["id"], "language": None} | wanted[one] for one in new]
    for step in in_steps(made, len(changed), total, progress):
        expect(imports.add_contacts(conn, step), step)
    asked = [one for one in (*new, *changed) if roles[one]]
    known = imports.contacts(conn, {number for number, _ in asked})
    moved: dict[str, Row] = {}
    for one in asked:
        customer, contact_id = locked[one[0]], known[one]["id"]
        if _moves(customer, roles[one], contact_id):
            customer |= {f"{role}_contact_id": contact_id for role in roles[one]}
            moved[one[0]] = customer
    for step in in_steps(list(moved.values()), len(new) + len(changed), total, progress):
        expect(imports.give_roles(conn, step), step)


def _customer(record: Record) -> dict[str, Any]:
    given = dict(record.values)
    excluded = given.pop("excluded", None)
    parts = [given.pop(name, None) for name in ("street", "postcode", "city")]
    if any(part is not None for part in parts):
        street, postcode, city = (part or "" for part in parts)
        lines = (given.get("postal_address", ""), street, f"{postcode} {city}".strip())
        given["postal_address"] = "\n".join(filter(None, lines))
    for name in _NONE_IF_EMPTY:
        if name in given:
            given[name] = given[name] or None
    values = checked_customer(CustomerValues(**given))  # type: ignore[typeddict-item]
    return values if excluded is None else values | {"excluded": excluded}


def _contact(record: Record) -> dict[str, Any]:
    given = {name: value for name, value in record.values.items() if name in ("name", "email", "language")}
    if "language" in given:
        given["language"] = given["language"] or None
    return checked_contact(ContactValues(**given))  # type: ignore[typeddict-item]


def _claim(holders: dict[tuple[str, Role], tuple[str, int]], customer: str, email: str, record: Record) -> None:
    """Give the contact its roles, unless an earlier row gave one of them to somebody else."""
    asked: Sequence[Role] = record.values.get("roles", ())
    for role in asked:
        holder, line = holders.get((customer, role), (email, 0))
        if holder != email:
            reason = f"customer {customer} has {holder} for {role} already, on line {line}"
            raise InvalidInput(field="roles", value=role, reason=reason)
    for role in asked:
        holders.setdefault((customer, role), (email, record.line))


def _differs(row: Row, values: Row) -> bool:
    return any(row[name] != value for name, value in values.items())


def _moves(customer: Row, roles: Sequence[Role], contact_id: int) -> bool:
    return any(customer[f"{role}_contact_id"] != contact_id for role in roles)
