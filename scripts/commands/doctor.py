"""Look an installation over, and say of everything what to do."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, migrate_fresh, private_folder, with_instance
from scripts.printing import json_option, lang_option
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from operations.doctor.finding import Finding
    from workers.settings import Settings
    from workflow.facts import Language

VERDICTS = ("error", "warning", "ok")
_MARKS = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "error": ("✘", "red")}
# Verdicts, checks and their subjects as French readers have them; the names of accounts and companies are their own.
_IN_FRENCH = {
    "error": "erreur",
    "warning": "attention",
    "account": "compte",
    "clock": "horloge",
    "database": "base de données",
    "disk": "disque",
    "events": "événements",
    "evidence": "traces",
    "mail": "courriel",
    "mailbox": "boîte de retour",
    "private servers": "serveurs privés",
    "redis": "redis",
    "rules": "règles",
    "business": "métier",
    "connections": "connexions",
    "durability": "durabilité",
    "isolation": "isolation",
    "memory": "mémoire",
    "persistence": "persistance",
    "schema": "schéma",
    "temporary files": "fichiers temporaires",
    "time zones": "fuseaux horaires",
}


@click.command()
@click.option("--to", metavar="ADDRESS", help="Send a mail to this address through each mail account.")
@json_option
@lang_option
@calling
def doctor(caller: Caller, *, to: str | None, lang: Language, as_json: bool) -> None:
    """Look over configuration, database, Redis, mail accounts, clocks, disks and private servers; change nothing.

    Exit code 0 where all is well or only worth a look, 1 where something does not work.
    """
    from operations.doctor.configuration import servers  # noqa: PLC0415 - loaded when asked for
    from operations.doctor.examination import examine  # noqa: PLC0415

    named = servers(os.environ)
    with contextlib.ExitStack() as stack:
        found: list[Finding] = []
        folder = None
        if caller.demo or (named and named.embedded):
            named, folder, found = _private(stack, caller, named, lang)
        elif named:
            with contextlib.suppress(InvalidInput):  # an address that is none: the database's own check says it
                named = with_instance(named, None)
        looked = examine(named, os.environ, to=to, now=lambda: datetime.now(UTC), private_folder=folder, language=lang)
        found = looked + found
    if as_json:
        printing.print_json({"verdict": worst(found), "findings": found})
    else:
        _show(found, lang)
    counts = {verdict: sum(1 for one in found if one.verdict == verdict) for verdict in VERDICTS}
    errors, warnings = {"en": ("error", "warning"), "fr": ("erreur", "avertissement")}[lang]
    printing.message(
        f"{printing.count(counts['error'], errors)}, {printing.count(counts['warning'], warnings)}, {counts['ok']} ok"
    )
    if counts["error"]:
        sys.exit(1)


def worst(found: Sequence[Finding]) -> str:
    """The gravest verdict among them."""
    return next((verdict for verdict in VERDICTS if any(one.verdict == verdict for one in found)), "ok")


def _private(
    stack: contextlib.ExitStack, caller: Caller, named: Settings | None, lang: Language
) -> tuple[Settings | None, Path | None, list[Finding]]:
    """Attach to the private servers until the end. Servers that do not start are a finding, not the end of the look."""
    from operations.doctor.finding import Finding, either  # noqa: PLC0415 - loaded when asked for
    from scripts.embedded import EmbeddedUnavailable, attached, in_use, versions  # noqa: PLC0415
    from workers.settings import Settings  # noqa: PLC0415

    folder = private_folder(caller, named.folder if named else "")
    try:
        used = in_use(folder)
        servers = stack.enter_context(attached(folder))
        settings = Settings(
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            instance=os.environ.get("RELANCE_INSTANCE", "").strip(),
        )
        settings = with_instance(settings, servers.folder)
        migrate_fresh(settings)
    except EmbeddedUnavailable as error:
        failed = Finding(
            check="private servers",
            verdict="error",
            found=either(lang, en=f"do not start: {error}", fr=f"ne démarrent pas : {error}"),
            advice=either(
                lang,
                en="do what it says, or name servers of your own in DATABASE_URL and REDIS_URL",
                fr="faire ce qu'il dit, ou nommer vos propres serveurs dans DATABASE_URL et REDIS_URL",
            ),
        )
        return None, None, [failed]
    state = servers.folder.stat()
    private = state.st_mode & 0o077 == 0
    programs = versions()
    running = ", ".join(f"{name} {version}" for name, version in programs.items())
    finding = Finding(
        check="private servers",
        verdict="ok" if private else "warning",
        found=either(
            lang,
            en=f"{running} in {servers.folder}, of {_owner(state.st_uid)}; "
            f"{'other processes use them now' if used else 'nobody else uses them now'}"
            f"{'' if private else '; other users may enter the folder'}",
            fr=f"{running} dans {servers.folder}, de {_owner(state.st_uid)} ; "
            f"{'utilisés par un autre processus' if used else 'utilisés par nul autre processus'}"
            f"{'' if private else ' ; le dossier est ouvert à tout utilisateur'}",
        ),
        advice="" if private else f"chmod 700 {servers.folder}",
        figures={**programs, "folder": str(servers.folder), "owner": _owner(state.st_uid), "in_use": int(used)},
    )
    return settings, servers.folder, [finding]


def _owner(uid: int) -> str:
    import pwd  # noqa: PLC0415 - only here

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def _show(found: Sequence[Finding], lang: Language) -> None:
    from rich.text import Text  # noqa: PLC0415 - only people need it

    out = printing.console()
    rows = []
    for one in found:
        mark, colour = _MARKS[one.verdict]
        # What people have named stays as they did.
        subject = (
            one.subject
            if one.check in {"account", "configuration", "evidence", "mailbox"}
            else _named(one.subject, lang)
        )
        about = f"{_named(one.check, lang)} {subject}".strip()
        colon = " :" if lang == "fr" else ":"
        words = Text.assemble((printing.clean(about), "bold"), f"{colon} {printing.clean(one.found)}")
        if one.advice:
            words.append(f"\n→ {printing.clean(one.advice)}")
        rows.append((Text(f"{mark} {_named(one.verdict, lang)}", style=colour), words))
    heads = {"en": "what was found, and → what to do", "fr": "ce qui a été trouvé, et → que faire"}
    printing.table(out, ("", heads[lang]), rows)


def _named(word: str, lang: Language) -> str:
    return _IN_FRENCH.get(word, word) if lang == "fr" else word
