"""Companies that invoice, and the accounts that send for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from psycopg.rows import class_row

from workflow.limits import RunLimits
from workflow.windows import SendWindow

if TYPE_CHECKING:
    from datetime import date, datetime, time

    from store.connection import Connection
    from workflow.doubt import Policy
    from workflow.facts import Language
    from workflow.feedback import AfterBounce

Auth = Literal["password", "xoauth2"]

_COMPANIES = """
SELECT id, code, name, legal_line, siren, address, country, email, phone, web, iban, bic, language, zone, send_weekdays,
       send_from, send_until, send_on_holidays, min_days_between_mails,
       run_times_usual, run_share_percent, run_always_allowed, payments_fresh_hours, domain_per_minute,
       after_bounce
  FROM companies ORDER BY id LIMIT 10000
"""
_ACCOUNTS = """
SELECT id, name, from_name, from_address, host, port, security, ca_file, username, password_ref, max_connections,
       per_minute, held_because, auth, doubt_policy, evidence, key_header, key_hours
  FROM mail_accounts ORDER BY id LIMIT 10000
"""
_BUCKET = """
   SET tokens = least(%(burst)s::float8,
                      t.tokens + extract(epoch FROM clock_timestamp() - t.refilled_at) * %(per_minute)s::float8 / 60)
                - %(wanted)s::float8,
       refilled_at = clock_timestamp()
 WHERE least(%(burst)s::float8,
             t.tokens + extract(epoch FROM clock_timestamp() - t.refilled_at) * %(per_minute)s::float8 / 60)
       >= %(wanted)s::float8
RETURNING tokens
"""
_SPEND = f"""
INSERT INTO account_tokens AS t (account_id, tokens, refilled_at)
VALUES (%(account_id)s, %(burst)s::float8 - %(wanted)s::float8, clock_timestamp())
ON CONFLICT (account_id) DO UPDATE
{_BUCKET}
"""
_SPEND_OF_DOMAIN = f"""
INSERT INTO domain_tokens AS t (company_id, domain, tokens, refilled_at)
VALUES (%(company_id)s, %(domain)s::text, %(burst)s::float8 - %(wanted)s::float8, clock_timestamp())
ON CONFLICT (company_id, domain) DO UPDATE
{_BUCKET}
"""


@dataclass(frozen=True, kw_only=True)
class Company:
    """A seller: its identity, its language, its clock and when it may mail."""

    id: int
    code: str
    name: str
    legal_line: str
    siren: str | None
    address: str
    country: str
    email: str
    phone: str
    web: str
    iban: str | None
    bic: str | None
    language: Language
    zone: str
    send_weekdays: list[int]
    send_from: time
    send_until: time | None
    send_on_holidays: bool
    min_days_between_mails: int | None
    run_times_usual: int | None
    run_share_percent: int | None
    run_always_allowed: int
    payments_fresh_hours: int | None
    domain_per_minute: int | None
    after_bounce: AfterBounce

    @cached_property
    def clock(self) -> ZoneInfo:
        """The zone of its clock."""
        return ZoneInfo(self.zone)

    @cached_property
    def window(self) -> SendWindow:
        """When it mails."""
        return SendWindow(
            zone=self.clock,
            country=None if self.send_on_holidays else self.country,
            weekdays=frozenset(self.send_weekdays),
            opens=self.send_from,
            closes=self.send_until,
        )

    @property
    def run_limits(self) -> RunLimits:
        """How large a run may be before a person has seen it."""
        return RunLimits(
            times_usual=self.run_times_usual,
            share_percent=self.run_share_percent,
            always_allowed=self.run_always_allowed,
        )

    def day(self, now: datetime) -> date:
        """The calendar day on its clock."""
        return now.astimezone(self.clock).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A sender's server and identity. `password_ref` is a reference (env:NAME, file:PATH), never the secret.

    `doubt_policy` is what becomes of its mails in doubt: `evidence` says where to look (workers.evidence),
    `key_header` and `key_hours` what its provider knows an idempotency key by.
    """

    id: int
    name: str
    from_name: str
    from_address: str
    host: str
    port: int
    security: str
    ca_file: str | None
    username: str | None
    password_ref: str | None
    max_connections: int
    per_minute: int | None
    held_because: str | None
    auth: Auth = "password"
    doubt_policy: Policy = "hold"
    evidence: dict[str, Any] | None = None
    key_header: str | None = None
    key_hours: int | None = None


def companies(conn: Connection) -> dict[int, Company]:
    """Every company by id."""
    with conn.cursor(row_factory=class_row(Company)) as cursor:
        return {company.id: company for company in cursor.execute(_COMPANIES)}


def accounts(conn: Connection) -> dict[int, Account]:
    """Every mail account by id."""
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        return {account.id: account for account in cursor.execute(_ACCOUNTS)}


def spend_tokens(conn: Connection, account: Account, wanted: int) -> bool:
    """Take tokens for `wanted` mails from the account's bucket; False: not now."""
    if account.per_minute is None:
        return True
    parameters: dict[str, Any] = {
        "account_id": account.id,
        "wanted": wanted,
        "per_minute": account.per_minute,
        "burst": _burst(account.per_minute),
    }
    return conn.execute(_SPEND, parameters).fetchone() is not None


def spend_domain_token(conn: Connection, company: Company, domain: str) -> bool:
    """Take the token of one mail from what the company lets go to a recipient's domain; False: not now."""
    if company.domain_per_minute is None:
        return True
    parameters: dict[str, Any] = {
        "company_id": company.id,
        "domain": domain.lower(),
        "wanted": 1,
        "per_minute": company.domain_per_minute,
        "burst": _burst(company.domain_per_minute),
    }
    return conn.execute(_SPEND_OF_DOMAIN, parameters).fetchone() is not None


def _burst(per_minute: int) -> int:
    """What a full bucket holds: ten seconds' worth, so that after a pause a minute's mails do not leave at once."""
    return max(1, per_minute // 6)
