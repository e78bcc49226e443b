"""Where an account's mails in doubt are looked for: a smarthost's log, or a folder on an IMAP server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operations.mailboxes import check_mailbox, whole_path
from workers.evidence import CHANNELS
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_evidence(given: Mapping[str, object], *, field: str = "evidence") -> dict[str, Any]:
    """Return a place of evidence with all its fields: `kind`, and `path` of a log or those of an IMAP mailbox.

    Raises InvalidInput naming the field, such as evidence.path.
    """
    rest = {name: value for name, value in given.items() if name != "kind"}
    match given.get("kind"):
        case "postfix_log":
            unknown = sorted(rest.keys() - {"path"})
            if unknown:
                raise _not_known(f"{field}.{unknown[0]}", "is no field of a log: it has a path")
            if not rest.get("path"):
                raise InvalidInput(field=f"{field}.path", value=None, reason="is missing")
            return {"kind": "postfix_log", "path": whole_path(rest["path"], f"{field}.path")}
        case "imap":
            if "maildir" in rest:
                raise _not_known(f"{field}.maildir", "is no field of a mailbox on an IMAP server")
            return {"kind": "imap", **check_mailbox(rest, field=field)}
        case other:
            raise InvalidInput(field=f"{field}.kind", value=other, reason=f"must be one of {', '.join(CHANNELS)}")


def _not_known(field: str, reason: str) -> InvalidInput:
    """A field that is none may hold a secret."""
    return InvalidInput(field=field[:200], value="(not shown)", reason=reason)
