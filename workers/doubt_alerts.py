"""Somebody is told of each mail in doubt that is not settled soon: one mail to everybody whom it concerns."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from letters.doubts import MailInDoubt, compose
from store import companies, doubts
from store import settings as stored
from workers import notices
from workers.identity import is_ours
from workers.log import log
from workflow.doubt import ALERT_AFTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.companies import Account
    from store.connection import Pool
    from store.doubts import Doubtful
    from store.reports import Reader
    from store.settings import Settings as Here
    from workers.settings import Settings

_MOST = 1000
_AGAIN_S = 300.0


def tell_of_doubts(pool: Pool, settings: Settings) -> int:
    """Tell of what has been in doubt for too long, each mail once. Returns how many mails somebody was told of.

    Told are the administrators, and who has the reports of a mail's rule. A mail that none of them was told of is tried
    again after five minutes, for as long as it is in doubt.
    """
    with pool.connection() as conn:
        here = stored.read(conn)
        if not is_ours(here, settings.instance):
            return 0
        found = doubts.to_alert(conn, after_s=ALERT_AFTER.total_seconds(), again_s=_AGAIN_S, limit=_MOST)
        if not found:
            return 0
        readers = doubts.readers(conn, [one.id for one in found])
        accounts = companies.accounts(conn)
    groups: dict[int, dict[int, Doubtful]] = defaultdict(dict)
    for one in found:
        groups[here.report_account_id or one.account_id][one.id] = one
    count = 0
    for account_id, mails in groups.items():
        try:
            told = _told(accounts[account_id], here, mails, readers)
            with pool.connection() as conn:
                doubts.alerted(conn, sorted(told))
        except Exception as error:  # noqa: BLE001 - one account's trouble keeps no other's mails from being told of
            log("doubt_alert_not_made", level="error", account=account_id, error=type(error).__name__)
        else:
            count += len(told)
    return count


def _told(
    account: Account, here: Here, mails: Mapping[int, Doubtful], readers: Sequence[tuple[Reader, list[int]]]
) -> set[int]:
    """The mails of which one reader at least has been told."""
    if account.held_because:
        log("doubt_alert_waits", level="warning", account=account.id, error="account held")
        return set()
    mine = {reader.id: {one for one in ids if one in mails} for reader, ids in readers}
    for_nobody = mails.keys() - set().union(*mine.values())
    if for_nobody:
        log("doubt_alert_for_nobody", level="error", account=account.id, reminders=len(for_nobody))
    copies = []
    for reader, _ in readers:
        if not mine[reader.id]:
            continue
        try:
            copies.append(_copy([mails[one] for one in sorted(mine[reader.id])], reader, account, here))
        except Exception as error:  # noqa: BLE001 - one reader's copy keeps no other from leaving
            log("doubt_alert_not_made", level="error", user=reader.id, error=type(error).__name__)
    if not copies:
        return set()
    reached = notices.tell(account, copies, what="doubt_alert")
    told = set[int]().union(*(mine[one] for one in reached))
    if told:
        log("doubt_alert", account=account.id, reminders=len(told), readers=len(reached))
    return told


def _copy(mails: Sequence[Doubtful], reader: Reader, account: Account, here: Here) -> notices.Copy:
    shown = [
        MailInDoubt(
            reminder=one.id,
            rule=one.rule,
            recipient=one.recipient,
            since=one.since.astimezone(ZoneInfo(one.zone)),
            reason=one.reason,
            invoices=tuple(one.invoices),
        )
        for one in mails
    ]
    which = sha256(" ".join(str(one.id) for one in mails).encode()).hexdigest()[:20]
    return notices.copy(compose(shown, reader.language), f"doubt.{reader.id}.{which}", reader, account, here)
