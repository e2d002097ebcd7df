"""Checks of the platform on this machine: its supervisor, its lock, and its stack.json."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from valerix_cli import __version__
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import AGAIN, FIX, UP, CheckTask, Finding, Subject
from valerix_cli.doctor.processes import is_stopped
from valerix_cli.local.lock import holders, is_held, supervisor, take
from valerix_cli.local.stack import STACK_FILE, Stack, read_stack
from valerix_cli.local.state_directory import MARKER
from valerix_cli.trust import distrust
from valerix_cli.units import format_duration

_SUPERVISOR, _STACK = Subject("platform", "supervisor"), Subject("platform", STACK_FILE)
_VERSION = Subject("platform", "version")


def check_tasks(setup: Setup) -> list[CheckTask]:
    return [CheckTask(_SUPERVISOR, partial(_task, setup), "valerix status")]


def _task(setup: Setup) -> Iterator[Finding]:
    directory = setup.directory
    if directory is None:
        yield _SUPERVISOR.skipped(setup.elsewhere, "valerix doctor --context local")
    elif setup.stack:
        yield evaluate_supervisor(setup.stack, (setup.now() - setup.stack.started_at).total_seconds())
        yield _STACK.ok("It describes the running platform.")
        yield evaluate_version(setup.stack.valerix_version)
    elif doubt := distrust(directory):
        yield _SUPERVISOR.skipped(f"{directory} is not trusted: {doubt.why}.")
    elif is_held(directory):
        yield from _evaluate_leftovers(directory)
    else:
        yield _SUPERVISOR.skipped("No platform runs here.", UP)
        yield _evaluate_stale(directory)


def evaluate_supervisor(stack: Stack, seconds: float) -> Finding:
    pid = stack.supervisor_pid
    if is_stopped(pid):
        return _SUPERVISOR.failed(f"Its process {pid} was stopped by a signal.", f"kill -CONT {pid}")
    if stack.state != "running":
        return _SUPERVISOR.warning(f"The platform is {stack.state}.", "valerix status --watch")
    return _SUPERVISOR.ok(f"Process {pid} has been running the platform for {format_duration(seconds)}.")


def evaluate_version(version: str) -> Finding:
    if version != __version__:
        return _VERSION.warning(f"The platform was started by valerix {version}, this is {__version__}.", AGAIN)
    return _VERSION.ok(f"{version}, as this command.")


def _evaluate_leftovers(directory: Path) -> Iterator[Finding]:
    """Yield findings if the lock is held by processes other than the supervisor in stack.json."""
    who = ", ".join(map(str, holders(directory))) or "unknown"
    if supervisor(directory):
        yield _SUPERVISOR.failed(
            f"Supervisor {supervisor(directory)} is running, but does not report its state.", "valerix down"
        )
        yield _STACK.failed("A platform is running here, but its state cannot be read.", AGAIN)
    else:
        yield _SUPERVISOR.failed(
            f"The supervisor has ended, but its processes are still running: {who}.", "valerix down"
        )
        yield _STACK.skipped("It describes a platform that was killed.")


def _evaluate_stale(directory: Path) -> Finding:
    if not (directory / STACK_FILE).exists():
        return _STACK.skipped("There is none while nothing runs.")
    stack = _says(directory)
    why = f"its supervisor, process {stack.supervisor_pid}, is gone" if stack else "it is invalid"
    fix = partial(forget_stack, directory) if (directory / MARKER).exists() else None
    hint = f"{FIX}, or {UP}, which writes a new one" if fix else UP
    return _STACK.warning(f"It is stale: {why}.", hint, fix)


def _says(directory: Path) -> Stack | None:
    try:
        return read_stack(directory)
    except OSError:
        return None


def forget_stack(directory: Path) -> str:
    """Remove stack.json while holding the lock, so that no platform owns it."""
    lock = take(directory)
    if lock is None:
        return f"{directory / STACK_FILE} was not removed: a platform is starting."
    try:
        (directory / STACK_FILE).unlink(missing_ok=True)
    finally:
        os.close(lock)
    return f"{directory / STACK_FILE} was removed: no platform is running."
