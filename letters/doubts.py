"""The alert about mails in doubt: which they are, why they are left so, and what a person can do.

It goes to our own users, so it may name recipients and invoices.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

from letters.mail import MailParts
from letters.markup import TEXT_WIDTH, wrapped
from workflow.doubt import REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from workflow.facts import Language

MOST_SHOWN: Final = 50
_INVOICES_SHOWN: Final = 10
_LONGEST: Final = 200
_LINE_END: Final = Markup("\n")

_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "subject_one": "One reminder to be checked",
        "subject": "{count} reminders to be checked",
        "lead": "Nobody can know yet whether these mails have arrived: the connection ended after they were handed over"
        " and before the mail server had answered. Until that is settled they are not sent again, and their invoices"
        " are not reminded.",
        "line": "{reminder}: {rule}, to {recipient}, on {since:%Y-%m-%d at %H:%M}",
        "about": "Invoices: {invoices}",
        "why": "Why it is left so: {reason}",
        "more": "and {count} more: relance outbox --state in_doubt",
        "do": "Ask the reader, or look in the mail server's log. Then say what became of each, by its number:",
    },
    "fr": {
        "subject_one": "Une relance à vérifier",
        "subject": "{count} relances à vérifier",
        "lead": "Personne ne peut encore savoir si ces messages sont arrivés : la connexion a été coupée après leur"
        " remise et avant la réponse du serveur de messagerie. D'ici là, ils ne sont pas renvoyés et leurs factures"
        " ne sont pas relancées.",
        "line": "{reminder} : {rule}, à {recipient}, le {since:%d/%m/%Y à %H:%M}",
        "about": "Factures : {invoices}",
        "why": "Pourquoi il en reste là : {reason}",
        "more": "et {count} autres : relance outbox --state in_doubt",
        "do": "Demandez au destinataire, ou regardez le journal du serveur de messagerie. Dites ensuite ce qu'il en est"
        " de chacun, par son numéro :",
    },
}
_COMMANDS: Final = (
    "relance resolve {reminder} --arrived --because TEXT --yes",
    "relance resolve {reminder} --send-again --because TEXT --yes",
    "relance resolve {reminder} --lost --because TEXT --yes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailInDoubt:
    """One mail. `since`: on its company's clock; `reason`: one of workflow.doubt.REASONS."""

    reminder: int
    rule: str
    recipient: str
    since: datetime
    reason: str
    invoices: tuple[str, ...]


def compose(mails: Sequence[MailInDoubt], language: Language) -> MailParts:
    """Make the alert about these mails, at least one."""
    words = _WORDS[language]
    items = [_item(one, words, language) for one in mails[:MOST_SHOWN]]
    more = words["more"].format(count=len(mails) - MOST_SHOWN) if len(mails) > MOST_SHOWN else ""
    commands = [command.format(reminder=mails[0].reminder) for command in _COMMANDS]
    subject = words["subject_one"] if len(mails) == 1 else words["subject"].format(count=len(mails))
    text = [wrapped(words["lead"])]
    text += ["\n".join((_indented(f"- {first}"), *(_indented(f"  {line}") for line in rest))) for first, *rest in items]
    text += [more, wrapped(words["do"]), "\n".join(f"  {command}" for command in commands)]
    html = [Markup("<p>{}</p>").format(words["lead"]), Markup("<ul>")]
    html += [Markup("<li>{}</li>").format(Markup("<br>").join(escape(line) for line in item)) for item in items]
    html += [Markup("</ul>"), Markup("<p>{}</p>").format(more) if more else Markup("")]
    html += [Markup("<p>{}</p>").format(words["do"])]
    html += [Markup("<pre>{}</pre>").format("\n".join(commands))]
    return MailParts(
        subject=subject,
        text="\n\n".join(filter(None, text)) + "\n",
        html=f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{escape(subject)}</title>'
        f"</head>\n<body>\n{_LINE_END.join(html)}\n</body></html>\n",
    )


def _item(one: MailInDoubt, words: Mapping[str, str], language: Language) -> list[str]:
    shown = ", ".join(one.invoices[:_INVOICES_SHOWN]) + (", …" if len(one.invoices) > _INVOICES_SHOWN else "")
    line = words["line"].format(
        reminder=one.reminder, rule=_line(one.rule), recipient=_line(one.recipient), since=one.since
    )
    about = words["about"].format(invoices=_line(shown))
    return [line, about, words["why"].format(reason=REASONS[one.reason][language])]


def _indented(line: str) -> str:
    """A line of the text, broken below its first word."""
    return fill(line, TEXT_WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _line(text: str) -> str:
    """One line, whatever was saved."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_LONGEST]
