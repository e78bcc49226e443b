"""A bar on standard error for work that takes a person's time; none where nobody watches."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextlib.contextmanager
def progress(text: str, *, as_json: bool, to: TextIO | None = None) -> Generator[Callable[[int, int], None]]:
    """Yield what is told how much is done, of how much (0: nobody knows); rich honours NO_COLOR by itself."""
    file = to or sys.stderr
    if as_json or not file.isatty():
        yield lambda _done, _total: None
        return
    from rich import progress as bars  # noqa: PLC0415 - only people need it
    from rich.console import Console  # noqa: PLC0415

    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TimeElapsedColumn())
    with bars.Progress(*columns, console=Console(file=file), transient=True, redirect_stdout=False) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


@contextlib.contextmanager
def advancing(text: str, total: int | None, *, as_json: bool) -> Generator[Callable[[int], None]]:
    """Yield what is told how much more is done, of `total` (None: nobody knows)."""
    done = 0
    with progress(text, as_json=as_json) as told:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            told(done, total or 0)

        yield advance
