"""Derived figures: medians, ratios within a round, drain rates. Pure."""

from collections.abc import Sequence
from statistics import linear_regression, median

import msgspec

from tests.benchmarks.results import Drain

_KEPT = 60  # points of a timeline: a plot cannot show more
_FALLING, _GONE = 0.95, 0.05  # of a backlog: its drain rate is measured between the two


class Spread(msgspec.Struct, frozen=True):
    """Median and extremes of several measurements."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round that has both figures."""
    return [one / other for one, other in zip(above, below, strict=False) if other]


def drain_of(timeline: Sequence[tuple[float, int]]) -> Drain:
    """Evaluate a backlog's timeline of (seconds, orders left), which starts when draining starts."""
    most = max(left for _, left in timeline)
    end, still = timeline[-1]
    first, before = max(point for point in timeline if point[1] >= most * _FALLING)
    last, after = min(
        (point for point in timeline if point[0] > first and point[1] <= most * _GONE), default=timeline[-1]
    )
    pace = (before - after) / (last - first) if last > first else 0.0
    return Drain(most, still, round(first, 2), round(end, 2), round(pace, 1), thinned(timeline))


def thinned(timeline: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return about 60 points of the timeline at most, including the last."""
    step = -(-len(timeline) // _KEPT)
    return [(round(at, 2), left) for at, left in [*timeline[:-1:step], timeline[-1]]]


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the relative growth over the second half of `values`, relative to the value after a tenth of the time.

    Computed from a least-squares line through the second half, so that a single outlier has little effect.
    """
    warm = times[0] + (times[-1] - times[0]) / 10
    later = [(at, value) for at, value in zip(times, values, strict=True) if at >= (times[0] + times[-1]) / 2]
    line = linear_regression([at for at, _ in later], [value for _, value in later])
    base = next(value for at, value in zip(times, values, strict=True) if at >= warm)
    return line.slope * (later[-1][0] - later[0][0]) / base
