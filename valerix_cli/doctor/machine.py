"""Checks of this machine: Python, memory, the limit of open files, and the terminal's encoding."""

import platform
import resource
import sys
from collections.abc import Iterator

import psutil

from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject

OLDEST_PYTHON = (3, 11)
_PYTHON, _FILES = Subject("machine", "python"), Subject("machine", "open files")
_LOCALE, _MEMORY = Subject("machine", "locale"), Subject("machine", "memory")
_SPARE = 24  # open files besides connections
_WHO_HAS_IT = "ps -eo pid,rss,comm --sort=-rss | head" if sys.platform == "linux" else "ps -eo pid,rss,comm -m | head"


def check_tasks(setup: Setup) -> list[CheckTask]:
    return [CheckTask(Subject("machine", "python"), lambda: _task(setup), "python3 --version")]


def _task(setup: Setup) -> Iterator[Finding]:
    yield evaluate_python(platform.python_version_tuple(), f"{platform.system()} {platform.machine()}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield evaluate_files(soft, hard, setup.limits.files)
    yield evaluate_encoding(sys.__stdout__.encoding if sys.__stdout__ else "utf-8")  # sys.stdout may be one of Rich's
    if setup.directory:
        needed = setup.limits.memory if setup.stack is None else setup.limits.memory // 4
        yield evaluate_memory(available_memory(), needed)


def evaluate_python(version: tuple[str, str, str], system: str) -> Finding:
    summary = f"Python {'.'.join(version)} on {system}."
    if (int(version[0]), int(version[1])) < OLDEST_PYTHON:
        return _PYTHON.failed(f"{summary} Valerix needs 3.11 or newer.", "uv venv --python 3.12, and install it there")
    return _PYTHON.ok(summary)


def evaluate_files(soft: int, hard: int, needed: int) -> Finding:
    """Check the limit of open files: each client of `valerix load` is a connection."""
    if soft == resource.RLIM_INFINITY:
        return _FILES.ok("Unlimited.")
    if soft >= needed:
        return _FILES.ok(f"{soft:,}, enough for some {soft - _SPARE:,} clients of `valerix load`.")
    may_be = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    return _FILES.warning(f"The limit is {soft:,}; under load {needed:,} are needed.", f"ulimit -n {may_be}")


def evaluate_encoding(encoding: str) -> Finding:
    if encoding.lower().replace("-", "") == "utf8":
        return _LOCALE.ok("Output is UTF-8.")
    return _LOCALE.warning(f"Output is {encoding}: some characters cannot be shown.", "export PYTHONUTF8=1")


def evaluate_memory(available: int, needed: int) -> Finding:
    """Evaluate memory in bytes: three services of some 110 MB each, PostgreSQL and Valkey."""
    summary = f"{available // 2**20:,} MB are free"
    if available < needed:
        return _MEMORY.warning(
            f"{summary}; a platform needs {needed // 2**20:,} MB.", f"{_WHO_HAS_IT}; end what you can"
        )
    return _MEMORY.ok(f"{summary}.")


def available_memory() -> int:
    """Return the bytes that can be used without swapping."""
    return psutil.virtual_memory().available
