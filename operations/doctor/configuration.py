"""The environment: what is set, what is not known, and times that contradict each other."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from operations.doctor.finding import Finding, either, verdict
from operations.lookup import nearest
from workers.settings import VARIABLES, Settings, read
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from workflow.facts import Language

_SERVERS: Final = ("DATABASE_URL", "REDIS_URL")
# What private servers need to know.
_PLACES: Final = (*_SERVERS, "RELANCE_FOLDER", "RELANCE_INSTANCE")
REFERENCES: Final = "RELANCE_EVENT_SECRETS"
_PREFIX: Final = "RELANCE_"
# What holds where a text is not given.
_UNSET: Final[dict[str, dict[Language, str]]] = {
    "DATABASE_URL": {"en": "private", "fr": "privée"},
    "REDIS_URL": {"en": "private", "fr": "privé"},
    "RELANCE_FOLDER": {"en": "this user's own", "fr": "celui de cet utilisateur"},
    "RELANCE_EVENT_SECRETS": {"en": "no events are taken in", "fr": "aucun événement n'est reçu"},
    "RELANCE_INSTANCE": {"en": "kept in a file of this host", "fr": "gardée dans un fichier de cette machine"},
}


def configuration(
    environment: Mapping[str, str], secrets: Collection[str] = (), language: Language = "en"
) -> Iterator[Finding]:
    """Every variable with its value or its default, secrets as present or not; then what is wrong with them.

    `secrets` are the variables that references name, of mail accounts, mailboxes, evidence and events.
    """
    figures: dict[str, str | float | None] = {}
    defaults = {_variable(known.name): known.default for known in fields(Settings)}
    for name in VARIABLES:
        raw = environment.get(name, "").strip()
        if raw and name == REFERENCES:  # a secret in their place is not to be shown
            figures[name] = len(raw.split())
        elif raw:
            figures[name] = _without_secret(name, raw, language) if name in _SERVERS else raw[:100]
        elif name in _UNSET:
            meant = _UNSET[name][language]
            figures[name] = either(language, en=f"not set: {meant}", fr=f"non donnée : {meant}")
        else:
            figures[name] = f"{defaults[name]:g} ({either(language, en='default', fr='par défaut')})"
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
        advice=either(
            language,
            en=f"correct {problem.field} in the environment of every process",
            fr=f"corriger {problem.field} dans l'environnement de chaque processus",
        )
        if problem
        else "",
        figures=figures,
    )
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in VARIABLES and name not in secrets:
            close = next(iter(nearest(name, VARIABLES)), "")
            yield Finding(
                check="configuration",
                subject=name,
                verdict="warning",
                found=either(
                    language, en="is no variable that relance reads", fr="n'est pas une variable que relance lit"
                ),
                advice=either(
                    language,
                    en=f"rename it{f' (did you mean {close}?)' if close else ''} or take it out of the environment",
                    fr=f"la renommer{f' ({close} ?)' if close else ''} ou l'ôter de l'environnement",
                ),
            )


def servers(environment: Mapping[str, str]) -> Settings | None:
    """The two addresses, folder and instance, whatever else is wrong; None where these cannot be used."""
    try:
        return read({name: environment.get(name, "") for name in _PLACES})
    except InvalidInput:
        return None


def _variable(field: str) -> str:
    return field.upper() if field.endswith("_url") else f"{_PREFIX}{field.upper()}"


def _without_secret(name: str, url: str, language: Language) -> str:
    """Where it leads, and whether there is a password: never which."""
    try:
        if name == "REDIS_URL":
            address = urlsplit(url)
            where = address.path if address.scheme == "unix" else f"{address.hostname}:{address.port or 6379}"
            secret = bool(address.password) or "password=" in address.query
        else:
            named = conninfo_to_dict(url)
            at = either(language, en="at", fr="sur")
            where = f"{named.get('dbname', '')} {at} {named.get('host', 'localhost')}:{named.get('port', 5432)}"
            secret = "password" in named
    except (ValueError, psycopg.Error):
        return either(language, en="set, and no address", fr="donnée, mais ce n'est pas une adresse")
    return either(
        language,
        en=f"{where}, {'with a' if secret else 'no'} password",
        fr=f"{where}, {'avec' if secret else 'sans'} mot de passe",
    )
