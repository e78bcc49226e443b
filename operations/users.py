"""Who works with relance, in which role, and how they sign in."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final, get_args

from argon2 import PasswordHasher

from letters.headers import check_address
from operations.acting import acting, existing, one_of, person_name
from store import journal, people
from store import users as stored
from store.people import USERS, UserRole
from store.saving import save
from workflow.errors import InvalidInput
from workflow.facts import Language

if TYPE_CHECKING:
    from datetime import date

    from store.connection import Connection
    from store.users import ListedUser

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 128  # a longer one would only make hashing slow

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FEWEST_DIFFERENT: Final = 5
_SHORTEST_PART: Final = 4  # of a name: a shorter one is in many a good password by chance


def save_user(
    conn: Connection,
    *,
    login: str,
    name: str,
    email: str,
    language: Language = "fr",
    role: UserRole = "accountant",
    by: str,
    today: date | None = None,
) -> int:
    """Save a user by login; password and activity stay as they are. Returns the id. Raises InvalidInput."""
    if not _LOGIN.fullmatch(login):
        raise InvalidInput(
            field="login", value=login, reason="must be lower case letters, digits, dots, dashes, at most 64"
        )
    one_of(language, get_args(Language), field="language")
    one_of(role, get_args(UserRole), field="role")
    values = {
        "login": login,
        "name": person_name(name, field="name"),
        "email": check_address(email, field="email"),
        "language": language,
        "role": role,
    }
    with acting(conn, by=by, today=today):
        _require_administrator(conn, by)
        return save(conn, USERS, values)


def add_user(
    conn: Connection,
    *,
    login: str,
    name: str,
    email: str,
    language: Language = "fr",
    role: UserRole = "accountant",
    by: str,
    today: date | None = None,
) -> int:
    """Save a user who is new. Returns the id. Raises InvalidInput, also for a login that somebody has."""
    with acting(conn, by=by, today=today):
        if stored.locked(conn, login) is not None:
            raise InvalidInput(field="login", value=login, reason="is somebody's already; change it instead")
        return save_user(conn, login=login, name=name, email=email, language=language, role=role, by=by, today=today)


def change_user(
    conn: Connection,
    *,
    login: str,
    name: str | None = None,
    email: str | None = None,
    language: Language | None = None,
    role: UserRole | None = None,
    by: str,
    today: date | None = None,
) -> None:
    """Change what is given of a user. Raises InvalidInput."""
    with acting(conn, by=by, today=today):
        user = _existing(conn, login)
        save_user(
            conn,
            login=login,
            name=user.name if name is None else name,
            email=user.email if email is None else email,
            language=language or user.language,
            role=role or user.role,
            by=by,
            today=today,
        )


def set_password(conn: Connection, *, login: str, password: str, by: str, today: date | None = None) -> None:
    """Give a user another password; only its argon2id hash is kept, and the journal says no more than that it changed.

    Hashed as NFC, whatever way a keyboard composes letters: a sign-in compares it so. Users set their own, and
    administrators anybody's. Raises InvalidInput, which never shows the password.
    """
    composed = unicodedata.normalize("NFC", password)
    with acting(conn, by=by, today=today):
        user = _existing(conn, login)
        if by != f"user:{login}":
            _require_administrator(conn, by)
        _check_password(composed, user)
        stored.set_password_hash(conn, user.id, PasswordHasher().hash(composed))
        journal.write(conn, "user", user.id, {"password": ["set" if user.has_password else None, "set"]})


def set_active(conn: Connection, *, login: str, active: bool, by: str, today: date | None = None) -> bool:
    """Let a user work with relance, or no longer. False when nothing changed. Raises InvalidInput.

    An inactive user signs in nowhere, acts by no command and gets no report; the journal keeps knowing them.
    """
    with acting(conn, by=by, today=today):
        _require_administrator(conn, by)
        if by == f"user:{login}" and not active:
            raise InvalidInput(field="login", value=login, reason="is your own: let another administrator do it")
        return stored.set_active(conn, _existing(conn, login).id, active=active)


def _existing(conn: Connection, login: str) -> ListedUser:
    found = stored.locked(conn, login)
    existing(found.id if found else None, login, field="login")
    assert found is not None  # noqa: S101 - `existing` has raised
    return found


def _require_administrator(conn: Connection, by: str) -> None:
    """Users are the business of administrators, and of whoever has the command line without a name."""
    kind, _, login = by.partition(":")
    actor = people.user(conn, login) if kind == "user" else None
    if kind == "user" and not (actor and actor.administrator):
        raise InvalidInput(field="by", value=by, reason="users are managed by administrators")


def _check_password(password: str, user: ListedUser) -> None:
    def refuse(reason: str) -> InvalidInput:
        return InvalidInput(field="password", value="(not shown)", reason=reason)

    if len(password) < SHORTEST_PASSWORD:
        raise refuse(f"must have at least {SHORTEST_PASSWORD} characters")
    if len(password) > LONGEST_PASSWORD:
        raise refuse(f"must have at most {LONGEST_PASSWORD} characters")
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in password):
        raise refuse("must be of characters that a keyboard writes")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise refuse(f"must have at least {_FEWEST_DIFFERENT} different characters")
    folded = password.casefold()
    known = {user.login, *re.split(r"\W+", user.name), user.email.partition("@")[0]}
    if any(len(part) >= _SHORTEST_PART and part.casefold() in folded for part in known):
        raise refuse("must not contain the login, the name or the address")
