"""Each mailbox of bounces and answers, opened as a scheduler would and left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.doctor.finding import Finding, either
from workers.imap import Unreadable
from workers.mailbox import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.mailboxes import Mailbox
    from workflow.facts import Language


def mailbox(box: Mailbox, language: Language = "en") -> Iterator[Finding]:
    """Try one account's mailbox."""
    where = box.mailbox.get("maildir") or f"{box.mailbox['folder']} @ {box.mailbox['host']}:{box.mailbox['port']}"
    try:
        probe(box)
    except Unreadable as error:
        yield Finding(
            check="mailbox",
            subject=box.account,
            verdict="error",
            found=either(language, en=f"{where} cannot be read: {error}", fr=f"{where} n'est pas lisible : {error}"),
            advice=either(
                language,
                en="look at the account's mailbox in the rulebook, and whether this machine and its user may read it",
                fr="revoir la boîte (mailbox) du compte dans le fichier de règles, et si cette machine et son"
                " utilisateur peuvent la lire",
            ),
        )
        return
    found = either(language, en=f"{where} can be read", fr=f"{where} est lisible")
    yield Finding(check="mailbox", subject=box.account, verdict="ok", found=found)
