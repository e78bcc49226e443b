"""Addresses that refused mail."""

from __future__ import annotations

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import because_option, json_option


@click.command()
@click.argument("address")
@because_option
@json_option
@calling
def unsuppress(caller: Caller, *, address: str, because: str, as_json: bool) -> None:
    """Let an ADDRESS have mail again that its server had refused for good, once somebody is there."""
    from operations.addresses import unsuppress as allow  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = allow(at.conn, address, because=because, by=at.by)
    if as_json:
        printing.print_json(found)
    since = printing.minute(found.since)
    printing.message(f"{found.address} has mail again; it had none since {since}: {found.was_because}")
    if found.tasks:
        numbers = ", ".join(map(str, found.tasks))
        printing.message(f"what reached nobody there is still to be seen to: relance tasks done {numbers}")
