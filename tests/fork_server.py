"""Starts our programs by forking a process that has imported the libraries, which take most of their start-up time.

From there on they run as `python -m MODULE` or `valerix` do. The forking process imports this module, so it has few
imports itself.
"""

import multiprocessing
import os
import pkgutil
import runpy
import signal
import sys
import threading
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_GLANCE = 0.005  # seconds

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "__main__",  # or each child would import pytest again
        "tests.fork_server",
        *("services.common.app", "services.common.rate_limit", "services.common.server", "aiohttp", "pybreaker"),
        *("valerix_cli.main", "valerix_cli.polling", "rich.console", "rich.table", "rich.live"),
        "valerix_cli.doctor.diagnose",  # psycopg, httpx and redis, which other commands use as well
    ]
)


_ONE_AT_A_TIME = threading.Lock()
"""Starting a process polls all others, and an exit status can be read only once: a second reader gets 255."""


def start(process: ForkServerProcess) -> None:
    with _ONE_AT_A_TIME:
        process.start()


def exit_code(process: ForkServerProcess) -> int | None:
    """Return the exit code of a process; None while it runs."""
    with _ONE_AT_A_TIME:
        return process.exitcode


def end_of(process: ForkServerProcess, within: float) -> int | None:
    """Wait for a process to end, and return its exit code; None if it still runs after `within` seconds."""
    deadline = time.monotonic() + within
    while (code := exit_code(process)) is None and time.monotonic() < deadline:
        time.sleep(_GLANCE)
    return code


def _end_with_starter() -> None:
    """Kill this process when its starter ends, for instance when tests are interrupted."""
    starter = multiprocessing.parent_process()
    assert starter is not None, "it is the child of a process of tests"

    def wait() -> None:
        starter.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def be_module(module: str, environ: dict[str, str], log: Path) -> None:
    """Run a module in this process, with only the given environment, which may name a function to call first."""
    _end_with_starter()
    with log.open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environ)
    if prelude := environ.get("VALERIX_PRELUDE"):  # tests.faults mutates services
        pkgutil.resolve_name(prelude)()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def be_valerix(typed: tuple[str, ...], directory: Path, environ: dict[str, str], streams: Path) -> None:
    """Run `valerix` in this process, with the files 0, 1 and 2 of `streams` as its standard streams."""
    _end_with_starter()
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        os.dup2(os.open(streams / str(number), mode), number)
    sys.stdin = os.fdopen(0)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["valerix", *typed]
    pkgutil.resolve_name("valerix_cli.main:run")()
