"""A run ends, and its report leaves, once: see workers.notices."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from letters.report import ReportForm
from store import companies, reports, runs, settings
from store.shipped import shipped
from workers import notices
from workers.log import log
from workers.steps import reached
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.companies import Account
    from store.connection import Connection
    from store.reports import Reader, Unreported
    from store.settings import Settings
    from workers.office import Office
    from workflow.summary import RunSummary

_AGAIN_S = 300.0


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
    return notices.tell(account, copies, what="report", about=run.id)


def _copy(summary: RunSummary, run: Unreported, reader: Reader, account: Account, here: Settings) -> notices.Copy:
    """Make one reader's mail."""
    part = "supplement" if run.supplement else "report"
    identity = f"{part}.{run.id}.{reader.id}.{int(run.created_at.timestamp() * 1e6):x}"
    return notices.copy(_form().compose(summary, reader.language), identity, reader, account, here)


@lru_cache(maxsize=1)
def _form() -> ReportForm:
    return ReportForm.from_folder(shipped("templates") / "mail")
