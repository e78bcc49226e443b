"""Holds: a rule, an account, a customer, an invoice or a run that a person keeps back, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, LiteralString

if TYPE_CHECKING:
    from store.connection import Connection

Held = Literal["rule", "account", "customer", "invoice", "run"]

_TABLE: Final[dict[Held, LiteralString]] = {
    "rule": "rules",
    "account": "mail_accounts",
    "customer": "customers",
    "invoice": "invoices",
    "run": "runs",
}
# What a person says takes the place of what the engine said of its size.
_ALSO: Final[dict[Held, LiteralString]] = {"run": ", oversize = NULL"}
_HOLD: Final[dict[Held, LiteralString]] = {
    subject: f"UPDATE {table} SET held_because = %(because)s::text, held_at = coalesce(held_at, now())"
    f"{_ALSO.get(subject, '')} WHERE id = %(id)s::bigint AND held_because IS DISTINCT FROM %(because)s::text"
    for subject, table in _TABLE.items()
}
_RELEASE: Final[dict[Held, LiteralString]] = {
    subject: f"UPDATE {table} SET held_because = NULL, held_at = NULL"
    f"{_ALSO.get(subject, '')} WHERE id = %(id)s::bigint AND held_because IS NOT NULL"
    for subject, table in _TABLE.items()
}
_RELEASED = """
UPDATE runs SET released = released OR candidates IS NOT NULL, hinted_until = '-infinity' WHERE id = %(id)s::bigint
"""
_UNFINISHED_RUN = """
SELECT id FROM runs WHERE id = %(id)s::bigint AND closed_at IS NULL AND refused_by IS NULL FOR NO KEY UPDATE
"""
_WHY = "SELECT held_because FROM runs WHERE id = %(id)s::bigint"
_WHY_INVOICE = "SELECT held_because FROM invoices WHERE id = %(id)s::bigint"
_RULE = "SELECT id FROM rules WHERE title = %(title)s::text"
_ACCOUNT = "SELECT id FROM mail_accounts WHERE name = %(name)s::text"


def hold(conn: Connection, subject: Held, subject_id: int, *, because: str) -> bool:
    """Hold it. False when it was held for this very reason."""
    return conn.execute(_HOLD[subject], {"id": subject_id, "because": because}).rowcount == 1


def release(conn: Connection, subject: Held, subject_id: int) -> bool:
    """Hold it no longer. False when it was not held."""
    return conn.execute(_RELEASE[subject], {"id": subject_id}).rowcount == 1


def let_run_go(conn: Connection, run_id: int) -> None:
    """A person has let a run go: where its size had been told, it is not held for that again."""
    conn.execute(_RELEASED, {"id": run_id})


def unfinished_run(conn: Connection, run_id: int) -> int | None:
    """The run of that number, locked, where it has neither ended nor been refused."""
    row = conn.execute(_UNFINISHED_RUN, {"id": run_id}).fetchone()
    return row[0] if row else None


def why_run_held(conn: Connection, run_id: int) -> str | None:
    """Why a run is held; None where it is not."""
    row = conn.execute(_WHY, {"id": run_id}).fetchone()
    return row[0] if row else None


def why_invoice_held(conn: Connection, invoice_id: int) -> str | None:
    """Why an invoice is held; None where it is not."""
    row = conn.execute(_WHY_INVOICE, {"id": invoice_id}).fetchone()
    return row[0] if row else None


def rule_id(conn: Connection, title: str) -> int | None:
    """The rule of this title."""
    row = conn.execute(_RULE, {"title": title}).fetchone()
    return row[0] if row else None


def account_id(conn: Connection, name: str) -> int | None:
    """The account of this name."""
    row = conn.execute(_ACCOUNT, {"name": name}).fetchone()
    return row[0] if row else None
