"""The log files of the children, kept from growing without end."""

import os
import shutil
from pathlib import Path

LIMIT = 10 * 1024 * 1024  # bytes
KEPT = 3


def log_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.log"


def rotate(log: Path, *, limit: int = LIMIT, kept: int = KEPT) -> bool:
    """Move what is in `log` to `log`.1, and that to `log`.2 and so on, once it is larger than `limit` bytes.

    The file stays the same one, because a child that appends to it cannot be told to open another: its content is
    copied and then cut off. A line written between the last copy and the cut, some microseconds, is lost.
    Returns whether it was done.
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
    with log.open("rb") as source, Path(f"{log}.1").open("wb") as copy:
        shutil.copyfileobj(source, copy)
        shutil.copyfileobj(source, copy)  # what came while the first copy ran
        os.truncate(log, 0)
    return True


def last_lines(log: Path, count: int, *, since: int = 0) -> list[str]:
    """The last `count` lines of `log` after its first `since` bytes; none where it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
