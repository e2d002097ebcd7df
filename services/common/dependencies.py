"""Counts failures of dependencies by kind, and logs them at a limited rate."""

import time

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

LOG_EVERY = 1.0  # seconds between two log lines about the same kind of failure

FAILURES = Counter("dependency_failures_total", "Failures of what this process depends on", ["dependency", "kind"])
_logged_at: dict[tuple[str, str], float] = {}


def note_failure(dependency: str, kind: str, error: BaseException, *, with_traceback: bool = False) -> None:
    """Count a failure. Log it, unless one of its kind was logged within the last second.

    A failure that may be a bug in this code is logged `with_traceback`.
    """
    FAILURES.labels(dependency, kind).inc()
    now = time.monotonic()
    if now - _logged_at.get((dependency, kind), -LOG_EVERY) >= LOG_EVERY:
        _logged_at[dependency, kind] = now
        details = {"exc_info": error} if with_traceback else {}
        log.warning("dependency failed", dependency=dependency, kind=kind, error=repr(error), **details)
