"""A run ends, and its report leaves, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import runs

if TYPE_CHECKING:
    from workers.office import Office


def close_run(office: Office, run_id: int) -> None:
    """Close the run where every candidate is decided and every mail has ended."""
    with office.pool.connection() as conn:
        progress = runs.progress(conn, run_id)
        if progress.undecided == 0 and progress.unfinished == 0:
            runs.end(conn, run_id, state="closed")
