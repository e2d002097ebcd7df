"""Writing files that a user names: an existing file is overwritten only if it is of the same kind.

The first bytes of a file identify its kind. This process's own descriptors, pipes and terminals store nothing, so they
are written without a check.
"""

import os
import re
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from valerix_cli.errors import BadUsageError
from valerix_cli.trust import ROOT, user, walk

_HEAD = 65_536  # bytes that identify a kind
_DESCRIPTOR = re.compile(r"/(?:dev/(?:fd/(\d+)|(stdout)|(stderr))|proc/self/fd/(\d+))")


@dataclass(frozen=True)
class Kind:
    """A kind of file, such as "a JUnit report of valerix", identified by its first 64 KiB."""

    name: str
    knows: Callable[[bytes], bool]


def check(path: Path | None, kind: Kind) -> None:
    """Raise BadUsageError if `path` may not be written as that kind; creates and changes nothing."""
    if path is None or _own_descriptor(path) is not None:
        return
    try:
        _refuse_foreign_links(path)
        if not _is_stream(path):
            os.close(_opened(path, kind, os.O_RDWR, 0))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise _cannot(path, f"there is no directory {path.parent}") from None
    except OSError as error:
        raise _cannot(path, error.strerror or str(error)) from error


def write(path: Path, content: bytes, kind: Kind) -> None:
    """Write a whole file. Raises BadUsageError if it may not be that kind, OSError if it cannot be written."""
    with os.fdopen(open_to_replace(path, kind), "wb") as file:
        file.write(content)


def open_to_replace(path: Path, kind: Kind) -> int:
    """Return a descriptor of the truncated file. Raises as `write` does."""
    descriptor = open_to_change(path, kind)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and _own_descriptor(path) is None:
        os.ftruncate(descriptor, 0)
    return descriptor


def open_to_change(path: Path, kind: Kind, *, mode: int = 0o666, flags: int = 0) -> int:
    """Return a descriptor of the file with its content, or of a new one with that mode. Raises as `write` does."""
    own = _own_descriptor(path)
    if own is not None:
        return os.dup(own)
    _refuse_foreign_links(path)
    if _is_stream(path):
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)  # a pipe waits for its reader
    return _opened(path, kind, os.O_RDWR | os.O_CREAT | flags, mode)


def _is_stream(path: Path) -> bool:
    """Return whether it is a pipe, a terminal or another device, which stores nothing."""
    try:
        found = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(found) or stat.S_ISCHR(found)


def _opened(path: Path, kind: Kind, flags: int, mode: int) -> int:
    """Open a file by its resolved path, so that no symbolic link can redirect it meanwhile."""
    safely = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path.resolve(), flags | safely, mode)
    try:
        _refuse(path, descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(path: Path, descriptor: int, kind: Kind) -> None:
    """Raise BadUsageError if the file belongs to another user, or is of another kind."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _cannot(path, "it is not a regular file")
    _refuse_others(path, found)
    if found.st_size and not kind.knows(os.pread(descriptor, _HEAD, 0)):
        raise _left(path, f"it is there already, and is not {kind.name}")


def _refuse_foreign_links(path: Path) -> None:
    for place, found in walk(path):
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in {ROOT, os.geteuid()}:
            raise _left(path, f"{place} is a symbolic link of {user(found.st_uid)}")


def _refuse_others(path: Path, found: os.stat_result) -> None:
    """Apply the kernel's rule fs.protected_regular: other users may have created a file in a shared directory."""
    if found.st_uid in {ROOT, os.geteuid()}:
        return
    if path.resolve().parent.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX):
        raise _left(path, f"it belongs to {user(found.st_uid)}, in a directory that others may write to")


def _own_descriptor(path: Path) -> int | None:
    if found := _DESCRIPTOR.fullmatch(str(path)):
        first, out, err, second = found.groups()
        return 1 if out else 2 if err else int(first or second)
    return None


def _left(path: Path, why: str) -> BadUsageError:
    return BadUsageError(f"{path} was not overwritten.", why, "name another file, or move that one away")


def _cannot(path: Path, why: str) -> BadUsageError:
    return BadUsageError(f"{path} cannot be written.", why, "name a file in a directory of yours")


PICTURE = Kind("a picture of a terminal", lambda head: b"Generated with Rich" in head[:1000])
"""An SVG by Rich or Textual."""


def write_atomically(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file so that readers see either the old or the new content, even after a crash."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
