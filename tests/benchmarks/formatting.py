"""Figures formatted for people."""

from collections.abc import Sequence

from tests.benchmarks.figures import spread
from tests.benchmarks.results import Sample

PERCENTILES = ("p50", "p95", "p99")


def summary(found: Sequence[float], unit: str = "") -> str:
    """Return the median and extremes of several rounds, as `2.61 × (2.4 to 2.75)`; "" without figures."""
    if not found:
        return ""
    of = spread(found)
    extremes = f" ({_short(of.low)} to {_short(of.high)})" if len(found) > 1 else ""
    return f"{_short(of.median)}{unit}{extremes}"


def times(samples: Sequence[Sample]) -> str:
    """Return the medians of p50, p95 and p99, as `13.1 / 25 / 40.2`."""
    return " / ".join(_short(spread([getattr(one, at) for one in samples]).median) for at in PERCENTILES)


def statuses(samples: Sequence[Sample]) -> str:
    """Return the response statuses of all rounds, as `7,210 × 201, 3,082 × 202`."""
    known = sorted({status for one in samples for status in one.statuses})
    return ", ".join(f"{sum(one.statuses.get(status, 0) for one in samples):,} × {status}" for status in known)


def _short(value: float) -> str:
    """Return the number with three significant digits at least."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
