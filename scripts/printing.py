"""What commands print: data to stdout, for people or as JSON; messages to stderr.

rich is loaded only when a person reads; it honours NO_COLOR by itself. Values come from outside, so no control
character of theirs reaches the terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from workflow.facts import Language

Command = TypeVar("Command", bound="Callable[..., Any]")


class Out(Protocol):
    """Where lines and tables go: rich's console, or a Page."""

    def print(self, *parts: Any, style: str = "") -> None:  # noqa: ANN401 - text, or anything that rich prints
        """Print the parts on lines of their own."""


class Page:
    """What is printed here is kept, to be printed again at any width."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def print(self, *parts: Any, style: str = "") -> None:  # noqa: ANN401 - see Out
        """Keep the parts; nothing at all is an empty line."""
        from rich.text import Text  # noqa: PLC0415 - see console

        self.parts += [Text(part, style=style) if isinstance(part, str) else part for part in parts or ("",)]


# Controls, and marks that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
DAY: Final = click.DateTime(["%Y-%m-%d"])
INSTANT: Final = click.DateTime(
    ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]
)
ROW_ID: Final = click.IntRange(1, 2**63 - 1)
DASH: Final = "\N{EN DASH}"
YES: Final = "✔"
NO: Final = "✘"


def json_option(command: Command) -> Command:
    """Add --json, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(command)


def because_option(command: Command) -> Command:
    """Add --because, which is kept."""
    return click.option("--because", required=True, metavar="TEXT", help="Why: it is kept in the journal.")(command)


def yes_option(command: Command) -> Command:
    """Add --yes: without it nothing happens."""
    return click.option("--yes", is_flag=True, help="Do it; without it, only show what would happen.")(command)


def lang_option(command: Command) -> Command:
    """Add --lang, which words reasons are given in; by default those of LANG, else English."""
    return click.option(
        "--lang",
        type=click.Choice(["fr", "en"]),
        default=lambda: spoken(os.environ),
        help="The language of reasons; by default that of LANG.",
    )(command)


def spoken(environment: Mapping[str, str]) -> Language:
    """The language of the environment, as POSIX reads it: LC_ALL before LC_MESSAGES before LANG."""
    named = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "fr" if named.lower().startswith("fr") else "en"


def message(text: str) -> None:
    """Tell something beside the data, on stderr; above a bar that is shown there, which click would write into."""
    print(clean(text), file=sys.stderr)  # noqa: T201 - see above


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2))


def print_json_line(value: object) -> None:
    """Print one JSON document on a line of its own, at once."""
    click.echo(json.dumps(plain(value), ensure_ascii=False))


def plain(value: object) -> Any:  # noqa: ANN401 - JSON has no better type
    """Turn rows and values into what JSON knows: amounts and days as text, instants in ISO 8601, sets as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, frozenset | set):
        return sorted(plain(one) for one in value)
    return _scalar(value)


def _scalar(value: object) -> str | float | bool | None:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return format(value, "f")
        case datetime() | date():
            return value.isoformat()
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")


def clean(text: object) -> str:
    """A value as one line that no terminal obeys."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(text))


def amount(value: Decimal | None, currency: str) -> str:
    """`1234.50 EUR`, or a dash."""
    return DASH if value is None else f"{value:,.2f} {currency}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def instant(at: datetime | None) -> str:
    """An instant on this machine's clock, to the second; a dash where there is none."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else DASH


def minute(at: datetime | None) -> str:
    """An instant on this machine's clock, to the minute; a dash where there is none."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}" if at else DASH


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3 h 05 min`; a dash where nobody knows."""
    if seconds is None:
        return DASH
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def bar(done: int, of: int | None) -> Any:  # noqa: ANN401 - a rich ProgressBar, which is loaded lazily
    """How much of it is done, as a bar."""
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - see console

    return ProgressBar(total=max(1, done if of is None else of), completed=done if of is not None else 0, width=10)


def count(number: int, what: str) -> str:
    """`1 mail`, `2 mails`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def console() -> Console:
    """Standard output as rich writes it: plain where it is no terminal, never reading markup in values."""
    from rich.console import Console  # noqa: PLC0415 - 0.1 s, and only people need it

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def heading(out: Out, text: str) -> None:
    """A line that begins a section."""
    out.print()
    out.print(clean(text), style="bold")


def table(out: Out, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print rows under their columns' names; `right` names those whose figures are aligned."""
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(
            *(
                cast("Any", one) if hasattr(one, "__rich_console__") else Text(clean(DASH if one is None else one))
                for one in row
            )
        )
    out.print(shown)


def and_more(out: Out, more: int, what: str) -> None:
    """Say how many are not shown, where some are not."""
    if more > 0:
        out.print(f"… and {more} {what} more; --json shows all", style="dim")


def line(out: Out, text: str, *, indent: int = 2, style: str = "") -> None:
    """A line that keeps its indent where it is too long."""
    from rich.padding import Padding  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415

    out.print(Padding(Text(clean(text), style=style), (0, 0, 0, indent)))


def two_lines(first: str, second: str) -> Any:  # noqa: ANN401 - a rich Text, which is loaded lazily
    """A cell of two lines, the second one quiet."""
    from rich.text import Text  # noqa: PLC0415 - see console

    return Text.assemble(clean(first), "\n", (clean(second), "dim"))


def marked(*, holds: bool) -> Any:  # noqa: ANN401 - a rich Text, which is loaded lazily
    """✔ or ✘, in its colour."""
    from rich.text import Text  # noqa: PLC0415 - see console

    return Text(YES if holds else NO, style="green" if holds else "red")
