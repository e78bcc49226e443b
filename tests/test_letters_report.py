"""The run report, as the accountant reads it: golden texts, and what must hold of any report."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import pytest

from letters.headers import check_header_text
from letters.report import ReportForm
from store.shipped import shipped
from workflow.decision import REASONS
from workflow.errors import InvalidInput
from workflow.facts import Language
from workflow.limits import TooLarge
from workflow.summary import Outcome, Problem, RunSummary, Share

if TYPE_CHECKING:
    from letters.mail import MailParts

GOLDEN = Path(__file__).parent / "golden" / "report"
FORM = ReportForm.from_folder(shipped("templates") / "mail")
LANGUAGES: tuple[Language, ...] = get_args(Language)


def share(
    outcome: Outcome,
    invoices: int,
    *,
    reason: str = "",
    level: int | None = None,
    amount: str = "0",
    currency: str = "EUR",
) -> Share:
    return Share(
        outcome=outcome, reason=reason, level=level, currency=currency, invoices=invoices, amount=Decimal(amount)
    )


def problem(kind: str, number: str, name: str, *invoices: str, count: int = 0, detail: str = "") -> Problem:
    return Problem(
        kind=kind,
        customer_number=number,
        customer_name=name,
        invoices=invoices,
        count=count or len(invoices),
        detail=detail,
    )


PROBLEMS = (
    problem("in_doubt", "C-0107", "Boulangerie Ferrand", "FA-2026-0311"),
    problem("no_recipient", "C-0042", "Durand & Fils", *(f"FA-2026-{n:04}" for n in range(10)), count=1012),
    problem(
        "refused",
        "C-0815",
        "Menuiserie Lucet",
        "FA-2026-0298",
        "FA-2026-0302",
        detail="rcpt: 550 5.1.1 <compta@lucet.example>: user unknown",
    ),
)
MONDAY = RunSummary(
    run_id=1204,
    rule_id=1,
    rule_title="Relance 1",
    company_name="Atelier Acme",
    zone="Europe/Paris",
    due_at=datetime(2026, 6, 1, 7, 5, tzinfo=UTC),
    by_hand=False,
    started_by="scheduler:one:1",
    missed=2,
    refused_by="",
    state="closed",
    problem="",
    oversize=None,
    supplement=False,
    test_instance=False,
    candidates=13_524,
    undecided=0,
    mails={"sent": 7120, "in_doubt": 1, "failed": 1, "cancelled": 2},
    shares=(
        share("accepted", 12_001, level=1, amount="1234567.5"),
        share("accepted", 3, level=1, amount="840", currency="CHF"),
        share("dropped", 2, level=1, reason="paid", amount="300"),
        share("dropped", 1, level=1, reason="withdrawn", amount="9.99"),
        share("failed", 2, level=1, amount="77.70"),
        share("in_doubt", 1, level=1, amount="12"),
        share("left_out", 1012, reason="no_recipient"),
        share("left_out", 500, reason="promised"),
        share("left_out", 2, reason="paid"),
    ),
    problems=PROBLEMS,
    problem_count=203,
)
REFUSED = replace(
    MONDAY,
    state="refused",
    problem="the rule may not run on a test instance",
    test_instance=True,
    missed=0,
    candidates=0,
    mails={},
    shares=(),
    problems=(),
    problem_count=0,
)
FAILED = replace(REFUSED, state="failed", problem="filter: is unknown\n(got 1)", test_instance=False)
HELD = replace(
    REFUSED,
    state="held",
    problem="600 invoices, where 100 are usual",
    oversize=TooLarge(kind="times", candidates=600, of=100, limit=5),
    test_instance=False,
    run_id=12,
)
REFUSED_BY = replace(
    HELD, state="refused", refused_by="Nadia Petit", problem="importé deux fois", oversize=None, supplement=True
)
NOTHING = replace(FAILED, state="closed", problem="")
ALL_LEFT_OUT = replace(NOTHING, candidates=3, shares=(share("left_out", 3, reason="disputed"),))
EARLY = replace(MONDAY, state="open", mails={"sent": 1, "due": 4, "armed": 1}, problems=(), problem_count=0)
IN_DOUBT = replace(
    NOTHING,
    state="open",
    candidates=1,
    mails={"in_doubt": 1},
    shares=(share("in_doubt", 1, level=1, amount="12"),),
    problems=PROBLEMS[:1],
    problem_count=1,
)
BY_HAND = replace(
    MONDAY,
    by_hand=True,
    started_by="Nadia Petit",
    missed=1,
    supplement=True,
    mails={"sent": 1},
    candidates=1,
    shares=(share("accepted", 1, amount="1"),),
    problems=PROBLEMS[:1],
    problem_count=1,
)
RUNS = {
    "monday": MONDAY,
    "refused": REFUSED,
    "failed": FAILED,
    "held": HELD,
    "refused_by": REFUSED_BY,
    "nothing": NOTHING,
    "all_left_out": ALL_LEFT_OUT,
    "early": EARLY,
    "in_doubt": IN_DOUBT,
    "by_hand": BY_HAND,
}


def written(parts: MailParts) -> str:
    return f"{parts.subject}\n\n{parts.text}"


def test_every_candidate_of_the_example_is_in_exactly_one_share() -> None:
    assert sum(one.invoices for one in MONDAY.shares) == MONDAY.candidates


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", RUNS)
def test_a_report_reads_as_its_golden_file(name: str, language: Language) -> None:
    golden = (GOLDEN / f"{name}.{language}.txt").read_text(encoding="utf-8")
    assert written(FORM.compose(RUNS[name], language)) == golden


def test_both_languages_have_the_same_labels_with_the_same_places() -> None:
    places = {
        language: {key: sorted(re.findall(r"\{(\w+)", text)) for key, text in labels.items()}
        for language, labels in FORM.labels.items()
    }
    assert set(places) == set(LANGUAGES)
    assert places["fr"] == places["en"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", RUNS)
def test_no_line_of_the_text_is_wider_than_a_screen(name: str, language: Language) -> None:
    assert max(len(line) for line in FORM.compose(RUNS[name], language).text.split("\n")) <= 78


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", RUNS)
def test_a_subject_has_its_place_in_a_header(name: str, language: Language) -> None:
    run = replace(RUNS[name], rule_title="=?utf-8?Q?x?= " + "Relance très longue " * 10)
    subject = FORM.compose(run, language).subject
    assert check_header_text(subject, field="subject") == subject


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_held_run_says_why_and_how_it_is_let_go(language: Language) -> None:
    text = squeezed(FORM.compose(HELD, language).text)
    assert {"fr": "600 factures au lieu de 100", "en": "600 invoices, where 100"}[language] in text
    assert "relance release run 12 --because" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_that_a_person_holds_says_it_in_their_words(language: Language) -> None:
    run = replace(HELD, problem="prix à vérifier", oversize=None)
    assert "prix à vérifier" in squeezed(FORM.compose(run, language).text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_of_which_the_rest_was_refused_tells_both(language: Language) -> None:
    run = replace(MONDAY, refused_by="Nadia Petit", problem="importé deux fois")
    text = squeezed(FORM.compose(run, language).text)
    assert {"fr": "Nadia Petit a refusé la suite", "en": "Nadia Petit refused the rest"}[language] in text
    assert "importé deux fois" in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", RUNS)
def test_html_and_text_say_the_same(name: str, language: Language) -> None:
    parts = FORM.compose(RUNS[name], language)
    heads = {FORM.labels[language]["who"], FORM.labels[language]["what"]}
    shown = [words for words in Page(parts.html).texts if words not in heads]
    assert len(shown) > 8
    for words in shown[1:]:  # all but the line above the heading, which sums the facts up
        assert words in squeezed(parts.text), words


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", RUNS)
def test_a_screen_reader_hears_which_heading_a_cell_belongs_to(name: str) -> None:
    page = Page(FORM.compose(RUNS[name], "fr").html)
    assert ("html", "fr") in [(tag, attributes.get("lang")) for tag, attributes in page.tags]
    assert [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)] == ["h1"]
    assert {attributes.get("scope") for tag, attributes in page.tags if tag == "th"} <= {"row", "col"}
    captions = [tag for tag, _ in page.tags if tag == "caption"]
    data = [attributes for tag, attributes in page.tags if tag == "table" and "role" not in attributes]
    assert len(data) == len(captions) + 1  # the facts stand under the heading itself


class Page(HTMLParser):
    """The tags of a page with their attributes, and its readable texts, one a block, in their order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._silent = False
        self.feed(source)
        self.texts = [words for words in map(squeezed, self.texts) if words]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in {"style", "title"}
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's own signature
        self._silent = False
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts.append(f"{self.texts.pop()}{data}" if self.texts else data)


def test_what_others_wrote_is_shown_and_never_obeyed() -> None:
    hostile = problem(
        "refused", "C<1>", "<script>x</script>\r\nBcc: a@b", "FA-<b>1", detail="550 <img src=x>\x00\u202e"
    )
    run = replace(MONDAY, rule_title="<i>R</i>", started_by="{0}", by_hand=True, problems=(hostile,))
    parts = FORM.compose(run, "en")
    page = Page(parts.html)
    assert not {"script", "img", "i", "b"} & {tag for tag, _ in page.tags}
    assert "C<1> <script>x</script> Bcc: a@b" in page.texts
    assert "C<1> <script>x</script> Bcc: a@b: FA-<b>1" in squeezed(parts.text)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", parts.text + parts.subject)


def test_a_report_is_calm_in_the_dark_and_on_a_small_screen() -> None:
    body = FORM.compose(MONDAY, "fr").html
    assert "@media (prefers-color-scheme:dark)" in body
    assert "@media (max-width:480px)" in body
    assert "src=" not in body
    assert "href=" not in body


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_of_the_decision_has_its_words(language: Language) -> None:
    shares = tuple(share("left_out", 1, reason=reason) for reason in (*REASONS, "withdrawn"))
    text = FORM.compose(replace(NOTHING, candidates=len(shares), shares=shares), language).text
    for reason in REASONS.values():
        assert reason[language].lower() in text.lower()
    assert FORM.labels[language]["withdrawn"] in text.lower()


def test_a_problem_of_an_unknown_kind_is_reported_all_the_same() -> None:
    run = replace(MONDAY, problems=(problem("unheard_of", "C1", "Client", "FA-1"),), problem_count=1)
    assert FORM.labels["en"]["kind_other"] in FORM.compose(run, "en").text


def test_a_language_without_labels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="language"):
        FORM.compose(MONDAY, cast("Language", "de"))


@pytest.mark.parametrize(
    ("mails", "problems", "outcome"),
    [
        ({"sent": 1}, 0, "1 courriel envoyé"),
        ({"sent": 2}, 1, "2 courriels envoyés, 1 point à voir"),
        ({"failed": 2}, 2, "aucun courriel envoyé, 2 points à voir"),
        ({"sent": 2, "due": 3}, 0, "2 courriels envoyés, 3 en attente"),
    ],
)
def test_the_subject_tells_the_outcome(mails: dict[str, int], problems: int, outcome: str) -> None:
    parts = FORM.compose(replace(MONDAY, mails=mails, problem_count=problems, problems=()), "fr")
    assert parts.subject == f"Relance 1 du 1er juin 2026\u00a0: {outcome}"


def test_the_due_time_is_told_on_the_companys_clock() -> None:
    run = replace(MONDAY, due_at=datetime(2026, 1, 1, 23, 30, tzinfo=UTC))
    assert "2 janvier 2026 à 0\u00a0h\u00a030" in FORM.compose(run, "fr").text
    assert "2 January 2026 at 00:30" in FORM.compose(run, "en").text


@pytest.mark.parametrize("run", [REFUSED, replace(MONDAY, test_instance=True)])
def test_a_run_on_a_test_instance_says_so_first(run: RunSummary) -> None:
    assert FORM.compose(run, "en").subject.startswith("[Test] ")
