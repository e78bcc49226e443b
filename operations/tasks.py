"""Tasks for an accountant: what came back of our mails that a person is to look at, until it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.acting import acting, line
from operations.lookup import Unknown
from store import companies, facts, rules, settings, tasks
from workers.feedback import remind_again
from workflow.errors import InvalidInput, RelanceError
from workflow.recipients import next_contact

if TYPE_CHECKING:
    from datetime import date

    from store.connection import Connection
    from store.tasks import Task
    from workflow.recipients import Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """A task. `offered`: of the chain, who takes mail now, and by which link; None where there is nobody."""

    task: Task
    offered: Recipient | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of it. `changed`: it was open; `again`: numbers of the invoices that are reminded anew.

    `offered`: who takes mail now; None where nobody does.
    """

    task: Task
    changed: bool
    again: tuple[str, ...]
    offered: Recipient | None


def listed(conn: Connection, *, done: bool = False, limit: int = 200) -> list[TaskLine]:
    """The open tasks, or those that are done, newest first."""
    return [TaskLine(task=one, offered=_offered(conn, one)) for one in tasks.tasks(conn, done=done, limit=limit)]


def finish(conn: Connection, task_id: int, *, because: str, again: bool = False, by: str) -> Finished:
    """Say that a task is done; with `again`, its rule reminds anew of what this mail was about and nobody got.

    That is a level down in a new cycle, for invoices on which nothing has happened since. Raises Unknown, InvalidInput
    for `again` where the mail did reach somebody, or is still in doubt or on its way: its level is yet to be counted.
    """
    because = line(because, field="because")
    task = tasks.task(conn, task_id)
    if task is None:
        near = [str(one.id) for one in tasks.tasks(conn, done=False, limit=3)]
        raise Unknown(kind="task", name=str(task_id), nearest=near)
    if again and task.kind != "undelivered":
        raise InvalidInput(field="again", value=task_id, reason="is for mails that reached nobody")
    if again and task.unsettled:
        reason = f"waits until reminder {task.reminder_id} counts as sent: see relance outbox {task.reminder_id}"
        raise InvalidInput(field="again", value=task_id, reason=reason)
    with acting(conn, by=by, because=because, today=_today(conn, task)):
        changed = tasks.finish(conn, task_id)
        numbers = remind_again(conn, task.reminder_id) if again and changed else ()
    return Finished(task=task, changed=changed, again=numbers, offered=_offered(conn, task))


def _offered(conn: Connection, task: Task) -> Recipient | None:
    if task.invoice_id is None:
        return None
    asking = facts.Asking(company_id=task.company_id, today=_today(conn, task))
    (invoice,) = facts.load(conn, [task.invoice_id], asking)
    try:
        return next_contact(invoice, rules.pinned(conn, task.rule_id, task.rule_version).rule)
    except RelanceError:  # a definition of another version: nobody knows its chain
        return None


def _today(conn: Connection, task: Task) -> date:
    return companies.companies(conn)[task.company_id].day(settings.read(conn).business_now)
