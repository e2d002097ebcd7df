"""A rolling window of call outcomes, in buckets by a monotonic clock."""

import math
from collections import Counter, deque
from collections.abc import Callable

SUCCESS = "success"


class RollingWindow:
    """Counts outcomes of the last `seconds`. They expire one bucket at a time.

    An outcome is `"success"` or the name of a failure, such as `"timeout"` or `"500"`.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], buckets: int = 10) -> None:
        self.seconds = seconds
        self._width = seconds / buckets
        self._bucket_count = buckets
        self._clock = clock
        self._buckets: deque[tuple[int, Counter[str]]] = deque()
        self._sum: Counter[str] = Counter()

    def add(self, outcome: str) -> None:
        now = self._expire()
        if not self._buckets or self._buckets[-1][0] != now:
            self._buckets.append((now, Counter()))
        self._buckets[-1][1][outcome] += 1
        self._sum[outcome] += 1

    def outcomes(self) -> dict[str, int]:
        """Return how often each outcome occurred within the window."""
        self._expire()
        return dict(self._sum)

    def clear(self) -> None:
        self._buckets.clear()
        self._sum.clear()

    def _expire(self) -> int:
        now = math.floor(self._clock() / self._width)
        while self._buckets and self._buckets[0][0] <= now - self._bucket_count:
            self._sum -= self._buckets.popleft()[1]  # this also removes outcomes with a count of zero
        return now


def failures(outcomes: dict[str, int]) -> int:
    return sum(outcomes.values()) - outcomes.get(SUCCESS, 0)


def failure_percent(outcomes: dict[str, int]) -> float:
    """Return failures per hundred calls; 0 without calls."""
    calls = sum(outcomes.values())
    return 100 * failures(outcomes) / calls if calls else 0.0


def describe(outcomes: dict[str, int], seconds: float) -> str:
    """Return a description such as `12 of 20 calls failed in 10 s (9 timeouts, 3 × 500)`."""
    causes = [
        f"{count} × {outcome}" if outcome.isdigit() else f"{count} {outcome}{'s' if count > 1 else ''}"
        for outcome, count in sorted(outcomes.items(), key=lambda entry: -entry[1])
        if outcome != SUCCESS and count
    ]
    calls = sum(outcomes.values())
    because = f" ({', '.join(causes)})" if causes else ""
    return f"{failures(outcomes)} of {calls} calls failed in {seconds:g} s{because}"
