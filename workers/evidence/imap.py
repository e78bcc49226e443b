"""A folder of an IMAP mailbox where each mail sent leaves a copy: an archive, or the provider's own Sent folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers import imap
from workers.evidence.traces import Channel, Trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from workers.evidence.traces import Place

_HEADERS_BYTES: Final = 16 * 1024


def look(place: Place, wanted: Mapping[str, str], since: datetime) -> dict[str, Trace]:
    """Find the copies of these mails. Raises Unreadable."""
    del since  # a search goes by message id
    at = imap.ImapPlace(**{name: value for name, value in place.items() if name != "kind"})
    found: dict[str, Trace] = {}
    with imap.opened(at, most_bytes=_HEADERS_BYTES) as folder:
        for message_id in wanted:
            if copy := folder.copy_of(message_id, most_bytes=_HEADERS_BYTES):
                date = f"{copy.received_at:%Y-%m-%d %H:%M:%S %z}" if copy.received_at else "no date"
                quote = f"IMAP folder {at.folder}, message {copy.uid} of {date}"
                found[message_id] = Trace(status="accepted", quote=quote)
    return found


CHANNEL: Final = Channel(
    words={"en": "the IMAP folder of copies", "fr": "le dossier IMAP des copies"},
    advice={
        "en": "look at its host, port, security, folder and login, and at the secret behind its password_ref",
        "fr": "vérifier ses host, port, security, folder et username, et le secret derrière son password_ref",
    },
    look=look,
    again_s=60,
)
