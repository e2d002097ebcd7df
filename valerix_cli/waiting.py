"""Waiting for a condition."""

import time
from collections.abc import Callable
from typing import TypeVar

from valerix_cli.errors import TimeoutExpiredError
from valerix_cli.units import format_duration

T = TypeVar("T")
POLL_INTERVAL = 0.05  # seconds


def wait_for(condition: Callable[[], T], within: float, *, interval: float = POLL_INTERVAL) -> T:
    """Return the first true result of `condition`; after `within` seconds, its last result, which is false.

    It is called every `interval` seconds, at least once.
    """
    deadline = time.monotonic() + within
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(interval)
    return result


def require(condition: Callable[[], T], within: float, what: str, hint: str, *, interval: float = POLL_INTERVAL) -> T:
    """Return the first true result of `condition`. Raises TimeoutExpiredError after `within` seconds."""
    if result := wait_for(condition, within, interval=interval):
        return result
    raise TimeoutExpiredError(what, f"the time limit of {format_duration(within)} has passed", hint)
