"""What an accountant is to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import ROW_ID, because_option, json_option, lang_option

if TYPE_CHECKING:
    from operations.tasks import TaskLine
    from scripts.printing import Out
    from workflow.facts import Language
    from workflow.feedback import TaskKind

_SHOWN: Final = 50
_KINDS: Final[dict[TaskKind, dict[Language, str]]] = {
    "undelivered": {"en": "reached nobody", "fr": "n'a atteint personne"},
    "complaint": {"en": "complaint", "fr": "plainte"},
}


@click.group()
def tasks() -> None:
    """Look at what came back and needs a person: mails that reached nobody, readers who complained."""


@tasks.command("list")
@click.option("--done", is_flag=True, help="Those that are done instead.")
@json_option
@lang_option
@calling
def list_(caller: Caller, *, done: bool, lang: Language, as_json: bool) -> None:
    """List the open tasks, newest first, with whom else could be written to.

    Until its task is done, no firmer reminder follows to an address that nobody reads.
    """
    from operations.tasks import listed  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = listed(at.conn, done=done)
    if as_json:
        printing.print_json([_json(one, lang) for one in found])
        return
    out = printing.console()
    for one in found[:_SHOWN]:
        _task(out, one, lang)
    printing.and_more(out, len(found) - _SHOWN, "tasks")
    if not found:
        out.print("no task is done yet" if done else "nothing to be done")
    elif not done:
        out.print()
        out.print(
            "Once seen to: relance tasks done NUMBER --because TEXT; --again sends that reminder anew", style="dim"
        )


@tasks.command()
@click.argument("task", type=ROW_ID)
@click.option("--again", is_flag=True, help="Let its rule remind anew of what nobody got: a level down, a new cycle.")
@because_option
@json_option
@calling
def done(caller: Caller, *, task: int, again: bool, because: str, as_json: bool) -> None:
    """Say that TASK (a number) is done: the address was corrected, or somebody rang up.

    Rules go on from there. With --again the same reminder is due once more, to whoever is to be written to now.
    """
    from operations.tasks import finish  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        found = finish(at.conn, task, because=because, again=again, by=at.by)
    if as_json:
        printing.print_json({"task": task, "changed": found.changed, "again": found.again, "offered": found.offered})
    state = "is done" if found.changed else "was done already"
    anew = ""
    if again and found.changed:
        anew = f"; reminded anew: {', '.join(found.again)}" if found.again else "; nothing is left to remind anew"
    if found.again and not found.offered:
        anew += "; nobody takes mail there yet: give the customer another address, or relance print-pile"
    printing.message(f"task {task} {state}{anew}")


def _words(reason: str, lang: Language) -> str:
    from workflow.bounces import REASONS  # noqa: PLC0415 - loaded when asked for

    return REASONS[reason][lang]


def _json(one: TaskLine, lang: Language) -> dict[str, Any]:
    return {**printing.plain(one), "words": f"{_KINDS[one.task.kind][lang]}: {_words(one.task.reason, lang)}"}


def _task(out: Out, one: TaskLine, lang: Language) -> None:
    task = one.task
    since = f" of {task.sent_on}" if task.sent_on else ""
    printing.heading(out, f"{task.id}  {_KINDS[task.kind][lang]}: {_words(task.reason, lang)}")
    printing.line(out, f"{task.customer} {task.customer_name}, reminder {task.reminder_id}{since} to {task.recipient}")
    printing.line(out, f"{task.company}: {', '.join(task.invoices or []) or 'no invoice any more'}")
    if task.done_at:
        printing.line(out, f"done {printing.minute(task.done_at)} by {task.done_by}", style="dim")
    elif one.offered:
        contact = one.offered.contact
        printing.line(out, f"could be written to: {contact.name} <{contact.email}>, the {one.offered.link}")
    else:
        printing.line(out, "nobody else can be written to: give the customer another address", style="yellow")
