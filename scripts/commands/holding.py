"""Hold back and let go, stop and resume: the hand brakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import ROW_ID, because_option, json_option, yes_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from scripts.caller import Desk

KINDS = ("rule", "account", "customer", "invoice", "run")

_kind = click.argument("kind", type=click.Choice(KINDS))
_name = click.argument("name")
_company = click.option("--company", metavar="CODE", help="Whose invoice, where two companies have the number.")


@click.command()
@_kind
@_name
@_company
@because_option
@json_option
@calling
def hold(caller: Caller, *, kind: str, name: str, company: str | None, because: str, as_json: bool) -> None:
    """Hold back a rule (title or id), an account (name or id), a customer, invoice or run (number). Its mails wait."""
    from operations import holds  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        subject = _subject(at, kind, name, company)
        changed = holds.hold(at.conn, **subject, because=because, by=at.by, today=_today(at))
    _say(kind, name, changed=changed, held=True, as_json=as_json)


@click.command()
@_kind
@_name
@_company
@because_option
@json_option
@calling
def release(caller: Caller, *, kind: str, name: str, company: str | None, because: str, as_json: bool) -> None:
    """Let go of what is held: a rule (title or id), an account (name or id), a customer, invoice or run (number)."""
    from operations import holds  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        subject = _subject(at, kind, name, company)
        changed = holds.release(at.conn, **subject, because=because, by=at.by, today=_today(at))
    _say(kind, name, changed=changed, held=False, as_json=as_json)


@click.command("refuse-run")
@click.argument("run", type=ROW_ID)
@because_option
@yes_option
@json_option
@calling
def refuse_run(caller: Caller, *, run: int, because: str, yes: bool, as_json: bool) -> None:
    """Let a RUN that is held end, and mail nothing more of it. Its invoices stay where they are for the next run."""
    from operations.refuse_run import refuse_run as refused  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = refused(at.conn, run, because=because, dry_run=not yes, by=at.by)
    if as_json:
        printing.print_json(found)
    let_go = f"{printing.count(found.candidates, 'candidate')} and {printing.count(found.mails, 'queued mail')}"
    would = "let go" if found.done else "would be let go"
    printing.message(f"run {found.run_id} of {found.rule}, held ({found.held_because}): {let_go} {would}")
    if found.leaving:
        printing.message(f"{printing.count(found.leaving, 'mail')} on the way at this moment may still leave")
    if found.in_doubt:
        printing.message(f"{printing.count(found.in_doubt, 'mail')} in doubt: relance resolve")
    if not found.done:
        printing.message("nothing was done: add --yes")


@click.command()
@because_option
@json_option
@calling
def stop(caller: Caller, *, because: str, as_json: bool) -> None:
    """Stop all mail of this instance at once. What has left has left; everything else waits."""
    from operations import holds  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        changed = holds.stop(at.conn, because=because, by=at.by, today=_today(at))
    if as_json:
        printing.print_json({"stopped": True, "changed": changed})
    printing.message("all mail is stopped" if changed else "all mail was stopped already")


@click.command()
@because_option
@json_option
@calling
def resume(caller: Caller, *, because: str, as_json: bool) -> None:
    """Let mail leave again after a stop."""
    from operations import holds  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        changed = holds.resume(at.conn, because=because, by=at.by, today=_today(at))
    if as_json:
        printing.print_json({"stopped": False, "changed": changed})
    printing.message("mail leaves again" if changed else "nothing was stopped")


def _subject(at: Desk, kind: str, name: str, company: str | None) -> dict[str, Any]:
    """What operations.holds asks for: the exact name of what was meant. Raises Unknown, Ambiguous."""
    from operations import lookup  # noqa: PLC0415 - loaded when asked for

    finders: dict[str, Callable[[], dict[str, Any]]] = {
        "rule": lambda: {"rule": lookup.find_rule(at.conn, name).title},
        "account": lambda: {"account": lookup.find_account(at.conn, name)},
        "customer": lambda: {"customer": lookup.find_customer(at.conn, name)},
        "invoice": lambda: _invoice(at, name, company),
        "run": lambda: {"run": lookup.find_run(at.conn, name)},
    }
    return finders[kind]()


def _invoice(at: Desk, name: str, company: str | None) -> dict[str, str]:
    from operations.lookup import find_invoice  # noqa: PLC0415 - loaded when asked for

    found = find_invoice(at.conn, name, company)
    return {"company": found.company, "invoice": found.number}


def _today(at: Desk) -> date:
    from store import settings  # noqa: PLC0415 - loaded when asked for

    return settings.read(at.conn).business_now.date()


def _say(kind: str, name: str, *, changed: bool, held: bool, as_json: bool) -> None:
    if as_json:
        printing.print_json({"kind": kind, "name": name, "held": held, "changed": changed})
    already = "" if changed else " already" if held else " (it was not held)"
    printing.message(f"{kind} {name} is {'held' if held else 'free'}{already}")
