"""One operation is one transaction, signed by who acts; what comes from outside is checked here, at the edge."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from psycopg.errors import DeadlockDetected, LockNotAvailable

from letters.headers import check_address
from store.connection import act
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable
    from datetime import date

    from store.connection import Connection

Done = TypeVar("Done")

LONGEST_LINE: Final = 200
LONGEST_TEXT: Final = 2000

# No ledger is older, no due date later: such a year is a mistake.
YEARS: Final = range(1950, 2101)

# Others hold what an operation changes: it is taken back, and may be done again.
HELD_BY_OTHERS: Final = (LockNotAvailable, DeadlockDetected)
# Each waits as long as the lock_timeout of store.connection lets it: two minutes in all, a batch of the largest size.
TRIES: Final = 12

# Of a file's sha256 in the journal, which is never mended: a file's name may say whom it is about.
HASH_CHARACTERS: Final = 12
# Who acts: `system`, or a kind and a name, such as `user:marie` or `events:/erp`.
_ACTOR = re.compile(r"[a-z]+(:[A-Za-z0-9._:@/%~+-]{1,100})?")
# Controls, line and paragraph separators, marks that turn the direction of writing, and what is no character.
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NOT_IN_A_TEXT = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

_ENCODED_WORD = re.compile(r"=\?[^?\s]*\?[BbQq]\?")
_AN_ADDRESS = re.compile(r"[^\s,;<>]+@[^\s,;<>]+\.[^\s,;<>]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    conn: Connection
    actor: str
    because: str
    today: date | None


_WITHIN: Final[ContextVar[_Signed | None]] = ContextVar("within", default=None)


@contextmanager
def acting(conn: Connection, *, by: str, because: str = "", today: date | None = None) -> Generator[None]:
    """Do all of an operation or nothing, journaled as `by`'s on the business day `today`. Raises InvalidInput.

    An operation within another is part of it: the reason and the day are the outer one's where it names none.
    """
    if not _ACTOR.fullmatch(by):
        raise InvalidInput(field="by", value=by, reason="must be system, or who acts, such as user:marie")
    optional_line(because, field="because")
    outer = _WITHIN.get()
    if outer and outer.conn is not conn:
        outer = None
    signed = _Signed(
        conn=conn,
        actor=by,
        because=because or (outer.because if outer else ""),
        today=today or (outer.today if outer else None),
    )
    with conn.transaction():
        if signed != outer:
            act(conn, actor=signed.actor, because=signed.because, today=signed.today)
        within = _WITHIN.set(signed)
        try:
            yield
        finally:
            _WITHIN.reset(within)
        if outer and signed != outer:
            act(conn, actor=outer.actor, because=outer.because, today=outer.today)


def patiently(do: Callable[[], Done], waiting: Callable[[], object]) -> Done:
    """Do a whole operation, from its beginning again while others hold what it changes, `waiting` called each time.

    Raises one of HELD_BY_OTHERS where they do so for too long.
    """
    for _ in range(TRIES - 1):
        try:
            return do()
        except HELD_BY_OTHERS:
            waiting()
    return do()


def line(text: str, *, field: str) -> str:
    """Return one line of 1 to 200 characters, without the spaces around it. Raises InvalidInput."""
    stripped = optional_line(text, field=field)
    if not stripped:
        raise InvalidInput(field=field, value=text, reason="is missing")
    return stripped


def person_name(text: str, *, field: str) -> str:
    """Return a name that may stand before an address in a mail's header. Raises InvalidInput.

    Neither an encoded word (RFC 2047), which some readers turn into a header of its own, nor a mail address, which some
    take for another recipient, is a name.
    """
    written = line(text, field=field)
    for pattern, what in ((_ENCODED_WORD, "an encoded word"), (_AN_ADDRESS, "a mail address")):
        if pattern.search(written):
            raise InvalidInput(field=field, value=text, reason=f"contains {what}, which no name does")
    return written


def optional_line(text: str, *, field: str) -> str:
    """Return one line of at most 200 characters, empty where there is none. Raises InvalidInput."""
    _refuse(_NOT_IN_A_LINE, text, field)
    if len(text) > LONGEST_LINE:
        raise InvalidInput(field=field, value=text, reason=f"is longer than {LONGEST_LINE} characters")
    return text.strip()


def lines(text: str, *, field: str) -> str:
    """Return a text of several lines, such as a postal address, with plain line ends. Raises InvalidInput."""
    plain = text.replace("\r\n", "\n")
    _refuse(_NOT_IN_A_TEXT, plain, field)
    if len(plain) > LONGEST_TEXT:
        raise InvalidInput(field=field, value=text, reason=f"is longer than {LONGEST_TEXT} characters")
    return plain.strip()


def address(text: str | None, *, field: str) -> str | None:
    """Return a mail address as it may stand in an envelope, None where there is none. Raises InvalidInput."""
    return check_address(text, field=field) if text else None


def one_of(value: str, known: Iterable[str], *, field: str) -> None:
    """Raise InvalidInput for a word that is not among the known ones."""
    words = tuple(known)
    if value not in words:
        raise InvalidInput(field=field, value=value, reason=f"must be one of {', '.join(words)}")


def number(value: int | None, allowed: range, *, field: str) -> None:
    """Raise InvalidInput for a whole number out of the range; None is no number."""
    if value is not None and value not in allowed:
        raise InvalidInput(field=field, value=value, reason=f"must be from {allowed[0]} to {allowed[-1]}")


def sensible_day(day: date, *, field: str) -> date:
    """Return the day, where it is near enough for anybody to mean it: days are counted from it. Raises InvalidInput."""
    if day.year not in YEARS:
        raise InvalidInput(field=field, value=day.isoformat(), reason=f"must be from {YEARS[0]} to {YEARS[-1]}")
    return day


def existing(found: int | None, name: str, *, field: str) -> int:
    """Return the id that was found by its name. Raises InvalidInput where there was none."""
    if found is None:
        raise InvalidInput(field=field, value=name, reason="does not exist")
    return found


def all_existing(asked: Iterable[str], found: Collection[str], *, field: str) -> None:
    """Raise InvalidInput naming what was asked for and not found."""
    missing = [name for name in asked if name not in found]
    if missing:
        raise InvalidInput(field=field, value=missing, reason=f"there is no {', '.join(missing[:20])}")


def _refuse(forbidden: re.Pattern[str], text: str, field: str) -> None:
    found = forbidden.search(text)
    if found is not None:
        raise InvalidInput(field=field, value=text, reason=f"the character U+{ord(found[0]):04X} is not allowed")
