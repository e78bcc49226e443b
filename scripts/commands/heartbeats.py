"""A heartbeat of who books the payments."""

from __future__ import annotations

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import json_option


@click.command()
@click.argument("company")
@json_option
@calling
def heartbeat(caller: Caller, *, company: str, as_json: bool) -> None:
    """Say that all payments of a company (its code) until now are here. What waited for that may leave."""
    from datetime import timedelta  # noqa: PLC0415 - loaded when asked for

    from operations import heartbeat as beat  # noqa: PLC0415
    from operations.lookup import find_company  # noqa: PLC0415

    with desk(caller) as at:
        found = beat.heartbeat(at.conn, company=find_company(at.conn, company), by=at.by)
    if as_json:
        printing.print_json(found)
    elif found.fresh_hours is None:
        printing.message(f"noted; {found.code} has no payments_fresh_hours, so nothing waits for it")
    elif found.heard_at:
        until = found.heard_at + timedelta(hours=found.fresh_hours)
        printing.message(f"payment data of {found.code} are fresh until {printing.minute(until)}")
