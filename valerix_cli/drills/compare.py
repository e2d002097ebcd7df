"""Compares two runs, metric by metric. Pure."""

from valerix_cli.drills.receipt import Comparison, Difference, Receipt, comparable_metrics

TOLERANCE = 0.25
"""The relative change that is not worse: runs on a shared machine vary by about as much."""

_HIGHER_IS_BETTER = ("throughput", "confirmed")
_COMPARED = ("p50", "p95", "p99", "throughput", "error_rate")
_NEGLIGIBLE = {"p50": 0.02, "p95": 0.05, "p99": 0.1, "error_rate": 0.001, "after": 2.0}
"""Absolute changes that are never worse: in seconds, or a share of all orders."""


def compare(baseline: Receipt, now: Receipt, tolerance: float = TOLERANCE) -> Comparison:
    """Compare each metric that either run has. A change for the worse beyond the tolerance counts as worse."""
    before, after = comparable_metrics(baseline), comparable_metrics(now)
    names = [name for name in before | after if name.rpartition(" ")[2] in (*_COMPARED, "after")]
    differences = [_difference(name, before.get(name), after.get(name), tolerance) for name in names]
    return Comparison(baseline.run, now.run, tolerance, differences)


def _difference(name: str, before: float | None, after: float | None, tolerance: float) -> Difference:
    metric = name.rpartition(" ")[2]
    if before is None or after is None:
        lost = before is not None and name == "recovered after"
        return Difference(name, before, after, None, worse=lost)
    change = (after - before) / before if before else None
    loss = before - after if metric in _HIGHER_IS_BETTER else after - before
    return Difference(name, before, after, change, worse=loss > before * tolerance + _NEGLIGIBLE.get(metric, 0.0))
