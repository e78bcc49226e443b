"""Rules: what to send, to whom, when. Saved in versions, checked against everything they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from letters.headers import check_address
from letters.texts import check_subject, check_text
from operations.acting import acting, all_existing, existing, optional_line
from store import labels, lookups, people, rules, settings
from store.companies import companies
from store.connection import act
from workflow.errors import InvalidInput
from workflow.filters import Condition
from workflow.rules import Rule, check, rule_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from store.companies import Company
    from store.connection import Connection
    from store.people import User
    from store.rules import SavedRule
    from workflow.filters import Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A rule as it was saved: its id, its version now, and what its owner should know."""

    id: int
    version: int
    warnings: tuple[str, ...]


def save_rule(
    conn: Connection,
    definition: object,
    *,
    company: str,
    account: str,
    owner: str | None = None,
    because: str = "",
    by: str,
    now: datetime,
) -> Saved:
    """Save a rule of a company by its title: not active when it is new, in a new version when something changed.

    `definition` is what workflow.rules reads; `account` a mail account of the company or of the owner; `owner` a
    login, by default who saves a new rule. A changed schedule counts its instants from `now`. Raises InvalidInput.
    """
    rule = rule_from_json(definition)
    check(rule)
    optional_line(rule.title, field="title")
    _check_texts(rule)
    _check_addresses(rule)
    with acting(conn, by=by, because=because):
        seller = _company(conn, company)
        act(conn, actor=by, because=because, today=seller.day(now))
        if seller.language not in rule.texts:
            raise InvalidInput(
                field="texts", value=sorted(rule.texts), reason=f"{seller.language} is needed: what is missing uses it"
            )
        known = _by_title(conn, rule.title)
        owner_id = _owner(conn, known, owner, by)
        account_id = _account(conn, account, seller.id, owner_id)
        all_existing(rule.tags, labels.tag_ids(conn, rule.tags), field="tags")
        for field, logins in (("report_to", rule.report_to), ("shared_with", rule.shared_with or ())):
            all_existing(logins, set(logins) - set(people.unknown_logins(conn, list(logins))), field=field)
        warnings = tuple(_warnings(conn, rule))
        if known is None:
            rule_id = rules.insert(conn, rule, company_id=seller.id, owner_id=owner_id, account_id=account_id, now=now)
            return Saved(id=rule_id, version=1, warnings=warnings)
        if known.company_id != seller.id:
            raise InvalidInput(field="company", value=company, reason="the rule of this title is another company's")
        if (known.rule, known.account_id) == (rule, account_id):
            return Saved(id=known.id, version=known.version, warnings=warnings)
        version = rules.insert_version(
            conn,
            rule,
            rule_id=known.id,
            account_id=account_id,
            schedule_changed=known.rule.schedule_lines != rule.schedule_lines,
            now=now,
        )
        return Saved(id=known.id, version=version, warnings=warnings)


def activate(conn: Connection, *, rule: str, by: str, now: datetime) -> bool:
    """Let a rule fire by its schedule, from now on. False when it did. Raises InvalidInput."""
    with acting(conn, by=by):
        return rules.activate(conn, _editable(conn, rule, by, now).id, active=True, now=now)


def deactivate(conn: Connection, *, rule: str, by: str, now: datetime) -> bool:
    """Let a rule fire by its schedule no longer, and hold what its scheduled runs queued. False if it did not."""
    with acting(conn, by=by):
        settings.close_gates(conn)
        return rules.activate(conn, _editable(conn, rule, by, now).id, active=False, now=now)


def may_run(conn: Connection, saved: SavedRule, *, by: str) -> bool:
    """Whether they may see the rule and run it: it is shared with everybody or with them, it is theirs, or they
    administer. Who is no user, the system for one, always may.
    """  # noqa: D205 - one sentence
    shared, (_, _, login) = saved.rule.shared_with, by.partition(":")
    if shared is None or _answers_for(conn, saved.id, by):
        return True
    return login in shared and people.user(conn, login) is not None


def seen(conn: Connection, *, by: str) -> list[SavedRule]:
    """The rules that this person may see."""
    return [saved for saved in rules.saved(conn) if may_run(conn, saved, by=by)]


def unreadable(conn: Connection, *, by: str) -> dict[str, str]:
    """By title: why a rule cannot be read. With whom it is shared cannot be read either: told to who answers for it."""
    titles = lookups.rule_titles(conn)
    problems = rules.unreadable(conn).items()
    return {titles[rule_id]: problem for rule_id, problem in problems if _answers_for(conn, rule_id, by)}


def require_may_run(conn: Connection, saved: SavedRule, *, by: str) -> None:
    """Raise InvalidInput unless they may see the rule and run it."""
    if not may_run(conn, saved, by=by):
        reason = f"the rule {saved.title} is not shared with them; its owner or an administrator can do that"
        raise InvalidInput(field="by", value=by, reason=reason)


def _answers_for(conn: Connection, rule_id: int, by: str) -> bool:
    """Whether the rule is theirs, or they administer, or they are no user but the system itself."""
    kind, _, login = by.partition(":")
    if kind != "user":
        return True
    actor = people.user(conn, login)
    return actor is not None and (actor.administrator or actor.id == people.rule_owner(conn, rule_id))


def _editable(conn: Connection, title: str, by: str, now: datetime) -> SavedRule:
    known = _by_title(conn, title)
    if known is None:
        raise InvalidInput(field="rule", value=title, reason="does not exist")
    _owner(conn, known, None, by)
    act(conn, actor=by, today=companies(conn)[known.company_id].day(now))
    return known


def _by_title(conn: Connection, title: str) -> SavedRule | None:
    return next((rule for rule in rules.saved(conn) if rule.title == title), None)


def _company(conn: Connection, code: str) -> Company:
    found = next((company for company in companies(conn).values() if company.code == code), None)
    if found is None:
        raise InvalidInput(field="company", value=code, reason="does not exist")
    return found


def _owner(conn: Connection, known: SavedRule | None, owner: str | None, by: str) -> int:
    """Return whose rule it is and stays. Only they, administrators and the system itself edit it."""
    kind, _, login = by.partition(":")
    actor = people.user(conn, login) if kind == "user" else None
    if kind == "user" and actor is None:
        raise InvalidInput(field="by", value=by, reason="is no user")
    if known is not None:
        owner_id = people.rule_owner(conn, known.id)
        if not _answers_for(conn, known.id, by):
            raise InvalidInput(field="by", value=by, reason="a rule is edited by its owner and by administrators")
        return owner_id
    if owner is None and actor is None:
        raise InvalidInput(field="owner", value=None, reason="a new rule needs a user as its owner")
    return actor.id if actor and owner is None else _user(conn, owner or "").id


def _user(conn: Connection, login: str) -> User:
    found = people.user(conn, login)
    if found is None:
        raise InvalidInput(field="owner", value=login, reason="does not exist")
    return found


def _account(conn: Connection, name: str, company_id: int, owner_id: int) -> int:
    found = people.lock_account(conn, name)
    account_id = existing(found.id if found else None, name, field="account")
    if found and company_id != found.company_id and owner_id != found.user_id:
        raise InvalidInput(field="account", value=name, reason="belongs neither to the company nor to the rule's owner")
    return account_id


def _check_texts(rule: Rule) -> None:
    for language, texts in rule.texts.items():
        check_subject(texts.subject, field=f"texts.{language}.subject")
        check_text(texts.header, field=f"texts.{language}.header")
        check_text(texts.footer, field=f"texts.{language}.footer")


def _check_addresses(rule: Rule) -> None:
    for field, addresses in (("reply_to", (rule.reply_to,)), ("cc", rule.cc), ("bcc", rule.bcc)):
        for address in addresses:
            if address is not None:
                check_address(address, field=field)


def _warnings(conn: Connection, rule: Rule) -> Iterator[str]:
    if rule.counts:
        for title, category in labels.one_only(conn, rule.tags).items():
            yield (
                f"the tag {title} is in the category {category}, which allows one tag: "
                'the history "1 and 2" would be lost on the invoices'
            )
    named = {str(value) for condition in _tag_conditions(rule.filter) for value in condition.values}
    for title in sorted(named - labels.tag_ids(conn, sorted(named)).keys()):
        yield f"the filter names the tag {title}, which does not exist"


def _tag_conditions(filter_: Filter) -> Iterator[Condition]:
    if isinstance(filter_, Condition):
        if filter_.field in {"tag", "customer_tag"}:
            yield filter_
        return
    for part in filter_.parts:
        yield from _tag_conditions(part)
