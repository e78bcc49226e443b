"""From what a person typed to the row meant: an id or a name; a name that nobody has is answered with the nearest."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from store import lookups, rules, runs
from workflow.errors import RelanceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from store.connection import Connection
    from store.lookups import FoundInvoice
    from store.rules import SavedRule


class Unknown(RelanceError):  # noqa: N818 - a fact about a name
    """Nothing has this name: `kind` and `name` as asked, `nearest` what may have been meant."""

    def __init__(self, *, kind: str, name: str, nearest: Iterable[str] = ()) -> None:
        """Say which name, and offer the nearest ones."""
        self.kind = kind
        self.name = name
        self.nearest = tuple(nearest)
        hint = f"; the nearest: {', '.join(self.nearest)}" if self.nearest else ""
        super().__init__(f"no {kind} {name!r}{hint}")


class Ambiguous(RelanceError):  # noqa: N818 - a fact about a name
    """Several things have this name."""

    def __init__(self, *, kind: str, name: str, owners: Iterable[str]) -> None:
        """Say which ones, and how to tell them apart."""
        self.kind = kind
        self.name = name
        self.owners = tuple(owners)
        super().__init__(f"{kind} {name!r} is several: {', '.join(self.owners)} have one each; name one with --company")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that look like this one, whatever the case."""
    by_folded = {one.casefold(): one for one in known}
    return [by_folded[one] for one in get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.5)]


def find_rule(conn: Connection, name: str) -> SavedRule:
    """The rule of that title, or of that id. Raises Unknown."""
    saved = rules.saved(conn)
    by_title = [rule for rule in saved if rule.title.casefold() == name.strip().casefold()]
    found = by_title or [rule for rule in saved if str(rule.id) == name.strip()]
    if not found:
        close = nearest(name, [rule.title for rule in saved]) or [f"{rule.id} {rule.title}" for rule in saved[:5]]
        raise Unknown(kind="rule", name=name, nearest=close)
    return found[0]


def find_invoice(conn: Connection, number: str, company: str | None = None) -> FoundInvoice:
    """The invoice of that number, of that company where one is named. Raises Unknown, Ambiguous."""
    code = _named(lookups.companies(conn), company, kind="company") if company else None
    found = lookups.invoices(conn, number.strip(), code)
    if not found:
        raise Unknown(kind="invoice", name=number, nearest=nearest(number, lookups.neighbouring_invoices(conn, number)))
    if len(found) > 1:
        raise Ambiguous(kind="invoice", name=number, owners=[one.company for one in found])
    return found[0]


def find_customer(conn: Connection, number: str) -> str:
    """The number of the customer as it is written. Raises Unknown."""
    if lookups.customer(conn, number.strip()) is None:
        close = nearest(number, lookups.neighbouring_customers(conn, number))
        raise Unknown(kind="customer", name=number, nearest=close)
    return number.strip()


def find_account(conn: Connection, name: str) -> str:
    """The name of the mail account of that name, or of that id. Raises Unknown."""
    return _named(lookups.accounts(conn), name, kind="mail account")


def find_company(conn: Connection, name: str) -> str:
    """The code of the company of that code, or of that id. Raises Unknown."""
    return _named(lookups.companies(conn), name, kind="company")


def find_run(conn: Connection, number: str) -> int:
    """The run of that number. Raises Unknown."""
    asked = number.strip()
    # PostgreSQL's largest bigint has 19 digits.
    if asked.isascii() and asked.isdigit() and len(asked) < 19 and runs.read(conn, int(asked)):
        return int(asked)
    raise Unknown(kind="run", name=number, nearest=[str(one.id) for one in runs.latest(conn, 3)])


def require_login(conn: Connection, login: str) -> None:
    """Raise Unknown unless this is a user's login: nobody is journaled who does not exist."""
    known = lookups.logins(conn)
    if login not in known:
        raise Unknown(kind="user", name=login, nearest=nearest(login, known))


def _named(known: Mapping[str, int], name: str, *, kind: str) -> str:
    asked = name.strip()
    if asked in known:
        return asked
    by_id = {str(number): one for one, number in known.items()}
    if asked not in by_id:
        raise Unknown(kind=kind, name=name, nearest=nearest(name, known))
    return by_id[asked]
