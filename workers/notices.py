"""Mails to our own people: a run's report, an alert. Some copies on one connection, each accepted or not.

The kill switch, send windows and holds on rules stop mails to customers, not these. A copy whose dot nobody answers
counts as accepted: a server that never answers would be handed it again and again, and nobody else theirs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letters.headers import Mailbox, check_address
from letters.mime import assemble
from workers.log import log
from workers.settings import secret
from workers.smtp import Refused, Unreachable, connect, stuffed
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letters.mail import MailParts
    from store.companies import Account
    from store.reports import Reader
    from store.settings import Settings
    from workers.smtp import SmtpConnection

# A report's row is locked meanwhile; PostgreSQL ends a transaction that is idle for 60 s.
_CONVERSATION_S = 40.0
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One reader's copy, ready to leave."""

    reader_id: int
    sender: str
    recipient: str
    stuffed: bytes


def copy(parts: MailParts, identity: str, reader: Reader, account: Account, here: Settings) -> Copy:
    """Make one reader's copy. On a test instance it is redirected as every mail.

    `identity` begins its Message-ID, the same at each try. Raises InvalidInput for what has no place in a header.
    """
    sender = Mailbox(name=account.from_name, address=check_address(account.from_address, field="from_address"))
    address = here.redirect_to or reader.email
    content = assemble(
        parts,
        message_id=f"<{identity}@{sender.address.rpartition('@')[2]}>",
        date=here.business_now,
        sender=sender,
        recipient=Mailbox(name=reader.name, address=address),
        language=reader.language,
        reminder_id=None,
        redirected_from=(reader.email,) if here.redirect_to else (),
    )
    return Copy(
        reader_id=reader.id,
        sender=sender.address,
        recipient=check_address(address, field="email"),
        stuffed=stuffed(content),
    )


def tell(account: Account, copies: Sequence[Copy], *, what: str, about: int | None = None) -> set[int]:
    """Send each copy through the account. Returns the ids of the readers whose copy was accepted, or may have been.

    `what` and `about`, a run's id perhaps, say in the log of what kind the copies are that failed.
    """
    try:
        password = secret(account.password_ref) if account.password_ref else None
    except InvalidInput as error:
        _log_failure(what, about, account, f"no {error.field}")
        return set()
    return asyncio.run(_converse(what, about, account, password, copies))


async def _converse(
    what: str, about: int | None, account: Account, password: str | None, copies: Sequence[Copy]
) -> set[int]:
    """A copy after the other on one connection, or on a new one where it ended: no copy keeps another from leaving."""
    told: set[int] = set()
    waiting = deque(copies)
    try:
        async with asyncio.timeout(_CONVERSATION_S):
            while waiting:
                connection = await connect(account, password)
                try:
                    await _hand_over(connection, waiting, told, what, about)
                except Unreachable as error:
                    _log_failure(what, about, account, type(error).__name__)
                finally:
                    connection.abort()
    except Refused as refusal:
        _log_failure(what, about, account, f"{refusal.step} {refusal.reply.code}")
    except (Unreachable, TimeoutError) as error:
        _log_failure(what, about, account, type(error).__name__)
    return told


async def _hand_over(
    connection: SmtpConnection, waiting: deque[Copy], told: set[int], what: str, about: int | None
) -> None:
    """Take copies from those that wait, at least one, until none is left. Raises Unreachable where it ends before."""
    account = connection.account
    while waiting:
        each = waiting.popleft()
        try:
            await connection.upload(each.sender, [each.recipient], each.stuffed)
            told.add(each.reader_id)  # whatever comes of its dot but a refusal
            await connection.dot(_ANSWER_S)
        except Refused as refusal:
            told.discard(each.reader_id)
            _log_failure(what, about, account, f"{refusal.step} {refusal.reply.code}", user=each.reader_id)
            if connection.closed:
                return
            await connection.reset()
    await connection.quit()


def _log_failure(what: str, about: int | None, account: Account, error: str, *, user: int | None = None) -> None:
    log(f"{what}_failed", level="warning", run=about, account=account.id, user=user, error=error)
