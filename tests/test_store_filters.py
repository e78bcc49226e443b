"""A filter means the same in SQL as on values, and the index of what is due can serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL

from store.filters import COLUMNS, DAYS_BACK, SETS, compile_filter
from tests.filter_strategies import INVOICES, TAGS, TODAY, filters, values_of
from workflow.filter_grammar import EMPTINESS
from workflow.filter_text import parse_text
from workflow.filters import FIELDS, Condition, matches

if TYPE_CHECKING:
    from datetime import date

    from psycopg import Connection

    from workflow.facts import InvoiceFacts
    from workflow.filters import Filter

# Temporary tables hide those of the schema: they take any invoice, also one that its checks would refuse.
TABLES = """
CREATE TEMP TABLE companies (id bigint, code text) ON COMMIT DROP;
CREATE TEMP TABLE customers (id bigint, number text, kind text) ON COMMIT DROP;
CREATE TEMP TABLE tags (id bigint, title text) ON COMMIT DROP;
CREATE TEMP TABLE taggings (invoice_id bigint, tag_id bigint) ON COMMIT DROP;
CREATE TEMP TABLE reminder_invoices (reminder_id bigint, invoice_id bigint, outcome text) ON COMMIT DROP;
CREATE TEMP TABLE effects (reminder_id bigint, kind text, state text, tag_ids bigint[]) ON COMMIT DROP;
CREATE TEMP TABLE customer_taggings (customer_id bigint, tag_id bigint) ON COMMIT DROP;
CREATE TEMP TABLE invoices (
    id bigint, company_id bigint, customer_id bigint, number text, state text, level smallint, commercial_state text,
    currency text, total numeric, balance numeric, issued_on date, due_on date, last_reminded_on date,
    payment_method text, open boolean
) ON COMMIT DROP;
CREATE INDEX invoices_due ON pg_temp.invoices (company_id, level, due_on) WHERE open;
INSERT INTO pg_temp.companies VALUES (1, 'NORD'), (2, 'SUD');
"""
INVOICE = """
INSERT INTO pg_temp.invoices VALUES (%(id)s, (SELECT id FROM pg_temp.companies WHERE code = %(company)s), %(id)s,
    %(number)s, %(state)s, %(level)s, %(commercial_state)s, %(currency)s, %(total)s, %(balance)s, %(issued_on)s,
    %(due_on)s, %(last_reminded_on)s, %(payment_method)s, true)
"""
SELECTED = "SELECT i.id FROM invoices i JOIN customers c ON c.id = i.customer_id WHERE {where}"


@pytest.fixture
def tables(database: Connection) -> Connection:
    database.execute(TABLES)
    with database.cursor() as cursor:
        cursor.executemany("INSERT INTO pg_temp.tags VALUES (%s, %s)", list(enumerate(TAGS)))
    return database


def keep(conn: Connection, number: int, invoice: InvoiceFacts) -> None:
    columns = (
        "company number state level commercial_state currency total balance issued_on due_on last_reminded_on"
        " payment_method"
    )
    conn.execute(INVOICE, {"id": number} | {name: getattr(invoice, name) for name in columns.split()})
    customer = invoice.customer
    conn.execute("INSERT INTO pg_temp.customers VALUES (%s, %s, %s)", (number, customer.number, customer.kind))
    tags = sorted(TAGS.index(tag) for tag in invoice.tags)
    for tag_id in tags[1:]:
        conn.execute("INSERT INTO pg_temp.taggings VALUES (%s, %s)", (number, tag_id))
    # The first is planned by a mail on its way; what a dropped mail had planned, or one has done, is not there.
    for reminder_id, outcome, state, planned in (
        (3 * number, "planned", "planned", tags[:1]),
        (3 * number + 1, "dropped", "planned", [*range(len(TAGS))]),
        (3 * number + 2, "accepted", "done", [*range(len(TAGS))]),
    ):
        if planned:
            conn.execute("INSERT INTO pg_temp.reminder_invoices VALUES (%s, %s, %s)", (reminder_id, number, outcome))
            conn.execute("INSERT INTO pg_temp.effects VALUES (%s, 'tags', %s, %s)", (reminder_id, state, planned))
    for tag in customer.tags:
        conn.execute("INSERT INTO pg_temp.customer_taggings VALUES (%s, %s)", (number, TAGS.index(tag)))


def selected(conn: Connection, filter_: Filter) -> set[int]:
    where, parameters = compile_filter(filter_, TODAY)
    return {row[0] for row in conn.execute(SQL(SELECTED).format(where=where), parameters)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(filters(), min_size=5, max_size=5), st.lists(INVOICES, min_size=4, max_size=4))
def test_a_filter_selects_the_same_invoices_in_sql_and_on_values(
    tables: Connection, some_filters: list[Filter], invoices: list[InvoiceFacts]
) -> None:
    with tables.transaction(force_rollback=True):
        for number, invoice in enumerate(invoices):
            keep(tables, number, invoice)
        for filter_ in some_filters:
            expected = {number for number, invoice in enumerate(invoices) if matches(filter_, invoice, TODAY)}
            assert selected(tables, filter_) == expected


@pytest.mark.parametrize("name", FIELDS)
def test_every_operator_of_a_field_and_its_opposite_mean_the_same_in_sql(name: str, tables: Connection) -> None:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
    @given(st.lists(INVOICES, min_size=3, max_size=3), st.lists(values_of(name), min_size=2, max_size=2))
    def check(invoices: list[InvoiceFacts], values: list[date | int | str]) -> None:
        with tables.transaction(force_rollback=True):
            for number, invoice in enumerate(invoices):
                keep(tables, number, invoice)
            for op in FIELDS[name].ops:
                width = 0 if op in EMPTINESS else 2 if "in" in op else 1
                condition = Condition(field=name, op=op, values=tuple(values[:width]))
                for filter_ in (condition, parse_text(f"not {condition}")):
                    expected = {number for number, invoice in enumerate(invoices) if matches(filter_, invoice, TODAY)}
                    assert selected(tables, filter_) == expected

    check()


def test_every_field_has_its_place_in_sql() -> None:
    assert {*COLUMNS, *SETS, "company"} == set(FIELDS)
    assert set(COLUMNS) >= DAYS_BACK


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(filters())
def test_any_filter_runs_on_the_schema(database: Connection, filter_: Filter) -> None:
    assert selected(database, filter_) == set()


def test_the_index_of_what_is_due_serves_a_rule(tables: Connection) -> None:
    filter_ = parse_text('company = "NORD" and level = 0 and days_overdue >= 15 and tag not in ("litige")')
    where, parameters = compile_filter(filter_, TODAY)
    tables.execute("SET LOCAL enable_seqscan = off")
    query = SQL("EXPLAIN " + SELECTED + " AND i.open").format(where=where)
    plan = "\n".join(row[0] for row in tables.execute(query, parameters))
    condition = next(line for line in plan.splitlines() if "Index Cond" in line and "level" in line)
    assert "company_id = ANY" in condition
    assert "level = 0" in condition
    assert "due_on <= '2026-11-09'::date" in condition


def test_nothing_that_a_person_wrote_is_in_the_query_itself(tables: Connection) -> None:
    where, parameters = compile_filter(parse_text("""tag = "'); DROP TABLE invoices; --%s" """), TODAY)
    assert "DROP" not in where.as_string(tables)
    assert parameters == {"filter_0": ["'); DROP TABLE invoices; --%s"]}
    assert selected(tables, parse_text("""number = "'); DROP TABLE invoices; --%s" """)) == set()
