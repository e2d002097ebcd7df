"""A drill of two seconds, and helpers to read its receipt and the state of the platform."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Valerix

DRILL = """\
name: small
seed: 7
platform: {{stock_at_least: {{monitor: 2000}}}}
load: {{rate: 40/s, for: {seconds}s, items: [monitor], retry: {{times: 3}}}}
steady: {{window: 500ms, require: ["{steady}"]}}
faults:
  - {{at: 500ms, {fault}}}
expect: ["{expect}"]
recover: {{within: 30s, require: ["breaker closed", "backlog == 0"]}}
drain: 30s
"""
CRASH = "gremlin: crash, rate: 30%, ttl: 1s"


def written(
    directory: Path,
    *,
    fault: str = CRASH,
    seconds: float = 2,
    steady: str = "error_rate < 1%",
    expect: str = "error_rate < 1%",
) -> str:
    """Write a drill file and return its path."""
    path = directory / "drill.yaml"
    path.write_text(DRILL.format(fault=fault, seconds=seconds, steady=steady, expect=expect))
    return str(path)


def receipt(valerix: Valerix) -> Any:
    """Return the receipt of the last run."""
    return valerix.json("drill", "show", "last")


def verdicts(found: Any, phase: str) -> dict[str, str]:
    return {check["require"]: check["verdict"] for check in found["checks"] if check["phase"] == phase}


def started(valerix: Valerix, drill: str, line_part: str) -> subprocess.Popen[str]:
    """Start a drill and return once it has printed `line_part`."""
    running = valerix.start("drill", "run", drill)
    assert running.stderr is not None
    output = ""
    while line_part not in output:
        line = running.stderr.readline()
        assert line, f"the drill has ended: {output}"
        output += line
    return running


def can_begin(valerix: Valerix) -> Callable[[], bool]:
    """Return a condition that holds once no drill has the lease."""
    return lambda: valerix.json("chaos", "status")["drill"] is None


def is_calm(valerix: Valerix) -> Callable[[], bool]:
    return lambda: valerix.json("chaos", "status")["live"] is None


def state_of(pid: int) -> str:
    """Return the state of a process; `T` if it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
