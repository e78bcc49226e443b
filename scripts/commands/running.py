"""Preview a rule, run it by hand, follow its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts import printing
from scripts.caller import Caller, calling, desk, desks
from scripts.printing import DAY, INSTANT, ROW_ID, json_option, lang_option, yes_option
from scripts.watching import watch, watch_options

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from operations.preview import Preview
    from operations.runs import Followed, RunLine, RunStory
    from scripts.printing import Out
    from store.runs import Progress, Run, Undated
    from workflow.facts import Language

_MAILS_SHOWN = 30
_LEFT_OUT_SHOWN = 30


@click.command()
@click.argument("rule")
@click.option("--on", "on", type=DAY, help="As if it ran on that day.")
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
    "--now", type=INSTANT, metavar="WHEN", help="Set the business clock to it first; on a test instance only."
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
@click.argument("run_id", metavar="[ID]", type=ROW_ID, required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to list.")
@watch_options
@json_option
@lang_option
@calling
def runs(
    caller: Caller,
    *,
    run_id: int | None,
    limit: int,
    watching: bool,
    every_s: float,
    lang: Language,
    as_json: bool,
) -> None:
    """List the latest runs, or tell the run ID: where its mails stand, who was left out, what to see to.

    --watch follows the run ID until it closes, and then tells it.
    """
    from operations import runs as told  # noqa: PLC0415 - loaded when asked for

    if watching and run_id is None:
        raise click.UsageError("--watch needs the ID of a run")
    if watching and run_id is not None and not _follow(caller, run_id, every_s=every_s, as_json=as_json):
        return
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


def _follow(caller: Caller, run_id: int, *, every_s: float, as_json: bool) -> bool:
    """Show the run as it proceeds. Whether its story is still to be told: it ended, and nobody reads it as JSON."""
    from operations.runs import follow  # noqa: PLC0415 - loaded when asked for

    with desks(caller) as one_desk:

        def look() -> Followed:
            with one_desk() as at:
                return follow(at.conn, run_id)

        to_json = _followed_json if as_json else None
        last = watch(look, _proceeding, every_s=every_s, to_json=to_json, ended=lambda found: found.ended)
    return last.ended and not as_json


def _followed_json(found: Followed) -> dict[str, object]:
    line = found.line
    return {**printing.plain(line.run), "rule": line.rule, "progress": line.progress, "pace": found.pace}


def _proceeding(out: Out, found: Followed) -> None:
    line, pace, progress = found.line, found.pace, found.line.progress
    printing.heading(out, f"Run {line.run.id} of {line.rule}: {line.run.standing}")
    _held(out, line.run)
    printing.table(
        out,
        ("", "mails", "a second", "left"),
        [
            (
                printing.bar(pace.done, pace.mails),
                pace.done_of(estimate=progress.undecided > 0),
                f"{pace.per_s:.1f}",
                printing.duration(pace.left_s),
            )
        ],
    )
    _progress(out, line.run.candidates or 0, progress)


def _held(out: Out, run: Run) -> None:
    if run.held:
        since = printing.minute(run.held_at)
        out.print(f"HELD since {since}: {printing.clean(run.held_because or '')}", style="bold red")
        out.print(f"To let it go: relance release run {run.id} --because TEXT")
        out.print(f"To let it end unsent: relance refuse-run {run.id} --because TEXT")


def _progress(out: Out, candidates: int, progress: Progress) -> None:
    rows = [
        (candidates, "candidates"),
        (progress.undecided, "undecided"),
        (progress.waiting, "mails waiting"),
        (progress.leaving, "leaving"),
        (progress.sent, "sent"),
        (progress.in_doubt, "in doubt"),
        (progress.failed, "failed"),
        (progress.cancelled, "cancelled"),
    ]
    printing.table(out, ("", " "), rows, right=("",))


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
        printing.and_more(out, len(found.mails) - _MAILS_SHOWN, "mails")
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
        printing.and_more(out, len(found.left_out) - _LEFT_OUT_SHOWN, "invoices")


def _numbers(undated: Undated) -> str:
    """How many, and the first numbers: `7 (FA-1, FA-2 …)`."""
    rest = " …" if undated.count > len(undated.first) else ""
    return f"{undated.count} ({printing.clean(', '.join(undated.first))}{rest})"


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
            line.run.standing,
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
    if run.refused_by:
        out.print(f"Refused by {printing.clean(summary.refused_by)}: nothing more of it leaves.")
    _held(out, run)
    if run.missed:
        missed = printing.count(run.missed, "earlier instant")
        out.print(f"It stands for {missed} too, slept over.")
    printing.heading(out, "Progress")
    _progress(out, summary.candidates, progress)
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
