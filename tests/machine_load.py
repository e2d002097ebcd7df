"""Slowdown of this machine relative to an idle one. Limits of timed tests are in seconds of an idle machine."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

INTERVAL = 0.25  # seconds between two measurements while a test runs
_WORK = 50_000  # iterations: about 10 ms of CPU time
_highest: list[float] = [1.0]


def measure() -> float:
    """Return the ratio of wall-clock time to CPU time of a computation, at least 1.0.

    It releases the interpreter's lock.
    """
    began, began_cpu = time.perf_counter(), time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"", b"", _WORK)
    used = time.thread_time() - began_cpu
    return max(1.0, (time.perf_counter() - began) / used)


def slowdown() -> float:
    """Return the highest slowdown measured since the block of `observed` began, or the current one."""
    return max(*_highest, measure())


@contextmanager
def observed() -> Iterator[None]:
    """Measure the machine repeatedly during a block."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(INTERVAL):
            _highest[0] = max(_highest[0], measure())

    _highest[0] = 1.0
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _highest[0] = 1.0
