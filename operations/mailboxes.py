"""Where an account's bounces and answers arrive: a folder on an IMAP server, or a maildir on this machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

from operations.acting import line, one_of
from store.companies import Auth
from workflow.errors import InvalidInput
from workflow.servers import check_host, check_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Passwords never travel in plain text.
SECURITY_MODES: Final = ("implicit-tls", "starttls-required")
IMAP_DEFAULTS: Final[dict[str, Any]] = {
    "port": 993,
    "security": "implicit-tls",
    "ca_file": None,
    "folder": "INBOX",
    "auth": "password",
}


def check_mailbox(given: Mapping[str, object], *, field: str = "mailbox") -> dict[str, Any]:
    """Return a mailbox with all its fields: `maildir` alone, or host, username, password_ref and IMAP_DEFAULTS.

    Raises InvalidInput naming the field, such as mailbox.host.
    """
    checks = _MAILDIR if "maildir" in given else _IMAP
    unknown = sorted(given.keys() - checks.keys())
    if unknown:
        reason = f"is no field of a mailbox {'in a maildir' if checks is _MAILDIR else 'on an IMAP server'}"
        if "maildir" not in given and not given.keys() & _IMAP.keys():
            reason = "is no mailbox: name maildir, or host, username and password_ref"
        raise InvalidInput(field=f"{field}.{unknown[0]}"[:200], value="(not shown)", reason=reason)
    found = {**(IMAP_DEFAULTS if checks is _IMAP else {}), **given}
    values = {}
    for name, check in checks.items():
        if found.get(name) in {None, ""} and name not in IMAP_DEFAULTS:
            raise InvalidInput(field=f"{field}.{name}", value=None, reason="is missing")
        values[name] = check(found[name], f"{field}.{name}")
    return values


def whole_path(value: object, field: str) -> str:
    """Return the path of a file or folder, from /. Raises InvalidInput."""
    path = line(str(value), field=field)
    if not path.startswith("/"):
        raise InvalidInput(field=field, value=value, reason="must be a whole path, from /")
    return path


def _optional_path(value: object, field: str) -> str | None:
    return whole_path(value, field) if value else None


def _host(value: object, field: str) -> str:
    return check_host(str(value), field=field)


def _port(value: object, field: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", str(value)) or not 1 <= int(str(value)) <= 65535:
        raise InvalidInput(field=field, value=value, reason="must be from 1 to 65535")
    return int(str(value))


def _security(value: object, field: str) -> str:
    one_of(str(value), SECURITY_MODES, field=field)
    return str(value)


def _auth(value: object, field: str) -> str:
    one_of(str(value), get_args(Auth), field=field)
    return str(value)


def _line(value: object, field: str) -> str:
    return line(str(value or ""), field=field)


def _reference(value: object, field: str) -> str:
    return check_reference(str(value), field=field)


_MAILDIR: Final[dict[str, Callable[[object, str], object]]] = {"maildir": whole_path}
_IMAP: Final[dict[str, Callable[[object, str], object]]] = {
    "host": _host,
    "port": _port,
    "security": _security,
    "ca_file": _optional_path,
    "folder": _line,
    "username": _line,
    "password_ref": _reference,
    "auth": _auth,
}
