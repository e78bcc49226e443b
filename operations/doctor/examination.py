"""The whole look over an installation."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from letters.headers import check_address
from operations.doctor.accounts import account
from operations.doctor.configuration import REFERENCES, configuration
from operations.doctor.database import database
from operations.doctor.disk import disk
from operations.doctor.events import event_secrets
from operations.doctor.evidence import channel
from operations.doctor.finding import Check, Finding, either, look_at_all
from operations.doctor.hints import hints
from operations.doctor.mailboxes import mailbox
from store import companies, health, mailboxes
from store.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from store.companies import Account
    from store.health import AccountNote
    from store.mailboxes import Mailbox
    from workers.settings import Settings
    from workflow.facts import Language


def examine(
    servers: Settings | None,
    environment: Mapping[str, str],
    *,
    to: str | None,
    now: Callable[[], datetime],
    private_folder: Path | None = None,
    language: Language = "en",
) -> list[Finding]:
    """Look everything over, side by side, and change nothing; say in `language` what was found.

    `servers` has both addresses, None where they are not known. `to` gets a mail through each account. `now` is this
    machine's clock. `private_folder` is that of the private servers. Raises InvalidInput for a `to` that is not one
    address.
    """
    address = check_address(to, field="to") if to is not None else None
    folders = {"temporary files": Path(tempfile.gettempdir())}
    if private_folder:
        folders["private servers"] = private_folder
    known = _accounts(servers.database_url) if servers else None
    boxes = _mailboxes(servers.database_url) if servers and known else []
    signing = environment.get(REFERENCES, "").split()
    references = [*signing, *(one.password_ref or "" for one, _ in known or ())]
    references += [box.mailbox.get("password_ref", "") for box in boxes]
    references += [str((one.evidence or {}).get("password_ref", "")) for one, _ in known or ()]
    secrets = {reference.removeprefix("env:") for reference in references}
    checks = [
        Check(name="configuration", look=partial(configuration, environment, secrets, language)),
        Check(name="disk", look=partial(disk, folders, language)),
        Check(name="events", look=partial(event_secrets, signing, language)),
    ]
    if servers:
        checks += [
            Check(name="database", look=partial(database, servers.database_url, now, servers.instance, language)),
            Check(name="redis", look=partial(hints, servers.redis_url, language)),
        ]
    checks += [
        Check(
            name="account",
            subject=one.name,
            look=partial(account, one, note, to=address, now=now(), language=language),
        )
        for one, note in known or ()
    ]
    checks += [Check(name="mailbox", subject=box.account, look=partial(mailbox, box, language)) for box in boxes]
    if servers:
        checks += [
            Check(name="evidence", subject=one.name, look=partial(channel, servers.database_url, one, language))
            for one, _ in known or ()
            if one.evidence
        ]
    if known == []:
        checks.append(Check(name="account", look=partial(_no_account, language)))
    return look_at_all(checks, language=language)


def _accounts(url: str) -> list[tuple[Account, AccountNote]] | None:
    """Every mail account; None where the database does not tell, which its own check says."""
    try:
        with connect(url) as conn:
            health.be_brief(conn)
            notes = health.account_notes(conn)
            return [(one, notes[one.id]) for one in companies.accounts(conn).values() if one.id in notes]
    except psycopg.Error:
        return None


def _mailboxes(url: str) -> list[Mailbox]:
    """Every account's mailbox of bounces."""
    try:
        with connect(url) as conn:
            health.be_brief(conn)
            return mailboxes.mailboxes(conn)
    except psycopg.Error:
        return []


def _no_account(language: Language) -> list[Finding]:
    return [
        Finding(
            check="account",
            verdict="warning",
            found=either(language, en="there is none: nothing can leave", fr="il n'y en a aucun : rien ne peut partir"),
            advice=either(
                language,
                en="make one in a rules file: relance rules import FILE",
                fr="en créer un dans un fichier de règles : relance rules import FICHIER",
            ),
        )
    ]
