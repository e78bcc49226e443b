"""This instance: whose data the database holds, and whether it is a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import INSTANT, because_option, json_option

if TYPE_CHECKING:
    from datetime import datetime

    from operations.instance import Instance


@click.group()
def instance() -> None:
    """Say what this database is: this host's, or a copy that mails nothing; production, or a test."""


@instance.command("show")
@json_option
@calling
def show_instance(caller: Caller, *, as_json: bool) -> None:
    """Show which instance the database is, which one this host belongs to, and what follows."""
    from operations.instance import show  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        _print(show(at.conn, at.settings.instance), as_json=as_json)


@instance.command()
@because_option
@json_option
@calling
def adopt(caller: Caller, *, because: str, as_json: bool) -> None:
    """Make the database an instance of its own, and this host's: from then on its mail may leave from here.

    For a copy or a restored backup. What waits in it leaves too: look at show first, and stop or test on before.
    """
    from operations.instance import adopt as make_ours  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        _print(make_ours(at.conn, at.settings.instance, because=because, by=at.by), as_json=as_json)
    printing.message("adopted; the other hosts of this instance need its id in RELANCE_INSTANCE")


@instance.command()
@click.argument("account", required=False)
@click.option("--by-rule", is_flag=True, help="Each report by its rule's own account again.")
@because_option
@json_option
@calling
def reports(caller: Caller, *, account: str | None, by_rule: bool, because: str, as_json: bool) -> None:
    """Let all run reports leave by one mail ACCOUNT (name or id): also that of a rule whose own account is held."""
    from operations.instance import send_reports_by  # noqa: PLC0415 - loaded when asked for
    from operations.lookup import find_account  # noqa: PLC0415

    if (account is None) is not by_rule:
        raise click.UsageError("name an ACCOUNT, or say --by-rule")
    with desk(caller) as at:
        name = find_account(at.conn, account) if account else None
        _print(send_reports_by(at.conn, at.settings.instance, name, because=because, by=at.by), as_json=as_json)


@instance.group("test")
def test_instance() -> None:
    """Make it a test instance, or none."""


@test_instance.command()
@click.option("--redirect", metavar="ADDRESS", help="Send all mail to this address instead of to customers.")
@because_option
@json_option
@calling
def on(caller: Caller, *, redirect: str | None, because: str, as_json: bool) -> None:
    """Make it a test: only rules that allow it run. Without --redirect their mails go to customers."""
    from operations.instance import make_test  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = make_test(at.conn, at.settings.instance, redirect_to=redirect, because=because, by=at.by)
        _print(found, as_json=as_json)


@test_instance.command()
@because_option
@json_option
@calling
def off(caller: Caller, *, because: str, as_json: bool) -> None:
    """Make it no test any more: all rules run, mails go to customers, and it has no clock of its own."""
    from operations.instance import end_test  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        _print(end_test(at.conn, at.settings.instance, because=because, by=at.by), as_json=as_json)


@test_instance.command()
@click.argument("at", type=INSTANT, metavar="WHEN")
@json_option
@calling
def clock(caller: Caller, *, at: datetime, as_json: bool) -> None:
    """Set a test's own clock to WHEN, on the companies' clock: there it stands. What is due by then runs.

    Mails, windows, overdue days and dates of reminders all go by it.
    """
    from operations.instance import set_clock  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as here:
        _print(set_clock(here.conn, here.settings.instance, at=at, by=here.by), as_json=as_json)


def _print(found: Instance, *, as_json: bool) -> None:
    if as_json:
        printing.print_json(found)
        return
    out = printing.console()
    if found.foreign is None:
        out.print(f"instance: {found.instance_id or 'none'}, this host's")
    else:
        out.print(f"instance of the database: {found.instance_id or 'none'}")
        out.print(f"instance of this host:    {printing.clean(found.host_instance_id or 'none')}")
        out.print(f"by its RELANCE_INSTANCE:  {printing.clean(found.host_setting)}", soft_wrap=True)
    kind = "a test: only rules that allow it run" if found.test_instance else "production"
    redirected = f"; all mail goes to {found.redirect_to}" if found.redirect_to else ""
    out.print(f"kind: {kind}{printing.clean(redirected)}")
    if found.clock:
        out.print(f"clock: stands at {found.clock:%Y-%m-%d %H:%M %Z}")
    out.print(f"run reports leave by: {printing.clean(found.report_account or 'the account of their rule')}")
    out.print(f"mails that wait to leave: {found.waiting}")
    if found.stopped_because:
        out.print(f"all mail is stopped: {printing.clean(found.stopped_because)}", style="bold red")
    if found.foreign is None:
        return
    out.print(f"NOTHING IS MAILED FROM HERE: {printing.clean(found.foreign)}.", style="bold red")
    out.print("")
    if found.instance_id and not (found.host_instance_id or found.host_problem):
        out.print("One more host of the same instance? Set in its environment, then start it again:")
        printing.line(out, f"RELANCE_INSTANCE={found.instance_id}")
    out.print("A copy, to try things with? First make it a test, so that no customer gets its mail:")
    printing.line(out, "relance instance test on --redirect you@example.com --because TEXT")
    out.print("Then, or where it is to go on in place of the old one, which is switched off for good:")
    printing.line(out, "relance instance adopt --because TEXT")
