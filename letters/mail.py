"""A reminder as its reader sees it: subject, plain text and HTML, made from a rule's texts and one mail's values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup

from letters.markup import TEXT_WIDTH, to_html, to_text, wrapped
from letters.texts import render, render_subject
from letters.variables import template_variables
from workflow.errors import InvalidInput
from workflow.rules import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from letters.variables import LetterValues
    from workflow.facts import Language

_STATEMENT_MARK: Final = "--- statement ---"
_SUBJECT_MARK: Final = "Subject: "


class _Layouts(jinja2.Environment):
    """Our own templates: what they read are dicts, so the entry is looked for before an attribute (twice as quick)."""

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - Jinja2's own signature
        """Read an entry of a dict, else what Jinja2 would read."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailParts:
    """A mail without its envelope: one-line subject, plain text (LF), a whole HTML document (LF)."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stationery:
    """The product's own part of every mail: layout, statement and labels. Made once, used by any thread."""

    layout: jinja2.Template
    statement: jinja2.Template
    labels: Mapping[str, Mapping[str, str]]

    @classmethod
    def from_folder(cls, folder: Path) -> Stationery:
        """Read `layout.html.j2`, `statement.txt.j2` and one `labels.LANGUAGE.json` for each language."""
        environment = _Layouts(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=False),
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals.clear()
        environment.filters["wrapped"] = wrapped
        environment.filters["left"] = str.ljust
        return cls(
            layout=environment.get_template("layout.html.j2"),
            statement=environment.get_template("statement.txt.j2"),
            labels={
                path.name.split(".")[1]: json.loads(path.read_text(encoding="utf-8"))
                for path in sorted(folder.glob("labels.*.json"))
            },
        )

    def compose(self, texts: Texts, values: LetterValues) -> MailParts:
        """Make one mail. The same texts and values give the same parts.

        Raises TemplateError for a text that cannot be rendered, InvalidInput for values that no mail can show
        (no invoice, an amount that is no number, an unknown currency or language).
        """
        if not values.invoices:
            raise InvalidInput(field="invoices", value=[], reason="a reminder is about at least one invoice")
        labels = self.labels.get(values.language)
        if labels is None:
            known = ", ".join(self.labels)
            raise InvalidInput(field="language", value=values.language, reason=f"has no labels: there are {known}")
        variables = template_variables(values)
        subject = render_subject(texts.subject, variables, field="subject")
        header = render(texts.header, variables, field="header")
        footer = render(texts.footer, variables, field="footer")
        shown: dict[str, Any] = {**variables, **_shown(variables, labels), "labels": labels, "subject": subject}
        # Both fragments come out of letters.markup, which escapes every value and lets no raw HTML through.
        html = self.layout.render(
            shown,
            header_html=Markup(to_html(header)),  # noqa: S704
            footer_html=Markup(to_html(footer)),  # noqa: S704
        )
        text = self.statement.render(
            shown,
            table=_table(shown["lines"], shown["totals"]["due"], labels),
            name_width=max((len(name) for name, _ in shown["payment"]), default=0),
            header_text=to_text(header),
            footer_text=to_text(footer),
        )
        return MailParts(
            subject=subject,
            text="\n".join(line.rstrip() for line in text.strip().split("\n")) + "\n",
            html=html,
        )


def default_texts(folder: Path, *, level: int, language: Language) -> Texts:
    """Read the texts that a new rule starts with, from `texts/level_LEVEL.LANGUAGE.md`."""
    whole = (folder / "texts" / f"level_{level}.{language}.md").read_text(encoding="utf-8")
    subject, _, body = whole.partition("\n")
    header, _, footer = body.partition(_STATEMENT_MARK)
    return Texts(subject=subject.removeprefix(_SUBJECT_MARK), header=header.strip(), footer=footer.strip())


def _shown(variables: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Put the values in the words of the layout: lines, totals, payment facts, the company's imprint."""
    company, customer, totals = variables["company"], variables["customer"], variables["totals"]
    counted = "one" if totals["count"] == 1 else "other"
    contact_ways = " · ".join(filter(None, (company["phone"], company["email"], company["web"])))
    imprint = (
        company["legal_line"],
        labels["siren"].format(number=company["siren"]) if company["siren"] else "",
        company["address"].replace("\n", " · "),
        contact_ways,
    )
    return {
        "customer_line": labels["customer"].format(number=customer["number"]),
        "summary": labels[f"summary_{counted}"].format(count=totals["count"], amount=totals["due"]),
        "statement_line": labels["statement"].format(day=variables["today"]),
        "lines": [_line(invoice, labels) for invoice in variables["invoices"]],
        "payment": _payment(company, variables["reference"], labels),
        "imprint": [line for line in imprint if line],
    }


def _line(invoice: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    days = invoice["days_late"]
    is_credit = invoice["total_amount"] < 0
    late = labels["days_late_one" if days == 1 else "days_late_other"].format(count=days) if days else ""
    issued = labels["issued_on_inline"].format(day=invoice["issued_on_short"])
    return {
        "number": invoice["number"],
        "issued": f"{labels['credit_note']} {issued}" if is_credit else issued,
        "due_on": invoice["due_on_short"],
        "late": "" if is_credit else late,
        "days": labels["days_short"].format(count=days) if days and not is_credit else "",
        "total": invoice["total"],
        "paid": labels["paid_inline"].format(amount=invoice["paid"]) if invoice["paid_amount"] > 0 else "",
        "balance": invoice["balance"],
    }


def _payment(company: Mapping[str, str], reference: str, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """List what a transfer needs; nothing where the company gives no IBAN."""
    if not company["iban"]:
        return []
    facts = (
        (labels["payee"], company["name"]),
        (labels["iban"], company["iban"]),
        (labels["bic"], company["bic"]),
        (labels["reference"], reference),
    )
    return [(name, value) for name, value in facts if value]


def _table(lines: Sequence[Mapping[str, str]], due: str, labels: Mapping[str, str]) -> str:
    """Draw the statement as text: columns as wide as their longest cell, the invoice's number as room is left.

    A longer number gets a line of its own, so that the table stays within the text's width.
    """
    head = (labels["invoice"], labels["due_on"], labels["late"], labels["total"], labels["balance"])
    rows = [(line["number"], line["due_on"], line["days"], line["total"], line["balance"]) for line in lines]
    number, due_on, late, total, balance = (max(map(len, cells)) for cells in zip(head, *rows, strict=True))
    balance = max(balance, len(due))
    others = due_on + late + total + balance + 2 * 4  # two spaces before each
    number = min(number, max(TEXT_WIDTH - others, len(labels["invoice"])))
    width = number + others

    def drawn(name: str, day: str, days: str, amount: str, rest: str) -> str:
        first = name if len(name) <= number else f"{name}\n{'':{number}}"
        return f"{first:{number}}  {day:{due_on}}  {days:>{late}}  {amount:>{total}}  {rest:>{balance}}"

    rule = "-" * width
    table = [drawn(*head), rule]
    for line, row in zip(lines, rows, strict=True):
        table.append(drawn(*row))
        if line["paid"]:
            table.append(f"{line['paid']:>{width}}")
    return "\n".join([*table, rule, f"{labels['total_due']:{width - len(due)}}{due}"])
