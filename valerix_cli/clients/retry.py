"""Retry policy of the clients: which responses are retried, with the same key, and after how long."""

from random import Random

RETRYABLE = frozenset({"request-in-flight", "rate-limited", "queue-full", "database-unavailable"})
_SERVER_ERROR = 500
_BASE_DELAY = 0.2  # seconds
_MAX_DELAY = 5.0  # seconds


def is_retryable(status: int, problem: str | None) -> bool:
    """Return True if a repeat may get another response: after a server error, or one of RETRYABLE."""
    return status >= _SERVER_ERROR or problem in RETRYABLE


def delay(attempt: int, retry_after: float | None, random: Random) -> float:
    """Return the seconds to wait after the `attempt`-th send, counted from 1.

    This is Retry-After if the response has it, else exponential back-off with full jitter.
    """
    if retry_after is not None:
        return retry_after
    return random.uniform(0, min(_MAX_DELAY, _BASE_DELAY * 2**attempt))
