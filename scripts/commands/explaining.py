"""Why an invoice is reminded, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import DAY, json_option, lang_option

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table

    from operations.explain import ChainLink, Explanation, RuleExplanation
    from store.einvoices import Note
    from store.histories import Change, Feedback
    from workflow.facts import Language
    from workflow.feedback import FeedbackKind
    from workflow.filters import Clause

# What the machine does in passing is told by the reminders themselves.
_PASSING: Final = frozenset({"state", "before_settled"})
_ASKED_WIDTH: Final = 42  # the longest question of a guard, so that all answers stand in one column
_LINK_WIDTH: Final = 26
_HASH_SHOWN: Final = len("sha256:") + 12
_CAME_BACK: Final[dict[FeedbackKind, str]] = {
    "hard": "hard bounce",
    "soft": "soft bounce",
    "auto_reply": "automatic answer",
    "complaint": "complaint",
    "answer": "answer",
}
_JOINED: Final = {"all": "all of", "any": "any of", "not": "not"}


@click.command()
@click.argument("invoice")
@click.option("--rule", metavar="RULE", help="Only before this rule: a title or an id.")
@click.option("--on", "on", type=DAY, help="As if it were that day.")
@click.option("--company", metavar="CODE", help="Whose invoice, where two companies have the number.")
@json_option
@lang_option
@calling
def explain(
    caller: Caller,
    *,
    invoice: str,
    rule: str | None,
    on: datetime | None,
    company: str | None,
    lang: Language,
    as_json: bool,
) -> None:
    """Say why INVOICE (a number) is reminded, or why not: before each rule today, then all that happened to it."""
    from operations.explain import explain as explained  # noqa: PLC0415 - loaded when asked for
    from operations.lookup import find_invoice  # noqa: PLC0415

    with desk(caller) as at:
        named = find_invoice(at.conn, invoice, company)
        found = explained(at.conn, named, by=at.by, rule=rule, on=on.date() if on else None)
    if as_json:
        printing.print_json(_json(found, lang))
        return
    out = printing.console()
    _invoice(out, found)
    for one in found.rules:
        _rule(out, one, lang)
    if not found.rules:
        shared = " that is shared with you" if caller.login else ""
        printing.heading(out, f"No rule{shared} chases for this company.")
    _past(out, found, lang)


def _words(reason: str, lang: Language) -> str:
    from workflow.decision import REASONS  # noqa: PLC0415 - loaded when asked for

    return REASONS[reason][lang] if reason in REASONS else reason.replace("_", " ")


def _guard(guard: str, lang: Language) -> str:
    from operations.explain import GUARDS  # noqa: PLC0415 - loaded when asked for

    return GUARDS[guard][lang]


def _json(found: Explanation, lang: Language) -> dict[str, Any]:
    return {
        "invoice": found.invoice,
        "today": found.today,
        "credit_note": found.credit_note,
        "einvoice": found.einvoice,
        "rules": [
            {
                "id": one.rule.id,
                "rule": one.rule.title,
                "active": one.rule.active,
                "held_because": one.rule.held_because,
                "reason": one.reason,
                "words": _words(one.reason, lang),
                "detail": one.detail,
                "filter": one.clause,
                "guards": [
                    {
                        "guard": check.guard,
                        "asks": _guard(check.guard, lang),
                        "holds": not check.reason,
                        "reason": check.reason,
                        "words": _words(check.reason, lang) if check.reason else "",
                        "detail": check.detail,
                    }
                    for check in one.checks
                ],
                "recipients": one.chain,
            }
            for one in found.rules
        ],
        "runs": [{**printing.plain(one), "words": _words(one.reason, lang)} for one in found.runs],
        "reminders": [
            {
                **printing.plain(one),
                "attempts": found.attempts[one.id],
                "feedback": [
                    {**printing.plain(back), "words": _came_back(back, lang)} for back in found.feedback[one.id]
                ],
            }
            for one in found.reminders
        ],
        "changes": found.changes,
        "payments": found.payments,
    }  # fmt: skip


def _invoice(out: Console, found: Explanation) -> None:
    one = found.invoice
    printing.heading(out, f"{one.number}  ·  {one.company}" + ("  ·  credit note" if found.credit_note else ""))
    due = "no due date"
    if one.due_on:
        days = (found.today - one.due_on).days
        due = f"due {one.due_on} ({days} days ago)" if days > 0 else f"due {one.due_on}"
    reminded = f"last reminded {one.last_reminded_on}" if one.last_reminded_on else "never reminded"
    facts = [
        ("customer", f"{one.customer.number} {one.customer.name}, {one.customer.kind.replace('_', ' ')}"),
        (
            "amount",
            f"{printing.amount(one.balance, one.currency)} left of {printing.amount(one.total, one.currency)}",
        ),
        ("dates", f"issued {one.issued_on}, {due}"),
        ("state", f"{one.commercial_state}, level {one.level}{_out(one.state)}, {reminded}"),
    ]
    if found.einvoice:
        facts.append(("e-invoice", _einvoice(found.einvoice)))
    if one.tags:
        facts.append(("tags", ", ".join(sorted(one.tags))))
    if one.pause:
        facts.append(("pause", f"{one.pause.reason}, until {one.pause.until_on}"))
    if found.credit_note:
        facts.append(("note", "a credit note: no rule looks at it"))
    grid = _grid()
    for name, value in facts:
        grid.add_row("", _text(name, "dim"), _text(value))
    out.print(grid)


def _einvoice(note: Note) -> str:
    """Its format, where its due date came from, and its terms of payment."""
    due = {
        "invoice": "it gave the due date",
        "customer": "due by the customer's agreed terms",
        None: "it gave no single due date",
    }
    terms = f"; its terms: {' '.join(note.terms.split())}" if note.terms else ""
    return f"{note.format}, type {note.type_code}; {due[note.due_from]}{terms}"


def _out(state: str) -> str:
    """What is out about an invoice, where something is."""
    if state.endswith("_sending"):
        return ", a reminder on its way"
    return ", a reminder in doubt" if state.endswith("_in_doubt") else ""


def _rule(out: Console, one: RuleExplanation, lang: Language) -> None:
    active = "active" if one.rule.active else "not active: by hand only"
    printing.heading(out, f"{one.rule.title} ({active}{', held' if one.rule.held_because else ''})")
    reminded = one.reason == "reminded"
    detail = f" ({one.detail})" if one.detail else ""
    verdict = _text(f"{_words(one.reason, lang)}{detail}", "bold green" if reminded else "bold red")
    grid = _grid(_ASKED_WIDTH)
    grid.add_row(printing.marked(holds=reminded), verdict, "")
    _clauses(grid, one.clause, depth=0)
    for check in one.checks[1:]:
        refused = _words(check.reason, lang) if check.reason else ""
        seen = ": ".join(filter(None, (refused, check.detail)))
        asks = _text(f"  {_guard(check.guard, lang)}")
        grid.add_row(printing.marked(holds=not check.reason), asks, _text(seen, "red" if check.reason else "dim"))
    out.print(grid)
    links = _grid(_LINK_WIDTH)
    for link in one.chain:
        links.add_row(_text("→" if link.chosen else " "), _text(f"  {link.link}"), _person(link))
    out.print(links)


def _clauses(grid: Table, clause: Clause, *, depth: int) -> None:
    """The filter as a tree, each condition with the invoice's own value."""
    from workflow.filters import GroupClause  # noqa: PLC0415 - loaded when asked for

    indent = "  " * (depth + 1)
    if isinstance(clause, GroupClause):
        grid.add_row(printing.marked(holds=clause.holds), _text(f"{indent}{_JOINED[clause.joined]}", "dim"), "")
        for part in clause.parts:
            _clauses(grid, part, depth=depth + 1)
        return
    match clause.actual:
        case None:
            actual = "it has none"
        case frozenset() as titles:
            actual = ", ".join(sorted(titles)) or "it has none"
        case value:
            actual = str(value)
    grid.add_row(
        printing.marked(holds=clause.holds),
        _text(f"{indent}{clause.text}"),
        _text(actual, "dim" if clause.holds else "red"),
    )


def _person(link: ChainLink) -> Any:  # noqa: ANN401 - a rich Text, which is loaded lazily
    if link.contact is None:
        return _text("nobody", "dim")
    refuses = " (refuses mail)" if link.contact.suppressed else ""
    return _text(f"{link.contact.name} <{link.contact.email}>{refuses}", "" if link.chosen else "dim")


def _past(out: Console, found: Explanation, lang: Language) -> None:
    if found.runs:
        printing.heading(out, "Runs that looked at it")
        for run in found.runs:
            detail = f" ({run.detail})" if run.detail else ""
            made = f", reminder {run.reminder_id}" if run.reminder_id else ""
            words = f"{run.rule}: {_words(run.reason, lang)}{detail}{made}"
            printing.line(out, f"{printing.minute(run.due_at)}  run {run.run_id}, {words}")
    if found.reminders:
        printing.heading(out, "Reminders about it")
        for mail in found.reminders:
            level = f", level {mail.level} to {mail.level + 1}" if mail.level is not None else ", does not count"
            day = f" on {mail.ended_on}" if mail.ended_on else ""
            money = printing.amount(mail.amount, mail.currency)
            reached = ", reached nobody" if mail.undelivered_at else ""
            state = f"{mail.state.replace('_', ' ')}{day}{reached}"
            printing.line(out, f"{mail.id}  {mail.rule}{level}, {state}, {money} to {mail.recipient}")
            for attempt in found.attempts[mail.id]:
                said = f": {attempt.detail}" if attempt.detail else ""
                step = attempt.step.replace("_", " ")
                printing.line(out, f"{printing.instant(attempt.at)}  {step}{said}", indent=6, style="dim")
            for back in found.feedback[mail.id]:
                words = f"{printing.instant(back.received_at)}  {_told(back, lang)}"
                printing.line(out, words, indent=6, style="red" if back.kind in {"hard", "complaint"} else "dim")
    told = [line for change in found.changes if (line := _change(change))]
    if told or found.payments:
        printing.heading(out, "What changed")
    for payment in found.payments:
        money = printing.amount(payment.amount, payment.currency)
        out.print(
            f"  {payment.received_on}  {payment.kind.replace('_', ' ')} {money} {printing.clean(payment.reference)}"
        )
    for line in told:
        printing.line(out, line)


def _came_back(back: Feedback, lang: Language) -> str:
    from workflow.bounces import REASONS as ABOUT_MAILS  # noqa: PLC0415 - loaded when asked for

    return ABOUT_MAILS[back.reason][lang]


def _told(back: Feedback, lang: Language) -> str:
    """What came back, without a name: `hard bounce: no such mailbox (5.1.1), at sha256:3f2a8c1b9d0e`."""
    status = f" ({back.status})" if back.status else ""
    who = ""
    if back.about:
        who = f", {'from' if back.kind in {'answer', 'auto_reply'} else 'at'} {back.about[:_HASH_SHOWN]}"
    return f"{_CAME_BACK[back.kind]}: {_came_back(back, lang)}{status}{who}"


def _change(change: Change) -> str:
    shown = {name: values for name, values in change.change.items() if name not in _PASSING}
    if not shown:
        return ""
    words = ", ".join(
        f"{name.replace('_', ' ')} {printing.DASH if old is None else old} → {printing.DASH if new is None else new}"
        for name, (old, new) in shown.items()
    )
    because = f" ({change.because})" if change.because else ""
    day = change.today or change.at.astimezone().date()
    return f"{day}  {words}, by {change.actor}{because}"


def _grid(first: int = 9) -> Table:
    """Marks, names of `first` columns, values. Of a width that rich may change, it loses the last letters."""
    from rich.table import Table  # noqa: PLC0415 - only people need it

    grid = Table.grid(padding=(0, 1), pad_edge=False)
    grid.add_column(width=2, justify="right")
    grid.add_column(overflow="fold", width=first)
    grid.add_column(overflow="fold")
    return grid


def _text(text: str, style: str = "") -> Any:  # noqa: ANN401 - a rich Text, which is loaded lazily
    from rich.text import Text  # noqa: PLC0415 - only people need it

    return Text(printing.clean(text), style=style)
