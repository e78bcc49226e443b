"""What no log line of the product may hold, looked for in all that the whole suite logs."""

from __future__ import annotations

from typing import Final

_LOGGED: Final = '{"at":"'
# An address, people who are in many tests and in the chaos runs, and the secrets that tests use.
_NEVER: Final = ("@", "Canari", "Zoé", "Ana ", "ouvre-toi", "hunter2", "whsec_", "écureuil")


def indiscretions(stderr: str) -> list[str]:
    """The log lines among what was written that say too much."""
    lines = (line for line in stderr.splitlines() if line.startswith(_LOGGED))
    return [line for line in lines if any(word in line for word in _NEVER)]
