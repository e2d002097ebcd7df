"""Plays the demo one step at a time, draws it meanwhile, and handles the keys."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from valerix_cli.demo.environment import DemoEnvironment
from valerix_cli.demo.keyboard import Keyboard
from valerix_cli.demo.live_metrics import LiveMetrics
from valerix_cli.demo.model import Outcome, StepResult
from valerix_cli.demo.navigation import Key, Move, decide
from valerix_cli.demo.step_context import (
    ExpectationMissed,
    InvariantViolated,
    Step,
    StepCancelled,
    StepContext,
    not_reached,
)
from valerix_cli.drills.gremlins import turn_off
from valerix_cli.errors import CliError

_INTERVAL = 0.1  # seconds between two frames
_LEAVING = 30.0  # seconds that a cancelled step may take to end: the timeout of its requests

Log = Callable[[str], None]


class Frame(msgspec.Struct, frozen=True):
    """The data of one screen. `seconds` is the duration of the step so far, `timeout` its limit."""

    number: int
    count: int
    step: Step
    result: StepResult
    under_way: bool
    waiting_for: str | None
    seconds: float
    outcomes: tuple[tuple[str, Outcome], ...]
    metrics: LiveMetrics
    history: tuple[LiveMetrics, ...]
    notes: bool
    hint: str | None


class Screen(Protocol):
    """A sink of screens."""

    def draw(self, frame: Frame) -> None: ...

    def draw_result(self, frame: Frame) -> None:
        """Keep the last screen of a finished step."""


class StepRun:
    """A step in progress, in its own thread."""

    def __init__(self, step: Step, environment: DemoEnvironment, log: Log) -> None:
        self.step, self.context = step, StepContext(environment, step.timeout, log)
        self.bug: BaseException | None = None
        self._began = time.monotonic()
        self._result: StepResult | None = None
        self._thread = threading.Thread(target=self._run, name=f"step {step.name}", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def leave(self) -> bool:
        """Cancel it. Returns whether it has ended."""
        self.context.leave()
        self._thread.join(_LEAVING)
        return self.is_over

    @property
    def result(self) -> StepResult:
        """The outcome of the step, or its state so far."""
        if self._result is not None:
            return self._result
        seconds = time.monotonic() - self._began
        result = not_reached(self.step)
        return msgspec.structs.replace(result, seconds=seconds, facts=self.context.facts, by_hand=self._by_hand())

    def _by_hand(self) -> list[str]:
        placeholders = self.context.placeholders
        return [
            re.sub(r"\b[A-Z]{2,}\b", lambda word: placeholders.get(word[0], word[0]), one) for one in self.step.by_hand
        ]

    def _run(self) -> None:
        try:
            self.step.act(self.context)
            self._conclude("held", None)
        except InvariantViolated as why:
            self._conclude("violated", str(why))
        except ExpectationMissed as why:
            self._conclude("missed", str(why))
        except StepCancelled:
            self._conclude("skipped", "left before it was over")
        except CliError as error:
            self._conclude("missed", str(error))
        except BaseException as bug:  # noqa: BLE001 - the main thread raises it, once faults are off
            self.bug = bug
            self._conclude("missed", f"{type(bug).__name__}: {bug}")

    def _conclude(self, outcome: Outcome, why: str | None) -> None:
        seconds = round(time.monotonic() - self._began, 2)
        self._result = StepResult(
            self.step.name, self.step.title, outcome, seconds, why, self.context.facts, self._by_hand()
        )


class Player:
    """`log` receives each line of progress; `reason_to_skip` returns why a step cannot be played here, or None."""

    def __init__(
        self,
        story: Sequence[Step],
        environment: DemoEnvironment,
        screens: Sequence[Screen],
        *,
        reason_to_skip: Callable[[Step], str | None],
        log: Log,
        notes: bool,
    ) -> None:
        self._story, self._environment, self._screens = story, environment, screens
        self._reason_to_skip, self._log, self._notes = reason_to_skip, log, notes
        self._result: dict[int, StepResult] = {}
        self._at = 0
        self._hint: str | None = None
        self._step_run: StepRun | None = None
        self._history: list[LiveMetrics] = []

    @property
    def result(self) -> list[StepResult]:
        """The outcome of each step played so far."""
        return [self._result.get(number) or not_reached(step) for number, step in enumerate(self._story)]

    def run(self, keyboard: Keyboard) -> None:
        """Run the steps until the end or until the presenter quits. Raises unexpected errors of a step."""
        self._move(Move(0, play=True))
        while self._at < len(self._story):
            self._draw()
            for key in keyboard.wait(_INTERVAL):
                self._press(key)
                if self._at >= len(self._story):
                    break
            self._check_step()

    def leave(self) -> str | None:
        """Cancel the step in progress. Returns a message if it has not ended."""
        step_run, self._step_run = self._step_run, None
        if step_run is None or step_run.leave():
            if step_run is not None:
                self._record_result(step_run)
            return None
        return f"the step {step_run.step.name} does not end"

    @property
    def is_under_way(self) -> bool:
        return self._step_run is not None

    def _press(self, key: Key) -> None:
        self._check_step()
        finished = frozenset(self._result)
        self._move(decide(key, self._at, len(self._story), under_way=self.is_under_way, finished=finished))

    def _move(self, move: Move) -> None:
        self._hint = move.hint
        self._notes ^= move.notes
        if move.leave:
            self._hint = "leaving this step"
            self._draw()
            if why := self.leave():
                raise CliError("The step could not be cancelled.", why, "valerix chaos off; valerix status")
            if move.to < len(self._story):  # otherwise everything is rolled back anyway
                turn_off(self._environment.session.inventory)
            self._hint = None
            self._draw_results()
        self._at = move.to
        if move.play:
            self._begin(self._story[move.to])

    def _begin(self, step: Step) -> None:
        self._log(f"{self._at + 1}/{len(self._story)} {step.title}")
        if why := self._reason_to_skip(step):
            self._result[self._at] = msgspec.structs.replace(not_reached(step), outcome="skipped", why=why)
            self._log(f"  skipped: {why}")
            self._draw_results()
            return
        self._result.pop(self._at, None)
        self._step_run = StepRun(step, self._environment, lambda text: self._log(f"  {text}"))
        self._step_run.begin()

    def _check_step(self) -> None:
        """Handle the end of a step."""
        step_run = self._step_run
        if step_run is None or not step_run.is_over:
            return
        self._step_run = None
        self._record_result(step_run)
        self._draw_results()
        if step_run.bug is not None:
            raise step_run.bug

    def _record_result(self, step_run: StepRun) -> None:
        result = step_run.result
        self._result[self._story.index(step_run.step)] = result
        self._log(f"  {result.outcome}" + (f": {result.why}" if result.why else f" after {result.seconds:.1f} s"))

    def _draw_results(self) -> None:
        for screen in self._screens:
            screen.draw_result(self._frame())

    def _draw(self) -> None:
        for screen in self._screens:
            screen.draw(self._frame())

    def _frame(self) -> Frame:
        step_run, step = self._step_run, self._story[self._at]
        result = step_run.result if step_run else self._result.get(self._at) or not_reached(step)
        now = self._environment.metrics
        if not self._history or self._history[-1] is not now:
            self._history = [*self._history[-_REMEMBERED:], now]
        return Frame(
            number=self._at + 1,
            count=len(self._story),
            step=step,
            result=result,
            under_way=step_run is not None,
            waiting_for=step_run.context.waiting_for if step_run else None,
            seconds=result.seconds,
            outcomes=tuple((one.title, one.outcome) for one in self.result),
            metrics=now,
            history=tuple(self._history),
            notes=self._notes,
            hint=self._hint,
        )


_REMEMBERED = 240  # metrics for one minute


class AutoAdvance:
    """Presses `next` as soon as a step has finished."""

    def __init__(self, player: Player) -> None:
        self._stage = player

    def wait(self, seconds: float) -> list[Key]:
        if not self._stage.is_under_way:
            return ["next"]
        time.sleep(seconds)
        return []
