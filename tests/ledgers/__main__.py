"""python -m tests.ledgers [NAME …] [--json]: the ledgers' tables, made anew on servers of its own."""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.embedded import throwaway
from store.connection import connect
from store.migrations import migrate
from tests.databases import administering, copied
from tests.ledgers.bills import DATA, LEDGERS
from tests.ledgers.replaying import AUDITED_DAYS, PATIENT, bring_whole, open_companies, opening_day, replay
from tests.ledgers.tables import IMPORT_HEAD, as_json, compare, import_line, lines
from tests.stories.staging import staged

if TYPE_CHECKING:
    from collections.abc import Generator

    from scripts.embedded import Servers
    from tests.ledgers.bills import Ledger
    from tests.ledgers.replaying import Replay
    from tests.ledgers.tables import Compared


def main() -> int:
    """Exit code 0: every difference is explained. 1: one is not. 2: the ledgers are not here."""
    parser = argparse.ArgumentParser(prog="python -m tests.ledgers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LEDGERS)}; without: all")
    parser.add_argument("--json", action="store_true", help="with every difference, one by one")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - LEDGERS.keys():
        parser.error(f"there is no ledger {', '.join(sorted(unknown))}")
    if not DATA.exists():
        print("the ledgers are not beside this checkout", file=sys.stderr)
        return 2
    found: list[Compared] = []
    with throwaway() as servers:
        for name in chosen.names or LEDGERS:
            ledger = LEDGERS[name]()
            imports = _imported(servers, ledger)
            found.append(compare(ledger, _replayed(servers, ledger)))
            done = found[-1].replay
            told = f"{name}: {done.days} days, {done.wall_s:.0f} s, {done.cpu_s:.0f} s of CPU here"
            if done.put_off:
                told += f"; {done.put_off} mails were put off by a busy machine"
            print(told, file=sys.stderr)
            if not chosen.json:
                print("\n".join([*IMPORT_HEAD, *imports, "", *lines(found[-1])]), flush=True)
    if chosen.json:
        print(json.dumps([as_json(one) for one in found]))
    return 1 if any(one.unexplained for one in found) else 0


def _imported(servers: Servers, ledger: Ledger) -> list[str]:
    """What the importer says of the whole file."""
    with _database(servers, f"{ledger.name}_whole") as url:
        open_companies(url, ledger)
        return [import_line(ledger, kind, bring_whole(url, ledger, kind)) for kind in ledger.kinds]


def _replayed(servers: Servers, ledger: Ledger) -> Replay:
    with _database(servers, f"{ledger.name}_days") as url, tempfile.TemporaryDirectory() as folder:
        settings = replace(PATIENT, database_url=url, redis_url=servers.redis_url)
        with staged(settings, Path(folder), opened_on=opening_day(ledger), audited_days=AUDITED_DAYS) as story:
            return replay(story, ledger, Path(folder))


@contextmanager
def _database(servers: Servers, name: str) -> Generator[str]:
    with administering(servers.database_url) as server:
        for url in copied(server, servers.database_url, "template1", name):
            with connect(url) as conn:
                migrate(conn)
            yield url


if __name__ == "__main__":
    sys.exit(main())
