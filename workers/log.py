"""One JSON line for each unit of work: event, ids, outcome, duration. No names, addresses, bodies or secrets."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Literal


def log(
    event: str, *, level: Literal["info", "warning", "error"] = "info", **fields: str | float | bool | None
) -> None:
    """Write the line to stderr at once; whole lines only, from any thread or process."""
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **fields}
    sys.stderr.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
