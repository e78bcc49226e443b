"""One look at a mailbox: what is new there, mail by mail, each in a transaction with the mark that it was read.

Nothing is changed or deleted in the mailbox itself. A mail that cannot be worked on is passed over and stops no other.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg

from store import mailboxes
from workers import feedback, imap, maildirs
from workers.imap import ImapPlace, Unreadable
from workers.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from store.connection import Connection
    from store.mailboxes import Mailbox
    from workers.feedback import Came

MOST_MAILS: Final = 200  # of a look; the next one goes on there
_MOST_STUCK: Final = 3  # looks that end at one mail, before it is passed over
_PROBE_S: Final = 12.0
MOST_BYTES: Final = 1024 * 1024  # of a mail: a report says at its beginning what it has to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found: mails read, of them those that could not be, what came back; `more`: it is not at the end."""

    mails: int
    failed: int
    came: tuple[Came, ...]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mail:
    """A mail to be read; `content` is None where it cannot be, `mark` says in the database that it was.

    `called`: by what it is found in its mailbox, for the log.
    """

    called: str
    content: bytes | None
    received_at: datetime | None
    mark: Callable[[Connection], None]


def look(
    conn: Connection, box: Mailbox, *, by: str, keep: bool = True, stopped: Callable[[], bool] = lambda: False
) -> Look:
    """Read what is new, up to 200 mails. Without `keep` nothing of it stays. Raises Unreadable.

    The connection is in no transaction, and each mail is one of its own.
    """
    came: list[Came] = []
    mails = failed = 0
    try:
        with closing(_new_mails(conn, box, keep=keep)) as found:
            for mail in found:
                if stopped():
                    return Look(mails=mails, failed=failed, came=tuple(came), more=True)
                mails += 1
                try:
                    came += _taken(conn, mail, by=by, keep=keep)
                except psycopg.OperationalError:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever is wrong with one mail, its neighbours are read
                    name = type(error).__name__
                    log("mail_not_read", level="error", account=box.account_id, mail=mail.called, error=name)
                    failed += 1
                    with conn.transaction(force_rollback=not keep):
                        mail.mark(conn)
    except Unreadable:
        if not mails:
            raise
        return Look(mails=mails, failed=failed, came=tuple(came), more=True)  # a slow server: it goes on from here
    return Look(mails=mails, failed=failed, came=tuple(came), more=mails >= MOST_MAILS)


def probe(box: Mailbox) -> None:
    """Open it, and read nothing. Raises Unreadable."""
    if "maildir" in box.mailbox:
        maildirs.filed(box.mailbox["maildir"])
        return
    with imap.opened(ImapPlace(**box.mailbox), most_bytes=MOST_BYTES, look_s=_PROBE_S):
        pass


def _taken(conn: Connection, mail: _Mail, *, by: str, keep: bool) -> list[Came]:
    if mail.content is None:
        raise OSError
    with conn.transaction(force_rollback=not keep):
        came = feedback.take(conn, mail.content, received_at=mail.received_at, by=by)
        mail.mark(conn)
    return came


def _new_mails(conn: Connection, box: Mailbox, *, keep: bool) -> Generator[_Mail]:
    place: dict[str, Any] = box.mailbox
    if "maildir" in place:
        return _in_maildir(conn, box, place["maildir"], keep=keep)
    return _by_imap(conn, box, ImapPlace(**place), keep=keep)


def _by_imap(conn: Connection, box: Mailbox, place: ImapPlace, *, keep: bool) -> Generator[_Mail]:
    """What is new there; a mail at which a third look ends is passed over."""
    missing: dict[int, _Mail] = {}
    try:
        yield from _given(conn, box, place, missing)
    except Unreadable:
        if missing:
            first = min(missing)
            with conn.transaction(force_rollback=not keep):
                looks = mailboxes.stuck(conn, box.account_id, first)
            if looks >= _MOST_STUCK:
                yield missing[first]
        raise


def _given(conn: Connection, box: Mailbox, place: ImapPlace, missing: dict[int, _Mail]) -> Generator[_Mail]:
    """What the server gives. `missing`, by UID: what it did not, until it gives a later one, when they are passed over.

    So one mail that it refuses stops no other, and a server that gives nothing today loses nothing.
    """
    where = json.dumps([place.host, place.port, place.username, place.folder])
    hashed = hashlib.sha256(where.encode()).hexdigest()
    with imap.opened(place, most_bytes=MOST_BYTES) as folder:
        with conn.transaction():
            validity, last_uid = mailboxes.position(conn, box.account_id, hashed)
        after = last_uid if validity == folder.uid_validity else 0
        for uid in folder.uids(after, most=MOST_MAILS):
            mark = partial(
                mailboxes.move_on,
                account_id=box.account_id,
                place=hashed,
                uid_validity=folder.uid_validity,
                last_uid=uid,
            )
            missing[uid] = mail = _Mail(called=f"UID {uid}", content=None, received_at=None, mark=mark)
            try:
                fetched = folder.fetch(uid, most_bytes=MOST_BYTES)
            except imap.Refused:
                continue
            except imap.TooMuch:
                yield from missing.values()
                missing.clear()
                raise
            del missing[uid]
            yield from missing.values()
            missing.clear()
            if fetched:
                yield replace(mail, content=fetched.content, received_at=fetched.received_at)
    if missing:
        raise Unreadable("IMAP: the server refused reading a mail")


def _in_maildir(conn: Connection, box: Mailbox, maildir: str, *, keep: bool) -> Generator[_Mail]:
    found = maildirs.filed(maildir)
    names = [one.name for one in found]
    with conn.transaction():
        known = mailboxes.known(conn, box.account_id, names)
    for one in [each for each in found if each.name not in known][:MOST_MAILS]:
        mark = partial(mailboxes.remember, account_id=box.account_id, name=one.name)
        called = f"sha256:{one.name.hex()}"
        try:
            content = maildirs.beginning(one, most_bytes=MOST_BYTES)
        except OSError:
            yield _Mail(called=called, content=None, received_at=one.received_at, mark=mark)
            continue
        if content is not None:
            yield _Mail(called=called, content=content, received_at=one.received_at, mark=mark)
    with conn.transaction(force_rollback=not keep):
        mailboxes.forget_others(conn, box.account_id, names)
