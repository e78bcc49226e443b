"""How fast a run goes and when it will be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from operations.pace import Pace, pace
from store.runs import Progress, Run

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
RUN = Run(
    id=1, rule_id=1, rule_version=1, due_at=NOW, request_key=None, missed=0, level=0, state="open", problem=None,
    candidates=300, started_by="system", created_at=NOW, opened_at=NOW - timedelta(hours=1), closed_at=None,
    reported_at=None, held_because=None, held_at=None, released=False, refused_by=None,
)  # fmt: skip
PROGRESS = Progress(undecided=0, waiting=50, leaving=10, sent=30, in_doubt=2, failed=5, cancelled=3)


def test_what_is_left_takes_as_long_as_the_last_minute_says() -> None:
    found = pace(RUN, PROGRESS, last_minute=120, now=NOW)
    assert found == Pace(done=38, mails=100, per_s=2.0, left_s=30.0)
    assert found.done_of(estimate=False) == "38 of 100"


def test_candidates_still_undecided_are_expected_to_make_mails_as_the_others_did() -> None:
    found = pace(RUN, replace(PROGRESS, undecided=150), last_minute=120, now=NOW)
    assert (found.mails, found.left_s) == (200, 80.0)
    assert found.done_of(estimate=True) == "38 of ~200"


def test_nobody_can_say_before_a_candidate_is_decided_or_a_mail_has_left() -> None:
    nothing = Progress(undecided=300, waiting=0, leaving=0, sent=0, in_doubt=0, failed=0, cancelled=0)
    found = pace(RUN, nothing, last_minute=0, now=NOW)
    assert (found.mails, found.left_s, found.done_of(estimate=True)) == (None, None, "0 of ~?")
    assert pace(RUN, PROGRESS, last_minute=0, now=NOW).left_s is None


def test_a_run_opened_ten_seconds_ago_is_measured_over_ten_seconds() -> None:
    young = replace(RUN, opened_at=NOW - timedelta(seconds=10))
    assert pace(young, PROGRESS, last_minute=120, now=NOW).per_s == 12.0


COUNTS = st.integers(0, 1000)


@given(st.builds(Progress, **dict.fromkeys(Progress.__dataclass_fields__, COUNTS)), COUNTS, COUNTS)
def test_no_run_ever_has_more_done_than_there_is(progress: Progress, candidates: int, last_minute: int) -> None:
    found = pace(replace(RUN, candidates=candidates), progress, last_minute=last_minute, now=NOW)
    assert found.mails is None or found.done <= found.mails
    assert found.left_s is None or found.left_s >= 0
