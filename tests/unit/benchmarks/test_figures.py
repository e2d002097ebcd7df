"""Medians, ratios, drains and growth."""

import pytest

from tests.benchmarks.figures import Spread, drain_of, growth, ratios, spread, thinned
from tests.benchmarks.results import Bound


def test_several_rounds_give_the_median_and_the_extremes() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_a_ratio_uses_two_values_of_one_round() -> None:
    assert ratios([300.0, 100.0], [100.0, 50.0]) == [3.0, 2.0]


def test_a_round_without_both_values_has_no_ratio() -> None:
    assert ratios([300.0, 100.0], [100.0]) == [3.0]


def test_the_bound_is_the_sum_of_both_parts_of_an_order() -> None:
    assert Bound(order_rows=4068, stock_row=1413, alone=1.0).per_second == pytest.approx(1049, abs=1)


def test_the_wait_before_a_backlog_falls_does_not_slow_its_drain() -> None:
    waiting = [(float(second), 20_000) for second in range(11)]
    falling = [(10.0 + second, 20_000 - 2000 * second) for second in range(1, 11)]
    drain = drain_of(waiting + falling)
    assert (drain.first, drain.last, drain.per_second) == (10.0, 20.0, 2000.0)
    assert drain.per_second_in_all == 1000.0


def test_a_few_early_or_late_orders_do_not_change_a_drain() -> None:
    drain = drain_of([(0.0, 1000), (0.2, 960), (10.0, 955), (11.0, 500), (12.0, 45), (60.0, 0)])
    assert drain.per_second == pytest.approx(455)
    assert drain.last == 60.0


def test_a_backlog_that_does_not_shrink_has_no_drain_rate() -> None:
    drain = drain_of([(0.0, 1000), (180.0, 1000)])
    assert (drain.left, drain.per_second) == (1000, 0.0)


def test_an_empty_backlog_is_drained_at_once() -> None:
    assert drain_of([(0.0, 0)]).orders == 0


def test_a_long_timeline_is_thinned_and_keeps_its_end() -> None:
    thin = thinned([(float(at), 1000 - at) for at in range(1001)])
    assert len(thin) <= 61
    assert thin[-1] == (1000.0, 0)


def test_memory_that_rises_only_at_first_is_flat() -> None:
    assert growth([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [50, 90, 100, 100, 100, 100, 100, 100, 100, 100, 100]) == 0


def test_memory_growth_is_that_of_the_second_half() -> None:
    times = [float(second) for second in range(11)]
    assert growth(times, [100 + second for second in times]) == pytest.approx(5 / 101)
