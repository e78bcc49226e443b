"""The settings of a process: the only reader of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers import identity
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

# Every variable with its meaning and unit; a test compares it with the README and with Settings.
VARIABLES: dict[str, str] = {
    "DATABASE_URL": "PostgreSQL 15 or newer; with REDIS_URL set too, nothing is embedded",
    "REDIS_URL": "Redis 7 or Valkey 8 or newer; carries hints only",
    "RELANCE_FOLDER": "where the private servers keep their data, where none are named",
    "RELANCE_INSTANCE": "which instance this host belongs to: its id, or file:/PATH of a file that holds it",
    "RELANCE_CONNECTIONS": "mail connections of a worker process, shared by its accounts; each has one at least",
    "RELANCE_LEASE_S": "seconds for which a claimed reminder is one worker's",
    "RELANCE_ANSWER_S": "seconds to wait for the answer to a final dot (RFC 5321 section 4.5.3.2.6 asks for 600)",
    "RELANCE_QUARANTINE_S": "seconds after which a reminder in doubt may be sent again",
    "RELANCE_DOT_BUDGET_S": "seconds between the start of arming and the final dot, beyond which the dot is not sent",
    "RELANCE_SWEEP_S": "seconds between two sweeps",
    "RELANCE_HINT_S": "seconds after which a hint without effect is given again",
    "RELANCE_BREAKER_S": "seconds for which a mail server is left alone after five failures; doubled, up to 30 times",
    "RELANCE_MAILBOX_S": "seconds between two looks at an account's mailbox of bounces and answers",
    "RELANCE_EVENT_SECRETS": "references (env:NAME, file:PATH) of the secrets that sign events, separated by spaces",
    "RELANCE_CLOSE_S": "seconds after which a run that has not ended is reported all the same",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process works with; seconds are of the machine's or the database's clock, never of business."""

    database_url: str = ""
    redis_url: str = ""
    folder: str = ""
    instance: str = ""
    event_secrets: str = ""
    connections: int = 8
    lease_s: float = 60
    answer_s: float = 600
    quarantine_s: float = 1800
    dot_budget_s: float = 1.5
    sweep_s: float = 2
    hint_s: float = 60
    breaker_s: float = 60
    mailbox_s: float = 60
    close_s: float = 7200

    @property
    def armed_lease_s(self) -> float:
        """An armed reminder is in doubt once the answer can no longer come."""
        return self.answer_s + self.lease_s

    @property
    def embedded(self) -> bool:
        """Neither server is named: the private ones are started."""
        return not (self.database_url and self.redis_url)


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the variables of VARIABLES. Raises InvalidInput for a value that is no number, or for times that contradict
    each other: a dead process may deliver its dot for as long as its lease, the server's patience and TCP allow.
    """  # noqa: D205 - one sentence
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for known in fields(Settings):
        name = known.name.upper() if known.name.endswith("_url") else f"RELANCE_{known.name.upper()}"
        raw = environment.get(name, "").strip()
        if not raw:
            continue
        values[known.name] = raw if isinstance(known.default, str) else _number(name, raw, known.type == "int")
    if bool(values.get("database_url")) != bool(values.get("redis_url")):
        missing = "REDIS_URL" if values.get("database_url") else "DATABASE_URL"
        raise InvalidInput(field=missing, value="", reason="set both DATABASE_URL and REDIS_URL, or neither")
    settings = Settings(**values)
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Refuse times that contradict each other, no instance, and a folder that is another one in another place.

    Raises InvalidInput naming the variable.
    """
    if settings.folder and not Path(settings.folder).is_absolute():
        reason = "must be a whole path, that begins with /"
        raise InvalidInput(field="RELANCE_FOLDER", value=settings.folder, reason=reason)
    identity.check(settings.instance)
    if settings.quarantine_s <= settings.armed_lease_s:
        raise InvalidInput(
            field="RELANCE_QUARANTINE_S",
            value=settings.quarantine_s,
            reason=f"must be longer than answer and lease together, {settings.armed_lease_s:g} s",
        )
    if not 0 < settings.dot_budget_s < settings.lease_s:
        raise InvalidInput(
            field="RELANCE_DOT_BUDGET_S",
            value=settings.dot_budget_s,
            reason="must be positive and shorter than the lease",
        )


def _number(name: str, raw: str, whole: bool) -> int | float:  # noqa: FBT001 - a field is whole or it is not
    try:
        value = int(raw) if whole else float(raw)
    except ValueError:
        raise InvalidInput(field=name, value=raw, reason="must be a number") from None
    if not 0 < value < 1e9:
        raise InvalidInput(field=name, value=raw, reason="must be greater than zero")
    return value


def secret(reference: str) -> str:
    """The secret behind `env:NAME` or `file:PATH`. Raises InvalidInput naming the reference, never the secret."""
    kind, _, place = reference.partition(":")
    if kind == "env" and place in os.environ:
        return os.environ[place]
    if kind == "file":
        try:
            with open(place, encoding="utf-8") as file:  # noqa: PTH123 - a place that an administrator named
                return file.read().strip()
        except (OSError, UnicodeDecodeError):
            pass
    raise InvalidInput(field="password", value=reference, reason="this reference leads to no secret here")
