"""Identification of processes: once a process has ended, its pid may be that of another one.

A process is identified by its pid and its start time. It is signalled only if it also holds the lock of the state
directory, so that a forged file cannot cause another user's process to be signalled.
"""

import os
import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
from pathlib import Path
from typing import Self

from valerix_cli.local.lock import holds_lock

_START_FIELD = 22 - 3  # index after the name in proc_pid_stat(5), where the third field is the first


def start_time(pid: int) -> int | None:
    """Return the start time of a process, which distinguishes two with the same pid; None if it does not exist.

    On Linux clock ticks since boot, elsewhere seconds since 1970.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_START_FIELD])
    except (OSError, IndexError, ValueError):
        return None if Path("/proc/self/stat").exists() else _start_by_ps(pid)


def _start_by_ps(pid: int) -> int | None:
    from datetime import datetime  # noqa: PLC0415 - macOS only

    command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    output = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}).stdout  # noqa: S603 - the argv is ours # nosec B603
    try:
        return int(datetime.strptime(" ".join(output.split()), "%a %b %d %H:%M:%S %Y").astimezone().timestamp())
    except ValueError:
        return None


class Handle:
    """A handle of one process within the block. Raises ProcessLookupError if it has ended.

    On Linux a descriptor of the process itself (pidfd_open(2)), so that a reused pid is no risk.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.descriptor = _open(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def send(self, number: signal.Signals) -> None:
        """Send a signal. Raises ProcessLookupError if it has ended, PermissionError if it may not be signalled."""
        if self.descriptor is None:
            os.kill(self.pid, number)
        else:
            signal.pidfd_send_signal(self.descriptor, number)


def child_of(directory: Path, pid: int, started: int | None) -> Handle:
    """Return a handle of the process `pid` of the platform in `directory`, which started at `started`.

    Raises ProcessLookupError if that process has ended, even if another has its pid, and if it is not one of the
    platform's own.
    """
    if pid <= 1 or pid == os.getpid():
        raise ProcessLookupError(pid)
    handle = Handle(pid)
    if started is None or start_time(pid) != started or not holds_lock(directory, pid):
        handle.__exit__()
        raise ProcessLookupError(pid)
    return handle


def _open(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:  # not supported by this system
        return None
