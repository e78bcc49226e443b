"""A run ends, and its report leaves, once.

The report is for our own users: the kill switch, send windows and holds on rules stop mails to customers, not this
one. Where a server's last answer is lost, the report goes again under the same Message-ID: a report too many harms
nobody, one too few hides a problem.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from letters.headers import Mailbox, check_address
from letters.mime import assemble
from letters.report import ReportForm
from store import companies, reports, runs, settings
from store.shipped import shipped
from workers.log import log
from workers.settings import secret
from workers.smtp import Refused, Unreachable, connect, stuffed
from workers.steps import reached
from workflow.errors import InvalidInput, RelanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.companies import Account
    from store.connection import Connection
    from store.reports import Reader, Unreported
    from store.settings import Settings
    from workers.office import Office
    from workflow.summary import RunSummary

_AGAIN_S = 300.0
# The run's row is locked meanwhile; PostgreSQL ends a transaction that is idle for 60 s.
_CONVERSATION_S = 40.0
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """One reader's report, ready to leave."""

    reader_id: int
    sender: str
    recipient: str
    stuffed: bytes


def close_run(office: Office, run_id: int) -> None:
    """Close the run where nothing of it is open, and report it where that is due. Twice changes nothing.

    A run is reported when it has ended, refused and failed ones too, or `close_s` after it was opened: then its end is
    reported as well. A report that does not leave is tried again after five minutes, for a day.
    """
    with office.pool.connection() as conn:
        if reports.close(conn, run_id):
            progress = runs.progress(conn, run_id)
            log("run_closed", run=run_id, sent=progress.sent, failed=progress.failed, cancelled=progress.cancelled)
    with office.pool.connection() as conn:
        unreported = reports.lock_unreported(conn, run_id, patience_s=office.settings.close_s)
        if unreported is not None:
            _report(conn, unreported)


def _report(conn: Connection, run: Unreported) -> None:
    readers = reports.readers(conn, run.id)
    strangers = reports.strangers(conn, run.id)
    if strangers:
        log("report_readers_unknown", level="warning", run=run.id, count=strangers)
    told = _tell(conn, run, readers) if readers else set()
    reached("reported")
    reports.told(conn, run.id, told)
    missing = len(readers) - len(told)
    if missing and not run.last_try:
        reports.try_later(conn, run.id, wait_s=_AGAIN_S)
        return
    if missing:
        log("report_given_up", level="error", run=run.id, readers=missing)
    reports.mark_reported(conn, run.id)
    log("run_reported", run=run.id, readers=len(told), state=run.state, supplement=run.supplement)


def _tell(conn: Connection, run: Unreported, readers: Sequence[Reader]) -> set[int]:
    """Send the report to each of them on one connection. Returns the ids of those whose copy was accepted."""
    here = settings.read(conn)
    account = companies.accounts(conn)[here.report_account_id or run.account_id]
    if account.held_because:
        log("report_waits", level="warning", run=run.id, account=account.id, error="account held")
        return set()
    summary = reports.summary(conn, run.id)
    copies = []
    for reader in readers:
        try:
            copies.append(_copy(summary, run, reader, account, here))
        except RelanceError as error:
            log("report_not_made", level="error", run=run.id, user=reader.id, error=type(error).__name__)
    if not copies:
        return set()
    try:
        password = secret(account.password_ref) if account.password_ref else None
    except InvalidInput as error:
        log("report_failed", level="warning", run=run.id, account=account.id, error=f"no {error.field}")
        return set()
    return asyncio.run(_converse(run.id, account, password, copies))


def _copy(summary: RunSummary, run: Unreported, reader: Reader, account: Account, here: Settings) -> _Copy:
    """Make one reader's mail; its Message-ID is the same at each try."""
    sender = Mailbox(name=account.from_name, address=check_address(account.from_address, field="from_address"))
    part = "supplement" if run.supplement else "report"
    identity = f"{part}.{run.id}.{reader.id}.{int(run.created_at.timestamp() * 1e6):x}"
    address = here.redirect_to or reader.email
    content = assemble(
        _form().compose(summary, reader.language),
        message_id=f"<{identity}@{sender.address.rpartition('@')[2]}>",
        date=here.business_now,
        sender=sender,
        recipient=Mailbox(name=reader.name, address=address),
        language=reader.language,
        reminder_id=None,
        redirected_from=(reader.email,) if here.redirect_to else (),
    )
    return _Copy(
        reader_id=reader.id,
        sender=sender.address,
        recipient=check_address(address, field="email"),
        stuffed=stuffed(content),
    )


async def _converse(run_id: int, account: Account, password: str | None, copies: Sequence[_Copy]) -> set[int]:
    """One connection, a mail a copy. A refused one does not keep the others from leaving."""
    told: set[int] = set()
    try:
        async with asyncio.timeout(_CONVERSATION_S):
            connection = await connect(account, password)
            try:
                for copy in copies:
                    try:
                        await connection.upload(copy.sender, [copy.recipient], copy.stuffed)
                        await connection.dot(_ANSWER_S)
                        told.add(copy.reader_id)
                    except Refused as refusal:
                        _log_failure(run_id, account, f"{refusal.step} {refusal.reply.code}", user=copy.reader_id)
                        if connection.closed:
                            break
                        await connection.reset()
                await connection.quit()
            finally:
                connection.abort()
    except Refused as refusal:
        _log_failure(run_id, account, f"{refusal.step} {refusal.reply.code}")
    except (Unreachable, TimeoutError) as error:
        _log_failure(run_id, account, type(error).__name__)
    return told


def _log_failure(run_id: int, account: Account, error: str, *, user: int | None = None) -> None:
    log("report_failed", level="warning", run=run_id, account=account.id, user=user, error=error)


@lru_cache(maxsize=1)
def _form() -> ReportForm:
    return ReportForm.from_folder(shipped("templates") / "mail")
