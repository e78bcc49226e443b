"""Users, companies, mail accounts, customers and their contacts, as a person saves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, LiteralString

from psycopg.rows import class_row

from store.saving import Kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.connection import Connection
    from workflow.facts import Role

# An administrator may do anything; an accountant all but users, accounts and replays; a reader looks.
UserRole = Literal["administrator", "accountant", "reader"]

USERS: Final = Kept(
    table="users",
    key=("login",),
    columns=("name", "email", "language", "role"),
    conflict="login",
    found="login = %(login)s::text",
)
COMPANIES: Final = Kept(
    table="companies",
    key=("code",),
    columns=(
        "name", "legal_line", "siren", "address", "country", "email", "phone", "web", "iban", "bic", "language", "zone",
        "send_weekdays", "send_from", "send_until", "send_on_holidays", "min_days_between_mails",
        "run_times_usual", "run_share_percent", "run_always_allowed", "payments_fresh_hours", "domain_per_minute",
        "after_bounce",
    ),
    conflict="code",
    found="code = %(code)s::text",
)  # fmt: skip
ACCOUNTS: Final = Kept(
    table="mail_accounts",
    key=("name", "company_id", "user_id"),
    columns=(
        "from_name", "from_address", "host", "port", "security", "ca_file", "username", "password_ref",
        "max_connections", "per_minute", "mailbox", "auth", "doubt_policy", "evidence", "key_header", "key_hours",
    ),
    conflict="name",
    found="name = %(name)s::text",
)  # fmt: skip
CUSTOMERS: Final = Kept(
    table="customers",
    key=("number",),
    columns=(
        "name", "kind", "language", "email", "postal_address", "country", "payment_terms_days", "payment_method",
    ),
    conflict="number",
    found="number = %(number)s::text",
)  # fmt: skip
CONTACTS: Final = Kept(
    table="contacts",
    key=("customer_id",),
    columns=("name", "email", "language"),
    conflict="customer_id, lower(email)",
    found="customer_id = %(customer_id)s::bigint AND lower(email) = lower(%(email)s::text)",
)

_USER = "SELECT id, login, administrator FROM users WHERE login = %(login)s::text AND active"
_ACCOUNT = """
SELECT id, company_id, user_id, host, port, username, password_ref
  FROM mail_accounts WHERE name = %(name)s::text
   FOR NO KEY UPDATE
"""
_RULE_OWNER = "SELECT owner_id FROM rules WHERE id = %(rule_id)s::bigint"
_EXCLUDE = """
UPDATE customers SET excluded = %(excluded)s::bool
 WHERE id = ANY(%(ids)s::bigint[]) AND excluded <> %(excluded)s::bool
"""
_ROLE: Final[dict[Role, LiteralString]] = {
    "dunning": """
        UPDATE customers SET dunning_contact_id = %(contact_id)s::bigint
         WHERE id = %(id)s::bigint AND dunning_contact_id IS DISTINCT FROM %(contact_id)s::bigint
    """,
    "billing": """
        UPDATE customers SET billing_contact_id = %(contact_id)s::bigint
         WHERE id = %(id)s::bigint AND billing_contact_id IS DISTINCT FROM %(contact_id)s::bigint
    """,
}
_UNKNOWN_LOGINS = """
SELECT login FROM unnest(%(logins)s::text[]) AS asked (login)
 WHERE NOT EXISTS (SELECT FROM users u WHERE u.login = asked.login) ORDER BY login LIMIT 100
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who works with the console or the command line."""

    id: int
    login: str
    administrator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLogin:
    """Whose account it is, and how it reaches its server; locked until the transaction ends."""

    id: int
    company_id: int | None
    user_id: int | None
    host: str
    port: int
    username: str | None
    password_ref: str | None


def user(conn: Connection, login: str) -> User | None:
    """The active user of this login."""
    with conn.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(_USER, {"login": login}).fetchone()


def unknown_logins(conn: Connection, logins: list[str]) -> list[str]:
    """Those of the logins that no user has."""
    return [row[0] for row in conn.execute(_UNKNOWN_LOGINS, {"logins": logins})]


def rule_owner(conn: Connection, rule_id: int) -> int:
    """The id of the user whose rule it is; 0 where there is no such rule."""
    row = conn.execute(_RULE_OWNER, {"rule_id": rule_id}).fetchone()
    return row[0] if row else 0


def lock_account(conn: Connection, name: str) -> AccountLogin | None:
    """The account of this name, locked."""
    with conn.cursor(row_factory=class_row(AccountLogin)) as cursor:
        return cursor.execute(_ACCOUNT, {"name": name}).fetchone()


def set_role(conn: Connection, customer_id: int, role: Role, contact_id: int | None) -> bool:
    """Make a contact the customer's for this role, or nobody. False when it was."""
    return conn.execute(_ROLE[role], {"id": customer_id, "contact_id": contact_id}).rowcount == 1


def set_excluded(conn: Connection, customer_ids: Sequence[int], *, excluded: bool) -> int:
    """Exclude customers from all reminders, or no longer; several are locked before. Returns how many were not so."""
    return conn.execute(_EXCLUDE, {"ids": list(customer_ids), "excluded": excluded}).rowcount
