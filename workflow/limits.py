"""Limits that keep trouble small: when a mail server is left alone, and when a run is too large to leave by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflow.facts import Language

Trouble = Literal["failure", "busy"]

# In a row: to connect, or to log in.
FAILURES: Final = 5
# A breaker is open for 1, 2, 4 … units, at most for 30: minutes, unless a setting says otherwise.
MOST_UNITS: Final = 30
# A server that says 421 has half of the connections; ten minutes without another, and it has the double again.
MOST_HALVINGS: Final = 6
_EASES_AFTER: Final = timedelta(minutes=10)
# Connections that were open together hear the same 421 together: it counts once.
_SAME_WORD: Final = timedelta(seconds=30)
_TOO_MANY: Final = 421
_BEFORE_A_MAIL: Final = frozenset({"connect", "ehlo", "auth"})
# Of a company's first few invoices a rule may well take most: a share says something of many only.
SMALL_COMPANY: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How large a run may be before a person has seen it: a company's settings. None: any size.

    `times_usual`: of the median of the rule's last runs; `share_percent`: of all the company's open invoices.
    `always_allowed`: a run of no more invoices never waits.
    """

    times_usual: int | None
    share_percent: int | None
    always_allowed: int

    def never_waits(self, candidates: int) -> bool:
        """Whether a run of so many is let go whatever is usual: nobody need count that."""
        return candidates <= self.always_allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """Why a run of so many `candidates` waits for a person.

    times: more than `limit` times the usual, which is `of`. share: more than `limit` per cent of the company's open
    invoices, which are `of`.
    """

    kind: Literal["times", "share"]
    candidates: int
    of: float
    limit: int

    def words(self, language: Language) -> str:
        """As a person reads it, on one line."""
        of = f"{self.of:.1f}".removesuffix(".0")
        if language == "fr":
            of = of.replace(".", ",")
        share = f"{100 * self.candidates / self.of:.0f}" if self.kind == "share" else ""
        return _WORDS[self.kind][language].format(candidates=self.candidates, of=of, share=share, limit=self.limit)


_WORDS: Final[dict[str, dict[Language, str]]] = {
    "times": {
        "en": "{candidates} invoices, where {of} are usual: more than {limit} times as many",
        "fr": "{candidates} factures au lieu de {of} d'habitude\N{NO-BREAK SPACE}: plus de {limit} fois autant",
    },
    "share": {
        "en": "{candidates} of {of} open invoices, {share} %: more than {limit} %",
        "fr": "{candidates} factures sur {of} ouvertes, soit {share}\N{NO-BREAK SPACE}%\N{NO-BREAK SPACE}:"
        " plus de {limit}\N{NO-BREAK SPACE}%",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How an account's server has answered. Closed while `opened_at` is None: mails leave.

    `failures` and `openings` are in a row, without a success between. `probe_at`: when one mail may try, while it is
    open; `probing`: one does. `halvings`: of its connections, as of `slowed_at`.
    """

    failures: int = 0
    openings: int = 0
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    probing: bool = False
    halvings: int = 0
    slowed_at: datetime | None = None


CLOSED: Final = Breaker()


def too_large(candidates: int, limits: RunLimits, *, last_runs: Sequence[int], open_invoices: int) -> TooLarge | None:
    """Why a run of so many candidates waits for a person, None where it does not.

    `last_runs`: how many candidates the rule's last runs had; a rule without any has no usual size. `open_invoices`: of
    the whole company.
    """
    if limits.never_waits(candidates):
        return None
    if last_runs and limits.times_usual is not None:
        usual = median(last_runs)
        if candidates > limits.times_usual * usual:
            return TooLarge(kind="times", candidates=candidates, of=usual, limit=limits.times_usual)
    if (
        limits.share_percent is not None
        and open_invoices > SMALL_COMPANY
        and 100 * candidates > limits.share_percent * open_invoices
    ):
        return TooLarge(kind="share", candidates=candidates, of=open_invoices, limit=limits.share_percent)
    return None


def trouble(fate: str, step: str, code: int | None, *, by_token: bool = False) -> Trouble | None:
    """What a mail that did not leave says of its account's server.

    `fate` and `step` are those of its delivery, `code` the server's reply if it gave one. A login refused for good is
    no trouble of the server's: the account is held until a person acts (workflow.answers), unless it was by a token.
    """
    if code == _TOO_MANY:
        return "busy"
    if step not in _BEFORE_A_MAIL or fate not in {"unreachable", "refused"}:
        return None
    return None if step == "auth" and code is not None and code >= 500 and not by_token else "failure"


def answers(fate: str, step: str, code: int | None) -> bool:
    """Whether a mail's delivery shows a server that takes connections and logins."""
    if fate == "refused":
        return step not in _BEFORE_A_MAIL and code != _TOO_MANY
    return fate in {"sent", "withdrawn", "disarmed", "unfit"}


def after_failure(breaker: Breaker, now: datetime, *, unit_s: float) -> Breaker:
    """One more failure to connect or to log in. While it is open only the probe's counts."""
    if breaker.opened_at is None:
        failed = replace(breaker, failures=breaker.failures + 1)
        return failed if failed.failures < FAILURES else _opened(failed, now, unit_s)
    return _opened(replace(breaker, failures=breaker.failures + 1), now, unit_s) if breaker.probing else breaker


def after_busy(breaker: Breaker, now: datetime, *, connections: int, unit_s: float) -> Breaker:
    """The server said 421: fewer connections; where a worker has but one, of `connections`, it is a failure."""
    if connections == 1:
        return after_failure(breaker, now, unit_s=unit_s)
    if breaker.slowed_at is not None and now - breaker.slowed_at < _SAME_WORD:
        return breaker
    halvings = min(_halvings(breaker, now) + 1, MOST_HALVINGS)
    return replace(breaker, halvings=halvings, slowed_at=now)


def after_success(breaker: Breaker) -> Breaker:
    """The server answers: closed, and whatever came before is forgotten but for its connections."""
    return Breaker(halvings=breaker.halvings, slowed_at=breaker.slowed_at)


def connections_now(breaker: Breaker, connections: int, now: datetime) -> int:
    """How many of an account's connections a worker may use now."""
    return max(1, connections >> _halvings(breaker, now))


def _halvings(breaker: Breaker, now: datetime) -> int:
    if breaker.slowed_at is None:
        return 0
    return max(0, breaker.halvings - (now - breaker.slowed_at) // _EASES_AFTER)


def _opened(breaker: Breaker, now: datetime, unit_s: float) -> Breaker:
    units = min(2**breaker.openings, MOST_UNITS)
    return replace(
        breaker,
        openings=breaker.openings + 1,
        opened_at=breaker.opened_at or now,
        probe_at=now + timedelta(seconds=units * unit_s),
        probing=False,
    )
