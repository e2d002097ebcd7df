"""The story as values: its steps, and what came of each."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:  # a step names what it does, and what it does knows the steps' values
    from valerix_cli.demo.play import Play

Outcome = Literal["held", "missed", "violated", "skipped", "not-reached"]
Needs = Literal["processes", "admin", "auditor"]


class Fact(msgspec.Struct, frozen=True):
    """Something that was seen, under a short name."""

    name: str
    text: str


class Step(msgspec.Struct, frozen=True):
    """One step: what is said on stage, what the speaker knows besides, what is done, and for how long it may take.

    `act` does it and returns once the condition has come true; `by_hand` is what an engineer would type for the same,
    with words in capitals for what is only known by then. `within` is in seconds. `needs` is what not every
    platform offers.
    """

    name: str
    title: str
    says: str
    notes: str
    by_hand: tuple[str, ...]
    within: float
    act: "Callable[[Play], None]"
    needs: Needs | None = None


class Told(msgspec.Struct, frozen=True):
    """What came of one step. `why` says what was missed, and what was seen instead, or why it was skipped."""

    name: str
    title: str
    outcome: Outcome
    seconds: float
    why: str | None
    facts: list[Fact]
    by_hand: list[str]


class Demo(msgspec.Struct, frozen=True):
    """What came of the whole story; `left` is what could not be undone, and nothing of a fault is live without it."""

    context: str
    fresh: bool
    seconds: float
    steps: list[Told]
    left: list[str]
    interrupted: bool
    recording: str | None
    stills: list[str]


def not_reached(step: Step) -> Told:
    return Told(step.name, step.title, "not-reached", 0.0, None, [], list(step.by_hand))
