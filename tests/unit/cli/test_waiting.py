"""Waiting for a condition, and the retry policy of clients."""

from random import Random

import pytest

from valerix_cli.clients.retry import RETRYABLE, delay, is_retryable
from valerix_cli.errors import TimeoutExpiredError
from valerix_cli.waiting import require, wait_for


def test_a_wait_returns_the_first_true_result() -> None:
    results = iter([0, "", "found", "another"])
    assert wait_for(lambda: next(results), 10, interval=0.001) == "found"


def test_a_wait_calls_the_condition_once_at_least_and_returns_its_last_result() -> None:
    calls: list[int] = []

    def condition() -> list[int]:
        calls.append(1)
        return []

    assert wait_for(condition, -1) == []
    assert calls == [1]


def test_a_required_condition_that_stays_false_names_the_limit() -> None:
    with pytest.raises(TimeoutExpiredError) as expired:
        require(lambda: False, 0.002, "It is not ready.", "valerix status", interval=0.001)
    assert (expired.value.what, expired.value.why) == ("It is not ready.", "the time limit of 2 ms has passed")


@pytest.mark.parametrize(
    ("status", "problem", "expected"),
    [
        *((409, slug, True) for slug in sorted(RETRYABLE)),
        (500, None, True),
        (503, "database-unavailable", True),
        (499, None, False),
        (201, None, False),
        (409, "insufficient-stock", False),
        (422, "idempotency-key-reused", False),
    ],
)
def test_server_errors_and_temporary_problems_are_retried(status: int, problem: str | None, *, expected: bool) -> None:
    assert is_retryable(status, problem) is expected


def test_a_delay_follows_retry_after_or_grows_up_to_five_seconds() -> None:
    random = Random(1)  # noqa: S311 - a test's
    assert delay(3, 0.0, random) == 0.0
    assert delay(3, 7.0, random) == 7.0
    longest = [max(delay(attempt, None, random) for _ in range(500)) for attempt in (1, 2, 3, 8)]
    assert [round(one, 1) for one in longest] == [0.4, 0.8, 1.6, 5.0]
