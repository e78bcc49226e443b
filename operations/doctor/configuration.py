"""The environment: what is set, what is not known, and times that contradict each other."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from operations.doctor.finding import Finding, verdict
from operations.lookup import nearest
from workers.settings import VARIABLES, Settings, read
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_SERVERS: Final = ("DATABASE_URL", "REDIS_URL")
_PREFIX: Final = "RELANCE_"
# What holds where a text is not given.
_UNSET: Final = {
    "DATABASE_URL": "private",
    "REDIS_URL": "private",
    "RELANCE_FOLDER": "this user's own",
    "RELANCE_INSTANCE": "kept in a file of this host",
}


def configuration(environment: Mapping[str, str], secrets: Collection[str] = ()) -> Iterator[Finding]:
    """Every variable with its value or its default, secrets as present or not; then what is wrong with them.

    `secrets` are the variables that mail accounts name.
    """
    figures: dict[str, str | float | None] = {}
    defaults = {_variable(known.name): known.default for known in fields(Settings)}
    for name in VARIABLES:
        raw = environment.get(name, "").strip()
        if raw:
            figures[name] = _without_secret(name, raw) if name in _SERVERS else raw[:100]
        else:
            figures[name] = f"not set: {_UNSET[name]}" if name in _UNSET else f"{defaults[name]:g} (default)"
    problem = None
    try:
        read(environment)
    except InvalidInput as error:
        problem = error
    yield Finding(
        check="configuration",
        verdict=verdict(error=problem is not None),
        found=f"{problem.field}: {problem.reason}"
        if problem
        else "; ".join(f"{name} {value}" for name, value in figures.items()),
        advice=f"correct {problem.field} in the environment of every process" if problem else "",
        figures=figures,
    )
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in VARIABLES and name not in secrets:
            meant = nearest(name, VARIABLES)
            yield Finding(
                check="configuration",
                subject=name,
                verdict="warning",
                found="is no variable that relance reads",
                advice=f"rename it{f' (did you mean {meant[0]}?)' if meant else ''} or take it out of the environment",
            )


def servers(environment: Mapping[str, str]) -> Settings | None:
    """The two addresses, folder and instance, whatever else is wrong; None where these cannot be used."""
    try:
        return read({name: environment.get(name, "") for name in _UNSET})
    except InvalidInput:
        return None


def _variable(field: str) -> str:
    return field.upper() if field.endswith("_url") else f"{_PREFIX}{field.upper()}"


def _without_secret(name: str, url: str) -> str:
    """Where it leads, and whether there is a password: never which."""
    try:
        if name == "REDIS_URL":
            address = urlsplit(url)
            where = address.path if address.scheme == "unix" else f"{address.hostname}:{address.port or 6379}"
            secret = bool(address.password) or "password=" in address.query
        else:
            named = conninfo_to_dict(url)
            where = f"{named.get('dbname', '')} at {named.get('host', 'localhost')}:{named.get('port', 5432)}"
            secret = "password" in named
    except (ValueError, psycopg.Error):
        return "set, and no address"
    return f"{where}, {'with a' if secret else 'no'} password"
