"""The breaker of a mail account: when nothing is tried any more, for how long, and what lets mails leave again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow import limits
from workflow.limits import CLOSED, Breaker

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def failing(breaker: Breaker, times: int, now: datetime = NOW) -> Breaker:
    for _ in range(times):
        breaker = limits.after_failure(breaker, now, unit_s=60)
    return breaker


def probing(breaker: Breaker) -> Breaker:
    """One mail tries."""
    return Breaker(
        failures=breaker.failures, openings=breaker.openings, opened_at=breaker.opened_at, probe_at=breaker.probe_at,
        probing=True,
    )  # fmt: skip


def test_four_failures_in_a_row_stop_nothing() -> None:
    assert failing(CLOSED, 4).opened_at is None


def test_the_fifth_failure_in_a_row_leaves_the_server_alone_for_a_minute() -> None:
    broken = failing(CLOSED, 5)
    assert (broken.opened_at, broken.probe_at) == (NOW, NOW + MINUTE)


def test_a_success_between_begins_the_count_anew() -> None:
    assert failing(limits.after_success(failing(CLOSED, 4)), 4).opened_at is None


def test_each_failed_probe_doubles_the_wait_up_to_half_an_hour() -> None:
    broken, waits = failing(CLOSED, 5), []
    for _ in range(7):
        assert broken.probe_at
        waits.append((broken.probe_at - NOW) // MINUTE)
        broken = failing(probing(broken), 1)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_who_was_still_trying_when_it_opened_does_not_prolong_it() -> None:
    assert failing(CLOSED, 12) == failing(CLOSED, 5)


def test_a_probe_that_gets_through_closes_it_and_the_next_opening_is_short_again() -> None:
    broken = failing(probing(failing(CLOSED, 5)), 1)
    again = failing(limits.after_success(broken), 5)
    assert again.probe_at == NOW + MINUTE


def test_a_server_with_too_many_connections_gets_half_of_them_once_however_many_hear_it() -> None:
    slowed = CLOSED
    for _ in range(8):
        slowed = limits.after_busy(slowed, NOW, connections=8, unit_s=60)
    assert limits.connections_now(slowed, 8, NOW) == 4
    assert slowed.failures == 0


def test_connections_come_back_when_the_server_has_not_complained_for_a_while() -> None:
    slowed = limits.after_busy(CLOSED, NOW, connections=8, unit_s=60)
    slowed = limits.after_busy(slowed, NOW + MINUTE, connections=4, unit_s=60)
    later = [limits.connections_now(slowed, 8, NOW + minutes * MINUTE) for minutes in (1, 10, 11, 20, 21, 300)]
    assert later == [2, 2, 4, 4, 8, 8]


def test_too_many_connections_where_there_is_one_is_a_failure() -> None:
    slowed = CLOSED
    for _ in range(5):
        slowed = limits.after_busy(slowed, NOW, connections=1, unit_s=60)
    assert slowed.probe_at == NOW + MINUTE


@pytest.mark.parametrize(
    ("fate", "step", "code", "trouble"),
    [
        ("unreachable", "connect", None, "failure"),
        ("refused", "connect", 554, "failure"),
        ("refused", "auth", 454, "failure"),
        ("refused", "auth", 535, None),
        ("refused", "connect", 421, "busy"),
        ("refused", "rcpt", 421, "busy"),
        ("refused", "rcpt", 550, None),
        ("unreachable", "", None, None),
        ("not_started", "", None, None),
        ("unknown", "", None, None),
    ],
)
def test_only_the_way_to_the_server_is_its_trouble(fate: str, step: str, code: int | None, trouble: str | None) -> None:
    assert limits.trouble(fate, step, code) == trouble


def test_a_token_that_is_refused_is_trouble_like_a_server_that_is_away() -> None:
    assert limits.trouble("refused", "auth", 535, by_token=True) == "failure"
    assert limits.trouble("refused", "rcpt", 550, by_token=True) is None


@given(st.lists(st.sampled_from(["fail", "busy", "succeed", "probe"]), max_size=60))
def test_a_breaker_always_says_when_the_next_mail_may_try(events: list[str]) -> None:
    breaker, now = CLOSED, NOW
    for event in events:
        now += MINUTE
        match event:
            case "fail":
                breaker = limits.after_failure(breaker, now, unit_s=60)
            case "busy":
                breaker = limits.after_busy(breaker, now, connections=2, unit_s=60)
            case "succeed":
                breaker = limits.after_success(breaker)
            case _:
                breaker = probing(breaker) if breaker.opened_at else breaker
        assert (breaker.opened_at is None) == (breaker.probe_at is None)
        assert breaker.probe_at is None or breaker.probe_at - now <= 30 * MINUTE
        assert 1 <= limits.connections_now(breaker, 8, now) <= 8


@pytest.mark.parametrize(
    ("fate", "step", "code", "shown"),
    [
        ("sent", "", None, True),
        ("withdrawn", "", None, True),
        ("refused", "rcpt", 550, True),
        ("refused", "rcpt", 421, False),
        ("refused", "auth", 535, False),
        ("unreachable", "connect", None, False),
    ],
)
def test_a_server_that_looked_at_a_mail_takes_connections(
    fate: str, step: str, code: int | None, *, shown: bool
) -> None:
    assert limits.answers(fate, step, code) is shown
