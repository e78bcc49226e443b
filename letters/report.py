"""A run's report as its readers see it: subject, plain text and HTML, made from the run's facts.

It goes to our own users, so it may name customers, invoices and what a mail server answered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import jinja2
from babel import Locale
from babel.numbers import format_decimal

from letters.formats import long_day, money
from letters.mail import MailParts
from letters.markup import wrapped
from letters.variables import readable
from workflow.decision import REASONS
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workflow.facts import Language
    from workflow.summary import Problem, RunSummary

_TITLE_CHARACTERS: Final = 90
_DETAIL_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportForm:
    """The layout and words of every report. Made once, used by any thread."""

    html: jinja2.Template
    text: jinja2.Template
    labels: Mapping[str, Mapping[str, str]]

    @classmethod
    def from_folder(cls, folder: Path) -> ReportForm:
        """Read `report.html.j2`, `report.txt.j2` and one `report.LANGUAGE.json` for each language."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=False),
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters["wrapped"] = wrapped
        environment.filters["left"] = str.ljust
        environment.filters["right"] = str.rjust
        return cls(
            html=environment.get_template("report.html.j2"),
            text=environment.get_template("report.txt.j2"),
            labels={
                path.name.split(".")[1]: json.loads(path.read_text(encoding="utf-8"))
                for path in sorted(folder.glob("report.*.json"))
            },
        )

    def compose(self, summary: RunSummary, language: Language) -> MailParts:
        """Make one report. The same facts give the same parts. Raises InvalidInput for a language without labels."""
        labels = self.labels.get(language)
        if labels is None:
            raise InvalidInput(
                field="language", value=language, reason=f"has no labels: there are {', '.join(self.labels)}"
            )
        shown = _Told(summary=summary, labels=labels, language=language).shown()
        text = self.text.render(shown)
        return MailParts(
            subject=shown["subject"],
            text="\n".join(line.rstrip() for line in text.strip().split("\n")) + "\n",
            html=self.html.render(shown),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One run in the words of one language."""

    summary: RunSummary
    labels: Mapping[str, str]
    language: Language

    def shown(self) -> dict[str, Any]:
        """What both templates print, plain values only."""
        facts, tables = self._facts(), self._tables()
        more = self.summary.problem_count - len(self.summary.problems)
        rows = [row for table in tables for row in table["rows"]]
        outcome = self._outcome()
        return {
            "language": self.language,
            "labels": self.labels,
            "subject": self._subject(outcome),
            "over": " · ".join((_line(self.summary.company_name), _line(self.summary.rule_title), self._when())),
            "heading": outcome[:1].upper() + outcome[1:],
            "lead": self._lead(),
            "facts": facts,
            "tables": tables,
            "problems": [self._problem(problem) for problem in self.summary.problems],
            "more": self._counted("more", more) if more else "",
            "widths": {
                "fact": max(len(fact["label"]) for fact in facts),
                "label": max((len(row["label"]) for row in rows), default=0),
                "value": max((len(row["value"]) for row in rows), default=0),
            },
        }

    @property
    def _ran(self) -> bool:
        return self.summary.state not in {"refused", "failed", "held"}

    @property
    def _state(self) -> str:
        """What the words depend on: refused by a person, or by a test instance, is not the same."""
        return "refused_by" if self.summary.state == "refused" and self.summary.refused_by else self.summary.state

    def _subject(self, outcome: str) -> str:
        kind = "subject_supplement" if self.summary.supplement else "subject"
        if self.summary.state in {"open", "held"}:
            kind = "subject_early"
        # A title that looks like an encoded header would be one to some reader.
        title = _cut(_line(self.summary.rule_title).replace("=?", "= ?"), _TITLE_CHARACTERS)
        due_on = self.summary.due_at.astimezone(ZoneInfo(self.summary.zone)).date()
        subject = self.labels[kind].format(title=title, day=long_day(due_on, self.language), outcome=outcome)
        return self.labels["subject_test"].format(subject=subject) if self.summary.test_instance else subject

    def _outcome(self) -> str:
        summary = self.summary
        if not self._ran:
            return self.labels[f"outcome_{self._state}"]
        if summary.sent:
            words = [self._counted("outcome", summary.sent)]
        else:
            words = [self.labels["outcome_none" if summary.candidates else "outcome_nothing"]]
        if summary.waiting:
            words.append(self._counted("waiting", summary.waiting))
        if summary.problem_count:
            words.append(self._counted("to_see", summary.problem_count))
        return ", ".join(words)

    def _lead(self) -> list[str]:
        """Say first what kind of report this is, then why nothing left, then what a person has to do."""
        summary, labels = self.summary, self.labels
        if not self._ran:
            words = {"id": summary.run_id, "name": _line(summary.refused_by)}
            return [labels[f"lead_{self._state}"].format(**words), labels[f"lead_{self._state}_do"].format(**words)]
        lead = []
        if summary.state == "open":
            lead.append(labels["lead_early" if summary.waiting or summary.undecided else "lead_early_doubt"])
        elif summary.supplement:
            lead.append(labels["lead_supplement"])
        if summary.refused_by:
            lead.append(labels["lead_refused_rest"].format(name=_line(summary.refused_by)))
        if not summary.candidates:
            lead.append(labels["lead_nothing"])
        elif sum(summary.left_out().values()) == summary.candidates:
            lead.append(labels["lead_left_out"])
        if summary.mails.get("in_doubt"):
            lead.append(labels["lead_in_doubt"])
        return lead

    def _facts(self) -> list[dict[str, str]]:
        summary, labels = self.summary, self.labels
        by = labels["by_hand_value"].format(name=_line(summary.started_by)) if summary.by_hand else ""
        facts = [
            (labels["rule"], _line(summary.rule_title)),
            (labels["company"], _line(summary.company_name)),
            (labels["due"], self._when()),
            (labels["by_schedule"], by or labels["by_schedule_value"]),
            (labels["missed"], self._counted("missed", summary.missed) if summary.missed else ""),
            (labels["run"], labels["run_value"].format(id=summary.run_id)),
            (labels["problem"], self._why() if summary.refused_by or summary.state in {"failed", "held"} else ""),
        ]
        return [{"label": label, "value": value} for label, value in facts if value]

    def _why(self) -> str:
        oversize = self.summary.oversize
        words = oversize.words(self.language) if oversize else self.summary.problem
        return _cut(_line(words), _DETAIL_CHARACTERS)

    def _when(self) -> str:
        local = self.summary.due_at.astimezone(ZoneInfo(self.summary.zone))
        time = self.labels["clock"].format(hour=local.hour, minute=local.minute)
        return self.labels["instant"].format(day=long_day(local.date(), self.language), time=time)

    def _tables(self) -> list[dict[str, Any]]:
        if not self._ran:
            return []
        summary, labels, number = self.summary, self.labels, self._number
        levels, left_out = summary.levels(), summary.left_out()
        figures = [
            (labels["candidates"], number(summary.candidates)),
            (labels["reminded" if levels or not summary.reminded else "mailed"], number(summary.reminded)),
            (labels["sent"], number(summary.sent)),
        ]
        for name, count in (
            ("waiting", summary.waiting),
            ("in_doubt", summary.mails.get("in_doubt", 0)),
            ("failed", summary.mails.get("failed", 0)),
            ("cancelled", summary.mails.get("cancelled", 0)),
            ("undecided", summary.undecided),
        ):
            if count:
                figures.append((labels[name], number(count)))
        tables = {
            "figures": figures,
            "amounts": [
                (currency, money(amount, currency, self.language)) for currency, amount in summary.amounts().items()
            ],
            "levels": [(labels["level"].format(level=level), number(count)) for level, count in levels.items()],
            "left_out": [(self._reason(reason), number(count)) for reason, count in left_out.items()],
        }
        return [
            {"caption": labels[name], "rows": [{"label": label, "value": value} for label, value in rows]}
            for name, rows in tables.items()
            if rows
        ]

    def _reason(self, reason: str) -> str:
        known = REASONS.get(reason)
        words = known[self.language] if known else self.labels.get(reason, reason)
        return words[:1].upper() + words[1:]

    def _problem(self, problem: Problem) -> dict[str, str]:
        number, name = _line(problem.customer_number), _line(problem.customer_name)
        invoices = ", ".join(_line(one) for one in problem.invoices)
        rest = problem.count - len(problem.invoices)
        if rest:
            invoices = self.labels["more_invoices"].format(invoices=invoices, count=self._number(rest))
        detail = _cut(_line(problem.detail), _DETAIL_CHARACTERS)
        return {
            "who": f"{number} {name}",
            "invoices": invoices,
            "item": self.labels["item"].format(number=number, name=name, invoices=invoices),
            "what": self.labels.get(f"kind_{problem.kind}", self.labels["kind_other"]),
            "detail": self.labels["detail"].format(detail=detail) if detail else "",
        }

    def _counted(self, label: str, count: int) -> str:
        plural = "one" if Locale.parse(self.language).plural_form(count) == "one" else "other"
        return self.labels[f"{label}_{plural}"].format(count=self._number(count))

    def _number(self, count: int) -> str:
        return str(format_decimal(count, locale=self.language))


def _line(text: str) -> str:
    """Give a text from outside as one line; no-break spaces stay."""
    return " ".join(filter(None, readable(text).replace("\n", " ").split(" ")))


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"
