"""Rules and their versions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from workflow.errors import InvalidInput
from workflow.rules import Rule, rule_from_json, rule_to_json

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from store.connection import Connection

_PINNED = """
SELECT r.id, v.version, r.company_id, v.account_id, v.definition
  FROM rules r JOIN rule_versions v ON v.rule_id = r.id
 WHERE r.id = %(rule_id)s AND v.version = %(version)s
"""
_ALL = """
SELECT r.id, r.title, r.version, r.company_id, r.active, r.counting_from, r.held_because, v.account_id, v.definition
  FROM rules r JOIN rule_versions v ON v.rule_id = r.id AND v.version = r.version
 ORDER BY r.id LIMIT 10000
"""
_INSERT = """
INSERT INTO rules (company_id, owner_id, title, counting_from)
VALUES (%(company_id)s, %(owner_id)s, %(title)s, %(now)s::timestamptz)
RETURNING id
"""
_INSERT_VERSION = """
INSERT INTO rule_versions (rule_id, version, definition, account_id, needs_fresh)
VALUES (%(rule_id)s, %(version)s, %(definition)s::jsonb, %(account_id)s, %(needs_fresh)s)
"""
_NEW_VERSION = """
UPDATE rules SET version = version + 1, title = %(title)s,
       counting_from = CASE WHEN %(schedule_changed)s THEN %(now)s::timestamptz ELSE counting_from END
 WHERE id = %(rule_id)s
RETURNING version
"""
_ACTIVATE = """
UPDATE rules SET inactive_since = CASE WHEN %(active)s THEN NULL ELSE now() END,
       counting_from = CASE WHEN %(active)s THEN %(now)s::timestamptz ELSE counting_from END
 WHERE id = %(rule_id)s AND active <> %(active)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRule:
    """One version of a rule, as a run keeps it."""

    id: int
    version: int
    company_id: int
    account_id: int
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRule:
    """A rule as it stands now. `counting_from`: schedule instants up to here are past."""

    id: int
    title: str
    version: int
    company_id: int
    active: bool
    counting_from: datetime
    held_because: str | None
    account_id: int
    rule: Rule

    @property
    def pinned(self) -> PinnedRule:
        """Its current version."""
        return PinnedRule(
            id=self.id, version=self.version, company_id=self.company_id, account_id=self.account_id, rule=self.rule
        )


def pinned(conn: Connection, rule_id: int, version: int) -> PinnedRule:
    """One version of a rule. Raises LookupError when there is none, InvalidInput when its definition cannot be read."""
    row = conn.execute(_PINNED, {"rule_id": rule_id, "version": version}).fetchone()
    if row is None:
        raise LookupError(f"rule {rule_id} has no version {version}")
    return PinnedRule(id=row[0], version=row[1], company_id=row[2], account_id=row[3], rule=rule_from_json(row[4]))


def saved(conn: Connection) -> list[SavedRule]:
    """All rules at their current version, but for those whose definition this version cannot read (`unreadable`)."""
    found = []
    for row in conn.execute(_ALL):
        with contextlib.suppress(InvalidInput):
            found.append(
                SavedRule(
                    id=row[0],
                    title=row[1],
                    version=row[2],
                    company_id=row[3],
                    active=row[4],
                    counting_from=row[5],
                    held_because=row[6],
                    account_id=row[7],
                    rule=rule_from_json(row[8]),
                )
            )
    return found


def unreadable(conn: Connection) -> dict[int, str]:
    """By id: why a rule's definition cannot be read. Such a rule fires for nobody until it is saved again."""
    problems = {}
    for row in conn.execute(_ALL):
        try:
            rule_from_json(row[8])
        except InvalidInput as error:
            problems[row[0]] = str(error)
    return problems


def insert(conn: Connection, rule: Rule, *, company_id: int, owner_id: int, account_id: int, now: datetime) -> int:
    """Save a new rule, not active. Returns its id. Raises psycopg.errors.UniqueViolation for a title that exists."""
    parameters: dict[str, Any] = {"company_id": company_id, "owner_id": owner_id, "title": rule.title, "now": now}
    row = conn.execute(_INSERT, parameters).fetchone()
    rule_id: int = row[0] if row else 0
    _insert_version(conn, rule, rule_id=rule_id, version=1, account_id=account_id)
    return rule_id


def insert_version(
    conn: Connection, rule: Rule, *, rule_id: int, account_id: int, schedule_changed: bool, now: datetime
) -> int:
    """Save the rule's next version; a changed schedule counts its instants from now. Returns the version."""
    parameters = {"rule_id": rule_id, "title": rule.title, "schedule_changed": schedule_changed, "now": now}
    row = conn.execute(_NEW_VERSION, parameters).fetchone()
    if row is None:
        raise LookupError(f"there is no rule {rule_id}")
    _insert_version(conn, rule, rule_id=rule_id, version=row[0], account_id=account_id)
    return int(row[0])


def _insert_version(conn: Connection, rule: Rule, *, rule_id: int, version: int, account_id: int) -> None:
    definition = Jsonb(rule_to_json(rule))
    conn.execute(
        _INSERT_VERSION,
        {
            "rule_id": rule_id,
            "version": version,
            "definition": definition,
            "account_id": account_id,
            "needs_fresh": rule.needs_fresh,
        },
    )


def activate(conn: Connection, rule_id: int, *, active: bool, now: datetime) -> bool:
    """Let the rule fire on its own, from now on, or no longer. False when nothing changed."""
    return conn.execute(_ACTIVATE, {"rule_id": rule_id, "active": active, "now": now}).rowcount == 1
