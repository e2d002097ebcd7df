"""The story as values: its steps, and what came of each."""

from typing import Literal

import msgspec

Outcome = Literal["held", "missed", "violated", "skipped", "not-reached"]
Needs = Literal["processes", "admin", "auditor"]


class Fact(msgspec.Struct, frozen=True):
    """Something that was seen, under a short name."""

    name: str
    text: str


class StepResult(msgspec.Struct, frozen=True):
    """The outcome of one step. `why` says what was missed, and what was seen instead, or why it was skipped."""

    name: str
    title: str
    outcome: Outcome
    seconds: float
    why: str | None
    facts: list[Fact]
    by_hand: list[str]


class Demo(msgspec.Struct, frozen=True):
    """The outcome of the whole story; `left` lists what could not be undone: without it no fault is live."""

    context: str
    fresh: bool
    seconds: float
    steps: list[StepResult]
    left: list[str]
    interrupted: bool
    recording: str | None
    stills: list[str]
