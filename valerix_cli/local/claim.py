"""Who may run from a state directory: one platform at a time."""

import os
import signal
import time
from pathlib import Path

from valerix_cli.errors import GuardError, UnreachableError, WaitedTooLongError
from valerix_cli.local.lock import holders, is_alive, is_held, take
from valerix_cli.local.state import Stack, read_stack

_LEFTOVERS_LIMIT = 10.0  # seconds: after a kill -9 of the supervisor its children are gone within one
_GLANCE = 0.05


def claim(directory: Path) -> int:
    """The descriptor that holds the directory's lock. Raises GuardError while another platform runs from it.

    Waits for what a killed supervisor left behind to go; raises UnreachableError when it stays.
    """
    deadline = time.monotonic() + _LEFTOVERS_LIMIT
    while (lock := take(directory)) is None:
        stack = read_stack(directory)
        if stack and is_alive(stack.supervisor_pid):
            since = f"{stack.started_at:%Y-%m-%d %H:%M:%S} UTC"
            raise GuardError(
                "A platform already runs here.",
                f"pid {stack.supervisor_pid} has been running it from {directory} since {since}",
                "valerix status, to see it; valerix down, to stop it",
            )
        if time.monotonic() > deadline:
            raise UnreachableError(
                "Something is left of a platform that was killed.",
                f"{_processes(_leftovers(directory))} still hold {directory}",
                "valerix down, to end it",
            )
        time.sleep(_GLANCE)
    return lock


def running(directory: Path) -> Stack | None:
    """The platform that runs from `directory` now, or None."""
    stack = read_stack(directory)
    return stack if stack and is_alive(stack.supervisor_pid) and is_held(directory) else None


def end(directory: Path, within: float) -> bool:
    """Stop what runs from `directory` and return once all of it is gone; False when nothing ran.

    The supervisor is asked to; what one that was killed has left is killed too. Raises WaitedTooLongError after
    `within` seconds, GuardError when it is somebody else's.
    """
    if not is_held(directory):
        return False
    supervisor = running(directory)
    try:
        if supervisor:
            os.kill(supervisor.supervisor_pid, signal.SIGTERM)
        else:
            _kill(_leftovers(directory))
    except PermissionError as error:
        raise GuardError(
            "The platform was not stopped.", "it belongs to another user", "run this as the user who started it"
        ) from error
    deadline = time.monotonic() + within
    while is_held(directory):
        if time.monotonic() > deadline:
            raise WaitedTooLongError(
                "The platform has not stopped yet.",
                f"{_processes(_leftovers(directory))} still hold {directory}",
                "valerix down again, to hurry it",
            )
        time.sleep(_GLANCE)
    return True


def _leftovers(directory: Path) -> list[int]:
    """What still holds the lock; where a system does not tell, what the last stack.json names and is alive."""
    if Path("/proc/self/fd").exists():
        return holders(directory)
    stack = read_stack(directory)
    if stack is None:
        return []
    pids = [service.pid for replicas in stack.services.values() for service in replicas]
    pids += [database.pid for database in stack.databases.values()]
    return [pid for pid in pids if pid and is_alive(pid)]


def _kill(pids: list[int]) -> None:
    for pid in pids:
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)


def _processes(pids: list[int]) -> str:
    if not pids:
        return "processes that cannot be named"
    return f"process {pids[0]}" if len(pids) == 1 else f"processes {', '.join(map(str, pids))}"
