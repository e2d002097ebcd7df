"""Lookup of the process that listens on a port."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil


def holder(port: int) -> str | None:
    """Return the process that listens on `port`, as "python3 (pid 4711)".

    None if unknown: only root sees other users' processes.
    """
    for pid, connection in _connections():
        if pid and connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            with suppress(psutil.Error):  # it has ended meanwhile
                return f"{psutil.Process(pid).name()} (pid {pid})"
    return None


def _connections() -> Iterator[tuple[int | None, Any]]:
    try:
        yield from ((one.pid, one) for one in psutil.net_connections("tcp"))
    except psutil.AccessDenied:  # on macOS only root may list the connections of all processes
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # not permitted, or it has ended meanwhile
                yield from ((process.pid, one) for one in process.net_connections("tcp"))
