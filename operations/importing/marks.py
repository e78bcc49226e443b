"""Tags put on invoices or on customers, as a file lists them."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from operations.acting import existing, line
from operations.importing.plans import Companies, Plan, in_steps
from operations.tags import GREY
from store import batches, imports, labels
from store.saving import save
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from operations.importing.plans import Progress
    from operations.importing.records import Record
    from store.connection import Connection

_Tagging = tuple[int, str]  # the id of what carries it, and the tag's title


def plan_tags(conn: Connection, records: Sequence[Record], *, create: bool) -> Plan:
    """Each tag once on each thing; one that does not exist is refused, or made where `create` says so.

    In a category that allows one tag the other goes, as if a person had put it on; a file that puts on both is refused.
    """
    plan = Plan()
    of_customers = bool(records) and "customer" in records[0].values
    find = _customers(conn, records) if of_customers else _invoices(conn, records)
    titles = list({title for record in records for title in _titles(record)})
    known = labels.tag_ids(conn, titles)
    alone = {} if of_customers else labels.one_only(conn, titles)
    wanted: dict[_Tagging, Record] = {}
    chosen: dict[_Tagging, tuple[str, int]] = {}
    for record in records:
        with plan.refusing(record):
            asked = [(find(record), _tag(title, known, create=create)) for title in _titles(record)]
            for thing, title in asked:
                if title in alone:
                    _check_alone(chosen.setdefault((thing, alone[title]), (title, record.line)), title, alone[title])
            fresh = [tagging for tagging in asked if tagging not in wanted]
            plan.repeated += not fresh
            wanted |= dict.fromkeys(fresh, record)
    carried = _carried(conn, wanted, known, of_customers=of_customers)
    new = [tagging for tagging in wanted if tagging not in carried]
    plan.added = len({wanted[tagging].line for tagging in new})
    plan.unchanged = len({record.line for record in wanted.values()}) - plan.added
    plan.write = partial(_write, new=new, known=known, of_customers=of_customers)
    return plan


def _write(
    conn: Connection, progress: Progress, *, new: list[_Tagging], known: dict[str, int], of_customers: bool
) -> None:
    lock = imports.lock_customers if of_customers else imports.lock_invoices
    lock(conn, sorted({thing for thing, _ in new}))
    by_title: defaultdict[str, list[int]] = defaultdict(list)
    for thing, title in new:
        by_title[title].append(thing)
    done = 0
    for title, things in by_title.items():
        tag_id = known.get(title) or save(conn, labels.TAGS, {"title": title, "colour": GREY, "category_id": None})
        rivals = labels.rivals(conn, [tag_id])
        for step in in_steps(things, done, len(new), progress):
            if of_customers:
                labels.tag_customers(conn, step, [tag_id])
            else:
                labels.untag(conn, step, rivals)
                labels.tag(conn, step, [tag_id])
        done += len(things)


def _check_alone(first: tuple[str, int], title: str, category: str) -> None:
    if first[0] != title:
        reason = f"the category {category} allows one tag only, and line {first[1]} says {first[0]}"
        raise InvalidInput(field="tag", value=title, reason=reason)


def _titles(record: Record) -> tuple[str, ...]:
    said = record.values["tag"]
    return (said,) if isinstance(said, str) else said


def _tag(title: str, known: dict[str, int], *, create: bool) -> str:
    title = line(title, field="tag")
    if title not in known and not create:
        raise InvalidInput(field="tag", value=title, reason="does not exist; --create-tags makes it")
    return title


def _customers(conn: Connection, records: Sequence[Record]) -> Callable[[Record], int]:
    """What finds a row's customer, or raises InvalidInput."""
    found = imports.customers(conn, {record.values.get("customer", "") for record in records})

    def find(record: Record) -> int:
        number = line(record.values.get("customer", ""), field="customer")
        return existing(found[number]["id"] if number in found else None, number, field="customer")

    return find


def _invoices(conn: Connection, records: Sequence[Record]) -> Callable[[Record], int]:
    """What finds a row's invoice, or raises InvalidInput."""
    companies = Companies(conn, records)
    found = companies.invoices(conn, [(companies.said(record), record.values.get("invoice", "")) for record in records])

    def find(record: Record) -> int:
        company, number = companies.of(record), line(record.values.get("invoice", ""), field="invoice")
        if (company, number) not in found:
            raise InvalidInput(field="invoice", value=number, reason=f"does not exist in company {company}")
        return found[company, number].id

    return find


def _carried(
    conn: Connection, pairs: Iterable[_Tagging], known: dict[str, int], *, of_customers: bool
) -> set[_Tagging]:
    """Which of these pairs stand already."""
    title_of = {tag_id: title for title, tag_id in known.items()}
    ids = {thing for thing, _ in pairs}
    if of_customers:
        found = imports.customer_taggings(conn, ids, title_of)
    else:
        found = {
            (thing, tag_id)
            for thing, tag_ids in batches.taggings(conn, list(ids), list(title_of)).items()
            for tag_id in tag_ids
        }
    return {(thing, title_of[tag_id]) for thing, tag_id in found}
