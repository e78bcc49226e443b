"""What is wrong with the rules, as they stand or as a file would have them: among themselves, and around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from babel.dates import format_date

from letters.texts import check_subject, check_text
from operations.rulebook import as_imported
from operations.rules import seen, unreadable
from store import companies, labels, previews, rulebook, rules, settings
from workers.settings import secret
from workflow.errors import InvalidInput
from workflow.imaginary import conditions
from workflow.rule_checks import CompanyRules, check_company
from workflow.rule_findings import FINDINGS, SEVERITIES, Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from store.companies import Account, Company
    from store.connection import Connection
    from store.rules import SavedRule
    from store.settings import Settings
    from workflow.facts import Language
    from workflow.rule_findings import Chase

_UNNAMED = {"en": "a rule that is not shared with you", "fr": "une règle qui n'est pas partagée avec vous"}
_LOCALES = {"en": "en_GB", "fr": "fr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found, the worst first, and by company what becomes of an invoice that nobody pays."""

    findings: tuple[Finding, ...]
    chases: dict[str, tuple[Chase, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """How many errors, warnings and infos."""
        return {one: sum(finding.severity == one for finding in self.findings) for one in SEVERITIES}


def check_rules(conn: Connection, *, by: str, also_active: Collection[str] = ()) -> Report:
    """Check all rules, those of these titles as if they were active, and tell what concerns those that they may see.

    Where one that they may not see has a part in it, it is left unnamed.
    """
    here = settings.read(conn)
    accounts = companies.accounts(conn)
    saved = rules.saved(conn)
    shown = {rule.title for rule in seen(conn, by=by)}
    found = [
        Finding(code="refused", company="", rule=title, values={"reason": problem})
        for title, problem in unreadable(conn, by=by).items()
    ]
    chases: dict[str, tuple[Chase, ...]] = {}
    for company in companies.companies(conn).values():
        own = [rule for rule in saved if rule.company_id == company.id]
        active = [rule for rule in own if rule.active or rule.title in also_active]
        checked = check_company(_company_rules(conn, here, company, own, active))
        found += _told(checked.findings, shown)
        if checked.chases:
            chases[company.code] = tuple(_told_chase(chase, shown) for chase in checked.chases)
        for rule in own:
            if rule.title not in shown:
                continue
            account = accounts[rule.account_id]
            found += _around(conn, here, company, account, rule, is_active=rule in active)
    order = {one: place for place, one in enumerate(SEVERITIES)}
    found.sort(key=lambda one: (order[one.severity], one.company, one.rule))
    return Report(findings=tuple(found), chases=chases)


def check_text_of(conn: Connection, text: str, *, by: str, now: datetime) -> Report:
    """Check the rules as they would be once a file is imported and its rules activated. Nothing is kept.

    What is refused is all that is found: half a file says nothing about the whole.
    """
    with as_imported(conn, text, by=by, now=now) as outcome:
        if not outcome.refusals:
            titles = {one.name for one in outcome.changes if one.section == "rules" and one.became != "left alone"}
            return check_rules(conn, by=by, also_active=titles)
    refused = [
        Finding(code="refused", company="", rule=one.place, values={"reason": _with_line(one.line, one.reason)})
        for one in outcome.refusals
    ]
    return Report(findings=tuple(refused), chases={})


def said(finding: Finding, language: Language) -> tuple[str, str]:
    """What is wrong and what to do, in words."""
    values = {name: value_said(value, language) for name, value in finding.values.items()}
    words = FINDINGS[finding.code]
    return words.wrong[language].format(**values), words.todo[language].format(**values)


def chase_said(chase: Chase, language: Language) -> str:
    """An example in a sentence: what an imaginary invoice would get, and when."""
    phrases = _CHASES[language]
    traits = phrases["traits"].format(traits=", ".join(chase.traits)) if chase.traits else ""
    steps = [
        phrases["step"].format(level=one.level, on=value_said(one.on, language), rule=value_said(one.rule, language))
        for one in chase.steps
    ]
    return phrases["whole"].format(
        due_on=value_said(chase.due_on, language), traits=traits, steps=", ".join(steps) or phrases["nothing"]
    )


def value_said(value: object, language: Language) -> Any:  # noqa: ANN401 - a value of str.format
    """A day with its weekday, an instant with its hour as it stands, a rule left unnamed; anything else as it is."""
    if value is None:
        return _UNNAMED[language]
    if not isinstance(value, date):
        return value
    day = format_date(value, "EEE d MMM y", locale=_LOCALES[language])
    return f"{day} {value:%H:%M}" if isinstance(value, datetime) else day


_CHASES: dict[str, dict[str, str]] = {
    "en": {
        "whole": "an invoice due on {due_on}{traits} would get {steps}",
        "traits": " with {traits}",
        "step": "level {level} on {on} ({rule})",
        "nothing": "no reminder",
    },
    "fr": {
        "whole": "une facture échue le {due_on}{traits} atteindrait {steps}",
        "traits": " avec {traits}",
        "step": "le niveau {level} le {on} ({rule})",
        "nothing": "aucun niveau",
    },
}


def _told(findings: Iterable[Finding], shown: Collection[str]) -> Iterator[Finding]:
    """The findings about the rules shown and about all of a company's, none of the other rules being named."""
    for one in findings:
        rule, other = one.rule, one.values.get("other")
        if rule and rule not in shown:
            if other not in shown:
                continue
            rule, other = str(other), None
        elif other not in shown:
            other = None
        values = {**one.values, "other": other} if "other" in one.values else one.values
        yield replace(
            one, rule=rule, values=values, examples=tuple(_told_chase(chase, shown) for chase in one.examples)
        )


def _told_chase(chase: Chase, shown: Collection[str]) -> Chase:
    steps = (step if step.rule in shown else replace(step, rule=None) for step in chase.steps)
    return replace(chase, steps=tuple(steps))


def _with_line(line: int | None, reason: str) -> str:
    return f"line {line}, {reason}" if line else reason


def _company_rules(
    conn: Connection, here: Settings, company: Company, own: Sequence[SavedRule], active: Sequence[SavedRule]
) -> CompanyRules:
    by_category: dict[str, set[str]] = {}
    one_only = {one.title for one in rulebook.categories(conn) if one.one_only}
    for tag in rulebook.tags(conn):
        if tag.category in one_only:
            by_category.setdefault(tag.category or "", set()).add(tag.title)
    return CompanyRules(
        company=company.code,
        window=company.window,
        now=here.business_now,
        active=tuple(rule.rule for rule in active),
        waiting=tuple(rule.rule for rule in own if rule not in active),
        min_days_between_mails=company.min_days_between_mails,
        replaced={title: titles - {title} for titles in by_category.values() for title in titles},
    )


def _around(
    conn: Connection, here: Settings, company: Company, account: Account, saved: SavedRule, *, is_active: bool
) -> Iterator[Finding]:
    """What the rule needs and may not find."""
    for code, values in (*_obstacles(here, account, saved), *_gaps(conn, company, saved)):
        yield Finding(code=code, company=company.code, rule=saved.title, values=values)
    if is_active and not previews.candidates(conn, saved.pinned, company.day(here.business_now), first=1)[0]:
        yield Finding(code="selects_none", company=company.code, rule=saved.title, values={})


def _obstacles(here: Settings, account: Account, saved: SavedRule) -> Iterator[tuple[str, dict[str, object]]]:
    """What keeps its mails back."""
    if saved.held_because:
        yield "held", {"because": saved.held_because}
    if account.held_because:
        yield "account_held", {"account": account.name, "because": account.held_because}
    if account.password_ref and not _is_here(account.password_ref):
        yield "no_password", {"account": account.name, "reference": account.password_ref}
    if here.test_instance and not saved.rule.on_test_instance:
        yield "not_on_test", {}


def _gaps(conn: Connection, company: Company, saved: SavedRule) -> Iterator[tuple[str, dict[str, object]]]:
    """What its texts and tags lack."""
    rule = saved.rule
    if company.language not in rule.texts:
        yield "no_language", {"language": company.language}
    for place, reason in _texts(saved):
        yield "text", {"place": place, "reason": reason}
    known = labels.tag_ids(conn, rule.tags)
    for tag in rule.tags:
        if tag not in known:
            yield "no_tag", {"tag": tag}
    if rule.counts:
        for tag, category in labels.one_only(conn, rule.tags).items():
            yield "one_only", {"tag": tag, "category": category}
    asked = {
        str(value) for one in conditions(rule.filter) if one.field in {"tag", "customer_tag"} for value in one.values
    }
    for tag in sorted(asked - labels.tag_ids(conn, sorted(asked)).keys()):
        yield "no_filter_tag", {"tag": tag}


def _texts(saved: SavedRule) -> Iterator[tuple[str, str]]:
    for language, texts in saved.rule.texts.items():
        for name, text in (("subject", texts.subject), ("header", texts.header), ("footer", texts.footer)):
            try:
                (check_subject if name == "subject" else check_text)(text, field=f"texts.{language}.{name}")
            except InvalidInput as wrong:
                yield wrong.field, wrong.reason


def _is_here(reference: str) -> bool:
    try:
        secret(reference)
    except InvalidInput:
        return False
    return True
