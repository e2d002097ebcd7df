"""Checks of the state directory: usable, with private secrets and enough space."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import FIX, CheckTask, Finding, Fix, Subject
from valerix_cli.errors import GuardError, UnreachableError
from valerix_cli.local import state_directory
from valerix_cli.local.stack import LOST_SECRETS, SECRETS_FILE, read_secrets
from valerix_cli.quoting import word
from valerix_cli.trust import Distrust, distrust

ELSEWHERE = 'export VALERIX_STATE_DIR="$HOME/valerix"'
_DIRECTORY, _SECRETS = Subject("state directory", "directory"), Subject("state directory", "secrets")
_ROOM = Subject("state directory", "room")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_tasks(setup: Setup) -> list[CheckTask]:
    return [CheckTask(_DIRECTORY, partial(_task, setup), f"df -h; {ELSEWHERE}")]


def _task(setup: Setup) -> Iterator[Finding]:
    if setup.directory is None:
        yield _DIRECTORY.skipped(setup.elsewhere)
        return
    yield evaluate_directory(setup.directory)
    yield evaluate_secrets(setup.directory)
    free = shutil.disk_usage(state_directory.existing_parent(setup.directory)).free
    yield evaluate_room(
        setup.directory, free, needed=state_directory.room_needed(setup.directory), recommended=setup.limits.room
    )


def evaluate_directory(directory: Path) -> Finding:
    """Check that it belongs to this user alone and is usable, or can be created."""
    if doubt := distrust(directory):
        return _evaluate_untrusted(directory, doubt)
    try:
        found = directory.stat()
        if not stat.S_ISDIR(found.st_mode):
            return _DIRECTORY.failed(f"{directory} is not a directory.", ELSEWHERE)
        return _evaluate_ours(directory)
    except FileNotFoundError:
        return _evaluate_missing(directory)
    except OSError as error:
        return _DIRECTORY.failed(f"{directory} cannot be used: {error.strerror}.", ELSEWHERE)


def _evaluate_ours(directory: Path) -> Finding:
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return _DIRECTORY.failed(f"{directory} cannot be written.", f"chmod u+rwx {word(directory)}, or {ELSEWHERE}")
    if foreign := state_directory.foreign(directory):
        return _DIRECTORY.failed(f"{directory} contains other files, such as {foreign[0]}.", ELSEWHERE)
    return _DIRECTORY.ok(f"{directory} is yours.")


def _evaluate_untrusted(directory: Path, doubt: Distrust) -> Finding:
    """Evaluate a directory that commands refuse. The fix closes it; files that others put there need a review first."""
    with suppress(OSError):
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & _OTHERS_WRITE:
            return _DIRECTORY.failed(*_closing(directory, found.st_mode))
    return _DIRECTORY.failed(f"{directory} is not trusted: {doubt.why}.", doubt.hint)


def _closing(directory: Path, mode: int) -> tuple[str, str, Fix]:
    summary = f"Others may write to {directory} (mode {stat.S_IMODE(mode):o})."
    return summary, f"{FIX}, or chmod go-w {word(directory)}", partial(_narrow, directory, ~_OTHERS_WRITE)


def _evaluate_missing(directory: Path) -> Finding:
    above = state_directory.existing_parent(directory)
    if not os.access(above, os.W_OK | os.X_OK):
        return _DIRECTORY.failed(f"{directory} does not exist, and {above} cannot be written.", ELSEWHERE)
    return _DIRECTORY.ok(f"{directory} does not exist yet; `valerix up` creates it.")


def evaluate_secrets(directory: Path) -> Finding:
    """Check that secrets are readable by their owner only."""
    file = directory / SECRETS_FILE
    try:
        if read_secrets(directory) is None:
            return _evaluate_none(directory)
        mode = stat.S_IMODE(file.stat().st_mode)
    except (PermissionError, GuardError):
        return _SECRETS.failed(f"{file} was not read: other users can access it.", f"{ELSEWHERE}, or see the directory")
    except (OSError, UnreachableError) as error:
        why = error.strerror if isinstance(error, OSError) else error.why
        return _SECRETS.failed(f"{file} is invalid: {why}.", _without_them(directory, file))
    if mode & _OTHERS:
        return _SECRETS.failed(
            f"Others may read {file} (mode {mode:o}).",
            f"{FIX}, or chmod 600 {word(file)}",
            partial(_narrow, file, ~_OTHERS),
        )
    return _SECRETS.ok(f"Only you can access {file}.")


def _evaluate_none(directory: Path) -> Finding:
    if state_directory.has_data(directory):
        return _SECRETS.failed(f"{directory} holds a database and no {SECRETS_FILE}.", LOST_SECRETS)
    return _SECRETS.ok("There are none yet; `valerix up` creates them.")


def _without_them(directory: Path, file: Path) -> str:
    return (
        LOST_SECRETS
        if state_directory.has_data(directory)
        else f"mv {word(file)} {word(f'{file}.broken')}; valerix up makes new ones"
    )


def evaluate_room(directory: Path, free: int, *, needed: int, recommended: int) -> Finding:
    """Check the free space: enough for a start, and enough for load."""
    hint = f"df -h {word(state_directory.existing_parent(directory))}; make room, or {ELSEWHERE}"
    if free < needed:
        return _ROOM.failed(f"{_mb(free)} are free, {_mb(needed)} are needed to start.", hint)
    if free < recommended:
        return _ROOM.warning(f"{_mb(free)} are free; {_mb(recommended)} are recommended before load.", hint)
    return _ROOM.ok(f"{_mb(free)} are free.")


def _mb(size: int) -> str:
    return f"{size // 2**20:,} MB"


def _narrow(path: Path, kept: int) -> str:
    """Remove bits of the mode. Does not follow a symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, before & kept)
    finally:
        os.close(descriptor)
    return f"{path} had mode {before:o} and has {before & kept:o} now."
