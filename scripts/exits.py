"""How commands end, beside 0 (done) and click's own 2 (misused)."""

from __future__ import annotations

from typing import Final

REFUSED: Final = 1
PARTLY_DONE: Final = 3
