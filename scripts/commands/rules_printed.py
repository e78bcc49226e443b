"""How rules, findings and changes look on a terminal, in French and in English."""

from __future__ import annotations

from difflib import ndiff
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from scripts import printing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from operations.rulebook import Change, Outcome
    from operations.rulebook_checks import Report
    from operations.rulebook_shown import Calendar, RuleDetails, RuleLine
    from workflow.facts import Language

_TIMES_SHOWN: Final = 4
_STYLES: Final = {"error": "bold red", "warning": "yellow", "info": "dim"}
_WORDS: Final[dict[str, dict[Language, str]]] = {
    "error": {"en": "error", "fr": "erreur"},
    "warning": {"en": "warning", "fr": "attention"},
    "info": {"en": "info", "fr": "info"},
    "active": {"en": "active", "fr": "active"},
    "not active": {"en": "not active", "fr": "inactive"},
    "held": {"en": "held", "fr": "retenue"},
    "any": {"en": "any", "fr": "tous"},
    "does not count": {"en": "does not count", "fr": "ne compte pas"},
    "by hand": {"en": "by hand only", "fr": "à la main seulement"},
    "everybody": {"en": "everybody", "fr": "tout le monde"},
    "administrators": {"en": "administrators", "fr": "les administrateurs"},
    "every invoice": {"en": "every invoice", "fr": "toutes les factures"},
    "rule": {"en": "rule", "fr": "règle"},
    "level": {"en": "level", "fr": "niveau"},
    "state": {"en": "state", "fr": "état"},
    "schedule": {"en": "schedule", "fr": "calendrier"},
    "next": {"en": "next", "fr": "prochain"},
    "company": {"en": "company", "fr": "société"},
    "filter": {"en": "filter", "fr": "filtre"},
    "account": {"en": "account", "fr": "compte"},
    "owner": {"en": "owner", "fr": "propriétaire"},
    "seen by": {"en": "seen by", "fr": "vue par"},
    "texts": {"en": "Texts", "fr": "Textes"},
    "statement": {"en": "the statement of invoices", "fr": "le récapitulatif des factures"},
    "waits": {
        "en": "what is due at {due} leaves on {leaves}",
        "fr": "ce qui passe à {due} part le {leaves}",
    },
    ":": {"en": ":", "fr": "\N{NO-BREAK SPACE}:"},
    "more": {"en": "and {count} more until {last}", "fr": "et {count} autres jusqu'à {last}"},
    "cut": {"en": "There are more: ask for fewer days.", "fr": "Il y en a d'autres : demander moins de jours."},
    "all right": {"en": "Nothing is wrong with the rules.", "fr": "Rien à redire aux règles."},
    "refused": {"en": "Refused", "fr": "Refus"},
    "example": {"en": "example", "fr": "exemple"},
    "what becomes": {
        "en": "What becomes of an invoice that nobody pays",
        "fr": "Ce que devient une facture que personne ne paie",
    },
    "created": {"en": "created", "fr": "créé"},
    "changed": {"en": "changed", "fr": "modifié"},
    "unchanged": {"en": "unchanged", "fr": "inchangé"},
    "left alone": {"en": "not in the file, left alone", "fr": "absent du fichier, laissé tel quel"},
    "nothing": {"en": "nothing", "fr": "rien"},
}


def lines(found: Sequence[RuleLine], lang: Language) -> None:
    """A table of rules."""
    rows = [
        (
            one.id,
            printing.two_lines(one.title, "; ".join(one.schedule) or _WORDS["by hand"][lang]),
            one.company,
            _level(one, lang),
            _state(one, lang),
            _moment(one.next_at, lang) if one.next_at else None,
        )
        for one in found
    ]
    names = [_WORDS[name][lang] for name in ("rule", "company", "level", "state", "next")]
    printing.table(printing.console(), ("id", *names), rows, right=("id",))


def details(found: RuleDetails, lang: Language) -> None:
    """A rule in full."""
    out, line, rule = printing.console(), found.line, found.definition
    printing.heading(out, f"{line.title} (id {line.id}, version {line.version})")
    seen_by = (
        _WORDS["everybody"][lang]
        if found.seen_by is None
        else ", ".join((*found.seen_by, _WORDS["administrators"][lang]))
    )
    held = f" ({_WORDS['held'][lang]}: {found.account_held_because})" if found.account_held_because else ""
    rows: list[tuple[str, object]] = [
        (_WORDS["state"][lang], _state(line, lang)),
        (_WORDS["company"][lang], f"{line.company}, {found.company_name}"),
        (_WORDS["level"][lang], _level(line, lang)),
        (_WORDS["filter"][lang], line.filter or _WORDS["every invoice"][lang]),
        *_under(_WORDS["schedule"][lang], line.schedule or (_WORDS["by hand"][lang],)),
        *_under(_WORDS["next"][lang], [_moment(at, lang) for at in found.next_at]),
        (_WORDS["account"][lang], f"{line.account}: {found.sender}, {found.server}{held}"),
        (_WORDS["owner"][lang], found.owner),
        (_WORDS["seen by"][lang], seen_by),
    ]
    told = {"title", "filter", "texts", "schedule_lines", "counts", "shared_with"}
    # The others by the names that a rulebook gives them.
    rows += [
        (name, _value(tuple(value) if isinstance(value, list) else value, lang))
        for name, value in rule.items()
        if name not in told and value not in (None, False, [])
    ]
    _grid(out, rows)
    for language, texts in sorted(rule["texts"].items()):
        printing.heading(out, f"{_WORDS['texts'][lang]}, {language}")
        printing.line(out, texts["subject"], style="bold")
        for part in (texts["header"], f"[{_WORDS['statement'][lang]}]", texts["footer"]):
            out.print()
            for text in part.split("\n"):
                printing.line(out, text, style="dim" if part.startswith("[") else "")


def calendar(found: Calendar, lang: Language) -> None:
    """The instants by day; of a rule that is due often, the first ones of the day."""
    from operations.rulebook_checks import value_said  # noqa: PLC0415 - loaded when asked for

    out = printing.console()
    for day, instants in groupby(found.instants, key=lambda one: one.due_at.date()):
        printing.heading(out, str(value_said(day, lang)))
        by_rule: dict[tuple[str, str], list[Any]] = {}
        for one in instants:
            by_rule.setdefault((one.company, one.rule), []).append(one)
        rows = []
        for (company, rule), due in by_rule.items():
            times = [f"{one.due_at:%H:%M}" for one in due]
            shown = ", ".join(times[:_TIMES_SHOWN])
            if len(times) > _TIMES_SHOWN:
                shown += f" {_WORDS['more'][lang].format(count=len(times) - _TIMES_SHOWN, last=times[-1])}"
            waits = next((one for one in due if one.leaves_at != one.due_at), None)
            if waits:
                leaves = _moment(waits.leaves_at, lang)
                shown += f"; {_WORDS['waits'][lang].format(due=f'{waits.due_at:%H:%M}', leaves=leaves)}"
            rows.append((f"  {rule}", company, shown))
        _grid(out, rows)
    if found.more:
        out.print()
        out.print(_WORDS["cut"][lang], style="dim")


def report(found: Report, lang: Language) -> None:
    """The findings by company, the worst first, each with what to do and an example."""
    from operations.rulebook_checks import chase_said, said  # noqa: PLC0415 - loaded when asked for

    out = printing.console()
    for company, findings in groupby(sorted(found.findings, key=lambda one: one.company), key=lambda one: one.company):
        printing.heading(out, company or _WORDS["refused"][lang])
        for one in findings:
            wrong, todo = said(one, lang)
            said_first = [word for word in (_WORDS[one.severity][lang], one.rule) if word]
            colon = _WORDS[":"][lang]
            printing.line(out, "".join(f"{word}{colon} " for word in said_first) + wrong, style=_STYLES[one.severity])
            printing.line(out, f"→ {todo}", indent=4)
            for chase in one.examples:
                printing.line(out, f"{_WORDS['example'][lang]}{colon} {chase_said(chase, lang)}", indent=4, style="dim")
    if not found.findings:
        out.print(_WORDS["all right"][lang])
    if found.chases:
        printing.heading(out, _WORDS["what becomes"][lang])
        for company, chases in found.chases.items():
            for chase in chases:
                printing.line(out, f"{company}: {chase_said(chase, lang)}")


def report_as_json(found: Report, lang: Language) -> dict[str, Any]:
    """The findings with their words."""
    from operations.rulebook_checks import chase_said, said  # noqa: PLC0415 - loaded when asked for

    findings = []
    for one in found.findings:
        wrong, todo = said(one, lang)
        findings.append({"severity": one.severity, **printing.plain(one), "wrong": wrong, "todo": todo})
    chases = {
        company: [{**printing.plain(one), "words": chase_said(one, lang)} for one in chases]
        for company, chases in found.chases.items()
    }
    return {"findings": findings, "chases": chases, **found.counts}


def outcome(found: Outcome, lang: Language) -> None:
    """What becomes of each thing: old and new values, texts line by line."""
    out = printing.console()
    for section, changes in groupby(found.changes, key=lambda one: one.section):
        told = list(changes)
        printing.heading(out, section)
        for one in told:
            if one.became in {"created", "changed"}:
                mark = "+" if one.became == "created" else "~"
                style = "green" if one.became == "created" else "yellow"
                printing.line(out, f"{mark} {one.name}: {_WORDS[one.became][lang]}", style=style)
                _fields(out, one, lang)
        for became in ("unchanged", "left alone"):
            names = [one.name for one in told if one.became == became]
            if names:
                printing.line(out, f"{_WORDS[became][lang]}: {', '.join(names)}", style="dim")


def concluded(found: Outcome, *, yes: bool) -> str:
    """The sentence that ends an import."""
    if found.refusals:
        return f"nothing is imported: {printing.count(len(found.refusals), 'problem')} to correct"
    made = sum(one.became == "created" for one in found.changes)
    changed = sum(one.became == "changed" for one in found.changes)
    if not made and not changed:
        return "nothing to change: the database is as the file says"
    renamed = (
        "; a rule under another title is a new rule, and the old one stays"
        if found.named("created", "rules") and found.named("left alone", "rules")
        else ""
    )
    if not yes:
        return f"nothing was done: add --yes to create {made} and change {changed}{renamed}"
    waiting = "; new rules wait for relance rules activate RULE" if found.named("created", "rules") else ""
    return f"created {made}, changed {changed}{renamed}{waiting}"


def _fields(out: Console, change: Change, lang: Language) -> None:
    for name, (old, new) in change.fields.items():
        before, after = _value(old, lang), _value(new, lang)
        if "\n" not in f"{before}{after}":
            printing.line(out, f"{name}: {before} → {after}", indent=6)
            continue
        printing.line(out, f"{name}:", indent=6)
        for line in ndiff(before.split("\n"), after.split("\n")):
            if not line.startswith("?"):
                style = {"-": "red", "+": "green"}.get(line[0], "dim")
                printing.line(out, line, indent=8, style=style)


def _value(value: object, lang: Language) -> str:
    match value:
        case None | "" | ():
            return _WORDS["nothing"][lang]
        case tuple():
            return ", ".join(map(str, value))
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _under(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """The name beside the first value only."""
    return [("" if place else name, value) for place, value in enumerate(values)]


def _level(one: RuleLine, lang: Language) -> str:
    if not one.counts:
        return _WORDS["does not count"][lang]
    return _WORDS["any"][lang] if one.level is None else str(one.level)


def _state(one: RuleLine, lang: Language) -> str:
    active = _WORDS["active" if one.active else "not active"][lang]
    return f"{active}, {_WORDS['held'][lang]}: {one.held_because}" if one.held_because else active


def _moment(at: object, lang: Language) -> str:
    from operations.rulebook_checks import value_said  # noqa: PLC0415 - loaded when asked for

    return str(value_said(at, lang))


def _grid(out: Console, rows: Iterable[Sequence[object]]) -> None:
    """Columns without a head."""
    from rich.table import Table  # noqa: PLC0415 - only people need it
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        while len(grid.columns) < len(row):
            grid.add_column(overflow="fold")
        grid.add_row(*(Text(printing.clean(one)) for one in row))
    out.print(grid)
