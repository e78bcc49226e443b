"""A process under test, with its plan: at the so many-th time that it reaches a step, it kills or freezes itself.

python -m tests.faults.child worker|scheduler|naive|naive-cron
FAULTS_PLAN "step visit KILL|STOP", empty for none; FAULTS_TOLD: the file where it says so, just before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from tests.faults import naive
from workers.process import schedule, stopping, work
from workers.settings import read
from workers.steps import WATCHERS

if TYPE_CHECKING:
    from collections.abc import Callable


def obey(plan: str, told: int) -> Callable[[str], None]:
    """The watcher that does what the plan says."""
    step, visit, signal_name = plan.split()
    lock = threading.Lock()
    left = int(visit)

    def watcher(reached: str) -> None:
        nonlocal left
        if reached != step:
            return
        with lock:
            left -= 1
            if left:
                return
        os.write(told, f"{os.getpid()} {step} {signal_name}\n".encode())
        os.kill(os.getpid(), signal.Signals[f"SIG{signal_name}"])

    return watcher


def end_with_parent() -> None:
    """Nobody would end this process once the harness is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    role = sys.argv[1]
    if plan := os.environ["FAULTS_PLAN"]:
        watcher = obey(plan, os.open(os.environ["FAULTS_TOLD"], os.O_WRONLY | os.O_APPEND))
        WATCHERS.append(watcher)
        naive.WATCHERS.append(watcher)
    end_with_parent()
    settings = read()
    match role:
        case "worker":
            work(settings, threads=3)
        case "scheduler":
            with stopping() as stop:
                schedule(settings, stop)
        case "naive":
            naive.work(settings)
        case "naive-cron":
            naive.cron(settings)
        case _:
            raise SystemExit(role)


if __name__ == "__main__":
    main()
