"""What a person asked for and no row's own trigger would write down: ids and reasons, never personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.connection import Connection

_WRITE = """
INSERT INTO journal (subject, subject_id, change) VALUES (%(subject)s::text, %(subject_id)s, %(change)s::jsonb)
"""
_WRITE_ALL = """
INSERT INTO journal (subject, subject_id, change)
SELECT %(subject)s::text, id, %(change)s::jsonb FROM unnest(%(ids)s::bigint[]) AS s (id) ORDER BY id
"""


def write(conn: Connection, subject: str, subject_id: int, change: Mapping[str, tuple[Any, Any] | list[Any]]) -> None:
    """Append {what: [old, new]}; who, why and the business day are those of the transaction (see connection.act)."""
    conn.execute(_WRITE, {"subject": subject, "subject_id": subject_id, "change": Jsonb(change)})


def write_all(
    conn: Connection, subject: str, subject_ids: Sequence[int], change: Mapping[str, tuple[Any, Any] | list[Any]]
) -> None:
    """Append the same change of many subjects, a line each."""
    conn.execute(_WRITE_ALL, {"subject": subject, "ids": list(subject_ids), "change": Jsonb(change)})
