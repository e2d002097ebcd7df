"""Conditions under which the breaker opens, its open period, and conditions under which it closes."""

import pytest

from services.order.breaker import TRIAL_RETRY_SECONDS
from tests.unit.order.observed_breaker import Observed, on_trial, opened


def test_a_new_breaker_is_closed_and_admits_every_call() -> None:
    seen = Observed()
    assert [seen.breaker.admit() for _ in range(100)]
    assert seen.state == "closed"
    assert seen.breaker.retry_in() == 0


def test_44_percent_of_failures_keep_the_breaker_closed() -> None:
    seen = Observed()
    seen.succeed(5)
    seen.fail(4)
    assert seen.state == "closed"
    seen.succeed(9)
    seen.fail(4)  # 8 of 18
    assert seen.state == "closed"


def test_50_percent_of_failures_open_the_breaker() -> None:
    seen = Observed()
    seen.succeed(5)
    seen.fail(4)
    assert seen.state == "closed"
    seen.fail()
    assert seen.state == "open"
    assert seen.moves == [("closed", "open")]


def test_a_share_just_below_the_threshold_is_not_rounded_up() -> None:
    seen = Observed()
    seen.succeed(100)
    seen.fail(99)  # 49.7 %
    assert seen.state == "closed"
    seen.fail()
    assert seen.state == "open"


@pytest.mark.parametrize("threshold", [1, 29, 50, 57, 58, 99, 100])
def test_every_threshold_is_exact_to_one_call(threshold: int) -> None:
    seen = Observed(threshold_percent=threshold, minimum_calls=100)
    seen.succeed(100 - threshold)
    seen.fail(threshold - 1)
    assert seen.state == "closed"
    seen.fail()
    assert seen.state == "open"


def test_the_breaker_never_opens_below_the_minimum_of_calls() -> None:
    seen = Observed()
    seen.fail(4)
    assert seen.state == "closed"
    seen.clock.go_on(11)
    seen.fail(4)
    assert seen.state == "closed"
    seen.fail()
    assert seen.state == "open"


def test_failures_older_than_the_window_do_not_count() -> None:
    seen = Observed()
    seen.fail(4)
    seen.clock.go_on(10)
    seen.succeed(6)
    seen.fail(4)
    assert seen.state == "closed"


def test_a_success_does_not_reset_the_failures_around_it() -> None:
    seen = Observed()
    for _ in range(2):
        seen.fail()
        seen.succeed()
    seen.fail()
    assert seen.state == "open"


def test_the_breaker_stays_open_for_ten_seconds_and_returns_the_rest() -> None:
    seen = opened()
    assert seen.rejected().retry_in == 10
    seen.clock.go_on(4)
    assert seen.rejected().retry_in == 6
    assert seen.breaker.retry_in() == 6
    seen.clock.ticks += 6 * 1024 - 1
    assert seen.rejected().retry_in == 1 / 1024
    assert seen.state == "open"
    seen.clock.ticks += 1
    assert seen.breaker.retry_in() == 0
    seen.breaker.admit()
    assert seen.state == "half-open"


def test_a_half_open_breaker_admits_one_trial_at_a_time() -> None:
    seen, _trial = on_trial()
    for _ in range(3):
        assert seen.rejected().retry_in == TRIAL_RETRY_SECONDS
    assert seen.outcomes[-3:] == ["rejected"] * 3
    seen.clock.go_on(60)
    assert seen.rejected().retry_in == TRIAL_RETRY_SECONDS


def test_a_successful_trial_closes_the_breaker_with_an_empty_window() -> None:
    seen, trial = on_trial()
    trial.succeed()
    assert seen.state == "closed"
    assert seen.breaker.window.outcomes() == {}
    seen.fail(4)
    assert seen.state == "closed"


def test_a_failed_trial_opens_the_breaker_for_another_full_period() -> None:
    seen, trial = on_trial()
    seen.clock.go_on(3)
    trial.fail("500")
    assert seen.state == "open"
    assert seen.rejected().retry_in == 10
    seen.clock.go_on(10)
    seen.breaker.admit().succeed()
    assert seen.state == "closed"
    assert seen.moves == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


def test_a_cancelled_trial_frees_its_slot_and_decides_nothing() -> None:
    seen, trial = on_trial()
    trial.cancel()
    assert seen.state == "half-open"
    second = seen.breaker.admit()
    assert seen.rejected().retry_in == TRIAL_RETRY_SECONDS
    second.succeed()
    assert seen.state == "closed"


def test_a_cancelled_call_is_neither_a_success_nor_a_failure() -> None:
    seen = Observed()
    for _ in range(20):
        seen.breaker.admit().cancel()
    assert seen.breaker.window.outcomes() == {}
    assert seen.outcomes == []
    assert seen.state == "closed"


def test_a_permit_counts_once_however_often_it_is_used() -> None:
    seen = Observed()
    permit = seen.breaker.admit()
    permit.fail("timeout")
    permit.fail("timeout")
    permit.succeed()
    permit.cancel()
    assert seen.breaker.window.outcomes() == {"timeout": 1}
    assert seen.outcomes == ["timeout"]


def test_a_late_failure_does_not_extend_an_open_period() -> None:
    seen = Observed()
    late = [seen.breaker.admit() for _ in range(10)]
    seen.fail(5)
    seen.clock.go_on(9)
    for permit in late:
        permit.fail("timeout")
    assert seen.breaker.retry_in() == 1
    seen.clock.go_on(1)
    seen.breaker.admit().succeed()
    assert seen.state == "closed"


def test_a_late_success_does_not_close_the_breaker() -> None:
    seen = Observed()
    late = [seen.breaker.admit() for _ in range(2)]
    seen.fail(5)
    late[0].succeed()
    assert seen.state == "open"
    seen.clock.go_on(10)
    seen.breaker.tick()
    late[1].succeed()
    assert seen.state == "half-open"


def test_a_late_result_does_not_free_the_slot_of_a_trial() -> None:
    seen = Observed()
    late = [seen.breaker.admit() for _ in range(3)]
    seen.fail(5)
    seen.clock.go_on(10)
    seen.breaker.admit()
    late[0].fail("timeout")
    late[1].succeed()
    late[2].cancel()
    assert seen.state == "half-open"
    assert seen.rejected().retry_in == TRIAL_RETRY_SECONDS


def test_calls_started_before_the_breaker_opened_do_not_count_after_it_closed() -> None:
    seen = Observed()
    late = [seen.breaker.admit() for _ in range(10)]
    seen.fail(5)
    seen.clock.go_on(10)
    seen.succeed()
    for permit in late:
        permit.fail("timeout")
    assert seen.state == "closed"
    assert seen.breaker.window.outcomes() == {}
    assert seen.outcomes.count("timeout") == 15  # they did happen, so they are counted


def test_tick_makes_the_breaker_half_open_without_a_call() -> None:
    seen = opened()
    seen.breaker.tick()
    assert seen.state == "open"
    seen.clock.go_on(10)
    seen.breaker.tick()
    assert seen.state == "half-open"
    seen.breaker.tick()
    assert seen.moves == [("closed", "open"), ("open", "half-open")]
    seen.breaker.admit().succeed()
    assert seen.state == "closed"


def test_tick_does_not_take_the_slot_of_a_running_trial() -> None:
    seen, trial = on_trial()
    seen.breaker.tick()
    assert seen.rejected().retry_in == TRIAL_RETRY_SECONDS
    trial.succeed()
    assert seen.state == "closed"
