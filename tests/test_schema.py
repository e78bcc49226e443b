"""The schema on one page is the schema that the migrations build, and its lists are those of the code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, LiteralString, get_args

import psycopg
import pytest

from store import inbox
from store.companies import Auth
from store.connection import connect
from store.migrations import SchemaMismatch, migrate, require_current, steps, version
from store.outcomes import Outcome
from store.people import UserRole
from store.shipped import shipped
from workflow.doubt import POLICIES
from workflow.facts import CommercialState, CustomerKind, Language
from workflow.feedback import AfterBounce, FeedbackKind, TaskKind
from workflow.machine import LAST_LEVEL, STATES, level_of

if TYPE_CHECKING:
    from store.connection import Connection

# One row a part: its name, and its whole definition as PostgreSQL writes it.
CATALOGUE: dict[str, LiteralString] = {
    "columns": """
        SELECT c.relname || '.' || a.attname,
               concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                         a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
           AND NOT a.attisdropped
    """,
    "tables": """
        SELECT relname, concat_ws(' ', relkind, reloptions)
          FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
    """,
    "constraints": """
        SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": """
        SELECT tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid)
          FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
}


def catalogue(conn: Connection) -> dict[str, dict[str, str]]:
    return {kind: dict(conn.execute(query).fetchall()) for kind, query in CATALOGUE.items()}


def words_of_check(conn: Connection, table: str, column: str) -> set[str]:
    """The words that a column's own CHECK allows."""
    found = conn.execute(
        """
        SELECT pg_get_constraintdef(c.oid)
          FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
         WHERE c.contype = 'c' AND c.conrelid = %s::regclass AND a.attname = %s
        """,
        [table, column],
    ).fetchall()
    (definition,) = (row[0] for row in found if "ANY" in row[0] or "= 'tags'" in row[0])
    return set(re.findall(r"'(\w[\w-]*)'::text", definition))


def test_the_migrations_build_the_schema_of_the_page(database: Connection, empty_database_url: str) -> None:
    with connect(empty_database_url) as page:
        page.execute(shipped("schema.sql").read_bytes())
        built = catalogue(page)
    assert catalogue(database) == built
    assert all(parts for kind, parts in built.items() if kind != "views")


def test_a_database_is_migrated_once(empty_database_url: str) -> None:
    with connect(empty_database_url) as conn:
        assert version(conn) == 0
        with pytest.raises(SchemaMismatch, match="relance migrate"):
            require_current(conn)
        assert migrate(conn) == [path.stem for _, path in steps()]
        assert migrate(conn) == []
        require_current(conn)


def test_a_newer_database_asks_for_a_newer_relance(database: Connection) -> None:
    database.execute("INSERT INTO migrations (number, name) VALUES (9999, 'of tomorrow')")
    with pytest.raises(SchemaMismatch, match="upgrade relance"):
        require_current(database)


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("invoices", "state", set(STATES)),
        ("invoices", "commercial_state", set(get_args(CommercialState))),
        ("customers", "kind", set(get_args(CustomerKind))),
        ("customers", "language", set(get_args(Language))),
        ("contacts", "language", set(get_args(Language))),
        ("companies", "language", set(get_args(Language))),
        ("users", "language", set(get_args(Language))),
        ("users", "role", set(get_args(UserRole))),
        ("reminder_invoices", "outcome", set(get_args(Outcome))),
        ("feedback", "kind", set(get_args(FeedbackKind))),
        ("tasks", "kind", set(get_args(TaskKind))),
        ("companies", "after_bounce", set(get_args(AfterBounce))),
        ("mail_accounts", "doubt_policy", set(POLICIES)),
        ("mail_accounts", "auth", set(get_args(Auth))),
        ("inbox", "outcome", set(get_args(inbox.Outcome))),
        ("inbox", "door", set(get_args(inbox.Door))),
    ],
)
def test_a_list_of_words_is_the_same_in_the_schema_and_in_the_code(
    database: Connection, table: str, column: str, words: set[str]
) -> None:
    assert words_of_check(database, table, column) == words


@pytest.mark.parametrize("state", [state for state in STATES if state != "settled"])
def test_the_schema_reads_the_level_from_the_state(database: Connection, state: str) -> None:
    row = database.execute("SELECT substr(%s::text, 7, 1)::int", [state]).fetchone()
    assert row == (level_of(state),)
    assert level_of(state) <= LAST_LEVEL


@pytest.mark.parametrize("table", ["journal", "attempts", "payments", "feedback"])
@pytest.mark.parametrize("change", ["DELETE FROM", "UPDATE"])
def test_what_was_written_down_stays(database: Connection, table: str, change: str) -> None:
    statement = f"{change} {table}" + (" SET id = DEFAULT" if change == "UPDATE" else "")
    with pytest.raises(psycopg.errors.RaiseException, match=f"{table} is append-only"):
        database.execute(statement.encode())
