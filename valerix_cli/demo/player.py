"""Tells the story: plays one step at a time, shows it while it is played, and does what the keys say."""

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
from valerix_cli.demo.step_context import Abandoned, Missed, Step, StepContext, Violated, not_reached
from valerix_cli.drills.gremlins import turn_off
from valerix_cli.errors import CliError

_GLANCE = 0.1  # seconds between two pictures
_LEAVING = 30.0  # seconds that a step which was left may take to notice: as long as its requests may

Tell = Callable[[str], None]


class Picture(msgspec.Struct, frozen=True):
    """All that a screen shows. `seconds` is how long the step has taken, `within` how long it may."""

    number: int
    count: int
    step: Step
    told: StepResult
    under_way: bool
    waits_for: str | None
    seconds: float
    outcomes: tuple[tuple[str, Outcome], ...]
    pulse: LiveMetrics
    history: tuple[LiveMetrics, ...]
    notes: bool
    hint: str | None


class Screen(Protocol):
    """The sink of screens."""

    def paint(self, picture: Picture) -> None: ...

    def keep(self, picture: Picture) -> None:
        """Keep the last screen of a step that is over."""


class Performance:
    """A step in progress, in its own thread."""

    def __init__(self, step: Step, scene: DemoEnvironment, tell: Tell) -> None:
        self.step, self.play = step, StepContext(scene, step.within, tell)
        self.bug: BaseException | None = None
        self._began = time.monotonic()
        self._told: StepResult | None = None
        self._thread = threading.Thread(target=self._run, name=f"step {step.name}", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def leave(self) -> bool:
        """Give it up. Returns whether it has noticed."""
        self.play.leave()
        self._thread.join(_LEAVING)
        return self.is_over

    @property
    def told(self) -> StepResult:
        """The outcome of the story, or of the steps played so far."""
        if self._told is not None:
            return self._told
        seconds = time.monotonic() - self._began
        told = not_reached(self.step)
        return msgspec.structs.replace(told, seconds=seconds, facts=self.play.facts, by_hand=self._by_hand())

    def _by_hand(self) -> list[str]:
        known = self.play.known
        return [re.sub(r"\b[A-Z]{2,}\b", lambda word: known.get(word[0], word[0]), one) for one in self.step.by_hand]

    def _run(self) -> None:
        try:
            self.step.act(self.play)
            self._conclude("held", None)
        except Violated as why:
            self._conclude("violated", str(why))
        except Missed as why:
            self._conclude("missed", str(why))
        except Abandoned:
            self._conclude("skipped", "left before it was over")
        except CliError as error:
            self._conclude("missed", str(error))
        except BaseException as bug:  # noqa: BLE001 - the main thread raises it, once faults are off
            self.bug = bug
            self._conclude("missed", f"{type(bug).__name__}: {bug}")

    def _conclude(self, outcome: Outcome, why: str | None) -> None:
        seconds = round(time.monotonic() - self._began, 2)
        self._told = StepResult(
            self.step.name, self.step.title, outcome, seconds, why, self.play.facts, self._by_hand()
        )


class Player:
    """`tell` hears what goes on, line by line; `unable` says why a step cannot be played here, or None."""

    def __init__(
        self,
        story: Sequence[Step],
        scene: DemoEnvironment,
        screens: Sequence[Screen],
        *,
        unable: Callable[[Step], str | None],
        tell: Tell,
        notes: bool,
    ) -> None:
        self._story, self._scene, self._screens = story, scene, screens
        self._unable, self._tell, self._notes = unable, tell, notes
        self._told: dict[int, StepResult] = {}
        self._at = 0
        self._hint: str | None = None
        self._performance: Performance | None = None
        self._history: list[LiveMetrics] = []

    @property
    def told(self) -> list[StepResult]:
        """The outcome of each step played so far."""
        return [self._told.get(number) or not_reached(step) for number, step in enumerate(self._story)]

    def run(self, keyboard: Keyboard) -> None:
        """Run the steps until the end or until the presenter quits. Raises unexpected errors of a step."""
        self._move(Move(0, play=True))
        while self._at < len(self._story):
            self._paint()
            for key in keyboard.wait(_GLANCE):
                self._press(key)
                if self._at >= len(self._story):
                    break
            self._look()

    def leave(self) -> str | None:
        """Give up what is under way. Returns why that is not certain, if it is not."""
        performance, self._performance = self._performance, None
        if performance is None or performance.leave():
            if performance is not None:
                self._keep(performance)
            return None
        return f"the step {performance.step.name} does not end"

    @property
    def is_under_way(self) -> bool:
        return self._performance is not None

    def _press(self, key: Key) -> None:
        self._look()
        told = frozenset(self._told)
        self._move(decide(key, self._at, len(self._story), under_way=self.is_under_way, told=told))

    def _move(self, move: Move) -> None:
        self._hint = move.hint
        self._notes ^= move.notes
        if move.leave:
            self._hint = "leaving this step"
            self._paint()
            if why := self.leave():
                raise CliError("The step was not left.", why, "valerix chaos off; valerix status")
            if move.to < len(self._story):  # else all is rolled back anyway
                turn_off(self._scene.session.inventory)
            self._hint = None
            self._show_off()
        self._at = move.to
        if move.play:
            self._begin(self._story[move.to])

    def _begin(self, step: Step) -> None:
        self._tell(f"{self._at + 1}/{len(self._story)} {step.title}")
        if why := self._unable(step):
            self._told[self._at] = msgspec.structs.replace(not_reached(step), outcome="skipped", why=why)
            self._tell(f"  skipped: {why}")
            self._show_off()
            return
        self._told.pop(self._at, None)
        self._performance = Performance(step, self._scene, lambda text: self._tell(f"  {text}"))
        self._performance.begin()

    def _look(self) -> None:
        """Take note of a step that is over."""
        performance = self._performance
        if performance is None or not performance.is_over:
            return
        self._performance = None
        self._keep(performance)
        self._show_off()
        if performance.bug is not None:
            raise performance.bug

    def _keep(self, performance: Performance) -> None:
        told = performance.told
        self._told[self._story.index(performance.step)] = told
        self._tell(f"  {told.outcome}" + (f": {told.why}" if told.why else f" after {told.seconds:.1f} s"))

    def _show_off(self) -> None:
        for screen in self._screens:
            screen.keep(self._picture())

    def _paint(self) -> None:
        for screen in self._screens:
            screen.paint(self._picture())

    def _picture(self) -> Picture:
        performance, step = self._performance, self._story[self._at]
        told = performance.told if performance else self._told.get(self._at) or not_reached(step)
        now = self._scene.pulse
        if not self._history or self._history[-1] is not now:
            self._history = [*self._history[-_REMEMBERED:], now]
        return Picture(
            number=self._at + 1,
            count=len(self._story),
            step=step,
            told=told,
            under_way=performance is not None,
            waits_for=performance.play.waits_for if performance else None,
            seconds=told.seconds,
            outcomes=tuple((one.title, one.outcome) for one in self.told),
            pulse=now,
            history=tuple(self._history),
            notes=self._notes,
            hint=self._hint,
        )


_REMEMBERED = 240  # pulses: a minute of them


class AutoAdvance:
    """Presses `next` as soon as a step is over."""

    def __init__(self, stage: Player) -> None:
        self._stage = stage

    def wait(self, seconds: float) -> list[Key]:
        if not self._stage.is_under_way:
            return ["next"]
        time.sleep(seconds)
        return []
