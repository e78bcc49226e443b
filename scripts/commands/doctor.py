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
from scripts.printing import json_option
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from operations.doctor.finding import Finding
    from workers.settings import Settings

VERDICTS = ("error", "warning", "ok")
_MARKS = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "error": ("✘", "red")}


@click.command()
@click.option("--to", metavar="ADDRESS", help="Send a mail to this address through each mail account.")
@json_option
@calling
def doctor(caller: Caller, *, to: str | None, as_json: bool) -> None:
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
            named, folder, found = _private(stack, caller, named)
        elif named:
            with contextlib.suppress(InvalidInput):  # an address that is none: the database's own check says it
                named = with_instance(named, None)
        found = examine(named, os.environ, to=to, now=lambda: datetime.now(UTC), private_folder=folder) + found
    if as_json:
        printing.print_json({"verdict": worst(found), "findings": found})
    else:
        _show(found)
    counts = {verdict: sum(1 for one in found if one.verdict == verdict) for verdict in VERDICTS}
    printing.message(
        f"{printing.count(counts['error'], 'error')}, {printing.count(counts['warning'], 'warning')}, {counts['ok']} ok"
    )
    if counts["error"]:
        sys.exit(1)


def worst(found: Sequence[Finding]) -> str:
    """The gravest verdict among them."""
    return next((verdict for verdict in VERDICTS if any(one.verdict == verdict for one in found)), "ok")


def _private(
    stack: contextlib.ExitStack, caller: Caller, named: Settings | None
) -> tuple[Settings | None, Path | None, list[Finding]]:
    """Attach to the private servers until the end. Servers that do not start are a finding, not the end of the look."""
    from operations.doctor.finding import Finding  # noqa: PLC0415 - loaded when asked for
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
            found=f"do not start: {error}",
            advice="do what it says, or name servers of your own in DATABASE_URL and REDIS_URL",
        )
        return None, None, [failed]
    state = servers.folder.stat()
    private = state.st_mode & 0o077 == 0
    programs = versions()
    running = ", ".join(f"{name} {version}" for name, version in programs.items())
    finding = Finding(
        check="private servers",
        verdict="ok" if private else "warning",
        found=f"{running} in {servers.folder}, of {_owner(state.st_uid)}; "
        + ("other processes use them now" if used else "nobody else uses them now")
        + ("" if private else "; other users may enter the folder"),
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


def _show(found: Sequence[Finding]) -> None:
    from rich.text import Text  # noqa: PLC0415 - only people need it

    out = printing.console()
    rows = []
    for one in found:
        mark, colour = _MARKS[one.verdict]
        words = Text.assemble(
            (printing.clean(f"{one.check} {one.subject}".strip()), "bold"), f": {printing.clean(one.found)}"
        )
        if one.advice:
            words.append(f"\n→ {printing.clean(one.advice)}")
        rows.append((Text(f"{mark} {one.verdict}", style=colour), words))
    printing.table(out, ("", "what was found, and → what to do"), rows)
