"""The state machine: every arrow, and nothing but these arrows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transitions import MachineError

from workflow.machine import (
    LAST_LEVEL,
    MACHINE,
    NEXT,
    STATES,
    TRIGGERS,
    ImpossibleTransition,
    Position,
    Trigger,
    corrected,
    diagram,
    is_idle,
    level_of,
    moved,
    next_state,
    reopened,
    settled,
)

# The domain's own drawing, level by level.
ARROWS = {
    (f"level_{level}{source}", trigger): f"level_{level + rise}{target}"
    for level in range(LAST_LEVEL)
    for source, trigger, rise, target in [
        ("", "reserve", 0, "_sending"),
        ("_sending", "confirm", 1, ""),
        ("_sending", "doubt", 0, "_in_doubt"),
        ("_sending", "release", 0, ""),
        ("_in_doubt", "confirm", 1, ""),
        ("_in_doubt", "release", 0, ""),
        ("_in_doubt", "retry", 0, "_sending"),
    ]
}
BEHIND = [state for state in STATES if state != "settled"]
IDLE = [f"level_{level}" for level in range(LAST_LEVEL + 1)]


class Walker:
    """A model for `transitions` itself."""

    state: str


def walked(state: str, trigger: Trigger) -> str | None:
    """Where the library goes; None where it refuses."""
    walker = Walker()
    MACHINE.add_model(walker, initial=state)
    try:
        MACHINE.events[trigger].trigger(walker)
    except MachineError:
        return None
    finally:
        MACHINE.remove_model(walker)
    return walker.state


def test_the_arrows_are_those_of_the_drawing() -> None:
    assert NEXT == ARROWS
    assert set(STATES) == {"settled", *IDLE} | {state for state, _ in ARROWS}
    assert {trigger for _, trigger in ARROWS} == set(TRIGGERS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_the_table_goes_where_the_machine_goes(state: str, trigger: Trigger) -> None:
    there = walked(state, trigger)
    if there is None:
        with pytest.raises(ImpossibleTransition, match=f"in state {state} cannot {trigger}"):
            next_state(state, trigger)
    else:
        assert next_state(state, trigger) == there == ARROWS[state, trigger]


@given(st.lists(st.sampled_from(TRIGGERS), max_size=40))
def test_the_level_rises_one_by_one_and_only_when_a_mail_is_confirmed(triggers: list[Trigger]) -> None:
    position = Position("level_0")
    confirmed = 0
    for trigger in triggers:
        try:
            position = moved(position, trigger)
        except ImpossibleTransition:
            continue
        confirmed += trigger == "confirm"
        assert level_of(position.state) == confirmed <= LAST_LEVEL


@given(
    st.lists(st.sampled_from([*TRIGGERS, "settle", "reopen"]), max_size=40),
)
def test_settling_and_reopening_hide_the_machine_and_never_move_it(events: list[Trigger]) -> None:
    """An invoice that is settled and reopened at will ends where the one that never was does, reserves apart."""
    position, plain = Position("level_0"), "level_0"
    for event in events:
        if event in ("settle", "reopen"):
            position = settled(position) if event == "settle" else reopened(position)
        elif (plain, event) in NEXT and not (event == "reserve" and position.before_settled):
            plain = NEXT[plain, event]
            position = moved(position, event)
        else:
            with pytest.raises(ImpossibleTransition):
                moved(position, event)
        assert position.behind == plain
        assert reopened(position) == Position(plain)


@pytest.mark.parametrize("state", BEHIND)
def test_a_paid_invoice_remembers_where_it_stood_and_comes_back_to_it(state: str) -> None:
    paid = settled(Position(state))
    assert paid == settled(paid) == Position("settled", state)
    assert reopened(paid) == reopened(reopened(paid)) == Position(state)


@pytest.mark.parametrize("state", BEHIND)
def test_a_paid_invoice_is_never_reserved(state: str) -> None:
    with pytest.raises(ImpossibleTransition, match="settled cannot reserve"):
        moved(Position("settled", state), "reserve")


@pytest.mark.parametrize(("arrow", "target"), [(arrow, to) for arrow, to in ARROWS.items() if arrow[1] != "reserve"])
def test_the_mail_of_a_paid_invoice_moves_what_it_remembers(arrow: tuple[str, Trigger], target: str) -> None:
    assert moved(Position("settled", arrow[0]), arrow[1]) == Position("settled", target)


@pytest.mark.parametrize("state", IDLE)
@pytest.mark.parametrize("level", range(LAST_LEVEL + 1))
def test_a_person_may_set_any_level_of_an_idle_invoice(state: str, level: int) -> None:
    assert corrected(Position(state), level) == Position(f"level_{level}")
    assert corrected(Position("settled", state), level) == Position("settled", f"level_{level}")


@pytest.mark.parametrize("state", [state for state in BEHIND if state not in IDLE])
def test_nobody_corrects_an_invoice_whose_mail_is_out(state: str) -> None:
    for position in (Position(state), Position("settled", state)):
        with pytest.raises(ImpossibleTransition, match="be corrected to level 1"):
            corrected(position, 1)


@pytest.mark.parametrize("level", [-1, 4])
def test_there_are_four_levels(level: int) -> None:
    with pytest.raises(ImpossibleTransition, match=f"be corrected to level {level}"):
        corrected(Position("level_1"), level)


def test_idle_is_neither_sending_nor_in_doubt_nor_settled() -> None:
    assert [state for state in STATES if is_idle(state)] == sorted(IDLE)


def test_the_picture_shows_every_arrow_once() -> None:
    drawn = re.findall(r"^    (level\w+) --> (level\w+): (\w+)$", diagram(), flags=re.MULTILINE)
    assert {(source, trigger): target for source, target, trigger in drawn} == ARROWS
    assert len(drawn) == len(ARROWS)
    assert diagram().startswith("stateDiagram-v2\n    [*] --> level_0\n")
