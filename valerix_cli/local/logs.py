"""The log files of the children, and their rotation."""

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO, Literal

LIMIT = 10 * 1024 * 1024  # bytes
KEPT = 3


def log_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.log"


def open_log(log: Path, mode: Literal["rb", "ab", "wb"]) -> BinaryIO:
    """Open a log. Raises OSError that names it if `log` is not a regular file; a pipe is not waited for."""
    file = open(log, mode, opener=_at_once)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "It is not a regular file", str(log))
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def rotate(log: Path, *, limit: int = LIMIT, kept: int = KEPT) -> bool:
    """Move the content of `log` to `log`.1, that to `log`.2 and so on, once it is larger than `limit` bytes.

    The file itself is kept, because the child that appends to it would not open another one: its content is copied and
    then truncated. A line written between the last copy and the truncation, some microseconds, is lost.
    Returns whether it was rotated.
    """
    try:
        if log.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept - 1, 0, -1):
        older = Path(f"{log}.{number}")
        if older.exists():
            older.replace(f"{log}.{number + 1}")
    with open_log(log, "rb") as source, open_log(Path(f"{log}.1"), "wb") as copy:
        shutil.copyfileobj(source, copy)
        shutil.copyfileobj(source, copy)  # written during the first copy
        os.truncate(log, 0)
    return True


def last_lines(log: Path, count: int, *, since: int = 0) -> list[str]:
    """Return the last `count` lines of `log` after its first `since` bytes; none if it does not exist."""
    try:
        with open_log(log, "rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
