"""How the sink behaves during a run: it accepts, drops before its 250, delays, refuses for now and for good, by chance.

What it refused it writes down, as it does with what it took: the judge asks both.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scripts.sink import Answer

if TYPE_CHECKING:
    from scripts.sink_dialogue import Step

NOBODY = "550 5.1.1 no such user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A mail that was refused for good."""

    at: datetime
    to: str
    said: str


class MailServer:
    """`verdict` for a sink's Behaviour; while `calm`, it is obliging and only as slow as servers are."""

    def __init__(self, *, seed: str, answer_s: float) -> None:
        """`answer_s`: for how long a client waits for the answer to its dot; some come later."""
        self._chance = random.Random(seed)  # noqa: S311 - chaos, not secrets
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self.calm = True
        self.refused: list[Refusal] = []
        self.troubles: Counter[str] = Counter()

    def verdict(self, _sender: str, recipients: tuple[str, ...], step: Step) -> Answer | str | None:
        with self._lock:
            answer = self._answer(step)
            said = answer.reply if isinstance(answer, Answer) else answer
            if said:
                self.troubles[f"{step}: {said[:3]}"] += 1
            if said and said[0] == "5" and recipients:
                self.refused.append(Refusal(at=datetime.now(UTC), to=recipients[-1], said=said))
            return answer

    def _answer(self, step: Step) -> Answer | str | None:
        chance = self._chance.random()
        if self.calm:
            return Answer(delay_s=chance * 0.05) if step == "dot" else None
        match step:
            case "connect":
                return self._one_of(chance, {0.01: "421 4.3.2 too many of you"})
            case "mail":
                return self._one_of(chance, {0.003: "421 4.3.2 closing", 0.006: "451 4.3.0 later"})
            case "rcpt":
                return self._one_of(
                    chance, {0.01: "451 4.7.1 greylisted", 0.018: NOBODY, 0.023: "554 5.7.1 not wanted"}
                )
            case "data":
                return self._one_of(chance, {0.005: "452 4.3.1 disk full"}) or Answer(
                    delay_s=self._chance.random() * 0.1
                )
            case "dot":
                return self._at_the_dot(chance)

    def _at_the_dot(self, chance: float) -> Answer | str:
        late = self._chance.random() * 0.25
        if said := self._one_of(
            chance, {0.008: "451 4.3.0 later", 0.012: "552 5.2.2 too much", 0.016: "421 4.3.2 bye"}
        ):
            return said
        if chance < 0.05:
            self.troubles["accepted, and hung up"] += 1
            return Answer(delay_s=late, drop=True)
        if chance < 0.06:
            self.troubles["accepted, answered too late"] += 1
            return Answer(delay_s=self._answer_s * 1.3)
        if chance < 0.08:
            self.troubles["hung up before accepting"] += 1
            return Answer(reply="451 4.3.0 later", drop=True)
        return Answer(delay_s=late)

    @staticmethod
    def _one_of(chance: float, until: dict[float, str]) -> str | None:
        return next((said for limit, said in until.items() if chance < limit), None)
