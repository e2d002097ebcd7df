"""Keeps signals ignored that the parent ignores, and protects sections from signals."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_ignored(number: signal.Signals) -> bool:
    """Return whether a signal has to stay ignored: SIGHUP under nohup, SIGINT in a shell's background job.

    See POSIX, "Shell Command Language", 2.11. Call it before a handler is installed. SIGTERM always ends a command:
    `valerix down` uses it.
    """
    return number is not signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore signals in the block: a second Ctrl-C does not interrupt the rollback that the first one has started."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
