"""Processes that the supervisor must not restart for some time: a file for each, with the end of that time.

So a process that a fault has killed restarts even if the process that killed it has ended.
"""

import math
import time
from contextlib import suppress
from pathlib import Path

from valerix_cli.errors import CliError
from valerix_cli.files import write_atomically
from valerix_cli.trust import ensure_trusted, read_own

HOLDS = "holds"
LONGEST = 900.0  # seconds


def hold(directory: Path, name: str, seconds: float) -> None:
    """Keep `name` from being restarted for `seconds`."""
    ensure_trusted(directory)
    folder = directory / HOLDS
    folder.mkdir(exist_ok=True)
    write_atomically(folder / name, f"{time.time() + seconds:.3f}\n".encode(), mode=0o644)


def release(directory: Path, name: str) -> None:
    (directory / HOLDS / name).unlink(missing_ok=True)


def held_for(directory: Path, name: str) -> float:
    """Return the seconds until `name` may be restarted: 0 without a file, or with an invalid one."""
    with suppress(OSError, ValueError, CliError):
        left = float(read_own(directory / HOLDS / name)) - time.time()
        return max(0.0, min(left, LONGEST)) if math.isfinite(left) else 0.0
    return 0.0
