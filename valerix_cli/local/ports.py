"""Free loopback ports."""

import random
import socket
from collections import deque

LOOPBACK = "127.0.0.1"
OURS = range(20_000, 30_000)
"""Below the range from which the kernel chooses ports of outgoing connections: otherwise a restarted server could find
its port taken by one of our connections, until that is closed."""
_GIVEN: deque[int] = deque(maxlen=64)


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now.

    Another process may take it first: callers must handle that.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, to ignore connections in TIME_WAIT
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*, preferred: int | None = None, but: frozenset[int] = frozenset()) -> int:
    """Return `preferred` if it is free, else a free port of OURS; never one of `but`, nor one returned recently.

    The process that it was returned for may not listen yet.
    """
    if preferred is not None and preferred not in but and is_free(preferred):
        return preferred
    while True:
        port = random.choice(OURS)  # noqa: S311 - spreads platforms that start at once, keeps no secret # nosec B311
        if port not in but and port not in _GIVEN and is_free(port):
            _GIVEN.append(port)
            return port
