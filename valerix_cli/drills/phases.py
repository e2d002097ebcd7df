"""The phases of a drill: steady state, faults, recovery and drain. Each adds checks and metrics."""

import time
from collections.abc import Callable, Sequence

from valerix_cli.drills import evaluate
from valerix_cli.drills.abort_conditions import AbortConditions
from valerix_cli.drills.aborted import Aborted
from valerix_cli.drills.background_load import BackgroundLoad
from valerix_cli.drills.evaluate import Measurements
from valerix_cli.drills.event_log import EventLog
from valerix_cli.drills.faults import FaultScheduler
from valerix_cli.drills.lease import PlatformLease
from valerix_cli.drills.meter import DrillMeter
from valerix_cli.drills.model import Drill
from valerix_cli.drills.monitor import Monitor
from valerix_cli.drills.receipt import Check, Phase, PhaseMetrics
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.validation import RECENT
from valerix_cli.drills.verdict import progress_line
from valerix_cli.gates import as_floats
from valerix_cli.units import format_duration
from valerix_cli.waiting import wait_for

_POLL_INTERVAL = 0.05  # seconds
_DRAIN_INTERVAL = 0.5  # seconds between two samples, neither of which may have queued orders
_GRACE = 0.3  # seconds for the last orders of the steady window to complete
_PROGRESS_INTERVAL = 5.0  # seconds


class Phases:
    """Runs the phases of one drill. `checks` and `metrics` grow with each."""

    def __init__(
        self,
        drill: Drill,
        load: BackgroundLoad,
        monitor: Monitor,
        faults: FaultScheduler,
        lease: PlatformLease,
        log: EventLog,
        *,
        is_replay: bool,
    ) -> None:
        self.checks: list[Check] = []
        self.metrics: list[PhaseMetrics] = []
        self.recovered_after: float | None = None
        self.meter = DrillMeter(load, monitor, faults)
        self.abort = AbortConditions(drill.abort, self.meter)
        self._drill, self._load, self._monitor, self._faults = drill, load, monitor, faults
        self._lease, self._log, self._is_replay = lease, log, is_replay
        self._last_progress = 0.0

    def run(self) -> None:
        """Run all phases. Raises Aborted, and CliError if a fault, the load or the lease fails."""
        self._load.wait_until_begun()
        self._load.raise_if_failed()
        if self._drill.steady and not self._is_steady():
            raise Aborted("the platform is not in a steady state")
        self._inject_faults()
        self._recover()
        self._load.finish()
        self._drain()

    def evaluate_period(self, phase: Phase, require: Sequence[Requirement], begin: float, end: float) -> list[Check]:
        """Evaluate requirements for the orders due in a period, and keep the checks and the metrics."""
        return self._evaluate(phase, require, self.meter.due_between(begin, end), end - begin)

    def _is_steady(self) -> bool:
        steady = self._drill.steady
        assert steady is not None  # noqa: S101 - checked by the caller # nosec B101
        self._log.add(f"steady state for {format_duration(steady.window)}")
        self._advance_until(lambda: self._load.clock() >= steady.window + _GRACE, before_faults=True)
        checks = self.evaluate_period("steady", steady.require, 0.0, steady.window)
        return all(check.verdict == "held" for check in checks)

    def _inject_faults(self) -> None:
        self._advance_until(lambda: self._load.clock() >= self._drill.load.seconds)
        self._faults.end_gremlins()
        self._advance_until(lambda: self._faults.are_over)

    def _recover(self) -> None:
        """Wait until all requirements of the recovery hold at the same time."""
        recover = self._drill.recover
        if recover is None:
            return
        deadline = self._load.clock() + recover.within
        if self.recovered_after is None:
            self._log.add(f"recovering, within {format_duration(recover.within)}")
        self._advance_until(
            lambda: self._load.clock() >= deadline or evaluate.all_hold(recover.require, self.meter.recovery())
        )
        self._evaluate("recover", recover.require, self.meter.recovery(), RECENT)
        self._record_recovery()

    def _record_recovery(self) -> None:
        """Record the first time at which all requirements hold after the last fault."""
        recover, fault_end = self._drill.recover, self._faults.last_ended
        if recover is None or fault_end is None or self.recovered_after is not None:
            return
        if evaluate.all_hold(recover.require, self.meter.recovery()):
            self.recovered_after = round(self._load.clock() - fault_end, 2)
            self._log.add(f"recovered after {format_duration(self.recovered_after)}")

    def _drain(self) -> None:
        """Wait until no order is in flight and none is queued."""
        self._log.add("draining")
        deadline = time.monotonic() + self._drill.drain
        wait_for(lambda: self._load.is_done, self._drill.drain, interval=_POLL_INTERVAL)
        is_empty = self._wait_until_empty(deadline)
        self._load.raise_if_failed()
        sample = self._monitor.last
        self.checks.append(
            evaluate.drained(
                unanswered=not self._load.is_done,
                is_empty=is_empty,
                left=sample.backlog if sample else None,
                within=self._drill.drain,
            )
        )

    def _wait_until_empty(self, deadline: float) -> bool:
        """Wait for two empty samples in a row: the queue may look empty between two claims."""
        empty = 0
        while time.monotonic() < deadline and empty < 2:  # noqa: PLR2004 - as described
            empty = empty + 1 if self._monitor.sample().backlog == 0 else 0
            time.sleep(_DRAIN_INTERVAL)
        return empty >= 2  # noqa: PLR2004 - as described

    def _advance_until(self, is_over: Callable[[], bool], *, before_faults: bool = False) -> None:
        """Step the faults until `is_over`. Raises Aborted, and CliError if a fault, the load or the lease fails.

        `before_faults` leaves out faults, except scripted gremlins: those hit nothing before their time.
        """
        while not is_over():
            if not before_faults or self._is_replay:
                self._faults.step()
            if failures := [*self._faults.failures, *filter(None, [self._lease.lost])]:
                raise failures[0]
            self._load.raise_if_failed()
            self.abort.check(self._load.clock())
            self._show_progress()
            if not before_faults:
                self._record_recovery()
            time.sleep(_POLL_INTERVAL)

    def _evaluate(
        self, phase: Phase, require: Sequence[Requirement], measurements: Measurements, seconds: float
    ) -> list[Check]:
        checks = evaluate.evaluate(phase, require, measurements)
        self.checks += checks
        self.metrics.append(
            PhaseMetrics(phase=phase, seconds=round(seconds, 3), measured=as_floats(measurements.metrics))
        )
        return checks

    def _show_progress(self) -> None:
        now = self._load.clock()
        if now - self._last_progress < _PROGRESS_INTERVAL:
            return
        self._last_progress = now
        metrics = as_floats(self.meter.last(_PROGRESS_INTERVAL).metrics)
        self._log.show(now, progress_line(metrics, self._monitor.last))
