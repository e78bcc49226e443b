"""A run as a person reads it, and as a program does."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.faults.chaos import Outcome


def as_json(outcome: Outcome) -> dict[str, Any]:
    verdict = outcome.verdict
    return {
        "seed": outcome.wanted.seed,
        "naive": outcome.wanted.naive,
        "policy": outcome.wanted.policy,
        "mails": verdict.mails,
        "due": verdict.due,
        "deaths": outcome.deaths.total(),
        "deaths_by_step": dict(outcome.deaths.most_common()),
        "freezes": outcome.freezes.total(),
        "orderly_stops": outcome.stops,
        "service_losses": outcome.losses.total(),
        "service_losses_by_kind": dict(outcome.losses.most_common()),
        "duplicates": verdict.duplicates,
        "losses": verdict.losses,
        "armed_after_payment": verdict.armed_after_payment,
        "in_doubt": outcome.in_doubt,
        "resolved": outcome.resolved.total(),
        "resolved_by_answer": dict(outcome.resolved.most_common()),
        "alone_again_s": round(max(outcome.alone_s, default=0), 1),
        "longest_timer_s": outcome.longest_timer_s,
        "network_and_server": dict(outcome.troubles.most_common()),
        "business": dict(outcome.business.most_common()),
        "violations": [{"invariant": one.invariant, "what": one.what} for one in verdict.violations],
        "wall_s": round(outcome.wall_s),
    }


def lines(outcome: Outcome) -> Iterator[str]:
    """A table of 80 columns, then every violation with its history."""
    verdict = outcome.verdict
    way = "the usual way" if outcome.wanted.naive else f"relance under {outcome.wanted.policy}"
    yield f"seed {outcome.wanted.seed}, {way}: {outcome.wanted.rounds} rounds, {outcome.wall_s:.0f} s"
    figures = {
        "mails accepted": verdict.mails,
        "process deaths": outcome.deaths.total(),
        "freezes": outcome.freezes.total(),
        "orderly stops": outcome.stops,
        "service losses": outcome.losses.total(),
        "network and server": outcome.troubles.total(),
        "payments and the like": outcome.business.total(),
        "in doubt": outcome.in_doubt,
        "armed after a payment": verdict.armed_after_payment,
        "duplicates": verdict.duplicates,
    }
    if not outcome.wanted.naive:
        figures |= {"due, and looked for": verdict.due, "losses": verdict.losses}
    for name, count in figures.items():
        yield f"  {name:<24}{count:>8}"
    alone_s = max(outcome.alone_s, default=0)
    yield f"  {'alone again after, s':<24}{alone_s:>8.1f}  (longest timer {outcome.longest_timer_s:g})"
    for title, counts in (
        ("deaths", outcome.deaths),
        ("freezes", outcome.freezes),
        ("services", outcome.losses),
        ("network and server", outcome.troubles),
        ("business", outcome.business),
        ("resolved", outcome.resolved),
    ):
        yield from _columns(title, counts)
    shown = verdict.violations if not outcome.wanted.naive else verdict.violations[:3]
    for violation in shown:
        yield f"{violation.invariant}: {violation.what}"
        yield from (f"    {each}" for each in violation.history)
    if len(shown) < len(verdict.violations):
        by_kind = Counter(one.invariant for one in verdict.violations)
        yield f"in all {', '.join(f'{count} of {kind}' for kind, count in sorted(by_kind.items()))}"


def _columns(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        yield f"  {title}"
    for name, count in sorted(counts.items(), key=lambda each: -each[1]):
        yield f"    {name:<52}{count:>6}"
