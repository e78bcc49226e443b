"""Each mailbox of bounces and answers, opened as a scheduler would and left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.doctor.finding import Finding
from workers.imap import Unreadable
from workers.mailbox import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.mailboxes import Mailbox


def mailbox(box: Mailbox) -> Iterator[Finding]:
    """Try one account's mailbox."""
    where = box.mailbox.get("maildir") or f"{box.mailbox['folder']} on {box.mailbox['host']}:{box.mailbox['port']}"
    try:
        probe(box)
    except Unreadable as error:
        advice = "look at the account's mailbox in the rulebook, and whether this machine and its user may read it"
        found = f"{where} cannot be read: {error}"
        yield Finding(check="mailbox", subject=box.account, verdict="error", found=found, advice=advice)
        return
    yield Finding(check="mailbox", subject=box.account, verdict="ok", found=f"{where} can be read")
