"""What orders come to over a stretch of time, and what is required of it."""

from fractions import Fraction

import pytest

from valerix_cli.drills import judging
from valerix_cli.drills.figures import by_the_second, due_between, figures, of_platform, over_between, worst
from valerix_cli.drills.judging import Evidence
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.watching import Sighting
from valerix_cli.load.model import CompletedOrder


def orders(*outcomes: str, latency: float = 0.02, first: float = 0.0) -> list[CompletedOrder]:
    """One every tenth of a second."""
    return [
        CompletedOrder(f"key-{number}", due := first + number / 10, due + latency, said)
        for number, said in enumerate(outcomes)
    ]


def looked(at: float, **changes: object) -> Sighting:
    known: dict[str, object] = {
        "breakers": {"order-1": "closed"},
        "held_back": False,
        "backlog": 0,
        "backlog_age": 0.0,
        "dead": 0,
        "injected": {},
    }
    return Sighting(at=at, **(known | changes))  # type: ignore[arg-type]  # as a test wants them


def test_orders_are_counted_by_what_they_came_to() -> None:
    seen = figures(orders(*["confirmed"] * 6, "queued", "insufficient-stock", "timeout", "internal-error"), 2.0)
    assert (seen["orders"], seen["confirmed"], seen["refused"], seen["errors"]) == (10, 6, 1, 2)
    assert (seen["throughput"], seen["queued_rate"]) == (5.0, Fraction(1, 10))
    assert seen["error_rate"] == pytest.approx(0.2)
    assert seen["p95"] is None  # ten orders cannot say
    assert seen["p50"] == pytest.approx(0.02, rel=0.01)


def test_without_orders_nothing_is_measured_and_nothing_holds() -> None:
    seen = figures([], 1.0)
    assert (seen["throughput"], seen["error_rate"], seen["p50"]) == (None, None, None)
    (check,) = judging.judge("steady", [Requirement.parse("error_rate < 1%")], Evidence(seen))
    assert check.verdict == "not-measured"


def test_windows_are_by_when_orders_were_due_or_over() -> None:
    slow = orders(*["confirmed"] * 30, latency=1.0)
    assert [seen.key for seen in due_between(slow, 0.95, 1.15)] == ["key-10", "key-11"]
    assert [seen.key for seen in over_between(slow, 1.95, 2.15)] == ["key-11", "key-10"]


@pytest.mark.parametrize(
    ("require", "evidence", "verdict"),
    [
        ("breaker opened within 10s", Evidence({}, opened_after=9.0), "held"),
        ("breaker opened within 10s", Evidence({}, opened_after=11.0), "missed"),
        ("breaker opened", Evidence({}, opened_after=None, is_watched=True), "missed"),
        ("breaker opened", Evidence({}, opened_after=None), "not-measured"),
        ("breaker opened within 10s", Evidence({}, opened_after=10.0), "held"),
        ("breaker opened", Evidence({}, opened_after=50.0), "held"),
        ("breaker stayed closed", Evidence({}, opened_after=None, is_watched=True), "held"),
        ("breaker stayed closed", Evidence({}, opened_after=None), "not-measured"),
        ("breaker stayed closed", Evidence({}, opened_after=1.0), "missed"),
        ("breaker closed", Evidence({}, is_closed=True), "held"),
        ("breaker closed", Evidence({}, is_closed=False), "missed"),
        ("breaker closed", Evidence({}, is_closed=None), "not-measured"),
        ("backlog == 0", Evidence({"backlog": 0.0}), "held"),
        ("backlog == 0", Evidence({"backlog": 3.0}), "missed"),
        ("backlog == 0", Evidence({"backlog": None}), "not-measured"),
        ("injected >= 1", Evidence({"injected": 0.0}), "missed"),
        ("p95 < 1s", Evidence({"p95": 0.001, "error_rate": Fraction(1)}), "not-measured"),
        ("p95 > 3s", Evidence({"p95": 10.0, "error_rate": Fraction(1)}), "held"),
        ("error_rate < 1%", Evidence({"error_rate": Fraction(1)}), "missed"),
    ],
)
def test_a_requirement_is_held_against_what_was_seen(require: str, evidence: Evidence, verdict: str) -> None:
    (check,) = judging.judge("faults", [Requirement.parse(require)], evidence)
    assert (check.require, check.verdict) == (require, verdict)
    assert check.why


def test_a_run_is_told_second_by_second_with_the_worst_breaker() -> None:
    looks = [looked(0.5), looked(1.5, breakers={"order-1": "closed", "order-2": "open"}, backlog=7)]
    first, second, third = by_the_second(orders(*["confirmed"] * 21), [*looks, looked(-1.0)])
    assert (first.outcomes, first.breaker) == ({"confirmed": 10}, "closed")
    assert (second.breaker, second.backlog) == ("open", 7)
    assert (third.outcomes, third.breaker) == ({"confirmed": 1}, None)
    assert third.p50 == pytest.approx(0.02, rel=0.01)


def test_a_window_has_its_beginning_and_not_its_end() -> None:
    at = [CompletedOrder(f"key-{second}", float(second), float(second), "confirmed") for second in range(5)]
    assert [seen.due for seen in due_between(at, 1.0, 3.0)] == [1.0, 2.0]
    assert [seen.completed for seen in over_between(at, 1.0, 3.0)] == [2.0, 1.0]


def test_a_stretch_of_no_time_has_no_throughput_and_one_below_a_second_has() -> None:
    assert figures(orders("confirmed"), 0.0)["throughput"] == 0.0
    assert figures(orders("confirmed"), 0.5)["throughput"] == 2.0


def test_the_platform_is_as_it_was_seen_or_not_known() -> None:
    assert of_platform(looked(1.0, backlog=7, backlog_age=3.0, dead=1)) == {"backlog": 7, "backlog_age": 3.0, "dead": 1}
    assert set(of_platform(None).values()) == {None}


def test_a_second_has_the_looks_and_the_percentiles_of_its_own() -> None:
    assert by_the_second([], []) == []
    (before,) = by_the_second(orders("confirmed"), [looked(-0.5, breakers={"order-1": "open"})])
    assert before.breaker is None
    (at_once,) = by_the_second([], [looked(0.0)])
    assert at_once.breaker == "closed"
    spread = [CompletedOrder(f"key-{number}", 0.5 - number / 1000, 0.5, "confirmed") for number in range(1, 101)]
    (second,) = by_the_second(spread, [])
    assert second.p50 == pytest.approx(0.05, rel=0.005)
    assert second.p95 == pytest.approx(0.095, rel=0.005)


def test_the_worst_of_no_breakers_is_not_known() -> None:
    assert worst(None) is None
    assert worst({}) is None
    assert worst({"order-1": "closed", "order-2": "half-open"}) == "half-open"
