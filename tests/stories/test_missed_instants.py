"""A machine that slept over a rule's instants makes one run, for the last of them, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stories.telling import Story


def test_three_missed_instants_are_one_run(story: Story) -> None:
    story.on("2026-03-09").issue("FA-1", "100.00", due="2026-03-06")
    story.on("2026-03-10").expect_mail("FA-1", level=1)
    before = len(story.all("SELECT id FROM runs"))
    story.on("2026-03-13").expect_no_mail()
    found = story.all("SELECT missed FROM runs WHERE due_at = '2026-03-13T08:00Z' ORDER BY rule_id")
    assert found == [2, 2, 2]
    assert len(story.all("SELECT id FROM runs")) == before + 3


def test_a_missed_day_loses_no_level_and_skips_none(story: Story) -> None:
    story.on("2026-03-02").issue("FA-1", "100.00", due="2026-03-05")
    story.on("2026-05-18").expect_mail("FA-1", level=1)
    story.on("2026-05-28").expect_mail("FA-1", level=2)
    story.on("2026-08-17").expect_mail("FA-1", level=3)


def test_an_instant_fires_once_however_often_one_looks(story: Story) -> None:
    story.on("2026-03-09").issue("FA-1", "100.00", due="2026-03-06")
    story.on("2026-03-10").expect_mail("FA-1", level=1)
    runs = story.all("SELECT id FROM runs")
    story.rest().on("2026-03-10", at="11:00").on("2026-03-10", at="16:00").expect_no_mail()
    assert story.all("SELECT id FROM runs") == runs
