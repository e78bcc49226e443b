"""What a filter means in SQL: the WHERE of the same grammar that `workflow.filters` evaluates on values."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, LiteralString, cast

from psycopg.sql import SQL, Composed, Placeholder

from workflow.filter_grammar import LISTS
from workflow.filters import Condition

if TYPE_CHECKING:
    from datetime import date

    from workflow.filter_grammar import Op, Scalar
    from workflow.filters import Filter

COLUMNS: Final[dict[str, tuple[LiteralString, LiteralString]]] = {
    "level": ("i.level", "integer"),
    "state": ("i.state", "text"),
    "commercial_state": ("i.commercial_state", "text"),
    "balance": ("i.balance", "numeric"),
    "total": ("i.total", "numeric"),
    "currency": ("i.currency", "text"),
    "customer": ("c.number", "text"),
    "customer_kind": ("c.kind", "text"),
    "payment_method": ("i.payment_method", "text"),
    "number": ("i.number", "text"),
    "issued_on": ("i.issued_on", "date"),
    "due_on": ("i.due_on", "date"),
    "last_reminded_on": ("i.last_reminded_on", "date"),
    "days_overdue": ("i.due_on", "date"),
    "days_since_reminder": ("i.last_reminded_on", "date"),
}
# What an invoice or its customer carries, as the inside of an EXISTS; of the invoice's tags the planned ones count too.
# A UNION or an OFFSET keeps it a look-up by key for each row, whatever the statistics say: as an anti-join, a plan made
# on fresh tables read all the tags there are for each invoice.
SETS: Final[dict[str, LiteralString]] = {
    "tag": """
        SELECT 1 FROM taggings m WHERE m.invoice_id = i.id AND {held}
        UNION ALL
        SELECT 1 FROM reminder_invoices ri
         WHERE ri.invoice_id = i.id AND ri.outcome IN ('planned', 'in_doubt', 'accepted')
           AND (SELECT {planned} FROM effects e
                 WHERE e.reminder_id = ri.reminder_id AND e.kind = 'tags' AND e.state <> 'done')""",
    "customer_tag": "SELECT 1 FROM customer_taggings m WHERE m.customer_id = c.id AND {held} OFFSET 0",
}
# Arrays found once, before the scan.
TAG_IDS: Final = "ARRAY(SELECT id FROM tags WHERE title = ANY ({}))"
COMPANY_IDS: Final = "ARRAY(SELECT id FROM companies WHERE code = ANY ({}))"
# Fields that count the days from a column to today. N days or more since a day is: the day is today - N or before. So
# the column stands bare, and an index on it serves.
DAYS_BACK: Final = frozenset({"days_overdue", "days_since_reminder"})
BACKWARDS: Final[dict[Op, Op]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}

OPERATORS: Final[dict[Op, LiteralString]] = {
    "=": "=",
    "!=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "in": "= ANY",
    "not in": "<> ALL",
    "is empty": "IS NULL",
    "is not empty": "IS NOT NULL",
}


def compile_filter(filter_: Filter, today: date) -> tuple[Composed, dict[str, object]]:
    """Return a WHERE expression over `invoices i JOIN customers c`, and its parameters (named filter_0, filter_1 …).

    It is true for exactly the invoices that `workflow.filters.matches` selects. Use it in a WHERE, never under a NOT,
    since it may be null instead of false. Only below a `not` is a comparison made two-valued; elsewhere it is left
    bare, so that an index can serve it.
    """
    parameters: dict[str, object] = {}
    return _where(filter_, today, parameters, negated=False), parameters


def _where(filter_: Filter, today: date, parameters: dict[str, object], *, negated: bool) -> Composed:
    if isinstance(filter_, Condition):
        bare = _condition(filter_, today, parameters)
        return SQL("COALESCE({}, FALSE)").format(bare) if negated else bare
    if filter_.joined == "not":
        return SQL("NOT {}").format(_where(filter_.parts[0], today, parameters, negated=True))
    if not filter_.parts:
        return Composed([SQL("TRUE")])
    parts = [_where(part, today, parameters, negated=negated) for part in filter_.parts]
    return SQL("({})").format(SQL(" AND " if filter_.joined == "all" else " OR ").join(parts))


def _condition(condition: Condition, today: date, parameters: dict[str, object]) -> Composed:
    field, op, values = condition.field, condition.op, condition.values
    found = op in ("=", "in", "is not empty")
    if field in SETS:
        held = planned = SQL("TRUE").format()
        if values:
            ids = SQL(TAG_IDS).format(_bound(list(values), "text[]", parameters))
            held, planned = SQL("m.tag_id = ANY ({})").format(ids), SQL("e.tag_ids && {}").format(ids)
        inside = SQL(SETS[field]).format(held=held, planned=planned)
        return SQL("EXISTS ({})" if found else "NOT EXISTS ({})").format(inside)
    if field == "company":
        # An array, so that i.company_id can lead an index.
        ids = SQL(COMPANY_IDS).format(_bound(list(values), "text[]", parameters))
        return SQL("i.company_id = ANY ({})" if found else "i.company_id <> ALL ({})").format(ids)
    column, type_name = COLUMNS[field]
    if not values:
        return SQL("{} {}").format(SQL(column), SQL(OPERATORS[op]))
    if field in DAYS_BACK:
        op = BACKWARDS.get(op, op)
        values = tuple(today - timedelta(days=cast("int", value)) for value in values)
    if op in LISTS:
        right = SQL("({})").format(_bound(list(values), f"{type_name}[]", parameters))
    else:
        right = _bound(values[0], type_name, parameters)
    return SQL("{} {} {}").format(SQL(column), SQL(OPERATORS[op]), right)


def _bound(value: Scalar | list[Scalar], type_name: LiteralString, parameters: dict[str, object]) -> Composed:
    name = f"filter_{len(parameters)}"
    parameters[name] = value
    return SQL("{}::{}").format(Placeholder(name), SQL(type_name))
