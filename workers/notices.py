"""Mails to our own people: a run's report, an alert. Some copies on one connection, each accepted or not.

The kill switch, send windows and holds on rules stop mails to customers, not these. Where a server's last answer is
lost, a copy goes again under the same Message-ID: one too many harms nobody, one too few hides a problem.
"""

from __future__ import annotations

import asyncio
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
    """Send each copy through the account. Returns the ids of the readers whose copy was accepted.

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
    """One connection, a mail a copy. A refused one does not keep the others from leaving."""
    told: set[int] = set()
    try:
        async with asyncio.timeout(_CONVERSATION_S):
            connection = await connect(account, password)
            try:
                for each in copies:
                    try:
                        await connection.upload(each.sender, [each.recipient], each.stuffed)
                        await connection.dot(_ANSWER_S)
                        told.add(each.reader_id)
                    except Refused as refusal:
                        error = f"{refusal.step} {refusal.reply.code}"
                        _log_failure(what, about, account, error, user=each.reader_id)
                        if connection.closed:
                            break
                        await connection.reset()
                await connection.quit()
            finally:
                connection.abort()
    except Refused as refusal:
        _log_failure(what, about, account, f"{refusal.step} {refusal.reply.code}")
    except (Unreachable, TimeoutError) as error:
        _log_failure(what, about, account, type(error).__name__)
    return told


def _log_failure(what: str, about: int | None, account: Account, error: str, *, user: int | None = None) -> None:
    log(f"{what}_failed", level="warning", run=about, account=account.id, user=user, error=error)
