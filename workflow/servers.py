"""How a server is named, and where the secret for it is: checked before it is saved."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from workflow.errors import InvalidInput

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,199}|file:/[^\x00-\x1f\x7f]{1,500}")


def check_host(host: str, *, field: str) -> str:
    """Return a host name or an IP address. Raises InvalidInput."""
    try:
        ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host):
            raise InvalidInput(field=field, value=host, reason="must be a host name or an IP address") from None
    return host


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its name alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_reference(reference: str, *, field: str) -> str:
    """Return a password's reference, `env:NAME` or `file:/PATH`. Raises InvalidInput without showing what was given.

    Somebody may have given the password itself. What it leads to may be an access token as well.
    """
    if not _REFERENCE.fullmatch(reference):
        reason = "must say where the password is: env:NAME or file:/PATH"
        raise InvalidInput(field=field, value="(not shown)", reason=reason)
    return reference
