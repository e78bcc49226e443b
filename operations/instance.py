"""This instance: whose data the database holds, whether it is a test, and where a test's mail goes.

A copied or restored database mails nothing until somebody adopts it: see workers.identity.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from letters.headers import check_address
from operations.acting import acting, existing, line, sensible_day
from operations.run import check_may_set_clock, set_business_clock
from store import companies, holds, lookups, settings, standing
from workers import identity
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from store.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What this is. `foreign`: why nothing may be mailed from here, None where it may.

    `clock`: where a test's business clock stands, None where it goes with the world's. `waiting`: mails queued, that
    would leave if nothing else kept them. `host_setting`: what RELANCE_INSTANCE says, or where this host keeps to which
    instance it belongs; `host_problem`: why it cannot tell, empty where it can. `report_account`: sends all run
    reports, None where each leaves by its rule's own.
    """

    instance_id: str | None
    host_instance_id: str | None
    host_setting: str
    host_problem: str
    foreign: str | None
    test_instance: bool
    redirect_to: str | None
    clock: datetime | None
    report_account: str | None
    stopped_because: str | None
    waiting: int


def show(conn: Connection, setting: str) -> Instance:
    """How it stands; `setting` is this host's (workers.settings)."""
    here = settings.read(conn)
    counted = standing.reminders_by_state(conn, ever=False)
    names: dict[int | None, str] = {account_id: name for name, account_id in lookups.accounts(conn).items()}
    return Instance(
        instance_id=here.instance_id,
        host_instance_id=identity.of_host(setting),
        host_setting=setting,
        host_problem=identity.what_is_wrong(setting),
        foreign=identity.why_foreign(here, setting),
        report_account=names.get(here.report_account_id),
        test_instance=here.test_instance,
        redirect_to=here.redirect_to,
        clock=here.business_now.astimezone(_common_clock(conn) or UTC) if here.clock_is_set else None,
        stopped_because=here.stopped_because,
        waiting=sum(counted.get(state, 0) for state in ("due", "claimed", "armed")),
    )


def adopt_fresh(conn: Connection, setting: str) -> str | None:
    """Make a database that has just been made this host's: nobody has to say so. Returns the id; None where it has one.

    Where the host belongs to an instance already, the new database is that instance's. Raises InvalidInput where the
    host's file does not tell: nobody's words are written over.
    """
    if not setting or settings.read(conn).instance_id is not None:
        return None
    if wrong := identity.what_is_wrong(setting):
        raise InvalidInput(field="RELANCE_INSTANCE", value=setting, reason=f"{wrong}: mend that file, or remove it")
    instance_id = identity.of_host(setting) or str(uuid.uuid4())
    with acting(conn, by="system", because="a fresh database"):
        settings.adopt(conn, instance_id)
        identity.keep(setting, instance_id)
    return instance_id


def adopt(conn: Connection, setting: str, *, because: str, by: str) -> Instance:
    """Say that this database is an instance of its own, and that this host belongs to it: a new id on both sides.

    Where RELANCE_INSTANCE is an id, the database takes that one. Raises InvalidInput without a reason, or where that id
    is the database's already: it came along with the copy.
    """
    because = line(because, field="because")
    here = settings.read(conn)
    named = None if setting.startswith(identity.IN_A_FILE) else identity.of_host(setting)
    if named is not None and named == here.instance_id:
        reason = (
            f"is the database's own, copied with it: first give every host of this copy another, such as {uuid.uuid4()}"
        )
        raise InvalidInput(field="RELANCE_INSTANCE", value=named, reason=reason)
    instance_id = named or str(uuid.uuid4())
    with acting(conn, by=by, because=because):
        settings.close_gates(conn)
        settings.adopt(conn, instance_id)
        identity.keep(setting, instance_id)
    return show(conn, setting)


def make_test(conn: Connection, setting: str, *, redirect_to: str | None, because: str, by: str) -> Instance:
    """Say that this is a test: rules run only where they allow it, and all mail goes to `redirect_to`, if any.

    Raises InvalidInput without a reason, or for an address that is none.
    """
    because = line(because, field="because")
    address = check_address(redirect_to, field="redirect") if redirect_to else None
    with acting(conn, by=by, because=because):
        settings.close_gates(conn)
        settings.make_test_instance(conn)
        settings.redirect(conn, address)
    return show(conn, setting)


def set_clock(conn: Connection, setting: str, *, at: datetime, by: str) -> Instance:
    """Set a test's business clock: it stands there until it is set again. Rules that are due by then run.

    Without a time zone `at` is on the companies' clock. Raises InvalidInput where this is no test, where the companies
    have several clocks or there is none yet, and for a year that nobody means.
    """
    check_may_set_clock(conn, at)
    sensible_day(at.date(), field="clock")
    if at.tzinfo is None:
        clock = _common_clock(conn)
        if clock is None:
            reason = f"needs a time zone, as in {at.isoformat()}+01:00: there is not one that all companies have"
            raise InvalidInput(field="clock", value=at.isoformat(), reason=reason)
        at = at.replace(tzinfo=clock)
    set_business_clock(conn, at, by=by)
    return show(conn, setting)


def _common_clock(conn: Connection) -> ZoneInfo | None:
    """The clock of all companies, where they have the same."""
    clocks = {one.clock for one in companies.companies(conn).values()}
    return clocks.pop() if len(clocks) == 1 else None


def send_reports_by(conn: Connection, setting: str, account: str | None, *, because: str, by: str) -> Instance:
    """Let all run reports leave by this mail account, so that they tell of a rule whose own account is held too.

    None: each by its rule's account. Raises InvalidInput without a reason, or for an account that there is not.
    """
    because = line(because, field="because")
    with acting(conn, by=by, because=because):
        account_id = None if account is None else existing(holds.account_id(conn, account), account, field="account")
        settings.set_report_account(conn, account_id)
    return show(conn, setting)


def end_test(conn: Connection, setting: str, *, because: str, by: str) -> Instance:
    """Say that this is no test: mail goes to customers, on the world's clock. Raises InvalidInput without a reason."""
    because = line(because, field="because")
    with acting(conn, by=by, because=because):
        settings.close_gates(conn)
        settings.end_test_instance(conn)
    return show(conn, setting)
