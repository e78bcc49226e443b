"""The types of events that are taken, and what the data of each must say: one table, checked here and published.

`schema` writes a type's table as JSON Schema (2020-12); docs/events/v1 holds them as files. A version of the data is a
folder: what is added later is optional, anything else is v2 beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final, get_args

from workflow.facts import CustomerKind, Language, Role
from workflow.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

VERSION: Final = 1
HEARTBEAT: Final = "source.heartbeat"
# Those whose subject is an entry of the ledger.
MONEY: Final = frozenset({"payment.recorded", "payment.reversed", "credit_note.issued"})

_LINE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_LINES = "^[^\\u0000-\\u0009\\u000b-\\u001f\\u007f-\\u009f]*$"
_DAY = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_AMOUNT = "^[0-9]{1,12}(\\.[0-9]{1,3})?$"
_EMAIL = "^[^\\s@]+@[^\\s@]+$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of the data: its JSON Schema, and in words what it must be."""

    schema: Mapping[str, Any]
    must: str
    required: bool = False

    @property
    def needed(self) -> Value:
        """The same, and never left out."""
        return Value(schema=self.schema, must=self.must, required=True)

    @property
    def or_null(self) -> Value:
        """The same, or null, which says that there is none."""
        return Value(schema={"anyOf": [self.schema, {"type": "null"}]}, must=f"{self.must}, or null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of event: what it says, its data's values, and what it is about."""

    says: str
    values: Mapping[str, Value]
    subject: Callable[[Mapping[str, Any]], str]


def _text(longest: int = 200) -> Value:
    return Value(
        schema={"type": "string", "minLength": 1, "maxLength": longest, "pattern": _LINE},
        must=f"one line of 1 to {longest} characters",
    )


def _words(known: Iterable[str]) -> Value:
    listed = list(known)
    return Value(schema={"enum": listed}, must=f"one of {', '.join(listed)}")


TEXT: Final = _text()
LINES: Final = Value(
    schema={"type": "string", "maxLength": 2000, "pattern": _LINES}, must="lines of at most 2000 characters"
)
DAY: Final = Value(
    schema={"type": "string", "format": "date", "pattern": _DAY}, must="a day such as 2026-03-01, in quotes"
)
AMOUNT: Final = Value(
    schema={"type": "string", "pattern": _AMOUNT}, must='an amount as text, with a decimal point: "1234.50"'
)
CURRENCY: Final = Value(schema={"type": "string", "pattern": "^[A-Z]{3}$"}, must="a currency's ISO 4217 code")
EMAIL: Final = Value(schema={"type": "string", "maxLength": 254, "pattern": _EMAIL}, must="a mail address")
YES_OR_NO: Final = Value(schema={"type": "boolean"}, must="true or false")
DAYS: Final = Value(schema={"type": "integer", "minimum": 0, "maximum": 365}, must="a whole number from 0 to 365")
COUNT: Final = Value(
    schema={"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, must="a whole number from 1 on, rising"
).needed
ROLES: Final = Value(
    schema={"type": "array", "items": {"enum": list(get_args(Role))}, "maxItems": 2}, must="a list of dunning, billing"
)
INTERLOCUTORS: Final = Value(
    schema={
        "type": "object",
        "properties": dict.fromkeys(get_args(Role), EMAIL.schema),
        "additionalProperties": False,
    },
    must="addresses of the customer's contacts, by role: dunning, billing",
)

_INVOICE = {"company": TEXT.needed, "number": TEXT.needed}
_VERSIONED = {**_INVOICE, "version": COUNT}
_DETAILS = {
    "due_on": DAY.or_null,
    "payment_method": TEXT.or_null,
    "factored": YES_OR_NO,
    "interlocutors": INTERLOCUTORS,
}
_WORD = {**_VERSIONED, "because": TEXT}
_MONEY = {
    "company": TEXT.needed,
    "customer": TEXT.needed,
    "invoice": TEXT,
    "amount": AMOUNT.needed,
    "currency": CURRENCY.needed,
    "reference": TEXT.needed,
}
_PAUSED = {"company": TEXT, "invoice": TEXT, "customer": TEXT, "version": COUNT}


def invoice_of(company: str, number: str) -> str:
    """An invoice, as something that events are about."""
    return f"invoice {company}/{number}"


def customer_of(number: str) -> str:
    """A customer."""
    return f"customer {number}"


def contact_of(customer: str, email: str) -> str:
    """A customer's contact, whatever the case of the address."""
    return f"contact {customer}/{email.lower()}"


def entry_of(company: str, reference: str) -> str:
    """A payment or credit note in the ledger."""
    return f"payment {company}/{reference}"


def _invoice(data: Mapping[str, Any]) -> str:
    return invoice_of(data["company"], data["number"])


def _money(data: Mapping[str, Any]) -> str:
    return entry_of(data["company"], data["reference"])


def _paused(data: Mapping[str, Any]) -> str:
    return invoice_of(data["company"], data["invoice"]) if "invoice" in data else customer_of(data["customer"])


TYPES: Final[dict[str, Kind]] = {
    "customer.upserted": Kind(
        says="A customer, whole: what is left out takes its default.",
        values={
            "number": TEXT.needed,
            "version": COUNT,
            "name": TEXT.needed,
            "kind": _words(get_args(CustomerKind)),
            "language": _words(get_args(Language)).or_null,
            "email": EMAIL.or_null,
            "postal_address": LINES,
            "country": Value(schema={"type": "string", "pattern": "^[A-Z]{2}$"}, must="a country's ISO 3166 code"),
            "payment_terms_days": DAYS.or_null,
            "payment_method": TEXT.or_null,
        },
        subject=lambda data: customer_of(data["number"]),
    ),
    "contact.upserted": Kind(
        says="A customer's contact, known by its address; for the roles named it becomes the customer's.",
        values={
            "customer": TEXT.needed,
            "email": EMAIL.needed,
            "version": COUNT,
            "name": TEXT.needed,
            "language": _words(get_args(Language)).or_null,
            "roles": ROLES,
        },
        subject=lambda data: contact_of(data["customer"], data["email"]),
    ),
    "invoice.issued": Kind(
        says="An invoice, whole.",
        values={
            **_VERSIONED,
            "customer": TEXT.needed,
            "total": AMOUNT.needed,
            "currency": CURRENCY.needed,
            "issued_on": DAY.needed,
            **_DETAILS,
        },
        subject=_invoice,
    ),
    "invoice.updated": Kind(
        says="What has changed of an invoice; what is left out stays.",
        values={**_VERSIONED, "total": AMOUNT, "issued_on": DAY, **_DETAILS},
        subject=_invoice,
    ),
    "invoice.cancelled": Kind(says="The invoice no longer stands.", values=_WORD, subject=_invoice),
    "invoice.disputed": Kind(says="The customer contests it: no reminder.", values=_WORD, subject=_invoice),
    "invoice.dispute_resolved": Kind(
        says="It is to be paid after all: contested, refused and cancelled no longer.", values=_WORD, subject=_invoice
    ),
    "invoice.refused": Kind(says="The customer, or its platform, refuses it.", values=_WORD, subject=_invoice),
    "payment.recorded": Kind(
        says="A payment; without an invoice, credit on account.",
        values={**_MONEY, "received_on": DAY.needed},
        subject=_money,
    ),
    "payment.reversed": Kind(
        says="A payment or credit note is taken back, whole.",
        values={
            "company": TEXT.needed,
            "reference": TEXT.needed,
            "reversed_on": DAY.needed,
            "reversal": TEXT,
            "because": TEXT,
        },
        subject=_money,
    ),
    "credit_note.issued": Kind(
        says="A credit note; its amount is positive.", values={**_MONEY, "issued_on": DAY.needed}, subject=_money
    ),
    "dunning.paused": Kind(
        says="No reminder of an invoice (with its company) or to a customer until the end of a day.",
        values={**_PAUSED, "until_on": DAY.needed, "because": TEXT.needed, "promise": YES_OR_NO},
        subject=_paused,
    ),
    "dunning.resumed": Kind(
        says="Ends what dunning.paused began; what a person paused stays.",
        values={**_PAUSED, "because": TEXT},
        subject=_paused,
    ),
    HEARTBEAT: Kind(
        says="All payments of a company until the event's time are told.",
        values={"company": TEXT.needed},
        subject=lambda data: f"company {data['company']}",
    ),
}


def schema_id(kind: str) -> str:
    """The name of a type's schema, which `dataschema` may say."""
    return f"urn:relance:events:v{VERSION}:{kind}"


def schema(kind: str) -> dict[str, Any]:
    """A type's data as JSON Schema (2020-12)."""
    found = TYPES[kind]
    written: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_id(kind),
        "title": kind,
        "description": found.says,
        "type": "object",
        "properties": {name: value.schema for name, value in found.values.items()},
        "required": [name for name, value in found.values.items() if value.required],
        "additionalProperties": False,
    }
    if found.subject is _paused:
        written["oneOf"] = [
            {"required": ["company", "invoice"], "not": {"required": ["customer"]}},
            {"required": ["customer"], "not": {"anyOf": [{"required": ["company"]}, {"required": ["invoice"]}]}},
        ]
    return written


def pointed(name: str) -> str:
    """A name within a JSON Pointer (RFC 6901), short, and without what no terminal or log should show."""
    return _NOT_SHOWN.sub("\N{REPLACEMENT CHARACTER}", name[:40]).replace("~", "~0").replace("/", "~1")


def data_faults(kind: str, data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield what the schema of the type refuses in its data: a JSON Pointer and a reason."""
    found = TYPES[kind]
    for name in data:
        if name not in found.values:
            yield f"/{pointed(name)}", f"is unknown here{did_you_mean(name, found.values)}"
    for name, value in found.values.items():
        if name not in data:
            if value.required:
                yield f"/{name}", "is missing"
        elif not _suits(data[name], value.schema):
            yield f"/{name}", f"must be {value.must}"
    if found.subject is _paused:
        named = {"company", "invoice", "customer"} & set(data)
        if named not in ({"company", "invoice"}, {"customer"}):
            yield "", "must name an invoice with its company, or a customer"


def _suits(value: object, rule: Mapping[str, Any]) -> bool:  # noqa: PLR0911 - one line a kind of rule
    """Whether a value is as a schema of this file says; the words used here are all that they use."""
    if "anyOf" in rule:
        return any(_suits(value, one) for one in rule["anyOf"])
    if "enum" in rule:
        return isinstance(value, str) and value in rule["enum"]
    match rule["type"]:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return type(value) is int and rule["minimum"] <= value <= rule["maximum"]
        case "array":
            return (
                isinstance(value, list)
                and len(value) <= rule["maxItems"]
                and all(_suits(one, rule["items"]) for one in value)
            )
        case "object":
            return isinstance(value, dict) and all(
                name in rule["properties"] and _suits(one, rule["properties"][name]) for name, one in value.items()
            )
        case _:
            return isinstance(value, str) and _suits_text(value, rule)


def _suits_text(value: str, rule: Mapping[str, Any]) -> bool:
    if not rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", 2000):
        return False
    # `$` of Python takes a line end; that of ECMA 262, which JSON Schema means, does not.
    if not re.fullmatch(rule["pattern"].removeprefix("^").removesuffix("$"), value) or _SURROGATE.search(value):
        return False
    return "format" not in rule or _is_day(value)


_NOT_SHOWN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _is_day(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True
