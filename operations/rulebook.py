"""The rulebook: what is configured, as one text; read back, it is compared with the database and saved whole.

A name is a key: a rule under another title is a new rule, and the old one stays. What a file does not name is left
alone. Whether a rule is active or held is no part of it, and no secret is. Saving goes through the same operations as
any other, so that nothing is taken here that is refused there.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from operations.accounts import save_account
from operations.acting import acting
from operations.companies import save_company
from operations.rulebook_text import SECTIONS, Book, Entry, ReadBook, Refusal, read_book, text_parts, write_book
from operations.rules import save_rule, seen, unreadable
from operations.tags import save_category, save_tag
from store import companies, rulebook, rules
from workflow.errors import InvalidInput
from workflow.filter_text import parse_text, to_text
from workflow.filters import filter_to_json
from workflow.rules import rule_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from datetime import datetime

    from store.connection import Connection
    from store.rules import SavedRule

    # Saves an entry by its name; it knows what the database has. Returns warnings.
    Saver = Callable[[Connection, str, Entry, Entry | None, "_Signed"], tuple[str, ...]]

Became = Literal["created", "changed", "unchanged", "left alone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one thing. `fields`: the old and the new value of each that changes; a rule's texts part by part.

    `left alone`: the database has it and the file does not.
    """

    section: str
    name: str
    became: Became
    fields: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an import does, or would do. With a refusal nothing is kept. `warnings` are about rules that it saves."""

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...]

    def named(self, became: Became, section: str) -> list[str]:
        """The names in a section of what was created, changed, unchanged or left alone."""
        return [one.name for one in self.changes if (one.became, one.section) == (became, section)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A rulebook's text; `left_out`: rules whose definition this version cannot read, by title, and why."""

    text: str
    left_out: dict[str, str]


def export(conn: Connection, *, by: str) -> Export:
    """All that is configured and that this person may see, as text.

    Imported into an empty database with the same users, it gives the same text.
    """
    return Export(text=write_book(standing(conn, seen(conn, by=by))), left_out=unreadable(conn, by=by))


def import_text(conn: Connection, text: str, *, because: str, yes: bool, by: str, now: datetime) -> Outcome:
    """Save what a file says, in one transaction; without `yes` only tell what that would change.

    Nothing is kept when anything of it is refused. Raises InvalidInput for what is no YAML.
    """
    with as_imported(conn, text, because=because, keep=yes, by=by, now=now) as outcome:
        return outcome


@contextmanager
def as_imported(
    conn: Connection, text: str, *, because: str = "", keep: bool = False, by: str, now: datetime
) -> Generator[Outcome]:
    """The database as it is once a file is imported; taken back at the end unless it is to be kept."""
    read = read_book(text)
    try:
        with acting(conn, by=by, because=because):
            outcome = _save(conn, read, _Signed(by=by, because=because, now=now))
            yield outcome
            if not keep or outcome.refusals:
                _take_back()
    except _NotKeptError:
        pass


def standing(conn: Connection, saved_rules: Sequence[SavedRule]) -> Book:
    """What is configured now, these rules among it, as a file would say it."""
    sellers = companies.companies(conn)
    accounts = {account.id: account.name for account in companies.accounts(conn).values()}
    owners = rulebook.owners(conn)
    return {
        "companies": {one.code: _company(asdict(one)) for one in sellers.values()},
        "accounts": {one.name: _entry("accounts", asdict(one)) for one in rulebook.accounts(conn)},
        "categories": {one.title: _entry("categories", asdict(one)) for one in rulebook.categories(conn)},
        "tags": {one.title: _entry("tags", asdict(one)) for one in rulebook.tags(conn)},
        "rules": {
            saved.title: _entry(
                "rules",
                rule_to_json(saved.rule)
                | {
                    "company": sellers[saved.company_id].code,
                    "account": accounts[saved.account_id],
                    "owner": owners[saved.id],
                    "filter": to_text(saved.rule.filter),
                },
            )
            for saved in saved_rules
        },
    }


class _NotKeptError(Exception):
    """Takes a transaction back."""


def _take_back() -> NoReturn:
    raise _NotKeptError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """By whom, why and when."""

    by: str
    because: str
    now: datetime


def _entry(section: str, values: Entry) -> Entry:
    """The values that a file knows, lists as it reads them."""
    found = {name: values[name] for name in SECTIONS[section].kinds}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _company(values: Entry) -> Entry:
    return _entry("companies", values | {"email": values["email"] or None})


def _save(conn: Connection, read: ReadBook, signed: _Signed) -> Outcome:
    before = standing(conn, rules.saved(conn))
    if read.refusals:
        return Outcome(changes=(), refusals=read.refusals, warnings=())
    refusals: list[Refusal] = []
    warnings: list[str] = []
    for section in SECTIONS:
        for name, entry in read.book.get(section, {}).items():
            known = before[section].get(name)
            asked = _with_owner(entry, known) if section == "rules" else entry
            if asked == known:
                continue
            try:
                with conn.transaction():
                    warnings += [f"{name}: {warning}" for warning in _SAVE[section](conn, name, asked, known, signed)]
            except InvalidInput as wrong:
                refusals.append(_refusal(read, f"{section} / {name}", wrong))
    shown = read.book.get("rules", {}).keys() | {one.title for one in seen(conn, by=signed.by)}
    after = standing(conn, [one for one in rules.saved(conn) if one.title in shown])
    before["rules"] = {title: entry for title, entry in before["rules"].items() if title in shown}
    changes = _compared(before, after, read.book)
    return Outcome(changes=tuple(changes), refusals=tuple(refusals), warnings=tuple(warnings))


def _refusal(read: ReadBook, place: str, wrong: InvalidInput) -> Refusal:
    """Placed by the field that it names, or by the name of what it is about."""
    line = read.lines.get(f"{place} / {wrong.field.partition('.')[0]}", read.lines.get(place))
    return Refusal(place=place, line=line, reason=str(wrong))


def _compared(before: Book, after: Book, asked: Book) -> Iterator[Change]:
    for section in SECTIONS:
        for name in sorted(before[section].keys() | after[section].keys()):
            old, new = before[section].get(name), after[section].get(name)
            fields = _changed(old or {}, new or {})
            became: Became = "created" if old is None else "changed" if fields else "unchanged"
            if name not in asked.get(section, {}):
                became = "left alone"
            yield Change(section=section, name=name, became=became, fields={} if old is None else fields)


def _changed(old: Entry, new: Entry) -> dict[str, tuple[Any, Any]]:
    before, after = dict(text_parts(old)), dict(text_parts(new))
    names = [*after, *(name for name in before if name not in after)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _with_owner(entry: Entry, known: Entry | None) -> Entry:
    """A rule whose file names no owner is whose it was."""
    return entry if entry["owner"] or known is None else entry | {"owner": known["owner"]}


def _saver(save: Callable[..., object], name_as: str) -> Saver:
    """What saves an entry by an operation that takes its fields as they are, and its name under that word."""

    def saver(conn: Connection, name: str, entry: Entry, _known: Entry | None, signed: _Signed) -> tuple[str, ...]:
        named = {name_as: name}
        save(conn, **named, **entry, because=signed.because, by=signed.by, today=signed.now.date())
        return ()

    return saver


def _save_account(conn: Connection, name: str, entry: Entry, known: Entry | None, signed: _Signed) -> tuple[str, ...]:
    if (entry["username"] is None) != (entry["password_ref"] is None):
        missing = "username" if entry["username"] is None else "password_ref"
        raise InvalidInput(field=missing, value=None, reason="username and password reference go together")
    # A file that names no login means none; to the operation that would be the one it had.
    login: dict[str, Any] = {} if entry["username"] else {"username": ""}
    return _saver(save_account, "name")(conn, name, {**entry, **login}, known, signed)


def _save_rule(conn: Connection, title: str, entry: Entry, known: Entry | None, signed: _Signed) -> tuple[str, ...]:
    if known and entry["owner"] != known["owner"]:
        raise InvalidInput(field="owner", value=entry["owner"], reason=f"the rule is {known['owner']}'s and stays so")
    definition = {name: value for name, value in entry.items() if name not in {"company", "account", "owner"}}
    definition |= {"title": title, "filter": filter_to_json(parse_text(entry["filter"]))}
    saved = save_rule(
        conn,
        definition,
        company=entry["company"],
        account=entry["account"],
        owner=entry["owner"],
        because=signed.because,
        by=signed.by,
        now=signed.now,
    )
    return saved.warnings


_SAVE: Final[dict[str, Saver]] = {
    "companies": _saver(save_company, "code"),
    "accounts": _save_account,
    "categories": _saver(save_category, "title"),
    "tags": _saver(save_tag, "title"),
    "rules": _save_rule,
}
