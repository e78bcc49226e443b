"""The processes under test: started with a plan, killed, frozen, asked to stop, and always started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tests.faults.naive import STEPS as NAIVE_STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from workers.steps import Step

# How often a process may pass a step before it dies there: some come once a run, some with every mail.
_SCHEDULER: Final[Mapping[Step, int]] = {"run_made": 1, "hints_marked": 8, "swept": 2, "settling_doubt": 2}
_WORKER: Final[Mapping[Step, int]] = {
    "run_opened": 1, "reserved": 2, "claiming": 4, "claimed": 4, "rendered": 4, "connected": 10, "uploaded": 10,
    "ticking": 8, "armed": 6, "at_dot": 10, "dot_written": 10, "answered": 10, "sent": 6, "settling": 2, "settled": 2,
    "tagged": 2, "reported": 1,
}  # fmt: skip
PLANNED: Final[dict[str, Mapping[str, int]]] = {
    "worker": {str(step): visits for step, visits in _WORKER.items()},
    "scheduler": {str(step): visits for step, visits in _SCHEDULER.items()},
    "naive": dict.fromkeys(NAIVE_STEPS, 6),
    "naive-cron": {},
}
# The steps around arm, dot and answer are what it is all about.
_FAVOURITES: Final = ("armed", "at_dot", "dot_written", "answered", "sent")
_ANYWHERE: Final = "anywhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A process that was killed; `step`: where, or `anywhere`, or in which transaction."""

    at: datetime
    pid: int
    role: str
    step: str


class Troop:
    """Some processes of these roles. `tend` looks after them: call it often."""

    def __init__(
        self, roles: Sequence[str], *, environment: Mapping[str, str], folder: Path, seed: str, freeze_s: float
    ) -> None:
        """`freeze_s`: the longest time for which one is frozen; longer than a lease, or it would prove little."""
        self._chance = random.Random(seed)  # noqa: S311 - chaos, not secrets
        self._environment = {**os.environ, **environment}
        self._told = folder / "told"
        self._told.touch()
        self._read = 0
        self._freeze_s = freeze_s
        self._logs = [(folder / f"{number}-{role}.log").open("ab") for number, role in enumerate(roles)]
        self._roles = list(roles)
        self._steps: dict[int, str] = {}
        self._frozen: dict[int, float] = {}
        self._terminated: dict[int, float] = {}
        self.deaths: list[Death] = []
        self.freezes: dict[str, int] = {}
        self.stops = 0
        self.calm = True
        self._given: Sequence[str] = ()
        self._children = [self._start(place) for place in range(len(self._roles))]

    def _start(self, place: int) -> subprocess.Popen[bytes]:
        role = self._roles[place]
        environment = self._environment | {"FAULTS_PLAN": self._plan(role), "FAULTS_TOLD": str(self._told)}
        command = [sys.executable, "-m", "tests.faults.child", role]
        return subprocess.Popen(command, env=environment, stdout=self._logs[place], stderr=self._logs[place])

    def _plan(self, role: str) -> str:
        steps = PLANNED[role]
        for plan in self._given:
            if plan.split()[0] in steps:
                return plan
        # Without schedulers nothing would begin: most of them are met by the other troubles only.
        unplanned = 0.6 if role == "scheduler" else 0.15
        if self.calm or not steps or self._chance.random() < unplanned:
            return ""
        favourites = [step for step in steps if step in _FAVOURITES]
        step = self._chance.choice(favourites if favourites and self._chance.random() < 0.5 else list(steps))
        visit = self._chance.randint(1, steps[step])
        return f"{step} {visit} {'STOP' if self._chance.random() < 0.15 else 'KILL'}"

    def tend(self) -> None:
        """Hear what they did to themselves, let the frozen go on, start the dead again."""
        for line in self._new_lines():
            pid, step, signal_name = line.split()
            if signal_name == "STOP":
                self._count_freeze(int(pid), step)
            else:
                self._steps[int(pid)] = step
        now = time.monotonic()
        for frozen in [frozen for frozen, until in self._frozen.items() if until <= now]:
            del self._frozen[frozen]
            with contextlib.suppress(ProcessLookupError):
                os.kill(frozen, signal.SIGCONT)
        for place, child in enumerate(self._children):
            if child.poll() is None:
                if self._terminated.get(child.pid, now) < now - 60:
                    raise AssertionError(f"a {self._roles[place]} did not stop within a minute of SIGTERM")
                continue
            self._frozen.pop(child.pid, None)
            if child.returncode == -signal.SIGKILL:
                step = self._steps.pop(child.pid, _ANYWHERE)
                self.deaths.append(Death(at=datetime.now(UTC), pid=child.pid, role=self._roles[place], step=step))
            elif self._terminated.pop(child.pid, None) is None:
                raise AssertionError(f"a {self._roles[place]} ended by itself, with {child.returncode}: see its log")
            self._children[place] = self._start(place)

    def _new_lines(self) -> list[str]:
        text = self._told.read_text(encoding="ascii")[self._read :]
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole)
        return whole.splitlines()

    def _count_freeze(self, pid: int, step: str) -> None:
        self.freezes[step] = self.freezes.get(step, 0) + 1
        self._frozen[pid] = time.monotonic() + self._chance.uniform(0.2, 1) * self._freeze_s

    def _one(self, role: str) -> subprocess.Popen[bytes] | None:
        going = [
            child
            for place, child in enumerate(self._children)
            if self._roles[place].startswith(role) and child.poll() is None and child.pid not in self._terminated
        ]
        return self._chance.choice(going) if going else None

    def kill(self, role: str) -> None:
        """Kill one of this role wherever it is."""
        if child := self._one(role):
            child.kill()

    def kill_process(self, pid: int, step: str) -> None:
        """Kill this one, of which somebody knows the step."""
        if any(child.pid == pid and child.poll() is None for child in self._children):
            self._steps[pid] = step
            os.kill(pid, signal.SIGKILL)

    def freeze(self, role: str) -> None:
        """Let one of this role stand still for a while."""
        if child := self._one(role):
            child.send_signal(signal.SIGSTOP)
            self._count_freeze(child.pid, _ANYWHERE)

    def terminate(self, role: str) -> None:
        """Ask one of this role to stop: it finishes what is on its way."""
        if child := self._one(role):
            self._terminated[child.pid] = time.monotonic()
            child.terminate()
            self.stops += 1

    def rest(self) -> None:
        """From now on nobody dies: those that still have a plan are replaced, which is no death to boast of."""
        self.calm = True
        self.tend()
        self._replace()

    def stir(self, plans: Sequence[str] = ()) -> None:
        """All have plans again: in this life the first of these that they may meet, or else by chance."""
        self.calm = bool(plans)
        self._given = plans
        self._replace()
        self._given = ()

    def _replace(self) -> None:
        self._frozen.clear()
        for place, child in enumerate(self._children):
            child.kill()
            child.wait()
            self._terminated.pop(child.pid, None)
            self._children[place] = self._start(place)

    def end(self) -> None:
        """Stop them all, at once."""
        for child in self._children:
            child.kill()
            child.wait()
        for log in self._logs:
            log.close()
