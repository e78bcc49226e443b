"""What comes back: bounces, complaints and automatic answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.printing import json_option, lang_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.bounces import Classified
    from workflow.facts import Language


@click.group()
def bounces() -> None:
    """Read what comes back: bounces, complaints and automatic answers."""


@bounces.command()
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE|FOLDER...", type=click.Path(exists=True, path_type=Path)
)
@json_option
@lang_option
def classify(paths: Sequence[Path], *, lang: Language, as_json: bool) -> None:
    """Say what each mail of FILE or FOLDER tells of the mails sent, and change nothing.

    hard: nobody is at the address, by evidence. soft: this mail did not arrive. auto_reply: nobody wrote it.
    complaint: reported as spam. none: anything else. A mail that tells of several recipients comes once for each.
    """
    from operations.bounces import classify as classified  # noqa: PLC0415 - loaded when asked for
    from workflow.bounces import KINDS, REASONS  # noqa: PLC0415

    found = list(classified(paths))
    if as_json:
        printing.print_json([_json(one, REASONS[one.bounce.reason][lang]) for one in found])
        return
    out = printing.console()
    columns = ("mail and address", "kind", "status", "reminder", "reason")
    rows = [
        (
            printing.two_lines(Path(one.file).name, one.bounce.address or printing.DASH),
            one.bounce.kind.replace("_", " "),
            one.bounce.status or one.bounce.reply or None,
            one.bounce.reminder,
            REASONS[one.bounce.reason][lang],
        )
        for one in found
    ]
    printing.table(out, columns, rows, right=("reminder",))
    kinds = Counter(one.bounce.kind for one in found)
    out.print()
    out.print(", ".join(f"{kind.replace('_', ' ')} {kinds[kind]}" for kind in KINDS if kinds[kind]) or "no mail there")


def _json(one: Classified, words: str) -> dict[str, object]:
    return {"file": one.file, **printing.plain(one.bounce), "words": words}
