"""Connections: bounded in every way a query can hang, and signed by who acts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.array import BaseListDumper, ListDumper
from psycopg_pool import ConnectionPool

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import date

    from psycopg.abc import Buffer, DumperKey
    from psycopg.adapt import PyFormat

Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[Connection]

# A generic plan is chosen once for each prepared statement: replanning arrays of ids costs more than half of a tick.
# Every
# query here goes by key; a plan made while a table was still empty must not scan it once it has grown.
_OPTIONS = (
    "-c statement_timeout=60s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
    " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c timezone=UTC -c jit=off"
)


class _NumbersDumper(BaseListDumper):
    """A list of whole numbers alone, written in one go: their type is that of the cast which follows them."""

    def dump(self, obj: list[int]) -> Buffer:
        return ("{" + ",".join(map(str, obj)) + "}").encode("ascii")


class _ListDumper(ListDumper):
    """psycopg's, which asks each entry for its own form; a list of ids, the usual one, takes a quarter of the time."""

    def get_key(self, obj: list[Any], format: PyFormat) -> DumperKey:  # noqa: A002 - psycopg's own name
        return (list, int) if _are_numbers(obj) else super().get_key(obj, format)

    def upgrade(self, obj: list[Any], format: PyFormat) -> BaseListDumper:  # noqa: A002 - psycopg's own name
        return _NumbersDumper(list, self._tx) if _are_numbers(obj) else super().upgrade(obj, format)


def _are_numbers(values: list[Any]) -> bool:
    return bool(values) and type(values[0]) is int and set(map(type, values)) == {int}


_ACT = """
SELECT set_config('relance.actor', %(actor)s::text, true),
       set_config('relance.because', %(because)s::text, true),
       set_config('relance.today', %(today)s::text, true)
"""
_ON_DAY = "SELECT set_config('relance.today', %(today)s::text, true)"


def connect(url: str, *, actor: str = "system") -> Connection:
    """Open one connection whose changes are journaled as the actor's. The caller closes it."""
    opened = psycopg.connect(url, row_factory=tuple_row, **_bounds(actor))
    _adapt(opened)
    return opened


@contextmanager
def pool(url: str, *, actor: str, size: int) -> Generator[Pool]:
    """Up to `size` connections, opened as they are needed and closed at the end."""
    with ConnectionPool(
        url,
        kwargs={"row_factory": tuple_row, **_bounds(actor)},
        configure=_adapt,
        min_size=0,
        max_size=size,
        open=True,
        timeout=30,
    ) as opened:
        yield opened


def _adapt(conn: psycopg.Connection[Any]) -> None:
    conn.adapters.register_dumper(list, _ListDumper)


def _bounds(actor: str) -> dict[str, Any]:
    """Limits on the server's side, and on the network's: a silent one is noticed within a minute."""
    return {
        "options": f"{_OPTIONS} -c relance.actor={actor}",
        "connect_timeout": 10,
        "tcp_user_timeout": 60_000,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }


def on_day(conn: Connection, today: date) -> None:
    """Journal what follows in this transaction under this business day."""
    conn.execute(_ON_DAY, {"today": today.isoformat()})


def act(conn: Connection, *, actor: str, because: str = "", today: date | None = None) -> None:
    """Sign what follows in this transaction: who, why, and the business day, for the journal."""
    conn.execute(_ACT, {"actor": actor, "because": because, "today": today.isoformat() if today else ""})
