"""Requirements on a load: parsed strictly and evaluated correctly."""

import operator
from fractions import Fraction

import pytest

from valerix_cli.drills.requirements import METRICS as METRICS_OF_DRILLS
from valerix_cli.errors import BadUsageError
from valerix_cli.gates import Measured, as_floats, evaluate, format_value, parse
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.metrics import load_metrics, order_count
from valerix_cli.load.model import METRICS


@pytest.mark.parametrize(
    ("text", "metric", "comparison", "limit"),
    [
        ("p95 < 300ms", "p95", "<", 0.3),
        ("p99<=1.5s", "p99", "<=", 1.5),
        (" error_rate  <  1% ", "error_rate", "<", 0.01),
        ("throughput >= 200/s", "throughput", ">=", 200.0),
        ("throughput > 600/m", "throughput", ">", 10.0),
        ("p95 < 0.3", "p95", "<", 0.3),
        ("p95 < 1m30s", "p95", "<", 90.0),
        ("max < 500us", "max", "<", 0.0005),
        ("error_rate <= 0", "error_rate", "<=", 0.0),
        ("error_rate < 0.01", "error_rate", "<", 0.01),
        ("p95 < 300 ms", "p95", "<", 0.3),
    ],
)
def test_a_requirement_is_a_metric_a_comparison_and_a_value(
    text: str, metric: str, comparison: str, limit: float
) -> None:
    gate = parse(text, METRICS)
    assert (gate.metric, gate.comparison) == (metric, comparison)
    assert gate.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max < 1us", Fraction(1, 1_000_000)),
        ("max < 1ms", Fraction(1, 1000)),
        ("max < 1s", Fraction(1)),
        ("max < 1m", Fraction(60)),
        ("max < 1h", Fraction(3600)),
        ("max < 1", Fraction(1)),
        ("error_rate < 1%", Fraction(1, 100)),
        ("error_rate < 1", Fraction(1)),
        ("throughput > 1/s", Fraction(1)),
        ("throughput > 1/m", Fraction(1, 60)),
        ("orders > 1", Fraction(1)),
    ],
)
def test_every_unit_is_parsed_exactly(text: str, limit: Fraction) -> None:
    assert parse(text, METRICS_OF_DRILLS).limit == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95", "is not a requirement"),
        ("p95 < fast", "is not a requirement"),
        ("eror_rate < 1%", "perhaps error_rate"),
        ("thruput > 5/s", "perhaps throughput"),
        ("p95 < 300/s", "written as 300ms, 1m30s or 0.3 (seconds)"),
        ("p95 < 1s2", "has a value of the wrong kind"),
        ("error_rate < 1%1%", "has a value of the wrong kind"),
        ("error_rate < 2", "written as 1% or 0.01"),
        ("throughput > 5", "written as 50/s or 3000/m"),
        ("error_rate < 5ms", "written as 1% or 0.01"),
    ],
)
def test_an_invalid_gate_is_refused_with_a_valid_example(text: str, message: str) -> None:
    with pytest.raises(BadUsageError) as refused:
        parse(text, METRICS)
    assert message in f"{refused.value.what} {refused.value.why} {refused.value.hint}"


def test_a_refused_value_is_answered_with_the_right_unit() -> None:
    for text, right in (("p95 < 300/s", "p95 < 300ms"), ("error_rate < 2", "error_rate < 1%")):
        with pytest.raises(BadUsageError) as refused:
            parse(text, METRICS)
        assert refused.value.hint == f"--require '{right}'"


def test_a_value_is_formatted_with_its_unit_or_as_not_measured() -> None:
    formatted = [
        format_value(0.9995, "duration"),
        format_value(1.0, "duration"),
        format_value(0.25, "share"),
        format_value(1234.5, "rate"),
        format_value(7, "count"),
    ]
    assert formatted == ["999.5 ms", "1.0 s", "25.00%", "1,234.5/s", "7"]
    assert as_floats({"error_rate": Fraction(1, 4), "p95": None}) == {"error_rate": 0.25, "p95": None}


COMPARISONS = {"<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt}
WORDS = {"error_rate": ("timeout", "confirmed"), "refused_rate": ("insufficient-stock", "confirmed")}


@pytest.mark.parametrize("metric", WORDS)
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_share_is_compared_with_a_percentage_exactly(metric: str, comparison: str) -> None:
    hit, other = WORDS[metric]
    latency = Histogram()
    for _ in range(100):
        latency.record(0.01)
    gates = [parse(f"{metric} {comparison} {percent}%", METRICS) for percent in range(101)]
    for count in range(101):
        held = [check.held for check in evaluate(gates, load_metrics(latency, {hit: count, other: 100 - count}, 10.0))]
        assert held == [COMPARISONS[comparison](count, percent) for percent in range(101)]


def test_a_value_with_too_many_digits_is_refused() -> None:
    with pytest.raises(BadUsageError, match="a value of the wrong kind"):
        parse(f"throughput > {'9' * 400}/s", METRICS)


@pytest.mark.parametrize(
    ("rate", "seconds", "orders"),
    [(50.0, 10.0, 500), (1 / 60, 10.0, 1), (1 / 60, 61.0, 2), (0.1, 10.0, 1), (0.3, 10.0, 3), (1e-9, 1.0, 1)],
)
def test_a_plan_by_rate_has_every_order_due_before_its_end_and_at_least_one(
    rate: float, seconds: float, orders: int
) -> None:
    assert order_count(rate, seconds) == orders


def test_a_value_at_its_limit_passes_only_inclusive_comparisons() -> None:
    gates = [parse(text, METRICS) for text in ("p95 < 300ms", "p95 <= 300ms", "p95 > 300ms", "p95 >= 300ms")]
    assert [check.held for check in evaluate(gates, {"p95": 0.3})] == [False, True, False, True]
    assert evaluate(gates, {"p95": 0.3})[0].why == "p95 was 300.0 ms"


@pytest.mark.parametrize(
    "text", ["p95 < 300ms", "p95 <= 300ms", "mean == 2ms", "throughput >= 5/s", "throughput > 5/s"]
)
def test_a_good_value_is_inconclusive_if_no_order_was_accepted(text: str) -> None:
    gate = parse(text, METRICS)
    measured: dict[str, Measured | None] = {gate.metric: 10.0 if gate.kind == "rate" else 0.002}
    assert [check.held for check in evaluate([gate], measured | {"error_rate": Fraction(99, 100)})] == [True]
    (check,) = evaluate([gate], measured | {"error_rate": Fraction(1)})
    assert check.held is None
    assert check.why.endswith(", but not one order was taken")


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("p95 < 1ms", False),
        ("p95 > 1ms", True),
        ("throughput < 50/s", True),
        ("refused_rate < 1%", None),
        ("queued_rate == 0%", None),
        ("error_rate == 100%", True),
        ("error_rate < 1%", False),
    ],
)
def test_a_bad_value_fails_even_if_no_order_was_accepted(text: str, held: bool | None) -> None:  # noqa: FBT001 - a parameter of the test
    latency = Histogram()
    for _ in range(100):
        latency.record(0.002)
    assert [
        check.held for check in evaluate([parse(text, METRICS)], load_metrics(latency, {"timeout": 100}, 10.0))
    ] == [held]


@pytest.mark.parametrize(("name", "orders"), [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100), ("p999", 1000)])
def test_a_percentile_needs_at_least_one_order_beyond_it(name: str, orders: int) -> None:
    def measured(count: int) -> dict[str, Measured | None]:
        latency = Histogram()
        for _ in range(count):
            latency.record(0.25)
        return load_metrics(latency, {"confirmed": count}, 1.0)

    assert measured(orders - 1)[name] is None
    assert measured(orders)[name] == pytest.approx(0.25)
    assert measured(1)["max"] == pytest.approx(0.25)


def test_no_metric_is_measured_without_an_order() -> None:
    assert load_metrics(Histogram(), {}, 0.0) == dict.fromkeys(METRICS)


def test_an_unmeasured_gate_is_inconclusive() -> None:
    (check,) = evaluate([parse("p99 < 1s", METRICS)], {"p99": None})
    assert (check.held, check.measured) == (None, None)
    assert "too few" in check.why
