"""A drill of two seconds, and what tests ask of a platform while it runs and after it."""

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
    """A drill file."""
    path = directory / "drill.yaml"
    path.write_text(DRILL.format(fault=fault, seconds=seconds, steady=steady, expect=expect))
    return str(path)


def receipt(valerix: Valerix) -> Any:
    """That of the last run."""
    return valerix.json("drill", "show", "last")


def verdicts(found: Any, phase: str) -> dict[str, str]:
    return {check["require"]: check["verdict"] for check in found["checks"] if check["phase"] == phase}


def started(valerix: Valerix, drill: str, said: str) -> subprocess.Popen[str]:
    """A drill that goes on, and has said this."""
    running = valerix.start("drill", "run", drill)
    assert running.stderr is not None
    heard = ""
    while said not in heard:
        line = running.stderr.readline()
        assert line, f"the drill has ended: {heard}"
        heard += line
    return running


def can_begin(valerix: Valerix) -> Callable[[], bool]:
    """Whether no drill has the platform: the lease of one that was killed has ended."""
    return lambda: valerix.json("chaos", "status")["drill"] is None


def is_calm(valerix: Valerix) -> Callable[[], bool]:
    return lambda: valerix.json("chaos", "status")["live"] is None


def state_of(pid: int) -> str:
    """`T` for a process that is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
