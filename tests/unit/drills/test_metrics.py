"""Metrics of orders and of the platform, and requirements on them."""

from fractions import Fraction

import pytest

from valerix_cli.drills import evaluate
from valerix_cli.drills.evaluate import Measurements
from valerix_cli.drills.metrics import (
    completed_between,
    due_between,
    order_metrics,
    platform_metrics,
    timeline,
    worst_state,
)
from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.requirements import Requirement
from valerix_cli.load.model import CompletedOrder


def orders(*outcomes: str, latency: float = 0.02, first: float = 0.0) -> list[CompletedOrder]:
    """Return orders that are due every tenth of a second."""
    return [
        CompletedOrder(f"key-{number}", due := first + number / 10, due + latency, outcome)
        for number, outcome in enumerate(outcomes)
    ]


def sample(at: float, **changes: object) -> Sample:
    known: dict[str, object] = {
        "breakers": {"order-1": "closed"},
        "held_back": False,
        "backlog": 0,
        "backlog_age": 0.0,
        "dead": 0,
        "injected": {},
    }
    return Sample(at=at, **(known | changes))  # type: ignore[arg-type]  # typed by the test


def test_metrics_count_orders_by_outcome() -> None:
    metrics = order_metrics(
        orders(*["confirmed"] * 6, "queued", "insufficient-stock", "timeout", "internal-error"), 2.0
    )
    assert (metrics["orders"], metrics["confirmed"], metrics["refused"], metrics["errors"]) == (10, 6, 1, 2)
    assert (metrics["throughput"], metrics["queued_rate"]) == (5.0, Fraction(1, 10))
    assert metrics["error_rate"] == pytest.approx(0.2)
    assert metrics["p95"] is None  # too few orders
    assert metrics["p50"] == pytest.approx(0.02, rel=0.01)


def test_metrics_without_orders_are_not_measured() -> None:
    metrics = order_metrics([], 1.0)
    assert (metrics["throughput"], metrics["error_rate"], metrics["p50"]) == (None, None, None)
    (check,) = evaluate.evaluate("steady", [Requirement.parse("error_rate < 1%")], Measurements(metrics))
    assert check.verdict == "not-measured"


def test_periods_select_orders_by_due_or_completion_time() -> None:
    slow = orders(*["confirmed"] * 30, latency=1.0)
    assert [order.key for order in due_between(slow, 0.95, 1.15)] == ["key-10", "key-11"]
    assert [order.key for order in completed_between(slow, 1.95, 2.15)] == ["key-11", "key-10"]


@pytest.mark.parametrize(
    ("require", "measurements", "verdict"),
    [
        ("breaker opened within 10s", Measurements({}, opened_after=9.0), "held"),
        ("breaker opened within 10s", Measurements({}, opened_after=11.0), "missed"),
        ("breaker opened", Measurements({}, opened_after=None, is_monitored=True), "missed"),
        ("breaker opened", Measurements({}, opened_after=None), "not-measured"),
        ("breaker opened within 10s", Measurements({}, opened_after=10.0), "held"),
        ("breaker opened", Measurements({}, opened_after=50.0), "held"),
        ("breaker stayed closed", Measurements({}, opened_after=None, is_monitored=True), "held"),
        ("breaker stayed closed", Measurements({}, opened_after=None), "not-measured"),
        ("breaker stayed closed", Measurements({}, opened_after=1.0), "missed"),
        ("breaker closed", Measurements({}, is_closed=True), "held"),
        ("breaker closed", Measurements({}, is_closed=False), "missed"),
        ("breaker closed", Measurements({}, is_closed=None), "not-measured"),
        ("backlog == 0", Measurements({"backlog": 0.0}), "held"),
        ("backlog == 0", Measurements({"backlog": 3.0}), "missed"),
        ("backlog == 0", Measurements({"backlog": None}), "not-measured"),
        ("injected >= 1", Measurements({"injected": 0.0}), "missed"),
        ("p95 < 1s", Measurements({"p95": 0.001, "error_rate": Fraction(1)}), "not-measured"),
        ("p95 > 3s", Measurements({"p95": 10.0, "error_rate": Fraction(1)}), "held"),
        ("error_rate < 1%", Measurements({"error_rate": Fraction(1)}), "missed"),
    ],
)
def test_a_requirement_is_evaluated_against_the_measurements(
    require: str, measurements: Measurements, verdict: str
) -> None:
    (check,) = evaluate.evaluate("faults", [Requirement.parse(require)], measurements)
    assert (check.require, check.verdict) == (require, verdict)
    assert check.why


def test_a_timeline_has_outcomes_and_the_worst_breaker_of_each_second() -> None:
    looks = [sample(0.5), sample(1.5, breakers={"order-1": "closed", "order-2": "open"}, backlog=7)]
    first, second, third = timeline(orders(*["confirmed"] * 21), [*looks, sample(-1.0)])
    assert (first.outcomes, first.breaker) == ({"confirmed": 10}, "closed")
    assert (second.breaker, second.backlog) == ("open", 7)
    assert (third.outcomes, third.breaker) == ({"confirmed": 1}, None)
    assert third.p50 == pytest.approx(0.02, rel=0.01)


def test_a_period_includes_its_begin_and_excludes_its_end() -> None:
    at = [CompletedOrder(f"key-{second}", float(second), float(second), "confirmed") for second in range(5)]
    assert [order.due for order in due_between(at, 1.0, 3.0)] == [1.0, 2.0]
    assert [order.completed for order in completed_between(at, 1.0, 3.0)] == [2.0, 1.0]


def test_the_throughput_of_an_empty_period_is_zero() -> None:
    assert order_metrics(orders("confirmed"), 0.0)["throughput"] == 0.0
    assert order_metrics(orders("confirmed"), 0.5)["throughput"] == 2.0


def test_platform_metrics_are_those_of_the_sample_or_unknown() -> None:
    assert platform_metrics(sample(1.0, backlog=7, backlog_age=3.0, dead=1)) == {
        "backlog": 7,
        "backlog_age": 3.0,
        "dead": 1,
    }
    assert set(platform_metrics(None).values()) == {None}


def test_a_second_of_the_timeline_has_its_own_samples_and_percentiles() -> None:
    assert timeline([], []) == []
    (before,) = timeline(orders("confirmed"), [sample(-0.5, breakers={"order-1": "open"})])
    assert before.breaker is None
    (at_once,) = timeline([], [sample(0.0)])
    assert at_once.breaker == "closed"
    spread = [CompletedOrder(f"key-{number}", 0.5 - number / 1000, 0.5, "confirmed") for number in range(1, 101)]
    (second,) = timeline(spread, [])
    assert second.p50 == pytest.approx(0.05, rel=0.005)
    assert second.p95 == pytest.approx(0.095, rel=0.005)


def test_the_worst_state_of_no_breakers_is_unknown() -> None:
    assert worst_state(None) is None
    assert worst_state({}) is None
    assert worst_state({"order-1": "closed", "order-2": "half-open"}) == "half-open"
