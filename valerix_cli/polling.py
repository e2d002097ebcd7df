"""Polling until a condition holds or the time is up."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from valerix_cli.errors import TimeoutExpiredError, UnreachableError
from valerix_cli.output import Output, info
from valerix_cli.units import format_duration

T = TypeVar("T")
EVERY = 0.5  # seconds


def poll(read: Callable[[], T], output: Output, *, every: float = EVERY) -> Iterator[T]:
    """Yield what `read` returns, endlessly. After the first result, an unavailable service is waited for."""
    yield read()
    gone = False
    while True:
        time.sleep(every)
        try:
            found = read()
        except (UnreachableError, TimeoutExpiredError) as error:
            if not gone:
                info(f"{error.what} Waiting for it.", output)
            gone = True
            continue
        gone = False
        yield found


def until(snapshots: Iterator[T], done: Callable[[T], bool], *, limit: float, what: str, hint: str) -> Iterator[T]:
    """Yield `snapshots` up to the first that is `done`. Raises TimeoutExpiredError after `limit` seconds."""
    deadline = time.monotonic() + limit
    for snapshot in snapshots:
        yield snapshot
        if done(snapshot):
            return
        if time.monotonic() > deadline:
            raise TimeoutExpiredError(what, f"the time limit of {format_duration(limit)} has passed", hint)
