from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from letters.mail import Stationery, default_texts
from letters.samples import SAMPLE, SAMPLES
from letters.texts import TemplateError, check_subject, check_text
from workflow.errors import InvalidInput
from workflow.rules import Texts

if TYPE_CHECKING:
    from letters.mail import MailParts
    from letters.variables import LetterValues
    from workflow.facts import Language

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "templates" / "mail"
GOLDEN = HERE / "golden" / "mail"
STATIONERY = Stationery.from_folder(FOLDER)
PLAIN = Texts(subject="Relance {{ level }}", header="Bonjour,", footer="Merci.")
EACH_LETTER: list[tuple[int, Language]] = [(level, language) for level in (1, 2, 3) for language in ("fr", "en")]


def letter(level: int, language: Language, values: LetterValues = SAMPLE) -> MailParts:
    texts = default_texts(FOLDER, level=level, language=language)
    return STATIONERY.compose(texts, replace(values, level=level, language=language))


def as_golden(parts: MailParts) -> str:
    """The text part under its subject, no-break spaces made visible for whoever reads the file."""
    return f"Subject: {parts.subject}\n\n{parts.text}".replace("\u202f", "⍽").replace("\u00a0", "⎵")


class Outline(HTMLParser):
    """Tags with their attributes, and a check that what opens is closed."""

    VOID: ClassVar = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data.split()


@pytest.mark.parametrize(("level", "language"), EACH_LETTER)
def test_a_letter_reads_as_it_was_approved(level: int, language: Language) -> None:
    """After a wanted change: python -m tests.test_letters_mail writes the files anew, for a person to read."""
    golden = (GOLDEN / f"level_{level}.{language}.txt").read_text(encoding="utf-8")
    assert as_golden(letter(level, language)) == golden


def test_the_html_letter_is_the_one_that_was_approved() -> None:
    assert letter(1, "fr").html == (GOLDEN / "level_1.fr.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("level", "language"), EACH_LETTER)
def test_the_first_texts_pass_the_check_of_every_text(level: int, language: Language) -> None:
    texts = default_texts(FOLDER, level=level, language=language)
    check_subject(texts.subject, field="subject")
    check_text(texts.header, field="header")
    check_text(texts.footer, field="footer")


@pytest.mark.parametrize("sample", SAMPLES, ids=["several", "english", "bare"])
@pytest.mark.parametrize(("level", "language"), EACH_LETTER)
def test_no_letter_shows_leftovers(level: int, language: Language, sample: LetterValues) -> None:
    parts = letter(level, language, sample)
    for shown in (parts.subject, parts.text, " ".join(Outline(parts.html).words)):
        assert not re.search(r"[{}\ue000\ue001]|None|Undefined|  ,|\n\n\n", shown)
    assert all(len(line) <= 78 for line in parts.text.split("\n"))


@pytest.mark.parametrize("language", ["fr", "en"])
def test_only_professionals_are_told_of_the_recovery_indemnity(language: Language) -> None:
    for kind in ("professional", "consumer", "unknown", "public_body"):
        values = replace(SAMPLE, customer=replace(SAMPLE.customer, kind=kind))
        assert ("L441-10" in letter(3, language, values).text) is (kind == "professional")
    assert "L441-10" not in letter(2, language).text


def test_the_last_reminder_does_not_pass_for_a_formal_notice() -> None:
    assert "Dernière relance avant mise en demeure" in letter(3, "fr").subject
    assert "mise en demeure" not in letter(2, "fr").text


def test_french_punctuation_and_amounts_are_never_torn_apart() -> None:
    for level in (1, 2, 3):
        assert not re.search(r" [:;!?€]", as_golden(letter(level, "fr")).removeprefix("Subject: "))


def test_the_same_values_make_the_same_mail() -> None:
    assert letter(2, "fr") == letter(2, "fr")
    assert Stationery.from_folder(FOLDER).compose(PLAIN, SAMPLE) == STATIONERY.compose(PLAIN, SAMPLE)


def test_every_language_has_every_label() -> None:
    labels = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("labels.*.json")}
    assert len(labels) >= 2
    french = labels["labels.fr.json"]
    for words in labels.values():
        assert words.keys() == french.keys()
        for name, label in words.items():
            assert re.findall(r"\{\w+\}", label) == re.findall(r"\{\w+\}", french[name])


def test_every_label_is_used() -> None:
    used = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("layout.html.j2", "statement.txt.j2"))
    used += (HERE.parent / "letters" / "mail.py").read_text(encoding="utf-8")
    for name in STATIONERY.labels["fr"]:
        assert f"labels.{name}" in used or re.search(rf'["\']{re.sub("_(one|other)$", "", name)}', used), name


def test_a_part_payment_is_shown_on_its_invoice_alone() -> None:
    parts = STATIONERY.compose(PLAIN, SAMPLE)
    assert parts.text.count("déjà réglé") == parts.html.count("déjà réglé") == 1
    unpaid = STATIONERY.compose(PLAIN, replace(SAMPLE, invoices=SAMPLE.invoices[1:]))
    assert "déjà réglé" not in unpaid.text + unpaid.html


def test_a_credit_note_is_called_so_and_is_never_late() -> None:
    credit = replace(SAMPLE.invoices[0], number="AV-7", total=Decimal(-50), balance=Decimal(-50))
    parts = STATIONERY.compose(PLAIN, replace(SAMPLE, invoices=(credit,)))
    assert "Avoir du 31/08/2026" in parts.html
    assert "retard" not in parts.html.split("</style>")[-1]
    assert "-50,00\u00a0€" in parts.text


def test_without_an_iban_no_payment_block_is_shown() -> None:
    company = replace(SAMPLE.company, iban="")
    parts = STATIONERY.compose(PLAIN, replace(SAMPLE, company=company))
    assert "IBAN" not in parts.text + parts.html


def test_the_html_speaks_its_language_and_its_tables_say_what_they_are() -> None:
    for language in ("fr", "en"):
        tags = Outline(letter(1, language).html).tags
        assert ("html", {"lang": language}) in tags
        tables = [attrs for tag, attrs in tags if tag == "table"]
        data = [attrs for attrs in tables if attrs.get("role") != "presentation"]
        assert [attrs["class"] for attrs in data] == ["statement", "facts"]
        assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in tags if tag == "th")
        assert "caption" in [tag for tag, _ in tags]


def test_the_html_fetches_nothing_and_runs_nothing() -> None:
    html = letter(3, "fr").html
    tags = Outline(html).tags
    assert {tag for tag, _ in tags} & {"img", "link", "script", "iframe", "object", "form"} == set()
    assert not re.search(r"url\(|@import|src=|\son\w+=", html)
    assert "http" not in re.sub(r">[^<]*<", "><", html)


def test_the_styles_are_on_the_elements_and_the_media_queries_stay() -> None:
    html = letter(1, "fr").html
    assert '<p style="margin:' in html
    outside = re.sub(r"@media [^{]+\{(?:[^{}]+\{[^{}]*\}\s*)*\}\s*", "", html)
    assert "<style>\n</style>" in outside
    assert "prefers-color-scheme:dark" in html
    assert "max-width:480px" in html


def test_a_reminder_of_four_invoices_is_light() -> None:
    values = replace(SAMPLE, invoices=(*SAMPLE.invoices, SAMPLE.invoices[1]))
    assert len(letter(1, "fr", values).html.encode()) <= 6.5 * 1024


def test_a_hostile_name_is_text_wherever_it_stands() -> None:
    hostile = '</td><script>alert("x")</script>'
    values = replace(
        SAMPLE,
        customer=replace(SAMPLE.customer, name=hostile, number=hostile),
        company=replace(SAMPLE.company, name=hostile, address=hostile, bic=hostile),
        invoices=(replace(SAMPLE.invoices[0], number=hostile),),
        reference=hostile,
    )
    parts = letter(1, "fr", values)
    assert "<script" not in parts.html
    assert "script" not in {tag for tag, _ in Outline(parts.html).tags}
    assert hostile in parts.text


def test_a_very_long_invoice_number_keeps_the_columns_in_place() -> None:
    long = replace(SAMPLE.invoices[0], number="FACTURE/2026/" + "0" * 40, balance=Decimal("9999999.99"))
    lines = STATIONERY.compose(PLAIN, replace(SAMPLE, invoices=(long, *SAMPLE.invoices))).text.split("\n")
    assert long.number in lines
    assert len({len(line) for line in lines if line.endswith("\u00a0€") or set(line) == {"-"}} - {2}) == 1


def test_a_mail_about_no_invoice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="invoices"):
        STATIONERY.compose(PLAIN, replace(SAMPLE, invoices=()))


def test_a_language_without_labels_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="language: has no labels: there are en, fr"):
        STATIONERY.compose(PLAIN, replace(SAMPLE, language="de"))  # type: ignore[arg-type]


def test_a_text_that_cannot_be_rendered_names_its_field() -> None:
    with pytest.raises(TemplateError, match="footer: line 1: unknown variable nobody"):
        STATIONERY.compose(replace(PLAIN, footer="{{ nobody }}"), SAMPLE)


def write_golden_files() -> None:
    for level, language in EACH_LETTER:
        (GOLDEN / f"level_{level}.{language}.txt").write_text(as_golden(letter(level, language)), encoding="utf-8")
    (GOLDEN / "level_1.fr.html").write_text(letter(1, "fr").html, encoding="utf-8")


if __name__ == "__main__":
    write_golden_files()
