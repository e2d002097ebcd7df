"""A temporary platform for one drill, removed after it and stopped if this process is killed."""

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
from valerix_cli.local.instance import running
from valerix_cli.local.launch import Launch

_RUN = "from valerix_cli.main import run; run()"
_START_TIMEOUT = 120.0  # seconds
_STOP_TIMEOUT = 60.0  # seconds
_POLL_INTERVAL = 0.05  # seconds
_OTHER_PLATFORM = ("VALERIX_DATABASE_URL", "VALERIX_REDIS_URL", "VALERIX_CONTEXT", "VALERIX_OUTPUT")
"""Variables of the environment that name another platform or another output."""


@contextmanager
def started(replicas: Mapping[str, int], print_line: Callable[[str], None]) -> Iterator[Path]:
    """Start a platform with these replicas by service; within the block it is the context `local`.

    Yields its state directory. Raises UnreachableError, with its last output, if it does not start.
    """
    root = Path(tempfile.mkdtemp(prefix="valerix-drill-"))  # mode 0700, so no other user can prepare its contents
    root.chmod(0o711)  # PostgreSQL's own account has to enter
    directory, log = root / "state", root / "log"
    environ = {name: value for name, value in os.environ.items() if name not in _OTHER_PLATFORM}
    options = [f"--replicas={name}={number}" for name, number in replicas.items()]
    command = (sys.executable, "-P", "-c", _RUN, "up", "--quiet", "--free-ports", *options)
    launch = Launch(command, root, environ | {"VALERIX_STATE_DIR": str(directory)}, on_death=signal.SIGTERM)
    print_line("starting a temporary platform")
    with log.open("wb") as output:
        process = launch.start(output)
    try:
        _wait_until_running(process, directory, log)
        with _as_local(directory):
            yield directory
    finally:
        _stop(process)
        shutil.rmtree(root, ignore_errors=True)


def _wait_until_running(process: "subprocess.Popen[bytes]", directory: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        stack = running(directory)
        if stack and stack.state == "running":
            return
        time.sleep(_POLL_INTERVAL)
    output = " ".join(log.read_text(errors="replace").split()) or f"exit code {process.poll()}"
    raise UnreachableError("The temporary platform did not start.", output[-500:], "valerix up")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _as_local(directory: Path) -> Iterator[None]:
    """Make the platform in `directory` the context `local`."""
    saved = {name: os.environ.pop(name, None) for name in (*_OTHER_PLATFORM, "VALERIX_STATE_DIR")}
    os.environ["VALERIX_STATE_DIR"] = str(directory)
    try:
        yield
    finally:
        del os.environ["VALERIX_STATE_DIR"]
        os.environ.update({name: value for name, value in saved.items() if value is not None})
