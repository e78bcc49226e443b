"""The actors of the flow: each takes ids, asks the rows, and may be called twice without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dramatiq

from workers.advance import advance, open_run
from workers.auditing import make_audit
from workers.broker import QUEUES
from workers.closing import close_run
from workers.effects import apply_effects
from workers.sending import send_reminders

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Broker

    from workers.office import Office
    from workers.sender import Sender


def declare(broker: Broker, office: Office, sender: Sender) -> None:
    """Register the actors with a worker's broker. No time limit and no retries: the rows own both."""

    def rule_due(run_id: int) -> None:
        open_run(office, run_id)

    def advance_chunk(run_id: int, number: int) -> None:
        advance(office, run_id, number)

    def close(run_id: int) -> None:
        close_run(office, run_id)

    def send(reminder_ids: list[int]) -> None:
        send_reminders(office, sender, reminder_ids)

    def effects(reminder_ids: list[int]) -> None:
        apply_effects(office, reminder_ids)

    def audit(audit_id: int) -> None:
        make_audit(office, audit_id)

    actors: dict[str, Callable[..., None]] = {
        "rule_due": rule_due,
        "advance_chunk": advance_chunk,
        "close_run": close,
        "audit": audit,
        "send_reminders": send,
        "apply_effects": effects,
    }
    for name, function in actors.items():
        dramatiq.actor(broker=broker, actor_name=name, queue_name=QUEUES[name])(_at_home(office, function))


def _at_home(office: Office, function: Callable[..., None]) -> Callable[..., None]:
    """Do it only where the database is this host's instance: a copy's rows stay as they are."""

    def act(*ids: object) -> None:
        if office.is_ours():
            function(*ids)

    return act
