"""Replay failed mails: a fresh run over their invoices, decided anew: fresh day, fresh recipient, no level twice."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from operations.acting import acting, line, number
from operations.preview import decided
from store import companies, journal, lookups, replays, rules, settings
from workflow.decision import REMINDED

if TYPE_CHECKING:
    from datetime import date

    from store.connection import Connection
    from store.replays import Failed
    from store.rules import PinnedRule
    from store.settings import Settings
    from workflow.decision import Verdict

# More failed mails than this are never read at once: the rest is for another replay.
MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """An invoice that would be reminded again: by which rule, at which address."""

    invoice: str
    customer: str
    rule: str
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An invoice that is left alone. `reason`: a key of workflow.decision.REASONS, or `moved_on`."""

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
    *,
    because: str,
    maximum: int,
    dry_run: bool,
    by: str,
    run_id: int | None = None,
    rule_id: int | None = None,
    since: date | None = None,
    error: str | None = None,
) -> Replay:
    """Replay at most `maximum` failed mails, the oldest first; those with no invoice left to remind do not count.

    Doing it twice sends nothing twice: an invoice whose mail is out, or that has moved on, is skipped. Raises
    InvalidInput without a reason or with a maximum below 1.
    """
    because = line(because, field="because")
    number(maximum, range(1, MOST + 1), field="max")
    found = replays.failed(conn, run_id=run_id, rule_id=rule_id, since=since, error=error, limit=MOST)
    titles = lookups.rule_titles(conn)
    here = settings.read(conn)
    today = next((one.day(here.business_now) for one in companies.companies(conn).values()), None)
    plan = Replay(mails=(), again=(), skipped=(), left=0, runs=(), done=not dry_run)
    with acting(conn, by=by, because=because, today=today):
        for (rule_id_, version), group in _by_rule(found).items():
            pinned = rules.pinned(conn, rule_id_, version)
            plan = _one_rule(conn, pinned, group, plan, here, title=titles[rule_id_], maximum=maximum, dry_run=dry_run)
    return plan


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
    dry_run: bool,
) -> Replay:
    company = companies.companies(conn)[pinned.company_id]
    moved_on = sorted({number for one in group for number in one.moved_on})
    ids = sorted({invoice_id for one in group for invoice_id in one.standing})
    groups = decided(conn, pinned, company, company.day(here.business_now), ids)
    verdicts = {verdict.invoice.id: verdict for each in groups for verdict in each}
    refused = here.test_instance and not pinned.rule.on_test_instance
    due = {one for one, verdict in verdicts.items() if verdict.reason == REMINDED and not refused}
    replayable = [one for one in group if due & set(one.standing)]
    taken = replayable[: maximum - len(plan.mails)]
    chosen = sorted({invoice_id for one in taken for invoice_id in one.standing if invoice_id in due})
    made = []
    if chosen and not dry_run:
        key = f"replay:{secrets.token_hex(8)}"
        made.append(replays.insert_run(conn, pinned, chosen, due_at=here.business_now, request_key=key))
        journal.write(conn, "run", made[0], {"replays": [None, [one.id for one in taken]]})
    return replace(
        plan,
        mails=(*plan.mails, *(one.id for one in taken)),
        again=(*plan.again, *(_again(verdicts[one], title) for one in chosen)),
        skipped=(
            *plan.skipped,
            *(Skipped(invoice=number, reason="moved_on", detail="") for number in moved_on),
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


def _skipped(verdict: Verdict, *, refused: bool) -> Skipped:
    if refused and verdict.reason == REMINDED:
        return Skipped(invoice=verdict.invoice.number, reason="test_instance", detail="")
    return Skipped(invoice=verdict.invoice.number, reason=verdict.reason, detail=verdict.detail)
