"""One platform per state directory: a lock that the supervisor takes and all its children hold as well.

It is free only once the last of them has ended, so its next holder knows that no process of an earlier run uses the
data.

The supervisor has a second lock on the same file, a record lock of POSIX: it is not inherited by children, it ends
with its process, and the kernel reports its holder. So the supervisor is known without trusting a file.
"""

import fcntl
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

from valerix_cli.trust import ensure_trusted

LOCK_FILE = "lock"
_MODE = 0o600  # closed to others, since a process that can open it can lock it
_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # the path may be a link or a pipe
_READ = os.O_RDONLY | _SAFELY
_FLOCK = "hhqqi4x" if sys.platform == "linux" else "qqihh"  # struct flock of fcntl(2)


def take(directory: Path) -> int | None:
    """Return the descriptor that holds the lock, for children to inherit; None if another process holds it."""
    ensure_trusted(directory)
    flags = os.O_RDWR | os.O_CREAT | _SAFELY
    descriptor = os.open(directory / LOCK_FILE, flags, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:  # the directory was deleted meanwhile
        os.close(descriptor)
        return None
    os.fchmod(descriptor, _MODE)
    return descriptor


def supervise(descriptor: int) -> None:
    """Register as the supervisor of the lock that `descriptor` holds, until this process ends.

    Closing any descriptor of the lock's file in this process ends it too: see fcntl_locking(2).
    """
    fcntl.lockf(descriptor, fcntl.LOCK_EX)


def supervisor(directory: Path) -> int | None:
    """Return the pid of the supervisor of `directory`, from the kernel; None if there is none."""
    ensure_trusted(directory)
    try:
        descriptor = os.open(directory / LOCK_FILE, _READ)
    except OSError:
        return None
    try:
        return _record_locked_by(descriptor)
    finally:
        os.close(descriptor)


def _record_locked_by(descriptor: int) -> int | None:
    """Return the pid of the exclusive record lock, which requires write access; shared locks do not count."""
    kind, whence = fcntl.F_RDLCK, os.SEEK_SET
    if sys.platform == "linux":
        kind, _, _, _, pid = struct.unpack(
            _FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, kind, whence, 0, 0, 0))
        )
    else:
        _, _, pid, kind, _ = struct.unpack(
            _FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, 0, 0, 0, kind, whence))
        )
    return pid if kind == fcntl.F_WRLCK and pid > 0 else None


def is_held(directory: Path) -> bool:
    """Return whether a platform, or a remainder of one, runs from `directory`. Does not keep the lock.

    Requests a shared lock, so that concurrent calls do not conflict; `take` retries, so that a call cannot fail it.
    """
    ensure_trusted(directory)
    try:
        descriptor = os.open(directory / LOCK_FILE, _READ)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_at(descriptor: int, directory: Path) -> bool:
    """Return whether the lock's file is still in `directory`; False after it was deleted, moved or replaced."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), (directory / LOCK_FILE).lstat())
    return False


def holders(directory: Path) -> list[int]:
    """Return the processes that hold the lock, as far as we may know (Linux; other users' only as root)."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if holds_lock(directory, int(process.name))]


def holds_lock(directory: Path, pid: int) -> bool:
    """Return whether the process holds the lock, rather than only having its file open: proc_pid_fdinfo(5).

    True if the system cannot report it.
    """
    if not Path("/proc/self/fdinfo").exists():
        return True
    process, path = Path(f"/proc/{pid}"), str((directory / LOCK_FILE).resolve())
    with suppress(OSError):  # not permitted, or it has ended meanwhile
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                if os.readlink(link) == path and _is_locking(process / "fdinfo" / link.name):  # noqa: PTH115 - many, and it is quicker
                    return True
    return False


def _is_locking(information: Path) -> bool:
    return any(line.startswith("lock:") and " FLOCK " in line for line in information.read_text().splitlines())
