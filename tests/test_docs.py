"""The documentation is part of the product: whatever has a name that a user may need is in the README."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from letters.variables import VARIABLES as TEMPLATE_VARIABLES
from letters.variables import Doc
from scripts.main import COMMANDS
from workers.evidence import CHANNELS
from workers.settings import VARIABLES as SETTINGS
from workers.settings import Settings
from workflow.decision import REASONS
from workflow.doubt import POLICIES
from workflow.filter_grammar import Field
from workflow.filters import FIELDS
from workflow.machine import diagram
from workflow.rules import Rule

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "DESIGN.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"| `relance {name}` |" in README


@pytest.mark.parametrize(("name", "words"), SETTINGS.items())
def test_every_setting_is_in_the_readme_with_its_meaning(name: str, words: str) -> None:
    assert f"| `{name}` | {words}" in README


def test_every_setting_that_is_read_is_described() -> None:
    read = {f.name.upper() if f.name.endswith("_url") else f"RELANCE_{f.name.upper()}" for f in fields(Settings)}
    assert read == set(SETTINGS)


@pytest.mark.parametrize(("name", "field"), FIELDS.items())
def test_every_filter_field_is_in_the_readme(name: str, field: Field) -> None:
    assert f"| `{name}` | {field.help_en} |" in README


@pytest.mark.parametrize(("name", "doc"), TEMPLATE_VARIABLES.items())
def test_every_template_variable_is_in_the_readme(name: str, doc: Doc) -> None:
    assert f"| `{name}` | {doc.en} |" in README


@pytest.mark.parametrize("name", [f.name for f in fields(Rule) if f.init])
def test_every_field_of_a_rule_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize("word", [*POLICIES, *CHANNELS, "key_header", "key_hours"])
def test_every_policy_and_place_of_evidence_is_in_the_readme(word: str) -> None:
    assert re.search(rf"`{word}`|\b(kind|doubt_policy): {word}\b|^    {word}: ", README, re.MULTILINE)


def test_the_readme_names_nothing_that_is_not_there() -> None:
    named = set(re.findall(r"^\| `relance ([\w-]+)` \|", README, re.MULTILINE))
    assert named == set(COMMANDS)
    assert set(re.findall(r"^\| `(RELANCE_\w+|\w+_URL)` \|", README, re.MULTILINE)) == set(SETTINGS)


def test_the_state_machine_is_drawn_as_it_is() -> None:
    assert diagram() in DESIGN


def test_every_reason_is_said_in_french_and_english() -> None:
    for words in REASONS.values():
        assert set(words) == {"en", "fr"}
        assert all(words.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_heading_that_the_documents_point_at_exists(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        place = page.parent / target if target else page
        assert place.exists(), target
        if heading:
            assert heading in anchors(place), heading


def anchors(page: Path) -> set[str]:
    """Its headings as a link names them: lower case, words joined by dashes, other signs left out."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
