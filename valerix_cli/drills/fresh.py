"""A platform of a drill's own: started for it, thrown away after it, and gone should we be killed meanwhile."""

import os
import shutil
import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from valerix_cli.errors import UnreachableError
from valerix_cli.local.claim import running
from valerix_cli.local.launch import Launch

_RUN = "from valerix_cli.main import run; run()"
_LIMIT = 120.0  # seconds that a start may take on a slow machine
_PATIENCE = 60.0  # seconds that the end may take
_GLANCE = 0.05
_ELSEWHERE = ("VALERIX_DATABASE_URL", "VALERIX_REDIS_URL", "VALERIX_CONTEXT", "VALERIX_OUTPUT")


@contextmanager
def platform(replicas: Mapping[str, int], tell: Callable[[str], None]) -> Iterator[Path]:
    """Start one with so many replicas of each service, and make it the local one of this process for the block.

    Yields its state directory. Raises UnreachableError, with what it said last, when it does not start.
    """
    place = Path(tempfile.mkdtemp(prefix="valerix-drill-"))  # for us alone, so nobody can put anything there before us
    place.chmod(0o711)  # the account of PostgreSQL passes through
    directory, log = place / "state", place / "log"
    ours = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    wanted = [f"--replicas={name}={number}" for name, number in replicas.items()]
    command = (sys.executable, "-P", "-c", _RUN, "up", "--quiet", "--free-ports", *wanted)
    launch = Launch(command, place, ours | {"VALERIX_STATE_DIR": str(directory)}, on_death=signal.SIGTERM)
    tell("starting a temporary platform")
    with log.open("wb") as output:
        process = launch.start(output)
    try:
        _until_ready(process, directory, log)
        with _local(directory):
            yield directory
    finally:
        _end(process)
        shutil.rmtree(place, ignore_errors=True)


def _until_ready(process: "subprocess.Popen[bytes]", directory: Path, log: Path) -> None:
    deadline = time.monotonic() + _LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        stack = running(directory)
        if stack and stack.state == "running":
            return
        time.sleep(_GLANCE)
    said = " ".join(log.read_text(errors="replace").split()) or f"exit code {process.poll()}"
    raise UnreachableError("The drill's own platform did not start.", said[-500:], "valerix up")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _local(directory: Path) -> Iterator[None]:
    """Let `local` mean that platform."""
    kept = {name: os.environ.pop(name, None) for name in (*_ELSEWHERE, "VALERIX_STATE_DIR")}
    os.environ["VALERIX_STATE_DIR"] = str(directory)
    try:
        yield
    finally:
        del os.environ["VALERIX_STATE_DIR"]
        os.environ.update({name: value for name, value in kept.items() if value is not None})
