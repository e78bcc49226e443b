"""Who works with relance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from letters.headers import check_address
from operations.acting import acting, one_of, person_name
from store.people import USERS
from store.saving import save
from workflow.errors import InvalidInput
from workflow.facts import Language

if TYPE_CHECKING:
    from datetime import date

    from store.connection import Connection

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def save_user(
    conn: Connection,
    *,
    login: str,
    name: str,
    email: str,
    language: Language = "fr",
    administrator: bool = False,
    by: str,
    today: date | None = None,
) -> int:
    """Save a user by login. Returns the id. Raises InvalidInput."""
    if not _LOGIN.fullmatch(login):
        raise InvalidInput(
            field="login", value=login, reason="must be lower case letters, digits, dots, dashes, at most 64"
        )
    one_of(language, get_args(Language), field="language")
    values = {
        "login": login,
        "name": person_name(name, field="name"),
        "email": check_address(email, field="email"),
        "language": language,
        "administrator": administrator,
    }
    with acting(conn, by=by, today=today):
        return save(conn, USERS, values)
