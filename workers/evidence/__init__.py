"""Where a mail in doubt may have left a trace: a channel a file, a line here, its fields in operations.evidence.

That no trace of a mail counts is the caller's to see to: the mails before and after it must have left theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.evidence import imap, postfix_log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from workers.evidence.traces import Channel, Place, Trace

CHANNELS: Final[dict[str, Channel]] = {
    "postfix_log": postfix_log.CHANNEL,
    "imap": imap.CHANNEL,
}


def look(place: Place, wanted: Mapping[str, str], since: datetime) -> dict[str, Trace]:
    """Look for the traces of mails, recipients by message id, none of which left before `since`. Raises Unreadable."""
    return CHANNELS[place["kind"]].look(place, wanted, since)
