"""The chaos harness: a minute of it, its negative control under the same seed, and a judge that can say no."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.book import Block, Book, Customer, Invoice, Round, Timeline, day_of
from tests.faults.catalogue import FAULTS
from tests.faults.chaos import LOSSES, Wanted, run, times
from tests.faults.checker import Judge
from tests.faults.ledgers import Attempt, Ledgers, Reminder, Taken
from tests.faults.mailserver import Refusal
from tests.faults.processes import PLANNED
from tests.faults.report import as_json, lines
from tests.witness import Mail
from workers.steps import STEPS, WATCHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.chaos import Outcome
    from tests.faults.checker import Verdict
    from tests.faults.proxy import AtCommit, Transaction
    from tests.faults.services import Loss
    from workflow.doubt import Policy

ROOT = Path(__file__).resolve().parents[1]
SEED = 11
START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.mark.timeout(400)
def test_nobody_is_mailed_twice_or_missed_whatever_happens() -> None:
    outcome = run(Wanted(seed=SEED, rounds=2, chaos_s=15, customers=110, factor=1.5))  # a minute, half of it chaos
    shown = "\n".join(lines(outcome))
    assert outcome.verdict.violations == (), shown
    assert (outcome.verdict.duplicates, outcome.verdict.losses, outcome.verdict.armed_after_payment) == (0, 0, 0)
    assert outcome.verdict.due > 200, shown
    assert outcome.verdict.mails > 120, shown
    assert outcome.deaths.total() > 0, shown


@pytest.mark.long
@pytest.mark.timeout(240)
def test_under_evidence_nobody_is_mailed_twice_or_missed_and_few_doubts_are_left_to_a_person() -> None:
    outcome = run(Wanted(seed=SEED, rounds=2, chaos_s=12, customers=110, policy="evidence"))
    shown = "\n".join(lines(outcome))
    assert outcome.verdict.violations == (), shown
    assert outcome.verdict.mails > 60, shown
    assert sum(outcome.resolved[answer] for answer in outcome.resolved if answer.startswith("evidence: ")) > 0, shown


@pytest.mark.timeout(400)
def test_the_usual_way_mails_twice_under_the_same_seed() -> None:
    usual = Wanted(seed=SEED, rounds=1, chaos_s=15, customers=110, factor=1.5, naive=True)
    assert any(run(usual).verdict.duplicates > 0 for _ in range(3)), "the harness is blind"  # a busy machine sends few


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_nobody_is_mailed_twice_or_missed_in_an_hour() -> None:
    seed = random.randrange(10**6)  # noqa: S311 - chaos, not secrets
    print(f"seed {seed}")  # noqa: T201 - so that it can be run again
    outcome = run(Wanted(seed=seed, rounds=120, chaos_s=15, customers=110))
    assert outcome.verdict.violations == (), "\n".join(lines(outcome))
    assert (outcome.deaths.total() > 200, outcome.verdict.mails > 2000) == (True, True), as_json(outcome)


# One thing alone, for certain: a few seconds of it each.
SMALL = Wanted(seed=SEED, rounds=1, chaos_s=4, customers=30, rates={}, planned=False, fair=True)


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_a_step_costs_no_mail_and_doubles_none(step: str) -> None:
    # The sweep finds something where a worker has died, and a mail did not leave where the server is unkind.
    plans = (f"{step} 1 KILL", *(["dot_written 1 KILL"] if step in {"swept", "settling_doubt"} else []))
    fair = step not in {"settling", "settled"}
    policy: Policy = "evidence" if step == "settling_doubt" else "hold"
    kept(replace(SMALL, customers=30 if fair else 120, plans=plans, fair=fair, policy=policy), {step: 1})


@pytest.mark.long
@pytest.mark.parametrize("step", ["claimed", "uploaded", "armed", "at_dot", "dot_written", "answered"])
def test_a_process_frozen_for_longer_than_its_lease_sends_nothing_late(step: str) -> None:
    outcome = kept(replace(SMALL, chaos_s=9, plans=(f"{step} 1 STOP",)), {})
    assert outcome.freezes[step] > 0


@pytest.mark.long
@pytest.mark.parametrize("transaction", ["arms", "sends"])
@pytest.mark.parametrize("then", ["killed before it", "killed after it"])
def test_a_process_killed_around_a_commit_costs_no_mail_and_doubles_none(
    transaction: Transaction, then: AtCommit
) -> None:
    outcome = kept(replace(SMALL, rates={"at commit": 1.0}, commits=((transaction, then),)), {})
    assert outcome.troubles[f"commit: {then}: {transaction}"] > 0


@pytest.mark.long
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_service_costs_no_mail_and_doubles_none(loss: Loss) -> None:
    outcome = kept(replace(SMALL, rates={"lose a service": 1.0}, losses=(loss,)), {})
    assert outcome.losses[loss] > 0


def kept(wanted: Wanted, deaths: dict[str, int]) -> Outcome:
    """The run, in which everything held and that many at least died at these steps."""
    outcome = run(wanted)
    shown = "\n".join(lines(outcome))
    assert outcome.verdict.violations == (), shown
    died: Counter[str] = Counter()
    for place, count in outcome.deaths.items():
        died[place.partition(": ")[2]] += count
    assert all(died[step] >= count for step, count in deaths.items()), shown
    return outcome


def test_every_fault_of_the_design_has_its_test() -> None:
    for fault, tests in FAULTS.items():
        assert tests, fault
        for test in tests:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{fault}: {test}"


def test_all_timers_are_scaled_by_one_factor() -> None:
    assert times(3).quarantine_s == 3 * times(1).quarantine_s
    assert times(3).dot_budget_s == 3 * times(1).dot_budget_s


def test_every_step_is_reached_somewhere_and_every_step_kills() -> None:
    words = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workers").glob("*.py"))
    assert set(re.findall(r'reached\("(\w+)"\)', words)) == set(STEPS)
    assert PLANNED["worker"].keys() | PLANNED["scheduler"].keys() == STEPS.keys()


def test_nobody_watches_unless_a_test_asks() -> None:
    assert WATCHERS == []


# ---------------------------------------------------------------- the judge


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Case:
    """One customer, one invoice, one round; a mail armed at 10 s and taken at 11 s, and everything in order."""

    def __init__(self) -> None:
        day = day_of(0)
        self.invoice = Invoice(
            number="FA-11",
            customer="K-1",
            due_on=day - timedelta(days=16),
            balance=Timeline([(at(0), at(0), Decimal("100.00"))]),
        )
        self.customer = Customer(number="K-1", address=Timeline([(at(0), at(0), "a@client.example")]))
        self.taken = [self.take(11)]
        self.state, self.outcome, self.level, self.tags = "sent", "accepted", 1, 1
        self.problem: str | None = None
        self.round = Round(day=day, start=at(1), end=at(60))
        self.refused: list[Refusal] = []

    def take(self, seconds: float, *, armed: float | None = 10, to: str = "a@client.example", level: int = 1) -> Taken:
        return Taken(
            at=at(seconds),
            armed=None if armed is None else at(armed),
            mail=Mail(
                to=(to,), message_id="<1@nord.example>", sha256="", reminder=1, subject=f"Relance {level}",
                text="FA-11   20/01/2026   04/03/2026   100,00 €   100,00 €", level=level, invoices=("FA-11",),
                attachments={},
            ),
        )  # fmt: skip

    def judge(self) -> Verdict:
        book = Book(customers={"K-1": self.customer}, invoices={"FA-11": self.invoice}, rounds=[self.round])
        ledgers = Ledgers(
            taken=self.taken,
            attempts={1: [Attempt(reminder=1, fence=1, step="armed", detail=None, actor="worker:h:7", at=at(10))]},
            reminders={
                1: Reminder(
                    id=1, message_id="<1@nord.example>", state=self.state, problem=self.problem, ever_in_doubt=False,
                    created_at=at(2),
                )
            },
            outcomes={"FA-11": [(1, self.outcome)]},
            levels={"FA-11": self.level},
            tagged={("FA-11", "Relance 1"): self.tags} if self.tags else {},
        )  # fmt: skip
        return Judge(book, ledgers, self.refused, []).judge([])


def twice(case: Case) -> None:
    case.taken.append(case.take(20))


def paid_before(case: Case) -> None:
    case.invoice.blocks.append(Block(kind="paid", begun=at(8), sure=at(9)))


def never_armed(case: Case) -> None:
    case.taken = [case.take(11, armed=None)]


def old_address(case: Case) -> None:
    case.customer.address.change(at(7), at(8), "b@client.example")


def old_balance(case: Case) -> None:
    case.invoice.balance.change(at(7), at(8), Decimal("90.00"))


def missed(case: Case) -> None:
    case.taken, case.state, case.outcome, case.level, case.tags = [], "cancelled", "dropped", 0, 0


def sent_in_the_books_alone(case: Case) -> None:
    case.taken = []


def a_skipped_level(case: Case) -> None:
    case.taken = [case.take(11, level=2)]


def tagged_twice(case: Case) -> None:
    case.tags = 2


def not_yet_due(case: Case) -> None:
    case.invoice.due_on = case.round.day


@pytest.mark.parametrize(
    ("happens", "invariant"),
    [
        (twice, "I1"), (paid_before, "I3"), (never_armed, "F1"), (old_address, "I3"), (old_balance, "I3"),
        (missed, "I2"), (sent_in_the_books_alone, "I5"), (a_skipped_level, "I4"), (tagged_twice, "I6"),
        (not_yet_due, "I3"),
    ],
)  # fmt: skip
def test_the_judge_finds(happens: Callable[[Case], None], invariant: str) -> None:
    case = Case()
    assert case.judge().violations == ()
    happens(case)
    assert invariant in {one.invariant for one in case.judge().violations}


def test_a_payment_that_meets_the_dot_is_nobodys_fault() -> None:
    case = Case()
    case.invoice.blocks.append(Block(kind="paid", begun=at(9.9), sure=at(10.1)))
    assert case.judge().violations == ()


def test_a_mail_that_the_server_refused_is_no_loss_and_one_that_failed_by_itself_is() -> None:
    case = Case()
    missed(case)
    case.state, case.problem, case.outcome = "failed", "refused", "failed"
    assert case.judge().losses == 1
    case.refused = [Refusal(at=at(11), to="a@client.example", said="554 5.7.1 not wanted")]
    assert case.judge().losses == 0


def test_a_name_or_an_address_in_a_log_is_found(tmp_path: Path) -> None:
    case = Case()
    log = tmp_path / "0-worker.log"
    log.write_text('{"event":"refused","to":"client1@client.example"}\n', encoding="utf-8")
    book = Book(customers={}, invoices={})
    ledgers = Ledgers(taken=[], attempts={}, reminders={}, outcomes={}, levels={}, tagged={})
    assert [one.invariant for one in Judge(book, ledgers, case.refused, []).judge([log]).violations] == ["I8"]
