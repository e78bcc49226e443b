"""A name that nobody knows is answered with the one that was meant."""

from __future__ import annotations

import pytest

from workflow.spelling import closest, did_you_mean, nearest

FIELDS = ("level", "total", "number")


@pytest.mark.parametrize(("typed", "meant"), [("levle", "level"), ("totl", "total"), ("xyzzy", None), ("", None)])
def test_the_nearest_is_one_that_is_like_it_or_none(typed: str, meant: str | None) -> None:
    assert nearest(typed, FIELDS) == meant
    assert did_you_mean(typed, FIELDS) == (f"; did you mean {meant}?" if meant else "")


def test_the_closest_is_always_one() -> None:
    assert closest("numbr", FIELDS) == "number"
    assert closest("xyzzy" * 1000, FIELDS) in FIELDS
