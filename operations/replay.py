"""Replay failed mails: a fresh run over their invoices, decided anew: fresh day, fresh recipient, no level twice."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from operations.acting import acting, line, number, optional_line
from operations.preview import decided
from operations.rules import require_may_run
from store import companies, journal, lookups, replays, rules, settings
from workflow.decision import REMINDED
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.connection import Connection
    from store.replays import Failed, Which
    from store.rules import PinnedRule
    from store.settings import Settings
    from workflow.decision import Verdict
    from workflow.facts import Language

# Why an invoice of a failed mail is left alone, beside the reasons of a decision.
SKIPPED: Final[dict[str, dict[Language, str]]] = {
    "moved_on": {"en": "no longer where the failed mail left it", "fr": "n'est plus là où l'envoi échoué l'a laissée"},
    "being_replayed": {"en": "a run decides about it again", "fr": "une exécution l'examine à nouveau"},
    "test_instance": {
        "en": "the rule may not run on a test instance",
        "fr": "la règle ne peut pas s'exécuter sur une instance de test",
    },
}
MOST: Final = 100_000
# Failed mails of one transaction.
STEP: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """An invoice that would be reminded again: by which rule, at which address."""

    invoice: str
    customer: str
    rule: str
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An invoice that is left alone. `reason`: a key of workflow.decision.REASONS, or of SKIPPED."""

    invoice: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What is replayed. `mails`: failed ones taken; `left`: more that match, beyond the maximum; `runs`: made by it."""

    mails: tuple[int, ...]
    again: tuple[Again, ...]
    skipped: tuple[Skipped, ...]
    left: int
    runs: tuple[int, ...]
    done: bool


def replay(
    conn: Connection,
    which: Which,
    *,
    because: str,
    maximum: int,
    dry_run: bool,
    by: str,
    commit: Callable[[], object] = lambda: None,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Replay:
    """Replay at most `maximum` failed mails, the oldest first; those with no invoice left to remind do not count.

    It goes step by step, each with its own runs; `commit` is called after each, and what was committed is done whatever
    comes then: the next replay goes on from there. Doing it twice sends nothing twice: an invoice whose mail is out,
    or that has moved on, is skipped, and so is a mail that a run is deciding about already. Raises InvalidInput without
    a reason, with a maximum below 1, for a period that ends before it begins, or for a rule not shared with them.
    """
    because = line(because, field="because")
    number(maximum, range(1, MOST + 1), field="max")
    optional_line(which.error or "", field="error")
    if which.since and which.until and which.until < which.since:
        raise InvalidInput(field="until", value=which.until.isoformat(), reason=f"is before {which.since.isoformat()}")
    titles = lookups.rule_titles(conn)
    saved = {one.id: one for one in rules.saved(conn)}
    here = settings.read(conn)
    today = next((one.day(here.business_now) for one in companies.companies(conn).values()), None)
    plan = Replay(mails=(), again=(), skipped=(), left=0, runs=(), done=not dry_run)
    last = 0
    while True:
        with acting(conn, by=by, because=because, today=today):
            make = not dry_run and len(plan.mails) < maximum
            if make:
                replays.take_turn(conn)
            found = replays.failed(conn, which, after=last, limit=STEP)
            for (rule_id, version), group in _by_rule(found).items():
                if rule_id in saved:
                    require_may_run(conn, saved[rule_id], by=by)
                pinned = rules.pinned(conn, rule_id, version)
                plan = _one_rule(conn, pinned, group, plan, here, title=titles[rule_id], maximum=maximum, make=make)
        commit()
        progress(len(plan.mails), maximum)
        if len(found) < STEP:
            return plan
        last = found[-1].id


def _by_rule(found: list[Failed]) -> dict[tuple[int, int], list[Failed]]:
    groups: dict[tuple[int, int], list[Failed]] = {}
    for one in found:
        groups.setdefault((one.rule_id, one.rule_version), []).append(one)
    return groups


def _one_rule(
    conn: Connection,
    pinned: PinnedRule,
    group: list[Failed],
    plan: Replay,
    here: Settings,
    *,
    title: str,
    maximum: int,
    make: bool,
) -> Replay:
    company = companies.companies(conn)[pinned.company_id]
    ids = sorted({invoice_id for one in group for invoice_id in one.standing})
    groups = decided(conn, pinned, company, company.day(here.business_now), ids)
    verdicts = {verdict.invoice.id: verdict for each in groups for verdict in each}
    refused = here.test_instance and not pinned.rule.on_test_instance
    due = {one for one, verdict in verdicts.items() if verdict.reason == REMINDED and not refused}
    replayable = [one for one in group if due & set(one.standing)]
    taken = replayable[: maximum - len(plan.mails)]
    chosen = sorted({invoice_id for one in taken for invoice_id in one.standing if invoice_id in due})
    made = []
    if chosen and make:
        key = f"replay:{secrets.token_hex(8)}"
        run_id = replays.insert_run(conn, pinned, chosen, due_at=here.business_now, request_key=key)
        mails = [one.id for one in taken]
        replays.taken(conn, mails, run_id)
        journal.write_all(conn, "reminder", mails, {"replayed_in": [None, run_id]})
        made.append(run_id)
    return replace(
        plan,
        mails=(*plan.mails, *(one.id for one in taken)),
        again=(*plan.again, *(_again(verdicts[one], title) for one in chosen)),
        skipped=(
            *plan.skipped,
            *dict.fromkeys(_elsewhere(one, number) for one in group for number in one.elsewhere),
            *(_skipped(verdict, refused=refused) for one, verdict in verdicts.items() if one not in due),
        ),
        left=plan.left + len(replayable) - len(taken),
        runs=(*plan.runs, *made),
    )


def _again(verdict: Verdict, title: str) -> Again:
    recipient = verdict.recipient.contact.email if verdict.recipient else ""
    return Again(
        invoice=verdict.invoice.number, customer=verdict.invoice.customer.number, rule=title, recipient=recipient
    )  # fmt: skip


def _elsewhere(one: Failed, number: str) -> Skipped:
    if one.being_replayed_in:
        return Skipped(invoice=number, reason="being_replayed", detail=f"run {one.being_replayed_in}")
    return Skipped(invoice=number, reason="moved_on", detail="")


def _skipped(verdict: Verdict, *, refused: bool) -> Skipped:
    if refused and verdict.reason == REMINDED:
        return Skipped(invoice=verdict.invoice.number, reason="test_instance", detail="")
    return Skipped(invoice=verdict.invoice.number, reason=verdict.reason, detail=verdict.detail)
