"""Users: who works with relance, in which role, with which password."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import json_option

if TYPE_CHECKING:
    from datetime import date

    from scripts.caller import Desk
    from store.people import UserRole
    from workflow.facts import Language

ROLES = ("administrator", "accountant", "reader")
LANGUAGES = ("fr", "en")

_login = click.argument("login")


@click.group()
def user() -> None:
    """Say who works with relance, and in which role: administrator, accountant or reader.

    A login is what stands behind --as and in the journal. Nobody is deleted: a user who leaves is deactivated.
    """


@user.command("list")
@json_option
@calling
def list_users(caller: Caller, *, as_json: bool) -> None:
    """List all users."""
    from store.users import users  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = users(at.conn)
    if as_json:
        printing.print_json(found)
        return
    if not found:
        printing.message("there is no user yet: relance user add LOGIN --name NAME --email ADDRESS")
        return
    rows = [
        (
            one.login,
            printing.two_lines(one.name, one.email),
            one.role,
            one.language,
            "set" if one.has_password else "none",
            f"inactive since {printing.minute(one.inactive_since)}" if one.inactive_since else "",
        )
        for one in found
    ]
    printing.table(printing.console(), ("login", "name", "role", "language", "password", ""), rows)


@user.command()
@_login
@click.option("--name", required=True, help="As mails and reports call them.")
@click.option("--email", required=True, metavar="ADDRESS", help="Where reports go.")
@click.option("--role", type=click.Choice(ROLES), default="accountant", show_default=True)
@click.option("--language", type=click.Choice(LANGUAGES), default="fr", show_default=True)
@json_option
@calling
def add(
    caller: Caller, *, login: str, name: str, email: str, role: UserRole, language: Language, as_json: bool
) -> None:
    """Add a user. They can be named by --as at once; to sign in they need a password."""
    from operations.users import add_user  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        user_id = add_user(
            at.conn, login=login, name=name, email=email, role=role, language=language, by=at.by, today=_today(at)
        )
    if as_json:
        printing.print_json({"id": user_id, "login": login})
    printing.message(f"{login} is added as {_named(role)}; a password: relance user password {login}")


@user.command()
@_login
@click.option("--name", help="As mails and reports call them.")
@click.option("--email", metavar="ADDRESS", help="Where reports go.")
@click.option("--role", type=click.Choice(ROLES))
@click.option("--language", type=click.Choice(LANGUAGES))
@calling
def change(
    caller: Caller,
    *,
    login: str,
    name: str | None,
    email: str | None,
    role: UserRole | None,
    language: Language | None,
) -> None:
    """Change what is given of a user; the rest stays."""
    from operations.users import change_user  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        change_user(
            at.conn, login=login, name=name, email=email, role=role, language=language, by=at.by, today=_today(at)
        )
    printing.message(f"{login} is as asked")


@user.command()
@_login
@click.option("--stdin", "from_stdin", is_flag=True, help="Read it from standard input, one line.")
@calling
def password(caller: Caller, login: str, *, from_stdin: bool) -> None:
    """Set a user's password: asked twice and not shown, or one line on standard input; never an argument.

    At least 12 characters, without the login, the name or the address. Only its hash is kept.
    """
    from operations.users import set_password  # noqa: PLC0415 - loaded when asked for

    # Asked before the database is: a transaction would wait, with its locks, for whoever types.
    word = _first_line() if from_stdin else _asked(login)
    with desk(caller) as at:
        set_password(at.conn, login=login, password=word, by=at.by, today=_today(at))
    printing.message(f"the password of {login} is set")


@user.command()
@_login
@calling
def deactivate(caller: Caller, login: str) -> None:
    """Let a user act and be told no longer; what they did stays theirs."""
    _set_active(caller, login, active=False)


@user.command()
@_login
@calling
def activate(caller: Caller, login: str) -> None:
    """Let a user who was deactivated act again."""
    _set_active(caller, login, active=True)


def _set_active(caller: Caller, login: str, *, active: bool) -> None:
    from operations.users import set_active  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        changed = set_active(at.conn, login=login, active=active, by=at.by, today=_today(at))
    printing.message(f"{login} is {'active' if active else 'inactive'}{'' if changed else ' already'}")


def _asked(login: str) -> str:
    typed: str = click.prompt(
        f"Password of {printing.clean(login)}", hide_input=True, confirmation_prompt=True, err=True
    )
    return typed


def _first_line() -> str:
    try:
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8 text") from None


def _named(role: str) -> str:
    return f"{'an' if role.startswith('a') else 'a'} {role}"


def _today(at: Desk) -> date:
    from store import settings  # noqa: PLC0415 - loaded when asked for

    return settings.read(at.conn).business_now.date()
