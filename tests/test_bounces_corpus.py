"""Real bounces of many mail systems, labelled by others: how many are found, and how few soft ones are called hard.

The labels judge by more than the words, so they are a measure and no oracle: some call soft what says "mailbox does
not exist". What is called hard against them is therefore bounded, not forbidden.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_bounces_reading import holds, mutated
from workers.bounces import Bounce, read_bounces

BOUNCES = Path(__file__).resolve().parents[2] / "shared" / "data" / "bounces"


@pytest.fixture(scope="module")
def mails() -> dict[str, bytes]:
    if not BOUNCES.exists():
        pytest.skip("the bounces are not beside this checkout")
    return {path.name: path.read_bytes() for path in sorted((BOUNCES / "sisimai").iterdir())}


@pytest.fixture(scope="module")
def read(mails: dict[str, bytes]) -> dict[str, list[Bounce]]:
    return {name: read_bounces(content) for name, content in mails.items()}


def expected(row: dict[str, str]) -> str:
    match row["sisimai_reason"]:
        case "vacation":
            return "auto_reply"
        case "delivered":
            return "none"
        case _:
            return "hard" if row["hardbounce"] == "true" else "soft"


@pytest.fixture(scope="module")
def pairs(read: dict[str, list[Bounce]]) -> Counter[tuple[str, str]]:
    """Counts by (label, kind); the recipients of a mail are paired with its labels by code, then by kind."""
    left = {name: list(found) for name, found in read.items()}
    counted: Counter[tuple[str, str]] = Counter()
    with (BOUNCES / "labels.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["sisimai_reason"] != "UNLABELLED"]
    for row in rows:
        label, found = expected(row), left[row["file"]]
        best = max(found, key=lambda one: (one.status == row["dsn_status"], one.kind == label), default=None)
        counted[label, best.kind if best else "missing"] += 1
        if best:
            found.remove(best)
    return counted


def test_at_least_ninety_five_in_a_hundred_bounces_are_found(pairs: Counter[tuple[str, str]]) -> None:
    bounces = {pair: count for pair, count in pairs.items() if pair[0] in {"hard", "soft"}}
    found = sum(count for (_, kind), count in bounces.items() if kind in {"hard", "soft"})
    assert sum(bounces.values()) > 270
    assert found >= 0.95 * sum(bounces.values()), pairs


def test_at_most_two_in_a_hundred_soft_ones_are_called_hard(pairs: Counter[tuple[str, str]]) -> None:
    soft = sum(count for (label, _), count in pairs.items() if label == "soft")
    assert soft > 180
    assert pairs["soft", "hard"] <= 0.02 * soft, pairs


def test_most_hard_ones_are_called_hard(pairs: Counter[tuple[str, str]]) -> None:
    hard = sum(count for (label, _), count in pairs.items() if label == "hard")
    assert hard > 80
    assert pairs["hard", "hard"] >= 0.8 * hard, pairs


def test_automatic_answers_and_complaints_are_recognised(
    pairs: Counter[tuple[str, str]], read: dict[str, list[Bounce]]
) -> None:
    assert {kind for (label, kind) in pairs if label == "auto_reply"} == {"auto_reply"}
    complaints = {name: found[0].kind for name, found in read.items() if name.startswith("arf-")}
    assert complaints.pop("arf-19.eml") == "none"  # about signatures; nobody complained
    assert set(complaints.values()) == {"complaint"}


def test_nearly_every_bounce_names_an_address(read: dict[str, list[Bounce]]) -> None:
    named = [bool(one.address) for found in read.values() for one in found if one.kind in {"hard", "soft"}]
    assert sum(named) >= 0.99 * len(named)


def test_a_mail_that_is_no_bounce_is_none() -> None:
    if not BOUNCES.exists():
        pytest.skip("the bounces are not beside this checkout")
    for path in (BOUNCES / "not_a_bounce").iterdir():
        assert [one.kind for one in read_bounces(path.read_bytes())] == ["none"]


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_real_mail_is_read(mails: dict[str, bytes], data: st.DataObject) -> None:
    content = mails[data.draw(st.sampled_from(sorted(mails)))]
    holds(read_bounces(data.draw(mutated(content))))
