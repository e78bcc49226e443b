"""The demo's trade, made from a seed: who buys, what was invoiced, who pays when. Values only."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from math import log
from typing import TYPE_CHECKING, Final

from operations.demo import names
from operations.demo.cast import happenings
from operations.demo.trade import FIRST_DAY, Customer, Event, Invoice, Person, Plan, due_day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from workflow.facts import Role

CUSTOMERS: Final = 120
INVOICES: Final = 1000

_ISSUED_FROM: Final = FIRST_DAY - timedelta(days=88)
_ISSUED_UNTIL: Final = FIRST_DAY + timedelta(days=6)
_TERMS: Final = ((30, False), (30, True), (45, False), (45, True), (60, False))
_TERM_WEIGHTS: Final = (50, 12, 16, 8, 14)
# How many reminders it takes until an invoice is paid (0: none; None: it is not paid), in per cent of the invoices.
_PERSUASION: Final = (0, 1, 2, 3, None)
_PERSUASION_WEIGHTS: Final = (31, 24, 20, 15, 10)
# The parts that single customers play, by their place in the list.
_EXCLUDED: Final = 17
_CREDITED: Final = 23
_PAUSED: Final = 29
_GONE: Final = 52
_WITHOUT_ADDRESS: Final = (7, 41, 76)
_BILLING_ONLY: Final = (3, 12, 19, 33, 58, 64, 83, 97)
_OWN_ADDRESS_ONLY: Final = (5, 26, 47, 69, 88, 102)
_PARTS: Final = (_EXCLUDED, _CREDITED, _PAUSED, _GONE, *_WITHOUT_ADDRESS)


def plan(seed: int = 1, *, invoices: int = INVOICES) -> Plan:
    """Make the trade of a seed; fewer invoices make a quicker demo."""
    dice = random.Random(seed)  # noqa: S311 - a story, no secret
    customers = _customers(dice)
    issued = _invoices(dice, customers, invoices)
    excluded, paused, credited = (customers[place].number for place in (_EXCLUDED, _PAUSED, _CREDITED))
    issued, events = happenings(dice, issued, {customers[place].number for place in _PARTS})
    by_day: dict[date, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda one: (one.on, one.invoice, one.what)):
        by_day[event.on].append(event)
    return Plan(
        seed=seed,
        customers=tuple(customers),
        invoices=tuple(issued),
        excluded=excluded,
        paused=paused,
        credited=credited,
        gone=customers[_GONE].people[0].email,
        events=dict(by_day),
    )


def _customers(dice: random.Random) -> list[Customer]:
    firms = [f"{trade} {surname}" for trade in names.TRADES for surname in names.SURNAMES]
    firms = dice.sample(firms, CUSTOMERS - len(names.OTHERS))
    named = [names.Named(f"{firm} {dice.choice(names.FORMS)}", "professional", "FR", "EUR") for firm in firms]
    for place, other in enumerate(names.OTHERS):
        named.insert(4 + place * 9, other)
    return [_customer(dice, place, one) for place, one in enumerate(named)]


def _customer(dice: random.Random, place: int, named: names.Named) -> Customer:
    french = named.country == "FR"
    domain = f"{names.plain(named.name.removeprefix('M. ').removeprefix('Mme '))}.example"
    days, end_of_month = dice.choices(_TERMS, _TERM_WEIGHTS)[0]
    town = dice.choice(names.TOWNS) if french else names.ENGLISH_PLACES[named.country]
    people = []
    for roles in _roles(place, dice):
        person = (
            f"{dice.choice(names.FIRST_NAMES)} {dice.choice(names.SURNAMES)}"
            if french
            else dice.choice(names.ENGLISH_NAMES)
        )
        people.append(Person(name=person, email=f"{names.plain(person)}@{domain}", roles=roles))
    own = None if place in _WITHOUT_ADDRESS or (people and dice.random() < 0.6) else f"contact@{domain}"
    return Customer(
        number=f"C-{1001 + place}",
        name=named.name,
        kind=named.kind,
        language="fr" if french else "en",
        country=named.country,
        currency=named.currency,
        postal_address=f"{dice.randint(1, 120)} {dice.choice(names.STREETS)}\n{town}" if french else town,
        email=own,
        people=tuple(people),
        terms_days=days,
        end_of_month=end_of_month,
    )


def _roles(place: int, dice: random.Random) -> list[tuple[Role, ...]]:
    if place in _WITHOUT_ADDRESS or place in _OWN_ADDRESS_ONLY:
        return []
    if place in _BILLING_ONLY:
        return [("billing",)]
    if place == _GONE:
        return [("dunning", "billing")]
    return [("dunning", "billing")] if dice.random() < 0.5 else [("dunning",), ("billing",)]


def _invoices(dice: random.Random, customers: Sequence[Customer], count: int) -> list[Invoice]:
    span = (_ISSUED_UNTIL - _ISSUED_FROM).days
    weights = [0.4 if place in _PARTS else dice.paretovariate(2.2) for place in range(len(customers))]
    days = sorted(_ISSUED_FROM + timedelta(days=dice.randint(0, span)) for _ in range(count))
    # Those with a part are to have something to be reminded of, however few invoices there are.
    cast = [customers[place] for place in _PARTS] * 3
    buyers = [*cast, *dice.choices(customers, weights, k=count - len(cast))]
    dice.shuffle(buyers)
    return [
        _invoice(
            dice, f"FA-{issued_on.year}-{place:04}", customer, issued_on, prompt=customer not in cast or place % 4 == 0
        )
        for place, (issued_on, customer) in enumerate(zip(days, buyers, strict=True), 1)
    ]


def _invoice(dice: random.Random, number: str, customer: Customer, issued_on: date, *, prompt: bool) -> Invoice:
    amount = min(48_000.0, max(38.0, dice.lognormvariate(log(950), 1.05)))
    total = Decimal(round(amount * 100)).scaleb(-2)
    due_on = due_day(issued_on, customer.terms_days, end_of_month=customer.end_of_month)
    persuasion = dice.choices(_PERSUASION, _PERSUASION_WEIGHTS)[0] if prompt else 2
    after_days = dice.randint(1, 9)
    if persuasion == 0:
        # Most pay around the due date, some a little too late to be spared the first reminder.
        after_days = dice.randint(-6, 3) if dice.random() < 0.85 else dice.randint(6, 16)
    part = (total * dice.randint(3, 6) / 10).quantize(Decimal("0.01")) if dice.random() < 0.08 else None
    late_days = (FIRST_DAY - due_on).days
    level = 0 if persuasion == 0 or not prompt or late_days < 25 else min(2 if late_days > 45 else 1, persuasion or 2)
    reminded_on = FIRST_DAY - timedelta(days=dice.randint(9, 14)) if level else None
    return Invoice(
        number=number,
        customer=customer.number,
        total=total,
        currency=customer.currency,
        issued_on=issued_on,
        due_on=due_on,
        persuasion=persuasion,
        after_days=after_days,
        part=part,
        imported_level=level,
        imported_reminded_on=reminded_on,
    )
