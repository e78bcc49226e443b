"""What a run did, as values: counted from the rows by store.reports, read by the report's letter and the console."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from workflow.limits import TooLarge

Outcome = Literal["left_out", "planned", "accepted", "in_doubt", "dropped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Candidates of a run that met the same end. `amount`: what their mails claimed, in units of `currency`.

    `reason`: why an invoice was left out or dropped, a key of workflow.decision.REASONS, or `withdrawn` where its mail
    left without it; else empty. `level`: the one it reached or would have reached, None where the rule does not count.
    """

    outcome: Outcome
    reason: str
    level: int | None
    currency: str
    invoices: int
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something for a person to see to: one mail, one customer's candidates, or what concerns the whole company.

    The last stands under the company's code and name: its invoices without a due date, which no run takes.

    `invoices`: the first numbers of `count`. `kind`: in_doubt, deferred, error, a reason of the decision, or what a
    reminder failed of. `detail`: the server's reply or what could not be rendered, else empty.
    """

    kind: str
    customer_number: str
    customer_name: str
    invoices: tuple[str, ...]
    count: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run's facts. `mails` by state of their reminders; `undecided`: candidates that no chunk has decided yet.

    `due_at` is an aware instant, to be told on the clock of `zone`. `started_by`, `refused_by` (empty:
    by nobody): a user's name, or who acted.
    `oversize`: the figures behind `problem`, where it is held for its size. `supplement`: it was reported once before
    its end. `problems`: the first of `problem_count`.
    """

    run_id: int
    rule_id: int
    rule_title: str
    company_name: str
    zone: str
    due_at: datetime
    by_hand: bool
    started_by: str
    missed: int
    refused_by: str
    state: Literal["due", "held", "open", "closed", "refused", "failed"]
    problem: str
    oversize: TooLarge | None
    supplement: bool
    test_instance: bool
    candidates: int
    undecided: int
    mails: Mapping[str, int]
    shares: tuple[Share, ...]
    problems: tuple[Problem, ...]
    problem_count: int

    @property
    def sent(self) -> int:
        """Mails that were accepted."""
        return self.mails.get("sent", 0)

    @property
    def waiting(self) -> int:
        """Mails of which the end is open; those in doubt apart, they wait for a person."""
        return sum(self.mails.get(state, 0) for state in ("due", "claimed", "armed"))

    @property
    def reminded(self) -> int:
        """Invoices in accepted mails."""
        return sum(share.invoices for share in self._accepted())

    def amounts(self) -> dict[str, Decimal]:
        """What the accepted mails claimed, by currency."""
        totals: dict[str, Decimal] = defaultdict(Decimal)
        for share in self._accepted():
            totals[share.currency] += share.amount
        return dict(sorted(totals.items()))

    def levels(self) -> dict[int, int]:
        """How many invoices reached each level."""
        totals: dict[int, int] = defaultdict(int)
        for share in self._accepted():
            if share.level is not None:
                totals[share.level] += share.invoices
        return dict(sorted(totals.items()))

    def left_out(self) -> dict[str, int]:
        """Candidates that are in no mail, by reason, the most frequent first."""
        totals: dict[str, int] = defaultdict(int)
        for share in self.shares:
            if share.outcome in {"left_out", "dropped"}:
                totals[share.reason] += share.invoices
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def _accepted(self) -> list[Share]:
        return [share for share in self.shares if share.outcome == "accepted"]
