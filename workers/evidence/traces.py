"""What a channel of evidence is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from workflow.facts import Language

# A place as it is saved with an account: its kind, and the channel's own fields.
Place: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What is shown of one mail. `quote`: the words that show it, without addresses, for the journal."""

    status: Literal["accepted", "refused"]
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One kind of evidence. `look` finds the traces of mails that left since an instant: recipients by message id.

    It raises workers.imap.Unreadable. What it finds is only what it has seen: no trace proves nothing by itself.
    `advice`: what to do where it cannot be read.
    """

    words: Mapping[Language, str]
    advice: Mapping[Language, str]
    look: Callable[[Place, Mapping[str, str], datetime], dict[str, Trace]]
    again_s: float
