"""One step while it is played: what it sees, what it waits for, and the ways in which it ends before its time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from valerix_cli.demo.environment import DemoEnvironment
from valerix_cli.demo.model import Fact, Needs, StepResult
from valerix_cli.units import format_duration

T = TypeVar("T")

_GLANCE = 0.05  # seconds between two looks

Tell = Callable[[str], None]


class Missed(Exception):  # noqa: N818 - a way to end, not a mistake
    """A condition has not come true in time; the message says what was seen instead."""


class Violated(Missed):
    """An audit that should be clean is not."""


class Abandoned(Exception):  # noqa: N818 - the same
    """The presenter has left this step."""


class StepContext:
    """The context of a step. `tell` is called with each fact and each condition that is waited for."""

    def __init__(self, scene: DemoEnvironment, within: float, tell: Tell) -> None:
        self.scene = scene
        self.facts: list[Fact] = []
        self.waits_for: str | None = None
        self.known = {"HERE": scene.here, "ITEM": scene.item}
        self._within, self._tell = within, tell
        self._deadline = time.monotonic() + within
        self._left = threading.Event()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def leave(self) -> None:
        """Have the step end at its next look."""
        self._left.set()

    def go_on(self) -> None:
        """Raises Abandoned where the step has been left: nothing may be begun any more."""
        if self._left.is_set():
            raise Abandoned

    def know(self, **words: str) -> None:
        """Values of the placeholders in the commands that are shown."""
        self.known = self.known | words

    def see(self, name: str, text: str) -> None:
        self.facts = [*self.facts, Fact(name, text)]
        self._tell(f"{name}: {text}")

    def until(self, look: Callable[[], T | None], what: str, instead: Callable[[], str] | None = None) -> T:
        """The first thing `look` finds that is something. `instead` says what there was in its stead.

        Raises Missed when the step's time is up, Abandoned when the presenter has left it.
        """
        self.waits_for = what
        self._tell(f"waiting for {what}")
        try:
            while not (found := look()):
                self.go_on()
                if time.monotonic() > self._deadline:
                    seen = f"; seen instead: {instead()}" if instead else ""
                    raise Missed(f"not within {format_duration(self._within)}: {what}{seen}")
                self._left.wait(_GLANCE)
        finally:
            self.waits_for = None
        return found


class Step(msgspec.Struct, frozen=True):
    """One step: its text, the speaker's notes, its action, and its time limit.

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
    act: Callable[[StepContext], None]
    needs: Needs | None = None


def not_reached(step: Step) -> StepResult:
    return StepResult(step.name, step.title, "not-reached", 0.0, None, [], list(step.by_hand))
