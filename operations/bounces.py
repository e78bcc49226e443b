"""Reading bounces and answers: what mails from files tell of the mails sent, and what follows of those in mailboxes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store import mailboxes, settings
from workers.bounces import Bounce, read_bounces
from workers.identity import why_foreign
from workers.imap import Unreadable
from workers.incoming import MAX_BYTES
from workers.mailbox import Look, look
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from store.connection import Connection
    from store.mailboxes import Mailbox

_AGAIN_S = 60.0  # a scheduler tries again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What one file tells of one recipient; a file that tells of several comes once for each."""

    file: str
    bounce: Bounce


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxRead:
    """An account's mailbox. `look` is None where it could not be read, and `error` says why."""

    account: str
    look: Look | None
    error: str = ""


def read(
    conn: Connection, *, account: str | None = None, dry_run: bool = False, by: str, instance: str
) -> list[MailboxRead]:
    """Read what is new in every account's mailbox, or in one's, 200 mails each; what follows is done, mail by mail.

    A dry run only tells. One that cannot be read stops no other. The connection's transaction is ended first. Raises
    InvalidInput where there is no mailbox, or where the database is not `instance`, this host's.
    """
    if foreign := why_foreign(settings.read(conn), instance):
        raise InvalidInput(field="instance", value=instance, reason=f"{foreign}; relance instance show")
    found = mailboxes.mailboxes(conn, account)
    if not found:
        raise InvalidInput(
            field="account", value=account, reason="there is no mailbox to read: a mail account names one"
        )
    conn.commit()
    return [_look(conn, box, dry_run=dry_run, by=by) for box in found]


def _look(conn: Connection, box: Mailbox, *, dry_run: bool, by: str) -> MailboxRead:
    try:
        found = look(conn, box, by=by, keep=not dry_run)
    except Unreadable as error:
        if not dry_run:
            with conn.transaction():
                mailboxes.failed(conn, box.account_id, str(error), every_s=_AGAIN_S)
        return MailboxRead(account=box.account, look=None, error=str(error))
    if not dry_run:
        with conn.transaction():
            mailboxes.looked(conn, box.account_id, more=found.more)
    return MailboxRead(account=box.account, look=found)


def classify(paths: Iterable[Path]) -> Iterator[Classified]:
    """Read files, and folders with all that is in them (a maildir too), in the order of their names.

    Nothing is written, sent or looked up. A file that cannot be read, or is larger than 25 MiB, is told as such and
    stops no other. Raises InvalidInput for what is neither a file nor a folder.
    """
    for path in paths:
        for file in _files(path):
            name = os.fsencode(file).decode("utf-8", "replace")
            for bounce in _read(file):
                yield Classified(file=name, bounce=bounce)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    if not path.is_file():
        raise InvalidInput(field="path", value=str(path), reason="is neither a file nor a folder")
    return [path]


def _read(file: Path) -> list[Bounce]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError:
        return [_unread("not_readable")]
    try:
        return read_bounces(content)
    except InvalidInput:
        return [_unread("too_large_to_read")]


def _unread(reason: str) -> Bounce:
    return Bounce(kind="none", status="", reply="", address="", reminder=None, message_id="", reason=reason, said="")
