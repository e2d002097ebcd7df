"""The context of a step: its facts, the conditions that it waits for, and its early ends."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from valerix_cli.demo.environment import DemoEnvironment
from valerix_cli.demo.model import Fact, Needs, StepResult
from valerix_cli.units import format_duration

T = TypeVar("T")

_INTERVAL = 0.05  # seconds between two checks

Log = Callable[[str], None]


class ExpectationMissed(Exception):  # noqa: N818 - a way to end, not a mistake
    """A condition has not become true in time; the message has the observation."""


class InvariantViolated(ExpectationMissed):
    """An audit that should be clean is not."""


class StepCancelled(Exception):  # noqa: N818 - the same
    """The presenter has cancelled this step."""


class StepContext:
    """The context of a step. `log` is called with each fact and each awaited condition."""

    def __init__(self, environment: DemoEnvironment, timeout: float, log: Log) -> None:
        self.environment = environment
        self.facts: list[Fact] = []
        self.waiting_for: str | None = None
        self.placeholders = {"HERE": environment.command_prefix, "ITEM": environment.item}
        self._timeout, self._log = timeout, log
        self._deadline = time.monotonic() + timeout
        self._left = threading.Event()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def leave(self) -> None:
        """End the step at its next check."""
        self._left.set()

    def raise_if_cancelled(self) -> None:
        """Raise StepCancelled if the step was cancelled."""
        if self._left.is_set():
            raise StepCancelled

    def set_placeholders(self, **words: str) -> None:
        """Set the values of placeholders in the displayed commands."""
        self.placeholders = self.placeholders | words

    def add_fact(self, name: str, text: str) -> None:
        self.facts = [*self.facts, Fact(name, text)]
        self._log(f"{name}: {text}")

    def wait_for(self, condition: Callable[[], T | None], what: str, instead: Callable[[], str] | None = None) -> T:
        """Return the first true result of `condition`. `instead` describes the observation if there is none.

        Raises ExpectationMissed at the step's time limit, StepCancelled if the presenter has cancelled it.
        """
        self.waiting_for = what
        self._log(f"waiting for {what}")
        try:
            while not (found := condition()):
                self.raise_if_cancelled()
                if time.monotonic() > self._deadline:
                    seen = f"; seen instead: {instead()}" if instead else ""
                    raise ExpectationMissed(f"not within {format_duration(self._timeout)}: {what}{seen}")
                self._left.wait(_INTERVAL)
        finally:
            self.waiting_for = None
        return found


class Step(msgspec.Struct, frozen=True):
    """One step: its text, the speaker's notes, its action, and its time limit.

    `act` runs it and returns once its condition is true; `by_hand` has the equivalent commands, with placeholders in
    capitals. `timeout` is in seconds. `needs` names features that not every platform has.
    """

    name: str
    title: str
    text: str
    notes: str
    by_hand: tuple[str, ...]
    timeout: float
    act: Callable[[StepContext], None]
    needs: Needs | None = None


def not_reached(step: Step) -> StepResult:
    return StepResult(step.name, step.title, "not-reached", 0.0, None, [], list(step.by_hand))
