"""A rule as data: what to send, to whom, when. Read from and written to the JSON of one rule version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from workflow.errors import InvalidInput
from workflow.facts import Language, Role
from workflow.filters import Filter, excludes_tag, filter_from_json, filter_to_json, fixed_level
from workflow.machine import LAST_LEVEL
from workflow.schedule import check_line

if TYPE_CHECKING:
    from collections.abc import Mapping

Grouping = Literal["customer", "invoice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A mail's words in one language.

    One line of subject, Markdown above and below the statement, Jinja2 in all three.
    """

    subject: str
    header: str
    footer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One version of a rule. `texts` is by language; one that is missing falls back to the company's.

    `tags`: titles put on every invoice of the mail. `cc` and `bcc` are addresses, `report_to` logins, `shared_with`
    logins
    (None: everybody). `any_level` confirms a counting rule whose filter does not fix one level. `minimum_gap_days`
    keeps a
    rule that does not count from mailing about the same invoice again before so many days. `needs_fresh_payments`: its
    mails wait while the company's payment data are older than it allows (None: from the second reminder on).
    """

    title: str
    filter: Filter
    texts: Mapping[Language, Texts]
    schedule_lines: tuple[str, ...] = ()
    preferred_contact: Role = "dunning"
    interlocutor: Role = "billing"
    attach_invoices: bool = False
    tags: tuple[str, ...] = ()
    counts: bool = True
    grouping: Grouping = "customer"
    reply_to: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    report_to: tuple[str, ...] = ()
    shared_with: tuple[str, ...] | None = None
    on_test_instance: bool = False
    any_level: bool = False
    minimum_gap_days: int | None = None
    needs_fresh_payments: bool | None = None
    level: int | None = field(init=False)

    def __post_init__(self) -> None:
        """Derive `level`: the one that the filter fixes, None where it does not or where the rule does not count."""
        object.__setattr__(self, "level", fixed_level(self.filter) if self.counts else None)

    @property
    def needs_fresh(self) -> bool:
        """Whether its mails wait for payment data that are fresh, where the company says how fresh."""
        if self.needs_fresh_payments is not None:
            return self.needs_fresh_payments
        return self.counts and (self.level is None or self.level >= 1)


def check(rule: Rule) -> None:
    """Refuse a rule that could not work or would chase twice. Raises InvalidInput naming the field."""
    if not rule.title.strip() or len(rule.title) > 200:
        raise InvalidInput(field="title", value=rule.title, reason="a title of 1 to 200 characters is needed")
    if not rule.texts:
        raise InvalidInput(
            field="texts", value={}, reason="subject, header and footer are needed in one language at least"
        )
    for line in rule.schedule_lines:
        check_line(line)
    if rule.counts:
        if rule.level is None and not rule.any_level:
            raise InvalidInput(
                field="filter",
                value=rule.title,
                reason="does not fix one level, so this rule would take an invoice from 0 to 3 in three days;"
                " add level = N, or confirm with any_level",
            )
        if rule.level is not None and not 0 <= rule.level < LAST_LEVEL:
            raise InvalidInput(
                field="filter", value=rule.level, reason="nothing follows this level: a rule counts from 0, 1 or 2"
            )
        if rule.minimum_gap_days is not None:
            raise InvalidInput(
                field="minimum_gap_days",
                value=rule.minimum_gap_days,
                reason="is for rules whose mails do not count as reminders",
            )
    elif not (rule.minimum_gap_days or any(excludes_tag(rule.filter, tag) for tag in rule.tags)):
        raise InvalidInput(
            field="filter",
            value=rule.title,
            reason="would select the same invoices every day: exclude the rule's own tag, or set minimum_gap_days",
        )


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """The definition of a rule version, ready for JSON."""
    return {
        "title": rule.title,
        "filter": filter_to_json(rule.filter),
        "texts": {
            language: {"subject": texts.subject, "header": texts.header, "footer": texts.footer}
            for language, texts in rule.texts.items()
        },
        "schedule_lines": list(rule.schedule_lines),
        "preferred_contact": rule.preferred_contact,
        "interlocutor": rule.interlocutor,
        "attach_invoices": rule.attach_invoices,
        "tags": list(rule.tags),
        "counts": rule.counts,
        "grouping": rule.grouping,
        "reply_to": rule.reply_to,
        "cc": list(rule.cc),
        "bcc": list(rule.bcc),
        "report_to": list(rule.report_to),
        "shared_with": None if rule.shared_with is None else list(rule.shared_with),
        "on_test_instance": rule.on_test_instance,
        "any_level": rule.any_level,
        "minimum_gap_days": rule.minimum_gap_days,
        "needs_fresh_payments": rule.needs_fresh_payments,
    }


_KNOWN = tuple(name for name in Rule.__dataclass_fields__ if name != "level")


def rule_from_json(data: object) -> Rule:
    """Read a definition from outside.

    Raises InvalidInput naming the first field that is unknown, missing or of a wrong type.
    """
    if not isinstance(data, dict):
        raise InvalidInput(field="rule", value=data, reason="must be an object")
    for name in data:
        if name not in _KNOWN:
            raise InvalidInput(
                field=str(name), value=data[name], reason=f"is no field of a rule; they are {', '.join(_KNOWN)}"
            )
    for name in ("title", "filter", "texts"):
        if name not in data:
            raise InvalidInput(field=name, value=None, reason="is missing")
    reader = _Reader(data)
    return Rule(
        title=reader.text("title") or "",
        filter=filter_from_json(data["filter"]),
        texts=_texts(data["texts"]),
        schedule_lines=reader.texts("schedule_lines") or (),
        preferred_contact=cast("Role", reader.choice("preferred_contact", get_args(Role), "dunning")),
        interlocutor=cast("Role", reader.choice("interlocutor", get_args(Role), "billing")),
        attach_invoices=reader.flag("attach_invoices", default=False),
        tags=reader.texts("tags") or (),
        counts=reader.flag("counts", default=True),
        grouping=cast("Grouping", reader.choice("grouping", get_args(Grouping), "customer")),
        reply_to=reader.text("reply_to"),
        cc=reader.texts("cc") or (),
        bcc=reader.texts("bcc") or (),
        report_to=reader.texts("report_to") or (),
        shared_with=reader.texts("shared_with"),
        on_test_instance=reader.flag("on_test_instance", default=False),
        any_level=reader.flag("any_level", default=False),
        minimum_gap_days=reader.days("minimum_gap_days"),
        needs_fresh_payments=reader.optional_flag("needs_fresh_payments"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    data: dict[str, Any]

    def text(self, name: str) -> str | None:
        value = self.data.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidInput(field=name, value=value, reason="must be text")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise InvalidInput(field=name, value=value, reason="must be a list of texts")
        return tuple(value)

    def optional_flag(self, name: str) -> bool | None:
        return None if self.data.get(name) is None else self.flag(name, default=False)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            raise InvalidInput(field=name, value=value, reason="must be true or false")
        return value

    def choice(self, name: str, known: tuple[str, ...], default: str) -> str:
        value = self.data.get(name, default)
        if value not in known:
            raise InvalidInput(field=name, value=value, reason=f"must be one of {', '.join(known)}")
        return cast("str", value)

    def days(self, name: str) -> int | None:
        value = self.data.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 3650):
            raise InvalidInput(field=name, value=value, reason="must be a number of days from 1 to 3650")
        return value


def _texts(data: object) -> dict[Language, Texts]:
    if not isinstance(data, dict):
        raise InvalidInput(field="texts", value=data, reason="must be an object by language")
    texts: dict[Language, Texts] = {}
    for language, parts in data.items():
        if language not in get_args(Language):
            raise InvalidInput(
                field="texts", value=language, reason=f"is no language; they are {', '.join(get_args(Language))}"
            )
        if not isinstance(parts, dict) or set(parts) != {"subject", "header", "footer"}:
            raise InvalidInput(field=f"texts.{language}", value=parts, reason="must have subject, header and footer")
        for name, value in parts.items():
            if not isinstance(value, str):
                raise InvalidInput(field=f"texts.{language}.{name}", value=value, reason="must be text")
        texts[language] = Texts(**parts)
    return texts
