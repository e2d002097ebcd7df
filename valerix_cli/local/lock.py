"""One platform per state directory: a lock that the supervisor takes and all its children hold as well.

It is free only when the last of them is gone, so whoever gets it knows that nothing of an earlier run touches the data.
"""

import fcntl
import os
from pathlib import Path

LOCK_FILE = "lock"


def take(directory: Path) -> int | None:
    """The descriptor that holds the lock, for children to inherit; None when somebody else has it."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:  # somebody deleted the whole directory between the two
        os.close(descriptor)
        return None
    return descriptor


def is_held(directory: Path) -> bool:
    """Whether a platform runs from `directory`, or something is left of one. Asking never takes the lock from anyone.

    Shared, so that two who ask at once do not see each other; `take` tries again, so that asking does not fail a start.
    """
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holders(directory: Path) -> list[int]:
    """The processes that have the lock's file open, as far as we may know (Linux; other users' only as root)."""
    path = str((directory / LOCK_FILE).resolve())
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _has_open(process, path)]


def _has_open(process: Path, path: str) -> bool:
    try:
        return any(os.readlink(link) == path for link in (process / "fd").iterdir())  # noqa: PTH115 - many, and it is quicker
    except OSError:  # not ours to look into, or gone meanwhile
        return False


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
