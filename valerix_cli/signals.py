"""Keeps signals ignored that the parent ignores, and protects sections from signals."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_ignored(number: signal.Signals) -> bool:
    """Return whether a signal is to stay ignored: SIGHUP under nohup, SIGINT in a shell's background job.

    See POSIX, "Shell Command Language", 2.11. Ask before a handler is installed. SIGTERM always ends a command: it is
    how `valerix down` asks.
    """
    return number is not signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Rolling back is not broken off by a second Ctrl-C: it is what the first one asked for."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
