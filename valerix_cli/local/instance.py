"""Limits a state directory to one running platform."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from valerix_cli.errors import GuardError, TimeoutExpiredError, UnreachableError
from valerix_cli.local.identity import Handle
from valerix_cli.local.lock import holders, holds_lock, is_held, supervisor, take
from valerix_cli.local.stack import STACK_FILE, Stack, read_stack
from valerix_cli.waiting import wait_for

_LEFTOVERS_LIMIT = 10.0  # seconds: after a kill -9 of the supervisor its children end within one
_ORPHANS_AFTER = 2.0  # seconds without a supervisor: one that is just starting is known sooner
_GENTLE = 5.0  # seconds for the remaining processes of a killed supervisor to end
_REWRITTEN = 3.0  # seconds: a supervisor rewrites a lost stack.json within one
_POLL_INTERVAL = 0.05


def claim(directory: Path) -> int:
    """Acquire the directory's lock and return its descriptor. Raises GuardError if another platform runs from it.

    Waits for the remaining processes of a killed supervisor to end; raises UnreachableError if they do not.
    """
    deadline = time.monotonic() + _LEFTOVERS_LIMIT
    while (lock := take(directory)) is None:
        if pid := _supervisor(directory):
            stack = read_stack(directory)
            since = f" since {stack.started_at:%Y-%m-%d %H:%M:%S} UTC" if stack else ""
            raise GuardError(
                "A platform already runs here.",
                f"pid {pid} has been running it from {directory}{since}",
                "valerix status, to see it; valerix down, to stop it",
            )
        if time.monotonic() > deadline:
            raise UnreachableError(
                "Processes of a killed platform are still running.",
                f"{_processes(holders(directory))} still hold {directory}",
                "valerix down, to end it",
            )
        time.sleep(_POLL_INTERVAL)
    return lock


def running(directory: Path) -> Stack | None:
    """Return the platform that runs from `directory` now, or None.

    Raises UnreachableError if its supervisor has not written stack.json for some seconds: it rewrites a lost one,
    unless it hangs.
    """
    deadline = time.monotonic() + _REWRITTEN
    while pid := _supervisor(directory):
        stack = read_stack(directory)
        if stack and stack.supervisor_pid == pid:
            return stack
        if time.monotonic() > deadline:
            raise UnreachableError(
                "A platform is running here, but its state is unknown.",
                f"process {pid} supervises {directory} and has not written {STACK_FILE} for {_REWRITTEN:g} s",
                "valerix logs supervisor; valerix down, to stop it",
            )
        time.sleep(_POLL_INTERVAL)
    return None


def end(directory: Path, within: float) -> bool:
    """Stop the platform in `directory` and return once all its processes have ended; False if none was running.

    The supervisor is asked to stop, regardless of stack.json; processes left by a killed supervisor are stopped, too.
    Raises TimeoutExpiredError after `within` seconds, GuardError if it belongs to another user.
    """
    if not is_held(directory):
        return False
    deadline = time.monotonic() + within
    try:
        if not _ask_supervisor(directory):
            _end_orphans(directory)
    except PermissionError as error:
        raise GuardError(
            "The platform was not stopped.", "it belongs to another user", "run this as the user who started it"
        ) from error
    if not wait_for(lambda: not is_held(directory), deadline - time.monotonic()):
        raise TimeoutExpiredError(
            "The platform has not stopped yet.",
            f"{_processes(holders(directory))} still hold {directory}",
            "valerix down again, to kill what is left",
        )
    return True


def _supervisor(directory: Path) -> int | None:
    """Return the supervisor's pid, by the lock; for older versions by stack.json, if that process holds the lock."""
    if pid := supervisor(directory):
        return pid
    stack = read_stack(directory)
    if stack is None or stack.supervisor_start is not None or not is_held(directory):
        return None
    return stack.supervisor_pid if holds_lock(directory, stack.supervisor_pid) else None


def _ask_supervisor(directory: Path) -> bool:
    """Send SIGTERM to the supervisor. Returns False if there is none, although the lock is held."""
    deadline = time.monotonic() + _ORPHANS_AFTER
    while is_held(directory):
        if pid := _supervisor(directory):
            with suppress(ProcessLookupError), Handle(pid) as process:
                if _supervisor(directory) == pid:  # the handle identifies the process
                    process.send(signal.SIGTERM)
                    return True
        elif time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL)
    return True


def _end_orphans(directory: Path) -> None:
    """Stop the remaining processes of a killed supervisor: by the stop signal of each, then by SIGKILL.

    On Linux only; elsewhere they cannot be identified.
    """
    _signal_all(directory, None)
    wait_for(lambda: not is_held(directory), _GENTLE)
    _signal_all(directory, signal.SIGKILL)


def _signal_all(directory: Path, number: signal.Signals | None) -> None:
    for pid in holders(directory):
        with suppress(ProcessLookupError), Handle(pid) as process:
            if pid != os.getpid() and holds_lock(directory, pid):
                process.send(number or _gentle(pid))


def _gentle(pid: int) -> signal.Signals:
    """Return the signal for a fast shutdown: PostgreSQL, given SIGTERM, waits for every client."""
    with suppress(OSError):
        if sys.platform == "linux" and Path(f"/proc/{pid}/comm").read_text().strip() == "postgres":
            return signal.SIGINT
    return signal.SIGTERM


def _processes(pids: list[int]) -> str:
    if not pids:
        return "processes that cannot be named"
    return f"process {pids[0]}" if len(pids) == 1 else f"processes {', '.join(map(str, pids))}"
