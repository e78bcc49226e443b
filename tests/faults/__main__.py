"""python -m tests.faults --seed N --seconds S [--policy P] [--naive] [--json]

Everything goes wrong, and nobody is mailed twice.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import secrets
import sys

from tests.faults.chaos import Wanted, run
from tests.faults.report import as_json, lines

_ROUND_S = 20.0
BLIND = "the harness is blind"


def main() -> int:
    """Exit code 0: all held. 1: something did not. 2: the usual way made no duplicate, so the faults prove nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--factor", type=float, default=1, help="how much slower all timers are")
    parser.add_argument("--policy", choices=("hold", "evidence"), default="hold", help="what becomes of mails in doubt")
    parser.add_argument("--naive", action="store_true", help="the control: the usual way, which must fail")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rounds = max(1, round(chosen.seconds / (_ROUND_S * chosen.factor)))
    wanted = Wanted(
        seed=chosen.seed,
        rounds=rounds,
        chaos_s=chosen.seconds / rounds / 2,
        customers=round(7 * chosen.seconds / rounds),
        factor=chosen.factor,
        naive=chosen.naive,
        policy=chosen.policy,
    )
    print(f"seed {wanted.seed}", file=sys.stderr)
    outcome = run(wanted, told=lambda line: print(line, file=sys.stderr, flush=True))
    if chosen.json:
        print(json.dumps(as_json(outcome)))
    else:
        print("\n".join(lines(outcome)))
    if not wanted.naive:
        return 1 if outcome.verdict.violations else 0
    if outcome.verdict.duplicates:
        return 0
    print(BLIND, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
