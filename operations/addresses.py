"""Addresses that refused mail, and take it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import acting, line
from store import outcomes, tasks
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from store.connection import Connection

_MOST_TASKS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """An address that may be written to again: why and since when it was not.

    `tasks`: open ones about mails to it that reached nobody; until they are done nothing firmer goes there.
    """

    address: str
    was_because: str
    since: datetime
    tasks: tuple[int, ...]


def unsuppress(conn: Connection, address: str, *, because: str, by: str) -> Allowed:
    """Let an address have mail again; it is suppressed anew if its server says again that nobody is there.

    Journaled with who and why, the address as a hash. Raises InvalidInput without a reason, or where it takes mail.
    """
    because = line(because, field="because")
    asked = line(address, field="address").lower()
    with acting(conn, by=by, because=because):
        found = outcomes.allow(conn, asked)
        if found is None:
            raise InvalidInput(field="address", value=address, reason="is not suppressed: mail to it leaves")
        waiting = [one.id for one in tasks.tasks(conn, done=False, limit=_MOST_TASKS) if one.recipient.lower() == asked]
    return Allowed(address=asked, was_because=found[0], since=found[1], tasks=tuple(sorted(waiting)))
