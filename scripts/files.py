"""Files that a command writes where a person says: never over what is there, unless they say that too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Command = TypeVar("Command", bound="Callable[..., Any]")


def overwrite_option(command: Command) -> Command:
    """Add --overwrite: without it a file that is there stays as it is."""
    return click.option("--overwrite", is_flag=True, help="Write over the file where it exists.")(command)


def write(place: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file. Raises UsageError where one is there already that is not to be overwritten, and OSError."""
    try:
        with place.open("wb" if overwrite else "xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise click.UsageError(f"{place} exists already: add --overwrite, or name another file") from error
