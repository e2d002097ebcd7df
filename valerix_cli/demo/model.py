"""The steps of the story and their results."""

from typing import Literal

import msgspec

Outcome = Literal["held", "missed", "violated", "skipped", "not-reached"]
Needs = Literal["processes", "admin", "auditor"]


class Fact(msgspec.Struct, frozen=True):
    """An observation, under a short name."""

    name: str
    text: str


class StepResult(msgspec.Struct, frozen=True):
    """The outcome of one step. `why` gives the missed condition and the observation, or the reason for skipping it."""

    name: str
    title: str
    outcome: Outcome
    seconds: float
    why: str | None
    facts: list[Fact]
    by_hand: list[str]


class Demo(msgspec.Struct, frozen=True):
    """The outcome of the whole story; `left` lists changes that could not be undone. If empty, no fault is active."""

    context: str
    fresh: bool
    seconds: float
    steps: list[StepResult]
    left: list[str]
    interrupted: bool
    recording: str | None
    stills: list[str]
