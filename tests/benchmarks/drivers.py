"""Load generators: wrk if it is installed, because it takes the least CPU time, else `valerix load`."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks import loads, wrk
from tests.benchmarks.closed import Closed
from tests.benchmarks.errors import Broken
from tests.benchmarks.live import Live
from tests.benchmarks.results import Sample


@dataclass(frozen=True)
class Driver:
    """A load generator: `send` runs a closed-loop load, `name` includes its version."""

    name: str
    send: Callable[[Live, Closed], Sample]


def choose(wanted: str | None) -> Driver:
    """Return `wrk` or `load` if one is `wanted`. Raises Broken if it is not installed."""
    if wanted == "load" or (wanted is None and shutil.which("wrk") is None):
        return Driver("valerix load", loads.closed)
    if shutil.which("wrk") is None:
        raise Broken("There is no wrk.", "it is not on PATH", "install Debian's package wrk, or leave --driver away")
    version = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)  # noqa: S607 - as on PATH
    return Driver(" ".join(version.stdout.split()[:2]), wrk.closed)
