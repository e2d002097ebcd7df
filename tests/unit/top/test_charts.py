"""Bar and line charts made of characters."""

import pytest

from valerix_cli.top.charts import latency_bar, latency_chart, sparkline


def test_a_sparkline_is_scaled_to_its_highest_value_and_blank_without_one() -> None:
    assert sparkline([0.0, None, 4.0, 8.0], 4) == "▁ ▄█"
    assert sparkline([1.0, 8.0], 5) == "   ▁█"
    assert sparkline([0.0, 0.0], 2) == "▁▁"
    assert sparkline([], 3) == "   "


@pytest.mark.parametrize("width", [12, 39, 51])
@pytest.mark.parametrize(("seconds", "over"), [(0.0001, False), (0.5, False), (1.0, False), (1.01, True), (99, True)])
def test_a_bar_crosses_the_limit_exactly_when_its_value_does(seconds: float, over: bool, width: int) -> None:  # noqa: FBT001 - a case
    bar = latency_bar(seconds, 1.0, width)
    assert len(bar) == width
    assert ("┃" in bar, "│" in bar) == (over, not over)


def test_a_bar_without_a_value_shows_only_the_limit() -> None:
    assert latency_bar(None, 1.0, 12).strip() == "│"


def test_the_limit_line_of_a_chart_is_hidden_only_by_values_above_it() -> None:
    chart = latency_chart([0.002, 9.0, None], 1.0, 5, 8)
    assert [len(row) for row in chart] == [5] * 8
    [line] = [row for row in chart if "╌" in row]
    assert line == "╌╌╌█╌"
    assert chart[-1].startswith("  ")
