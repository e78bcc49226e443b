"""What came of a ledger as tables: what the dates say, what was sent, each cause of the difference, and nothing left.

`as_json` has the reminders one by one; `lines` is for people.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.ledgers.expected import CAUSES, LEVELS, Reminder, expected, in_turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    from tests.ledgers.bills import Ledger
    from tests.ledgers.expected import Outcome
    from tests.ledgers.replaying import Replay

Which = tuple[str, int]  # an invoice's number and the level
Cell = tuple[str, int]  # a month and the level


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a cause adds to what was expected before it, takes away, and moves to another day."""

    cause: str
    added: frozenset[Reminder]
    taken: frozenset[Reminder]

    @property
    def moved(self) -> set[Which]:
        return {(one.number, one.level) for one in self.added} & {(one.number, one.level) for one in self.taken}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """`unexplained`: what was expected with all causes and was not sent on that day, or the other way round."""

    ledger: Ledger
    replay: Replay
    dates: Outcome
    steps: tuple[Step, ...]
    last: Outcome
    unexplained: frozenset[Reminder]


def compare(ledger: Ledger, replay: Replay) -> Compared:
    """Add one cause after the other to what the dates say, and hold the last outcome against what was sent."""
    dates = last = expected(ledger, ())
    steps = []
    for name, causes in in_turn():
        before, last = last, expected(ledger, causes)
        steps.append(
            Step(
                cause=name,
                added=frozenset(last.reminders - before.reminders),
                taken=frozenset(before.reminders - last.reminders),
            )
        )
    return Compared(
        ledger=ledger,
        replay=replay,
        dates=dates,
        steps=tuple(steps),
        last=last,
        unexplained=frozenset(last.reminders ^ replay.reminders),
    )


def by_level(reminders: Iterable[Reminder]) -> list[int]:
    found = Counter(one.level for one in reminders)
    return [found[level] for level in LEVELS]


def by_month(reminders: Iterable[Reminder]) -> Counter[Cell]:
    return Counter((f"{one.on:%Y-%m}", one.level) for one in reminders)


def one_by_one(compared: Compared) -> list[dict[str, Any]]:
    """Each reminder that did not leave on the day that the dates say, with the causes, in their order."""
    said, sent = _days(compared.dates.reminders), _days(compared.replay.reminders)
    because: dict[Which, list[str]] = {}
    for step in compared.steps:
        for which in {(one.number, one.level) for one in step.added | step.taken}:
            because.setdefault(which, []).append(step.cause)
    return [
        {
            "invoice": which[0],
            "level": which[1],
            "by_the_dates": _iso(said.get(which)),
            "sent": _iso(sent.get(which)),
            "because": because.get(which, []),
        }
        for which in sorted(said.keys() | sent.keys())
        if said.get(which) != sent.get(which)
    ]


def as_json(compared: Compared) -> dict[str, Any]:
    replay = compared.replay
    return {
        "ledger": compared.ledger.name,
        "invoices": len(compared.ledger.bills),
        "imports": {kind: dict(counts) for kind, counts in replay.imports.items()},
        "by_the_dates": by_level(compared.dates.reminders),
        "causes": {
            step.cause: {
                "added": by_level(step.added),
                "taken": by_level(step.taken),
                "moved": len(step.moved),
                "by_month": {
                    f"{month} level {level}": count for (month, level), count in sorted(_net(step).items()) if count
                },
            }
            for step in compared.steps
        },
        "sent": by_level(replay.reminders),
        "unexplained": len(compared.unexplained),
        "mails": len(replay.mails),
        "runs_let_go": replay.let_go,
        "by_month": [
            {"month": month, "by_the_dates": said, "sent": sent}
            for month, said, sent in _months(compared)
            if said or sent
        ],
        "differences": one_by_one(compared),
        "days": replay.days,
        "wall_s": round(replay.wall_s, 1),
        "cpu_s": round(replay.cpu_s, 1),
    }


def lines(compared: Compared) -> Iterator[str]:
    """The tables as Markdown."""
    replay = compared.replay
    yield f"### {compared.ledger.name}: {len(compared.ledger.bills):,} invoices"
    yield ""
    yield "| | level 1 | level 2 | level 3 | moved to another day |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield _row("the dates alone say", by_level(compared.dates.reminders), "")
    for step in compared.steps:
        if step.added or step.taken:
            change = [more - less for more, less in zip(by_level(step.added), by_level(step.taken), strict=True)]
            yield _row(f"{step.cause}: {CAUSES[step.cause]}", [f"{number:+,}" for number in change], len(step.moved))
    yield _row("sent", by_level(replay.reminders), "")
    yield _row("unexplained", by_level(compared.unexplained), "")
    yield ""
    let_go = f" {replay.let_go} runs larger than usual waited for a person." if replay.let_go else ""
    yield f"{len(replay.reminders):,} reminders in {len(replay.mails):,} mails.{let_go} A month, by the dates → sent:"
    yield ""
    yield "| month | level 1 | level 2 | level 3 |"
    yield "| --- | ---: | ---: | ---: |"
    for month, said, sent in _months(compared):
        yield _row(month, [f"{a:,} → {b:,}" for a, b in zip(said, sent, strict=True)])
    yield ""


IMPORT_HEAD = (
    "| file, as | rows | new | said again | refused | notices |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
)


def import_line(ledger: Ledger, kind: str, said: Mapping[str, Any]) -> str:
    """What the importer said of a file, as the line of a Markdown table."""
    refused = len({one["line"] for one in said["bad"]})
    counts = (said[name] for name in ("rows", "added", "repeated"))
    return _row(f"{ledger.name}, {kind}", *counts, refused, len(said["notices"]))


def _row(*cells: object) -> str:
    flat: list[object] = []
    for cell in cells:
        flat += cell if isinstance(cell, list) else [cell]
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in flat) + " |"


def _months(compared: Compared) -> Iterator[tuple[str, list[int], list[int]]]:
    said, sent = by_month(compared.dates.reminders), by_month(compared.replay.reminders)
    for month in sorted({month for month, _ in said.keys() | sent.keys()}):
        yield month, [said[month, level] for level in LEVELS], [sent[month, level] for level in LEVELS]


def _net(step: Step) -> Counter[Cell]:
    change = by_month(step.added)
    change.subtract(by_month(step.taken))
    return change


def _days(reminders: Iterable[Reminder]) -> dict[Which, date]:
    return {(one.number, one.level): one.on for one in reminders}


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None
