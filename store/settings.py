"""This instance: whether it is a test, what time business has, and the switch that stops all mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from store.connection import Connection

# Whoever closes a gate (stop, a hold, a deactivated rule) takes this lock alone; each tick shares it while it arms.
# So no
# mail is armed after a gate's change was committed, and nothing waits for longer than one tick.
GATES_LOCK = "hashtext('relance.gates')"

_READ = """
SELECT test_instance, coalesce(business_now, now()) AS business_now, business_now IS NOT NULL AS clock_is_set,
       stopped_because, stopped_at, report_account_id, instance_id::text AS instance_id,
       coalesce(instance_place <> place(), false) AS moved, redirect_to
  FROM settings
"""
_STOP = "UPDATE settings SET stopped_because = %(because)s::text, stopped_at = now() WHERE stopped_because IS NULL"
_RESUME = "UPDATE settings SET stopped_because = NULL, stopped_at = NULL WHERE stopped_because IS NOT NULL"
_KEEP_CLOCK = "SELECT FROM settings WHERE business_now IS NOT NULL FOR SHARE"
_SET_CLOCK = "UPDATE settings SET business_now = %(now)s::timestamptz"
_WAKE = (
    "UPDATE reminders SET not_before = now(), waits_for = NULL WHERE open AND state = 'due' AND waits_for = 'window'"
)
_ADOPT = "UPDATE settings SET instance_id = %(instance_id)s::uuid, instance_place = place()"
_TAKE_PLACE = "UPDATE settings SET instance_place = place() WHERE instance_id IS NOT NULL"
_REDIRECT = "UPDATE settings SET redirect_to = %(address)s::text"
_END_TEST = """
UPDATE settings SET test_instance = false, business_now = NULL, redirect_to = NULL WHERE test_instance
"""
_MAKE_TEST = "UPDATE settings SET test_instance = true"
_REPORT_ACCOUNT = "UPDATE settings SET report_account_id = %(account_id)s::bigint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The one row, read once per unit of work. `business_now` is aware, in UTC.

    `moved`: the tables are not where the instance was adopted: restored, or copied. `redirect_to`: where a test
    instance's mail goes instead of to customers.
    """

    test_instance: bool
    business_now: datetime
    clock_is_set: bool
    stopped_because: str | None
    stopped_at: datetime | None
    report_account_id: int | None
    instance_id: str | None
    moved: bool
    redirect_to: str | None


def read(conn: Connection) -> Settings:
    """The settings as they stand."""
    with conn.cursor(row_factory=class_row(Settings)) as cursor:
        settings = cursor.execute(_READ).fetchone()
    if settings is None:
        raise LookupError("the settings row is missing")
    return settings


def database_now(conn: Connection) -> datetime:
    """The database's wall clock, which machine time is counted on."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise LookupError("the database told no time")
    now: datetime = row[0]
    return now


def close_gates(conn: Connection) -> None:
    """Wait for the ticks that are arming now; until this transaction ends, none begins."""
    conn.execute(f"SELECT pg_advisory_xact_lock({GATES_LOCK})")


def stop(conn: Connection, *, because: str) -> bool:
    """Stop all mail. False when it was stopped already."""
    close_gates(conn)
    return conn.execute(_STOP, {"because": because}).rowcount == 1


def resume(conn: Connection) -> bool:
    """Let mail leave again. False when nothing was stopped."""
    return conn.execute(_RESUME).rowcount == 1


def make_test_instance(conn: Connection) -> None:
    """Say that this database is a test's.

    Rules fire on it only where they allow it, and it may have a clock of its own.
    """
    conn.execute(_MAKE_TEST)


def end_test_instance(conn: Connection) -> bool:
    """Say that it is no test: no clock of its own any more, no redirection. False when it was none."""
    return conn.execute(_END_TEST).rowcount == 1


def redirect(conn: Connection, address: str | None) -> None:
    """Where all mail of a test instance goes. Raises psycopg.errors.CheckViolation on a production instance."""
    conn.execute(_REDIRECT, {"address": address})


def adopt(conn: Connection, instance_id: str) -> None:
    """Say which instance this database is, here and now. The caller has closed the gates."""
    conn.execute(_ADOPT, {"instance_id": instance_id})


def take_place(conn: Connection) -> None:
    """The instance goes on in these tables: restored by us, with all mail stopped."""
    conn.execute(_TAKE_PLACE)


def keep_clock(conn: Connection) -> None:
    """Let nobody set a test instance's clock until this transaction ends; production has none to set.

    Who makes mails wait by a clock that is set meanwhile would do so after they were woken.
    """
    conn.execute(_KEEP_CLOCK)


def set_clock(conn: Connection, now: datetime) -> None:
    """Set the business clock of a test instance and wake what waited for a send window.

    Raises psycopg.errors.CheckViolation on a production instance.
    """
    conn.execute(_SET_CLOCK, {"now": now.astimezone(UTC)})
    conn.execute(_WAKE)


def set_report_account(conn: Connection, account_id: int | None) -> None:
    """The account that sends all run reports; None: each run's own sends its."""
    conn.execute(_REPORT_ACCOUNT, {"account_id": account_id})
