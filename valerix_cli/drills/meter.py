"""Measures a running drill: orders over a period, the platform now, and the breakers since the first fault."""

from collections.abc import Mapping

from valerix_cli.drills.background_load import BackgroundLoad
from valerix_cli.drills.evaluate import Measurements, summarize
from valerix_cli.drills.faults import FaultScheduler
from valerix_cli.drills.metrics import completed_between, due_between, order_metrics, platform_metrics
from valerix_cli.drills.monitor import Monitor
from valerix_cli.drills.validation import RECENT
from valerix_cli.gates import Measured


class DrillMeter:
    """Computes measurements from the load's orders, the monitor's samples and the faults."""

    def __init__(self, load: BackgroundLoad, monitor: Monitor, faults: FaultScheduler) -> None:
        self._load, self._monitor, self._faults = load, monitor, faults

    def due_between(self, begin: float, end: float) -> Measurements:
        """Measure the orders that were due in this period, in seconds since the load began."""
        return self._with_platform(order_metrics(due_between(self._load.orders, begin, end), end - begin))

    def last(self, seconds: float) -> Measurements:
        """Measure the orders completed in the last `seconds`."""
        now = self._load.clock()
        return self._with_platform(order_metrics(completed_between(self._load.orders, now - seconds, now), seconds))

    def recovery(self) -> Measurements:
        """Measure the last seconds, without orders that were due before the last fault ended."""
        now, fault_end = self._load.clock(), self._faults.last_ended or 0.0
        recent = completed_between(self._load.orders, now - RECENT, now)
        unaffected = [order for order in recent if order.due >= fault_end]
        return self._with_platform(order_metrics(unaffected, min(RECENT, now - fault_end)))

    def opened_after(self) -> float | None:
        """Return the seconds from the first fault until a breaker opened; None without faults or if none opened."""
        return None if self._faults.first_began is None else self._summarize({}).opened_after

    def _with_platform(self, metrics: Mapping[str, Measured | None]) -> Measurements:
        hits: float = self._faults.hits
        return self._summarize({**metrics, **platform_metrics(self._monitor.last), "injected": hits})

    def _summarize(self, metrics: Mapping[str, Measured | None]) -> Measurements:
        return summarize(metrics, self._monitor.samples, self._reported_openings(), self._faults.first_began or 0.0)

    def _reported_openings(self) -> list[float]:
        """Return the times at which breakers report that they opened, in seconds since the load began."""
        began = self._load.began_at
        transitions = list(self._monitor.transitions.items())  # the monitor's thread may add more
        return [(at - began).total_seconds() for (_, at), (state, _) in transitions if state == "open"]
