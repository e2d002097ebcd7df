"""The sums of the rolling window, compared with an oracle that keeps every call."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.order.rolling_window import SUCCESS, RollingWindow, describe, failure_percent, failures
from tests.unit.order.clock import Clock

CAUSES = ["timeout", "500", "503", "lost answer", "connection error"]

steps = st.tuples(
    st.integers(0, 4 * 1024) | st.sampled_from([0, 1, 1023, 1024, 9 * 1024, 10 * 1024, 11 * 1024]),  # ticks to advance
    st.sampled_from([SUCCESS, *CAUSES]) | st.none() | st.just("clear"),  # the outcome to add; None only reads
)


@given(start=st.integers(0, 100_000), bucket_ticks=st.sampled_from([64, 256, 1024]), story=st.lists(steps, max_size=60))
def test_the_sums_match_a_model_that_keeps_every_call(
    start: int, bucket_ticks: int, story: list[tuple[int, str | None]]
) -> None:
    """A call counts in its bucket and in the nine that follow."""
    clock = Clock(start)
    window = RollingWindow(10 * bucket_ticks / 1024, clock)
    calls: list[tuple[int, str]] = []  # bucket of each call, counted from the clock's zero, and its outcome
    for ticks, step in story:
        clock.ticks += ticks
        bucket = clock.ticks // bucket_ticks
        if step == "clear":
            window.clear()
            calls.clear()
        elif step is not None:
            window.add(step)
            calls.append((bucket, step))
        expected = Counter(outcome for made_in, outcome in calls if bucket - made_in < 10)
        assert window.outcomes() == expected
        assert failures(window.outcomes()) == expected.total() - expected[SUCCESS]


@given(age=st.integers(0, 20 * 1024), start=st.integers(0, 10_000))
def test_a_call_is_kept_for_at_least_nine_tenths_of_the_window_and_at_most_all(age: int, start: int) -> None:
    clock = Clock(start)
    window = RollingWindow(10, clock)
    window.add("timeout")
    clock.ticks += age
    if age <= 9 * 1024:
        assert window.outcomes() == {"timeout": 1}
    if age >= 10 * 1024:
        assert window.outcomes() == {}


def test_expired_calls_leave_no_data() -> None:
    clock = Clock()
    window = RollingWindow(10, clock)
    for number in range(1000):
        window.add(f"cause-{number}")
        clock.go_on(20)
    assert window.outcomes() == {}
    assert len(window._sum) == 0  # noqa: SLF001 - retained memory is visible only here


@pytest.mark.parametrize(
    ("outcomes", "percent"),
    [
        ({}, 0.0),
        ({SUCCESS: 5}, 0.0),
        ({"timeout": 5}, 100.0),
        ({SUCCESS: 5, "timeout": 4}, 100 * 4 / 9),
        ({SUCCESS: 4, "timeout": 2, "500": 2}, 50.0),
    ],
)
def test_the_percentage_is_relative_to_all_calls(outcomes: dict[str, int], percent: float) -> None:
    assert failure_percent(outcomes) == percent


def test_a_window_is_described_with_the_commonest_cause_first() -> None:
    assert describe({SUCCESS: 8, "500": 3, "timeout": 9}, 10.0) == "12 of 20 calls failed in 10 s (9 timeouts, 3 × 500)"
    assert describe({"timeout": 1, SUCCESS: 1}, 2.5) == "1 of 2 calls failed in 2.5 s (1 timeout)"
    assert describe({SUCCESS: 3}, 10) == "0 of 3 calls failed in 10 s"
    assert describe({}, 10) == "0 of 0 calls failed in 10 s"
