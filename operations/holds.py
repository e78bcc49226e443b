"""Holds: a rule, an account, a customer, an invoice, a run kept back by a person; and the stop of all mail.

When a rule's, an account's or a run's hold, or the stop, has been committed, no mail of theirs is armed any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.acting import acting, existing, line
from operations.customers import customer_id_of
from operations.invoices import locked
from store import breakers, holds, journal, settings
from workflow.errors import InvalidInput
from workflow.limits import after_success

if TYPE_CHECKING:
    from datetime import date

    from store.connection import Connection
    from store.holds import Held


def hold(
    conn: Connection,
    *,
    rule: str | None = None,
    account: str | None = None,
    customer: str | None = None,
    company: str | None = None,
    invoice: str | None = None,
    run: int | None = None,
    because: str,
    by: str,
    today: date | None = None,
) -> bool:
    """Hold one thing: a rule by title, an account by name, a customer by number, an invoice by company and number.

    Or a run by its number. False when it was held for this very reason. Raises InvalidInput.
    """
    because = line(because, field="because")
    with acting(conn, by=by, because=because, today=today):
        if rule is not None or account is not None or run is not None:
            settings.close_gates(conn)
        subject, subject_id = _subject(conn, (rule, account, customer, company, invoice, run))
        before = holds.why_run_held(conn, subject_id) if subject == "run" else None
        held = holds.hold(conn, subject, subject_id, because=because)
        if held and subject == "run":
            journal.write(conn, "run", subject_id, {"held_because": [before, because]})
        return held


def release(
    conn: Connection,
    *,
    rule: str | None = None,
    account: str | None = None,
    customer: str | None = None,
    company: str | None = None,
    invoice: str | None = None,
    run: int | None = None,
    because: str = "",
    by: str,
    today: date | None = None,
) -> bool:
    """Hold it no longer; False where nothing was held. Raises InvalidInput.

    An account tries its server at once. A run that was held for its size looks at the invoices as they are now.
    """
    with acting(conn, by=by, because=because, today=today):
        subject, subject_id = _subject(conn, (rule, account, customer, company, invoice, run))
        before_held = holds.why_run_held(conn, subject_id) if subject == "run" else None
        released = holds.release(conn, subject, subject_id)
        if released and subject == "run":
            holds.let_run_go(conn, subject_id)
            journal.write(conn, "run", subject_id, {"held_because": [before_held, None]})
        if subject == "account" and breakers.troubled(conn, [subject_id]):
            before, _ = breakers.move(conn, subject_id, lambda breaker, _now: after_success(breaker))
            return released or before.opened_at is not None
        return released


def stop(conn: Connection, *, because: str, by: str, today: date | None = None) -> bool:
    """Stop all mail of this instance. False when it was stopped already."""
    because = line(because, field="because")
    with acting(conn, by=by, because=because, today=today):
        return settings.stop(conn, because=because)


def resume(conn: Connection, *, because: str = "", by: str, today: date | None = None) -> bool:
    """Let mail leave again. False when nothing was stopped."""
    with acting(conn, by=by, because=because, today=today):
        return settings.resume(conn)


def lock_unfinished_run(conn: Connection, run_id: int) -> None:
    """Lock a run that a person may still decide about. Raises InvalidInput where it has ended."""
    if holds.unfinished_run(conn, run_id) is None:
        reason = "has ended or was refused, or there is none of that number"
        raise InvalidInput(field="run", value=run_id, reason=reason)


def _subject(conn: Connection, named: tuple[str | int | None, ...]) -> tuple[Held, int]:
    match named:
        case (str(title), None, None, None, None, None):
            return "rule", existing(holds.rule_id(conn, title), title, field="rule")
        case (None, str(name), None, None, None, None):
            return "account", existing(holds.account_id(conn, name), name, field="account")
        case (None, None, str(number), None, None, None):
            return "customer", customer_id_of(conn, number)
        case (None, None, None, str(code), str(number), None):
            return "invoice", locked(conn, code, number).id
        case (None, None, None, None, None, int(run_id)):
            lock_unfinished_run(conn, run_id)
            return "run", run_id
        case _:
            raise InvalidInput(
                field="rule",
                value=named,
                reason="name one: a rule, an account, a customer, an invoice with its company, a run",
            )
