"""How large a run may be before a person has seen it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workflow.limits import SMALL_COMPANY, RunLimits, too_large

USUAL = RunLimits(times_usual=5, share_percent=50, always_allowed=200)
MANY = 100_000


def waits(candidates: int, last_runs: list[int], *, open_invoices: int = MANY, limits: RunLimits = USUAL) -> bool:
    return bool(too_large(candidates, limits, last_runs=last_runs, open_invoices=open_invoices))


@pytest.mark.parametrize(("candidates", "held"), [(500, False), (501, True)])
def test_a_run_of_more_than_five_times_the_usual_waits(candidates: int, *, held: bool) -> None:
    assert waits(candidates, [100, 90, 110]) is held


def test_one_large_run_among_the_last_makes_nothing_usual() -> None:
    assert waits(5_000, [100, 100, 4_000, 90])


def test_a_few_invoices_never_wait_however_unusual() -> None:
    assert not waits(200, [0, 0, 1])
    assert waits(201, [0, 0, 1])


def test_a_rule_that_has_never_run_has_no_usual_size() -> None:
    assert not waits(40_000, [])


def test_more_than_half_of_all_open_invoices_wait_even_at_a_rules_first_run() -> None:
    assert waits(50_001, [])
    assert not waits(50_000, [])


def test_a_share_says_nothing_of_a_small_company() -> None:
    assert not waits(SMALL_COMPANY, [], open_invoices=SMALL_COMPANY)
    assert waits(SMALL_COMPANY, [], open_invoices=SMALL_COMPANY + 1)


def test_each_limit_can_be_taken_away() -> None:
    boundless = replace(USUAL, times_usual=None, share_percent=None)
    assert not waits(MANY, [1], limits=boundless)
    assert waits(MANY, [1], limits=replace(boundless, share_percent=99))
    assert waits(MANY, [1], limits=replace(boundless, times_usual=1000))


def test_the_reason_names_the_figures_in_the_readers_language() -> None:
    unusual = too_large(600, USUAL, last_runs=[100, 101], open_invoices=MANY)
    assert unusual
    assert unusual.words("en") == "600 invoices, where 100.5 are usual: more than 5 times as many"
    assert plain(unusual.words("fr")) == "600 factures au lieu de 100,5 d'habitude : plus de 5 fois autant"
    most = too_large(1_200_000, USUAL, last_runs=[], open_invoices=2_000_000)
    assert most
    assert most.words("en") == "1200000 of 2000000 open invoices, 60 %: more than 50 %"
    assert plain(most.words("fr")) == "1200000 factures sur 2000000 ouvertes, soit 60 % : plus de 50 %"


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")
