"""Draw docs/demo.svg: what `relance demo` prints, on 80 columns. Run it when the summary has changed."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the demonstration and keep what it printed as a picture."""
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": "80", "TERM": "xterm-256color"}
    demo = [sys.executable, "-m", "scripts.main", "demo"]
    printed = subprocess.run(demo, cwd=HERE.parent, env=environment, check=True, stdout=subprocess.PIPE)  # noqa: S603
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(printed.stdout.decode("utf-8")))
    drawn = console.export_svg(title="relance demo")
    # Rich names fonts on a server of others; the reader's own monospace will do.
    drawn = re.sub(r"@font-face \{[^}]*\}", "", drawn).replace("Fira Code", "monospace")
    (HERE / "demo.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
