"""Lists of ids reach the database as they are, whatever stands in them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.connection import connect, pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.connection import Connection


@pytest.fixture(scope="module")
def conn(shared_database_url: str) -> Iterator[Connection]:
    with connect(shared_database_url) as opened, opened.transaction(force_rollback=True):
        yield opened


def came_back(conn: Connection, values: list[object], kind: str) -> object:
    row = conn.execute(f"SELECT %(values)s::{kind}[]".encode(), {"values": values}).fetchone()
    return row and row[0]


@given(st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1) | st.none(), max_size=20))
def test_numbers_come_back_as_they_were(conn: Connection, values: list[object]) -> None:
    assert came_back(conn, values, "bigint") == values


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a,b", '"', "{}", "", None], "text"),
        ([True, False], "boolean"),
        ([date(2026, 11, 24), None], "date"),
        ([[1, 2], [3, 4]], "bigint"),
        ([b"\0\xff"], "bytea"),
    ],
)
def test_everything_else_does_too(conn: Connection, values: list[object], kind: str) -> None:
    assert came_back(conn, values, kind) == values


def test_a_pools_connections_write_lists_alike(shared_database_url: str) -> None:
    with pool(shared_database_url, actor="system", size=1) as opened, opened.connection() as conn:
        assert came_back(conn, [1, 2], "int") == [1, 2]
        assert came_back(conn, [], "int") == []
