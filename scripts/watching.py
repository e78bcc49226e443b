"""Look again and again: on a screen of its own in a terminal, block by block in a pipe, line by line as JSON."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import click

from scripts import printing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from scripts.printing import Command, Out

Found = TypeVar("Found")

# Looking takes a fifth of the time at most, however slow the database.
_REST: Final = 4.0
_REFRESHES_A_SECOND: Final = 4


def watch_options(command: Command) -> Command:
    """Add --watch and --every, passed as `watching` and `every_s`."""
    every = click.option(
        "--every",
        "every_s",
        type=click.FloatRange(0.2, 3600),
        default=2.0,
        show_default=True,
        metavar="SECONDS",
        help="How often --watch looks.",
    )
    watched = click.option("--watch", "watching", is_flag=True, help="Look again and again, until Ctrl+C.")
    return watched(every(command))


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(Generic[Found]):
    """What the last look that succeeded found, when that was, and what kept later looks from succeeding."""

    found: Found
    at: datetime
    trouble: str = ""


def watch(
    look: Callable[[], Found],
    show: Callable[[Out, Found], None],
    *,
    every_s: float,
    to_json: Callable[[Found], object] | None = None,
    ended: Callable[[Found], bool] = lambda _: False,
) -> Found:
    """Show what is found until Ctrl+C or SIGTERM, or until it is `ended`. Returns what was found last.

    With `to_json`, each look is one line of JSON. The first look must succeed, so that a wrong address is refused at
    once; a database that goes away later is said beside the last figures, and asked again.
    """
    frame = Frame(found=look(), at=_now())
    out = printing.console()
    telling: AbstractContextManager[Callable[[Frame[Found]], None]]
    if to_json is not None:
        telling = contextlib.nullcontext(lambda one: _line(one, to_json))
    elif out.is_terminal and not out.is_dumb_terminal:
        telling = _screen(show, every_s)
    else:
        telling = contextlib.nullcontext(lambda one: _block(one, show))
    with _until_stopped(), telling as tell:
        tell(frame)
        while not ended(frame.found):
            frame = _again(look, frame, every_s)
            tell(frame)
    return frame.found


def _line(frame: Frame[Found], to_json: Callable[[Found], object]) -> None:
    if frame.trouble:
        printing.message(frame.trouble)
    else:
        printing.print_json_line(to_json(frame.found))


def _block(frame: Frame[Found], show: Callable[[Out, Found], None]) -> None:
    if frame.trouble:
        printing.message(frame.trouble)
        return
    out = printing.console()
    out.print(f"[{frame.at:%Y-%m-%d %H:%M:%S}]")
    show(out, frame.found)
    out.print()
    out.file.flush()


@contextlib.contextmanager
def _screen(show: Callable[[Out, Found], None], every_s: float) -> Generator[Callable[[Frame[Found]], None]]:
    """The alternate screen; what is on it is laid out anew at each refresh, so that it follows the window's size."""
    from rich.console import Group  # noqa: PLC0415 - only where somebody watches
    from rich.live import Live  # noqa: PLC0415

    shown: list[Any] = []

    def tell(frame: Frame[Found]) -> None:
        page = printing.Page()
        page.print(f"{frame.at:%H:%M:%S}, every {every_s:g} s; Ctrl+C ends", style="dim")
        if frame.trouble:
            page.print(f"{frame.trouble}: asking again; these figures are of {frame.at:%H:%M:%S}", style="bold red")
        show(page, frame.found)
        shown[:] = page.parts

    with Live(
        get_renderable=lambda: Group(*shown),
        console=printing.console(),
        screen=True,
        refresh_per_second=_REFRESHES_A_SECOND,
    ):
        yield tell


def _again(look: Callable[[], Found], frame: Frame[Found], every_s: float) -> Frame[Found]:
    """Wait, then look; where that fails, what was found before stays, beside what the trouble is."""
    from scripts.main import Refused, readable  # noqa: PLC0415 - which loads the commands

    time.sleep(every_s)
    began = time.monotonic()
    try:
        found = readable(look)
    except Refused as refusal:
        return Frame(found=frame.found, at=frame.at, trouble=printing.clean(refusal.message))
    time.sleep(max(0.0, _REST * (time.monotonic() - began) - every_s))
    return Frame(found=found, at=_now())


@contextlib.contextmanager
def _until_stopped() -> Generator[None]:
    """Ctrl+C and SIGTERM end what is inside, quietly and at once."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _now() -> datetime:
    return datetime.now().astimezone()
