"""Preview a rule, run it by hand, follow its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk
from scripts.printing import json_option, lang_option, yes_option

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from operations.preview import Preview
    from operations.runs import RunLine, RunStory
    from store.runs import Undated
    from workflow.facts import Language

_MAILS_SHOWN = 30
_LEFT_OUT_SHOWN = 30


@click.command()
@click.argument("rule")
@click.option("--on", "on", type=click.DateTime(["%Y-%m-%d"]), help="As if it ran on that day.")
@json_option
@lang_option
@calling
def preview(caller: Caller, *, rule: str, on: datetime | None, lang: Language, as_json: bool) -> None:
    """Show what RULE (a title or an id) would send: mail by mail, and whom it leaves out and why.

    The first 1,000 candidates by customer are decided, as a run would; counts of all are the filter's.
    """
    from operations.lookup import find_rule  # noqa: PLC0415 - loaded when asked for
    from operations.preview import preview as previewed  # noqa: PLC0415

    with desk(caller) as at:
        found = previewed(at.conn, find_rule(at.conn, rule), by=at.by, on=on.date() if on else None)
    _show_preview(found, lang, as_json=as_json)


@click.command()
@click.argument("rule")
@click.option(
    "--now",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]),
    help="Set the business clock to it first; on a test instance only.",
)
@click.option("--request", metavar="KEY", help="The request's name: asked twice by the same one, it runs once.")
@yes_option
@json_option
@lang_option
@calling
def run(
    caller: Caller, *, rule: str, now: datetime | None, request: str | None, lang: Language, yes: bool, as_json: bool
) -> None:
    """Run RULE (a title or an id) by hand, active or not. Prints the run's id; workers send its mails."""
    from operations import run as by_hand  # noqa: PLC0415 - loaded when asked for
    from operations.lookup import find_rule  # noqa: PLC0415
    from operations.preview import preview as previewed  # noqa: PLC0415

    with desk(caller) as at:
        saved = find_rule(at.conn, rule)
        instant = by_hand.on_clock(at.conn, saved, now) if now else None
        if instant:
            by_hand.check_may_set_clock(at.conn, instant)
        if not yes:
            found = previewed(at.conn, saved, by=at.by, on=instant.date() if instant else None)
        else:
            if instant:
                by_hand.set_business_clock(at.conn, instant, by=at.by)
            started = by_hand.run_by_hand(at.conn, saved, by=at.by, request_key=request)
    if not yes:
        _show_preview(found, lang, as_json=as_json)
        printing.message("nothing was done: add --yes to run it")
        return
    if as_json:
        printing.print_json({"run": started.run_id, "request": started.request_key, "made": started.made})
    else:
        click.echo(started.run_id)
    made = "is made" if started.made else "was made by this request before"
    printing.message(f"run {started.run_id} of {saved.title} {made}; follow it: relance runs {started.run_id}")


@click.command()
@click.argument("run_id", metavar="[ID]", type=int, required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to list.")
@json_option
@lang_option
@calling
def runs(caller: Caller, *, run_id: int | None, limit: int, lang: Language, as_json: bool) -> None:
    """List the latest runs, or tell the run ID: where its mails stand, who was left out, what to see to."""
    from operations import runs as told  # noqa: PLC0415 - loaded when asked for

    with desk(caller) as at:
        if run_id is None:
            lines = told.latest(at.conn, limit)
        else:
            story = told.story(at.conn, run_id)
    if run_id is None:
        _show_lines(lines, as_json=as_json)
    elif as_json:
        printing.print_json(story)
    else:
        _tell(printing.console(), story, lang)


def _words(reason: str, lang: Language) -> str:
    from workflow.decision import REASONS  # noqa: PLC0415 - loaded when asked for

    return REASONS[reason][lang] if reason in REASONS else reason.replace("_", " ")


def _show_preview(found: Preview, lang: Language, *, as_json: bool) -> None:
    if as_json:
        shown = printing.plain(found)
        shown["reasons"] = found.reasons
        for one in shown["left_out"]:
            one["words"] = _words(one["reason"], lang)
        printing.print_json(shown)
        return
    out = printing.console()
    printing.heading(out, f"{found.rule} (rule {found.rule_id}, version {found.version}) on {found.today}")
    balances = ", ".join(printing.amount(balance, currency) for currency, balance in found.balances.items())
    selected = ", ".join(filter(None, (printing.count(found.candidates, "invoice"), balances)))
    out.print(f"The filter selects {selected} (counted by SQL).")
    if found.decided < found.candidates:
        out.print(f"Decided here: the first {found.decided}, whole customers by key.")
    if found.undated.count:
        out.print(f"Without due date: {_numbers(found.undated)}, never chased.", style="yellow")
    for note in found.notes:
        out.print(f"! {printing.clean(note)}", style="yellow")
    if found.mails:
        printing.heading(out, printing.count(len(found.mails), "mail"))
        rows = [
            (
                f"{mail.customer} {mail.customer_name}",
                f"{mail.recipient} ({mail.link})",
                ", ".join(one.number for one in mail.invoices),
                printing.amount(mail.amount, mail.currency),
            )
            for mail in found.mails[:_MAILS_SHOWN]
        ]
        printing.table(out, ("customer", "to", "invoices", "amount"), rows, right=("amount",))
        _and_more(out, len(found.mails) - _MAILS_SHOWN, "mails")
    printing.heading(out, "Verdicts")
    rows_of_reasons = [(count, _words(reason, lang)) for reason, count in found.reasons.items()]
    printing.table(out, ("invoices", "verdict"), rows_of_reasons, right=("invoices",))
    if found.left_out:
        printing.heading(out, "Left out")
        left_out = [
            (
                one.invoice,
                f"{one.customer} {one.customer_name}",
                f"{_words(one.reason, lang)}{f': {one.detail}' if one.detail else ''}",
            )
            for one in found.left_out[:_LEFT_OUT_SHOWN]
        ]
        printing.table(out, ("invoice", "customer", "why"), left_out)
        _and_more(out, len(found.left_out) - _LEFT_OUT_SHOWN, "invoices")


def _numbers(undated: Undated) -> str:
    """How many, and the first numbers: `7 (FA-1, FA-2 …)`."""
    rest = " …" if undated.count > len(undated.first) else ""
    return f"{undated.count} ({printing.clean(', '.join(undated.first))}{rest})"


def _and_more(out: Console, more: int, what: str) -> None:
    if more > 0:
        out.print(f"… and {more} {what} more; --json shows all", style="dim")


def _show_lines(lines: list[RunLine], *, as_json: bool) -> None:
    if as_json:
        printing.print_json(
            [{**printing.plain(line.run), "rule": line.rule, "progress": line.progress} for line in lines]
        )
        return
    rows = [
        (
            line.run.id,
            line.rule,
            printing.minute(line.run.due_at),
            line.run.problem or line.run.state,
            line.run.candidates,
            line.progress.sent,
            line.progress.waiting + line.progress.leaving + line.progress.undecided,
            line.progress.in_doubt,
            line.progress.failed,
        )
        for line in lines
    ]
    columns = ("run", "rule", "due", "state", "of", "sent", "left", "doubt", "failed")
    printing.table(printing.console(), columns, rows, right=("run", *columns[4:]))


def _tell(out: Console, story: RunStory, lang: Language) -> None:
    run, summary, progress = story.run, story.summary, story.progress
    printing.heading(out, f"Run {run.id} of {summary.rule_title} (version {run.rule_version})")
    by = f"by hand, {summary.started_by}" if summary.by_hand else "by its schedule"
    out.print(f"Due {printing.minute(run.due_at)}, {by}; {run.state}{f': {run.problem}' if run.problem else ''}")
    if run.missed:
        missed = printing.count(run.missed, "earlier instant")
        out.print(f"It stands for {missed} too, slept over.")
    printing.heading(out, "Progress")
    rows = [
        (summary.candidates, "candidates"),
        (progress.undecided, "undecided"),
        (progress.waiting, "mails waiting"),
        (progress.leaving, "leaving"),
        (progress.sent, "sent"),
        (progress.in_doubt, "in doubt"),
        (progress.failed, "failed"),
        (progress.cancelled, "cancelled"),
    ]
    printing.table(out, ("", ""), rows, right=("",))
    amounts = ", ".join(printing.amount(total, currency) for currency, total in summary.amounts().items())
    if amounts:
        out.print(f"Accepted mails claim {amounts} for {printing.count(summary.reminded, 'invoice')}.")
    if story.reasons:
        printing.heading(out, "Verdicts")
        verdicts = [(count, _words(reason, lang)) for reason, count in story.reasons.items()]
        printing.table(out, ("invoices", "verdict"), verdicts, right=("invoices",))
    if summary.problems:
        printing.heading(out, f"{printing.count(summary.problem_count, 'problem')} to see to")
        problems = [
            (
                _words(one.kind, lang),
                one.customer_number,
                ", ".join(one.invoices) + ("" if one.count == len(one.invoices) else f" … {one.count} in all"),
                one.detail,
            )
            for one in summary.problems
        ]
        printing.table(out, ("problem", "customer", "invoices", "detail"), problems)
