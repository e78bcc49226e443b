"""What a decision needs, read set by set for many invoices at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflow.facts import Contact, CustomerFacts, InvoiceFacts, Pause

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date
    from decimal import Decimal

    from store.connection import Connection

# Both locks are skipped, never waited for: what somebody else holds is visited again. Ordered by id, customers first.
LOCK_CUSTOMERS = """
SELECT id FROM customers WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
LOCK_INVOICES = """
SELECT id FROM invoices WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""

_INVOICES = """
SELECT i.id, i.number, co.code, i.customer_id, i.state, i.level, i.cycle, i.row_version, i.commercial_state, i.currency,
       i.total, i.balance, i.issued_on, i.due_on, i.last_reminded_on, i.payment_method, i.factored, i.held_because,
       p.reason, p.until_on, p.promise,
       d.id, d.name, d.email, d.language, EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(d.email)),
       b.id, b.name, b.email, b.language, EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(b.email))
  FROM invoices i
  JOIN companies co ON co.id = i.company_id
  LEFT JOIN contacts d ON d.id = i.dunning_contact_id
  LEFT JOIN contacts b ON b.id = i.billing_contact_id
  LEFT JOIN LATERAL (SELECT reason, until_on, promise FROM pauses
                      WHERE invoice_id = i.id AND lifted_at IS NULL ORDER BY until_on DESC LIMIT 1) p ON true
 WHERE i.id = ANY(%(ids)s::bigint[])
 ORDER BY i.customer_id, i.id
"""

# A planned tag counts as present, except one that the deciding reminder itself has planned. The inner select is a
# look-up
# by key whatever the statistics say: joined, a plan made on a fresh table drove from all the effects there are.
_INVOICE_TAGS = """
SELECT held.invoice_id, t.title
  FROM (SELECT g.invoice_id, g.tag_id FROM taggings g WHERE g.invoice_id = ANY(%(ids)s::bigint[])
         UNION
        SELECT ri.invoice_id, unnest((SELECT e.tag_ids FROM effects e
                                       WHERE e.reminder_id = ri.reminder_id AND e.kind = 'tags' AND e.state <> 'done'))
          FROM reminder_invoices ri
         WHERE ri.invoice_id = ANY(%(ids)s::bigint[]) AND ri.outcome IN ('planned', 'in_doubt', 'accepted')
           AND ri.reminder_id <> ALL(%(besides)s::bigint[])) AS held
  JOIN tags t ON t.id = held.tag_id
"""

_CUSTOMERS = """
SELECT c.id, c.number, c.name, c.kind, c.row_version, c.language, c.excluded, c.held_because,
       p.reason, p.until_on, p.promise,
       ARRAY(SELECT t.title FROM customer_taggings g JOIN tags t ON t.id = g.tag_id WHERE g.customer_id = c.id),
       d.id, d.name, d.email, d.language, EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(d.email)),
       b.id, b.name, b.email, b.language, EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(b.email)),
       c.email, EXISTS (SELECT FROM suppressed_addresses s WHERE s.email = lower(c.email)),
       (SELECT after_bounce = 'next_contact' FROM companies WHERE id = %(company_id)s)
  FROM customers c
  LEFT JOIN contacts d ON d.id = c.dunning_contact_id
  LEFT JOIN contacts b ON b.id = c.billing_contact_id
  LEFT JOIN LATERAL (SELECT reason, until_on, promise FROM pauses
                      WHERE customer_id = c.id AND lifted_at IS NULL ORDER BY until_on DESC LIMIT 1) p ON true
 WHERE c.id = ANY(%(ids)s::bigint[])
 ORDER BY c.id
"""

# From the open tasks, which are few: an array first, so that no plan drives from all the reminders there are.
_UNDELIVERED = """
SELECT ri.invoice_id, lower((SELECT r.recipient FROM reminders r WHERE r.id = ri.reminder_id)),
       (SELECT t.id FROM tasks t WHERE t.kind = 'undelivered' AND t.reminder_id = ri.reminder_id)
  FROM reminder_invoices ri
 WHERE ri.outcome = 'accepted'
   AND ri.reminder_id = ANY(ARRAY(SELECT t.reminder_id FROM tasks t
                                   WHERE t.customer_id = ANY(%(ids)s::bigint[]) AND t.done_at IS NULL
                                     AND t.kind = 'undelivered'))
"""

_UNALLOCATED = """
SELECT customer_id, currency, sum(amount)
  FROM payments
 WHERE customer_id = ANY(%(ids)s::bigint[]) AND company_id = %(company_id)s AND invoice_id IS NULL
 GROUP BY customer_id, currency
HAVING sum(amount) > 0
"""

_LAST_MAILS = """
SELECT customer_id, max(coalesce(ended_on, %(today)s::date))
  FROM reminders
 WHERE customer_id = ANY(%(ids)s::bigint[]) AND company_id = %(company_id)s AND run_id <> %(run_id)s
   AND (open OR state = 'sent') AND undelivered_at IS NULL
 GROUP BY customer_id
"""

_MAILED_BY_RULE = """
SELECT ri.invoice_id, bool_or(r.open), max(r.ended_on) FILTER (WHERE r.state = 'sent')
  FROM reminder_invoices ri JOIN reminders r ON r.id = ri.reminder_id
 WHERE ri.invoice_id = ANY(%(ids)s::bigint[]) AND ri.rule_id = %(rule_id)s
   AND ri.outcome IN ('planned', 'in_doubt', 'accepted')
 GROUP BY ri.invoice_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """For whom the facts are read: the company whose rule decides, on which day, in which run.

    `run_id` 0: outside any run (a preview). `rule_id` is given where the rule does not count. `besides`: reminders
    whose
    own planned tags are not to be seen.
    """

    company_id: int
    today: date
    min_days_between_mails: int | None = None
    run_id: int = 0
    rule_id: int | None = None
    besides: tuple[int, ...] = ()
    stale_payments: str | None = None


def lock_customers(conn: Connection, ids: Collection[int]) -> set[int]:
    """Lock what nobody else holds, in id order; the ids locked."""
    return {row[0] for row in conn.execute(LOCK_CUSTOMERS, {"ids": sorted(ids)})}


def lock_invoices(conn: Connection, ids: Collection[int]) -> set[int]:
    """Lock what nobody else holds, in id order; the ids locked."""
    return {row[0] for row in conn.execute(LOCK_INVOICES, {"ids": sorted(ids)})}


def load(conn: Connection, ids: Sequence[int], asking: Asking) -> list[InvoiceFacts]:
    """The facts of these invoices as they stand, ordered by customer and id.

    An unknown id is absent from the answer.
    """
    with conn.pipeline():
        invoices = conn.execute(_INVOICES, {"ids": ids})
        invoice_tags = conn.execute(_INVOICE_TAGS, {"ids": ids, "besides": list(asking.besides)})
        by_rule = None
        if asking.rule_id is not None:
            by_rule = conn.execute(_MAILED_BY_RULE, {"ids": ids, "rule_id": asking.rule_id})
    rows = invoices.fetchall()
    tags: dict[int, set[str]] = defaultdict(set)
    for invoice_id, title in invoice_tags:
        tags[invoice_id].add(title)
    customers, undelivered = _customers(conn, sorted({row[3] for row in rows}), asking)
    mailed = {invoice_id: (live, last) for invoice_id, live, last in by_rule or ()}
    return [
        _invoice(
            row,
            customers[row[3]],
            asking,
            tags=frozenset(tags.get(row[0], ())),
            mailed=mailed.get(row[0], (False, None)),
            undelivered=undelivered.get(row[0], {}),
        )
        for row in rows
    ]


def _invoice(
    row: tuple[Any, ...],
    customer: CustomerFacts,
    asking: Asking,
    *,
    tags: frozenset[str],
    mailed: tuple[bool, date | None],
    undelivered: dict[str, int],
) -> InvoiceFacts:
    return InvoiceFacts(
        id=row[0],
        number=row[1],
        company=row[2],
        customer=customer,
        state=row[4],
        level=row[5],
        cycle=row[6],
        row_version=row[7],
        commercial_state=row[8],
        currency=row[9],
        total=row[10],
        balance=row[11],
        issued_on=row[12],
        due_on=row[13],
        last_reminded_on=row[14],
        payment_method=row[15],
        factored=row[16],
        held_because=row[17],
        pause=_pause(row[18:21]),
        tags=tags,
        interlocutors=_contacts(row[21:31]),
        rule_live=mailed[0],
        rule_mailed_on=mailed[1],
        stale_payments=asking.stale_payments,
        undelivered=undelivered,
    )


def _customers(
    conn: Connection, ids: list[int], asking: Asking
) -> tuple[dict[int, CustomerFacts], dict[int, dict[str, int]]]:
    """The customers by id; and by invoice: the addresses at which a mail about it reached nobody, with their tasks."""
    parameters = {"ids": ids, "company_id": asking.company_id}
    with conn.pipeline():
        # The row's version is read before what it guards: what changes in between is seen when the mail is armed.
        people = conn.execute(_CUSTOMERS, parameters)
        on_account = conn.execute(_UNALLOCATED, parameters)
        bounced = conn.execute(_UNDELIVERED, parameters)
        mails = None
        if asking.min_days_between_mails is not None:
            mails = conn.execute(_LAST_MAILS, parameters | {"today": asking.today, "run_id": asking.run_id})
    unallocated: dict[int, dict[str, Decimal]] = {}
    for customer_id, currency, amount in on_account:
        unallocated.setdefault(customer_id, {})[currency] = amount
    last_mails: dict[int, date] = dict(mails.fetchall()) if mails else {}
    undelivered: dict[int, dict[str, int]] = {}
    for invoice_id, address, task_id in bounced:
        undelivered.setdefault(invoice_id, {})[address] = task_id
    found = {
        row[0]: CustomerFacts(
            id=row[0],
            number=row[1],
            name=row[2],
            kind=row[3],
            row_version=row[4],
            language=row[5],
            excluded=row[6],
            held_because=row[7],
            pause=_pause(row[8:11]),
            tags=frozenset(row[11]),
            contacts=_contacts(row[12:22]),
            address=row[22] and Contact(id=0, name=row[2], email=row[22], language=row[5], suppressed=row[23]),
            unallocated=unallocated.get(row[0], {}),
            last_mail_on=last_mails.get(row[0]),
            min_days_between_mails=asking.min_days_between_mails,
            passes_over=row[24],
        )
        for row in people
    }
    return found, undelivered


def _pause(row: tuple[Any, ...]) -> Pause | None:
    return Pause(reason=row[0], until_on=row[1], promise=row[2]) if row[1] else None


def _contacts(row: tuple[Any, ...]) -> dict[Any, Contact]:
    """Two contacts of five columns each: the dunning one, then the billing one."""
    return {
        role: Contact(id=row[at], name=row[at + 1], email=row[at + 2], language=row[at + 3], suppressed=row[at + 4])
        for role, at in (("dunning", 0), ("billing", 5))
        if row[at] is not None
    }
