"""Percentiles have three significant digits at every scale."""

import math
from random import Random

import pytest

from valerix_cli.load.histogram import Histogram

PERCENTS = (0, 1, 50, 90, 99, 99.9, 100)


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e-2, 1.0, 100.0, 1e3])
def test_each_percentile_is_exact_to_a_thousandth(scale: float) -> None:
    dice = Random(scale)  # noqa: S311 - a seed is the point
    values = sorted(dice.lognormvariate(0, 1) * scale for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for percent in PERCENTS:
        exact = values[max(0, math.ceil(len(values) * percent / 100) - 1)]
        assert histogram.at(percent) == pytest.approx(exact, rel=0.001, abs=1e-6)
    assert histogram.mean == pytest.approx(sum(values) / len(values))
    assert (histogram.count, histogram.longest) == (len(values), values[-1])


def test_an_empty_histogram_has_no_percentile_and_no_mean() -> None:
    assert (Histogram().at(50), Histogram().mean) == (None, None)


def test_a_single_value_is_every_percentile() -> None:
    histogram = Histogram()
    histogram.record(0.25)
    assert [histogram.at(percent) for percent in PERCENTS] == [0.25] * len(PERCENTS)
