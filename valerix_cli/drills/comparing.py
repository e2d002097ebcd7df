"""Two runs held against each other, figure by figure. Pure."""

from valerix_cli.drills.receipt import Comparison, Difference, Receipt, facts

TOLERANCE = 0.25
"""The share by which a figure may be worse: runs on a shared machine differ by about as much."""

_LESS_IS_WORSE = ("throughput", "confirmed")
_MATTERS = ("p50", "p95", "p99", "throughput", "error_rate")
_NEGLIGIBLE = {"p50": 0.02, "p95": 0.05, "p99": 0.1, "error_rate": 0.001, "after": 2.0}
"""By how much a figure may be worse in any case: seconds, or a share of all orders."""


def compare(baseline: Receipt, now: Receipt, tolerance: float = TOLERANCE) -> Comparison:
    """Each figure that one of them has; worse is what exceeds the tolerance in the bad direction."""
    before, after = facts(baseline), facts(now)
    names = [name for name in before | after if name.rpartition(" ")[2] in (*_MATTERS, "after")]
    differences = [_difference(name, before.get(name), after.get(name), tolerance) for name in names]
    return Comparison(baseline.run, now.run, tolerance, differences)


def _difference(name: str, before: float | None, after: float | None, tolerance: float) -> Difference:
    metric = name.rpartition(" ")[2]
    if before is None or after is None:
        lost = before is not None and name == "recovered after"
        return Difference(name, before, after, None, worse=lost)
    change = (after - before) / before if before else None
    loss = before - after if metric in _LESS_IS_WORSE else after - before
    return Difference(name, before, after, change, worse=loss > before * tolerance + _NEGLIGIBLE.get(metric, 0.0))
