"""Parallel trials: each lane has a separate stage, and takes the next trial when it has finished one."""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import msgspec

from tests.faults import trials
from tests.faults.scenarios import Cell, scenario
from tests.faults.trial_platform import Grounds, Stage
from tests.faults.trials import Halted, Trial

REPEATS = 6
"""Attempts of a trial, each with another seed, because its crash point was not reached."""


class Planned(msgspec.Struct, frozen=True):
    """A trial to run; `again` counts the previous attempts that did not fire."""

    cell: Cell
    number: int
    again: int = 0


class Lanes:
    """Runs planned trials. `record` is called for each trial that ended, from any lane."""

    def __init__(self, grounds: Grounds, seed: int, record: Callable[[Trial], None], halt: threading.Event) -> None:
        self._grounds, self._seed, self._record, self._halt = grounds, seed, record, halt
        self._plan: queue.SimpleQueue[Planned] = queue.SimpleQueue()

    def run(self, plan: Iterable[Planned], lanes: int) -> None:
        """Return when all have run, or on a request to end. Raises an error of a lane after ending the others."""
        for planned in plan:
            self._plan.put(planned)
        with ThreadPoolExecutor(max_workers=lanes) as pool:
            running = [pool.submit(self._lane, number + 1) for number in range(lanes)]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                if any(lane.done() and lane.exception() for lane in running) or not all(
                    lane.done() for lane in running
                ):
                    self._halt.set()
        for lane in running:
            lane.result()

    def _lane(self, number: int) -> None:
        try:
            while not (self._halt.is_set() or self._plan.empty()):
                with self._grounds.stage(number, f"trial.{self._seed}.") as stage:
                    self._use(stage)
        except Halted:
            pass

    def _use(self, stage: Stage) -> None:
        """Run trials until one fails: its leftovers would count against all later ones."""
        while True:
            try:
                planned = self._plan.get_nowait()
            except queue.Empty:
                return
            if not self._run(stage, planned):
                return

    def _run(self, stage: Stage, planned: Planned) -> bool:
        """Run one trial, with other seeds until its crash point is reached. Return whether the stage can be reused."""
        for again in range(planned.again, planned.again + REPEATS):
            trial = trials.run(
                stage, scenario(self._seed, planned.cell, planned.number, again), planned.number, again, self._halt
            )
            self._record(trial)
            if trial.is_over:
                return trial.outcome == "held"
        return True
