"""Which mails may leave now: a server in trouble is left alone, an account and a domain get no more than so many.

And what mails tell of their account's server, for all workers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

import psycopg

from store import breakers, settings
from store.companies import accounts, spend_domain_token, spend_tokens
from workers.log import log
from workflow import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.companies import Account, Company
    from store.connection import Connection, Pool
    from workers.deliveries import Delivery, Ready

# How long others wait for what a probe says before one of them tries itself, in leases.
_PATIENCE_LEASES = 2


class Servers:
    """Mail accounts as one claim may use them: with fewer connections, or for one probe alone."""

    def __init__(self, conn: Connection, *, lease_s: float) -> None:
        """Read all accounts with their breakers."""
        self._conn = conn
        self._patience_s = lease_s * _PATIENCE_LEASES
        self._broken = breakers.breakers(conn)
        self._probed: set[int] = set()  # by this claim, or by another just before it: one mail is all that may try
        self._refused: Counter[int] = Counter()  # by account: each waits for a token of its own
        self._crowded: Counter[tuple[int, str]] = Counter()
        self.accounts = accounts(conn)
        if self._broken:
            now = settings.database_now(conn)
            for account_id, breaker in self._broken.items():
                account = self.accounts[account_id]
                connections = limits.connections_now(breaker, account.max_connections, now)
                self.accounts[account_id] = replace(account, max_connections=connections)

    def pause_s(self, company: Company, account: Account, domain: str) -> float | None:
        """None where one more mail of the account may leave now for this domain, else for how long it waits.

        While its account's breaker is open one may, for all workers; the others are not hinted before it has been
        heard of. The probe is taken last: it is not spent on a mail that waits for something else.
        """
        if account.id in self._probed:
            return 0
        if not spend_tokens(self._conn, account, 1):
            self._refused[account.id] += 1
            return 60 / (account.per_minute or 60) * self._refused[account.id]
        if not spend_domain_token(self._conn, company, domain):
            spend_tokens(self._conn, account, -1)  # another domain's mail may have it
            self._crowded[company.id, domain] += 1
            return 60 / (company.domain_per_minute or 60) * self._crowded[company.id, domain]
        return None if self._may_try(account) else 0

    def _may_try(self, account: Account) -> bool:
        breaker = self._broken.get(account.id)
        if breaker is None or breaker.opened_at is None:
            return True
        self._probed.add(account.id)
        return breakers.take_probe(self._conn, account.id, patience_s=self._patience_s)


def note_answers(pool: Pool, ready: Sequence[Ready], fates: Sequence[Delivery | None]) -> None:
    """An account whose server has taken one of these mails, or looked at it, has no trouble any more."""
    answering = {
        one.account.id
        for one, fate in zip(ready, fates, strict=True)
        if fate and limits.answers(fate.fate, fate.step, fate.reply.code if fate.reply else None)
    }
    try:
        with pool.connection() as conn:
            note_success(conn, sorted(answering))
    except psycopg.Error as error:  # the next mails will say it again
        log("answers_not_noted", level="warning", error=type(error).__name__)


def note_success(conn: Connection, account_ids: Sequence[int]) -> None:
    """These accounts' servers have taken a mail: what trouble they had is over."""
    for account_id in breakers.troubled(conn, account_ids):
        breakers.move(conn, account_id, lambda breaker, _now: limits.after_success(breaker))
        log("account_answers", account=account_id)


def note_trouble(conn: Connection, ready: Ready, delivery: Delivery, *, breaker_s: float) -> bool:
    """Count what this mail met against its account. Returns whether the server is to be left alone for now."""
    account = ready.account
    code = delivery.reply.code if delivery.reply else None
    match limits.trouble(delivery.fate, delivery.step, code, by_token=account.auth == "xoauth2"):
        case None:
            return False
        case "failure":
            then = partial(limits.after_failure, unit_s=breaker_s)
        case "busy":
            then = partial(limits.after_busy, connections=account.max_connections, unit_s=breaker_s)
        case unknown:
            assert_never(unknown)
    before, after = breakers.move(conn, account.id, then, error=(delivery.error or str(delivery.reply))[:500])
    if after.openings > before.openings:
        log("account_unreachable", level="warning", account=account.id, failures=after.failures)
    return after.opened_at is not None
