"""python -m benchmarks preview reserve send import [--json]: rates, CPU and memory on this machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks import engine, imports


def main() -> None:
    """Run the stages asked for and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("stages", nargs="+", choices=["preview", "reserve", "send", "import"])
    parser.add_argument("--invoices", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=100_000, help="of each kind of import")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    figures: dict[str, Any] = {}
    of_engine = [stage for stage in chosen.stages if stage != "import"]
    if of_engine:
        measured = engine.measure(
            invoices=chosen.invoices,
            seconds=chosen.seconds,
            processes=chosen.processes,
            connections=chosen.connections,
            threads=chosen.threads,
        )
        figures |= {stage: measured[stage] for stage in (*of_engine, "duplicates")}
    if "import" in chosen.stages:
        figures["import"] = imports.measure(rows=chosen.rows)
    if chosen.json:
        print(json.dumps(figures))
        return
    for stage, figure in figures.items():
        print(f"{stage}: {json.dumps(figure, indent=2)}")


if __name__ == "__main__":
    main()
