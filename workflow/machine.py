"""The state machine of an invoice: flat, one state a name, and a table derived from it for batches.

`transitions` defines it; nothing is attached to it and nothing runs inside it. The invoice's commercial state (open,
paid,
cancelled, disputed, refused) is another thing, kept by the invoicing system: the machine never guesses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transitions import Machine

from workflow.errors import RelanceError

Trigger = Literal["reserve", "confirm", "doubt", "release", "retry"]
TRIGGERS: tuple[Trigger, ...] = ("reserve", "confirm", "doubt", "release", "retry")
LAST_LEVEL = 3


class ImpossibleTransition(RelanceError):  # noqa: N818 - a fact about an invoice, not a failure of the code
    """A trigger that the machine does not know in this state."""

    def __init__(self, *, state: str, trigger: str) -> None:
        """Name both."""
        self.state = state
        self.trigger = trigger
        super().__init__(f"an invoice in state {state} cannot {trigger}")


def _machine() -> Machine:
    states = ["settled"]
    arrows: list[dict[str, str]] = []
    for level in range(LAST_LEVEL):
        idle, sending, in_doubt = f"level_{level}", f"level_{level}_sending", f"level_{level}_in_doubt"
        states += [idle, sending, in_doubt]
        arrows += [
            {"trigger": "reserve", "source": idle, "dest": sending},
            {"trigger": "confirm", "source": sending, "dest": f"level_{level + 1}"},
            {"trigger": "release", "source": sending, "dest": idle},
            {"trigger": "doubt", "source": sending, "dest": in_doubt},
            {"trigger": "confirm", "source": in_doubt, "dest": f"level_{level + 1}"},
            {"trigger": "release", "source": in_doubt, "dest": idle},
            {"trigger": "retry", "source": in_doubt, "dest": sending},
        ]
    states.append(f"level_{LAST_LEVEL}")
    return Machine(model=None, states=states, transitions=arrows, initial="level_0", auto_transitions=False)


MACHINE = _machine()
STATES: tuple[str, ...] = tuple(MACHINE.states)
NEXT: dict[tuple[str, str], str] = {
    (transition.source, trigger): str(transition.dest)
    for trigger, event in MACHINE.events.items()
    for transitions in event.transitions.values()
    for transition in transitions
}


@dataclass(frozen=True, slots=True)
class Position:
    """Where an invoice stands: its state, and what it will come back to while it is settled."""

    state: str
    before_settled: str | None = None

    @property
    def behind(self) -> str:
        """The state that a reminder moves: inside settled, the remembered one."""
        return self.before_settled or self.state


def next_state(state: str, trigger: Trigger) -> str:
    """The state after one arrow. Raises ImpossibleTransition where there is none."""
    try:
        return NEXT[state, trigger]
    except KeyError:
        raise ImpossibleTransition(state=state, trigger=trigger) from None


def moved(position: Position, trigger: Trigger) -> Position:
    """Follow one arrow of a reminder; inside settled all but reserve apply to the remembered state.

    Raises ImpossibleTransition, for a reserve of a settled invoice too.
    """
    if position.before_settled is None:
        return Position(next_state(position.state, trigger))
    if trigger == "reserve":
        raise ImpossibleTransition(state=position.state, trigger=trigger)
    return Position("settled", next_state(position.before_settled, trigger))


def settled(position: Position) -> Position:
    """The invoice was paid or cancelled: it remembers where it stood. Settling twice changes nothing."""
    return position if position.before_settled else Position("settled", position.state)


def reopened(position: Position) -> Position:
    """The payment was reversed: back to the exact state, a mail that is out included. The caller starts a new cycle."""
    return Position(position.before_settled) if position.before_settled else position


def corrected(position: Position, level: int) -> Position:
    """A person sets the level of an idle invoice; downwards the caller starts a new cycle.

    Raises ImpossibleTransition while a mail is out, and for a level outside 0 to 3.
    """
    if not is_idle(position.behind) or not 0 <= level <= LAST_LEVEL:
        raise ImpossibleTransition(state=position.state, trigger=f"be corrected to level {level}")
    idle = f"level_{level}"
    return Position("settled", idle) if position.before_settled else Position(idle)


def posted(position: Position) -> Position:
    """A reminder went by post: reserved and confirmed at once, inside settled too.

    Raises ImpossibleTransition while a mail is out, and from the last level.
    """
    after = next_state(next_state(position.behind, "reserve"), "confirm")
    return Position("settled", after) if position.before_settled else Position(after)


def is_idle(state: str) -> bool:
    """No mail about the invoice is out: neither reserved nor in doubt, nor settled."""
    return state.startswith("level_") and state.count("_") == 1


def level_of(state: str) -> int:
    """The level that a state other than settled stands for: reminders already sent."""
    return int(state[6])


def diagram() -> str:
    """The machine as a mermaid state diagram, for DESIGN.md; a test compares them."""
    lines = ["stateDiagram-v2", "    [*] --> level_0"]
    lines += [f"    {source} --> {dest}: {trigger}" for (source, trigger), dest in sorted(NEXT.items())]
    lines.append("    state any_state <<choice>>")
    lines.append("    any_state --> settled: settle (paid, cancelled)")
    lines.append("    settled --> any_state: reopen (the exact state, a new cycle)")
    return "\n".join(lines) + "\n"
