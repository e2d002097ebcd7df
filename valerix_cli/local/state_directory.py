"""The state directory: creation, checks before use, and removal."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from valerix_cli.errors import CliError, GuardError, UnreachableError
from valerix_cli.local.lock import LOCK_FILE
from valerix_cli.local.restart_holds import HOLDS
from valerix_cli.local.stack import LOST_SECRETS, SECRETS_FILE, STACK_FILE
from valerix_cli.quoting import word
from valerix_cli.reasons import why
from valerix_cli.trust import ensure_trusted

MARKER = ".valerix-state"
LOGS = "logs"
POSTGRES = "postgres"
VALKEY = "valkey"
MONITORING = "monitoring"
PROGRAMS = "bin"

ROOM_TO_BEGIN = 200 * 2**20  # bytes: a new PostgreSQL with its first log segments takes 60 MB
ROOM_TO_GO_ON = 20 * 2**20
DASHBOARD_CONTEXTS = "dashboard.toml"
_OURS = (
    *(POSTGRES, VALKEY, MONITORING, PROGRAMS, LOGS, HOLDS),
    *(STACK_FILE, SECRETS_FILE, DASHBOARD_CONTEXTS, LOCK_FILE, MARKER),
)
_DIRECTORIES = (LOGS, POSTGRES, VALKEY, MONITORING, f"{MONITORING}/*", PROGRAMS, HOLDS)
_WRITTEN = (MARKER, LOCK_FILE, SECRETS_FILE, f"{LOGS}/*.log*", f"{POSTGRES}/.password")
_REPLACED = (STACK_FILE, DASHBOARD_CONTEXTS, f"{VALKEY}/valkey.conf", f"{MONITORING}/*/*.yaml")
"""Always replaced, unless they are directories."""
_NOBODYS = {"lost+found"}
_WRONG_KIND = {errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP, errno.ENXIO}
_FULL = {errno.ENOSPC, errno.EDQUOT}


def prepare(directory: Path) -> None:
    """Create `directory` or check it: marked as Valerix's, writable, with enough space.

    Raises UnreachableError, with the path, if it or a part of it cannot be used; GuardError if it contains other files
    or others may write to it.
    """
    with cli_errors(directory):
        ensure_trusted(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _ensure_usable(directory)
        marker = directory / MARKER
        if not marker.exists():
            _refuse_foreign(directory)
            directory.chmod(0o755)  # regardless of the umask: PostgreSQL may run as another user
        marker.write_text("State of a Valerix platform; `valerix down --wipe` removes it.\n")
        (directory / LOGS).mkdir(exist_ok=True, mode=0o700)
    free, needed = shutil.disk_usage(directory).free, room_needed(directory)
    if free < needed:
        raise UnreachableError(
            f"There is not enough disk space in {directory}.",
            f"{free // 2**20} MB are free, {needed // 2**20} MB are needed",
            "make room, or set VALERIX_STATE_DIR to a directory elsewhere",
        )


def _ensure_usable(directory: Path) -> None:
    """Raise OSError for the first file that has the wrong type, or that this user may not access.

    The content of the servers' directories is not checked, except for pipes, sockets and devices, which would block.
    """
    for place in _matching(directory, _DIRECTORIES):
        _refuse_unless(place, stat.S_ISDIR(place.stat().st_mode), "It is not a directory", os.R_OK | os.W_OK | os.X_OK)
    for file in _matching(directory, _WRITTEN):
        _refuse_unless(file, stat.S_ISREG(file.lstat().st_mode), "It is not a regular file", os.R_OK | os.W_OK)
    for file in _matching(directory, _REPLACED):
        _refuse_unless(file, not stat.S_ISDIR(file.lstat().st_mode), "It is a directory")
    for found in _neither_file_nor_directory(directory):
        raise OSError(errno.EINVAL, "It is a pipe, a socket or a device", str(found))


def _matching(directory: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [place for pattern in patterns for place in sorted(directory.glob(pattern))]


def _neither_file_nor_directory(directory: Path) -> Iterator[Path]:
    ahead = [str(directory)]
    while ahead:
        with suppress(OSError), os.scandir(ahead.pop()) as entries:  # files of a running platform come and go
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    ahead.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
                    yield Path(entry.path)


def _refuse_unless(place: Path, right: bool, otherwise: str, access: int = 0) -> None:  # noqa: FBT001 - the condition
    if not right:
        raise OSError(errno.EINVAL, otherwise, str(place))
    if access and not os.access(place, access):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def room_needed(directory: Path) -> int:
    """Return the free bytes that a start from `directory` requires."""
    return ROOM_TO_GO_ON if (directory / POSTGRES).exists() else ROOM_TO_BEGIN


def has_data(directory: Path) -> bool:
    """Return whether an embedded PostgreSQL was created here; it keeps the passwords of its first start."""
    return any((directory / POSTGRES).glob("[0-9]*/PG_VERSION"))


def foreign(directory: Path) -> list[str]:
    """Return the names of its files if it is not a platform's state directory, else none."""
    if (directory / MARKER).exists():
        return []
    return sorted(path.name for path in directory.iterdir() if path.name not in _NOBODYS)


def existing_parent(directory: Path) -> Path:
    """Return `directory`, or if it does not exist, its nearest existing parent."""
    return next(place for place in (directory, *directory.parents) if os.access(place, os.F_OK))


def wipe(directory: Path) -> list[str]:
    """Remove a platform's files in `directory`, and the directory if it is empty then. Returns the names left there.

    Raises GuardError, without removing anything, if the marker is missing.
    """
    refuse_unmarked(directory)
    with cli_errors(directory):
        for name in _OURS:
            path = directory / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        left = sorted(path.name for path in directory.iterdir())
    if not left:
        with suppress(OSError):  # a mount point stays, empty
            directory.rmdir()
    return left


def refuse_unmarked(directory: Path) -> None:
    """Raise GuardError if the marker is missing: the content may not be deleted."""
    ensure_trusted(directory)
    if not (directory / MARKER).exists():
        raise GuardError(
            f"{directory} was left as it is.",
            f"it holds no {MARKER}, so it is not the state of a platform",
            "check VALERIX_STATE_DIR",
        )


@contextmanager
def cli_errors(directory: Path) -> Iterator[None]:
    """Convert errors of the file system to CliError."""
    try:
        yield
    except OSError as error:
        raise refused(directory, error) from error


def refused(directory: Path, error: OSError) -> CliError:
    reason = f"{error.filename}: {why(error)}" if error.filename else why(error)
    if error.errno in _FULL:
        return UnreachableError(
            f"The disk that holds {directory} is full.",
            reason,
            "make room, or set VALERIX_STATE_DIR to a directory elsewhere",
        )
    if error.errno in _WRONG_KIND and error.filename and Path(error.filename) != directory:
        secrets = error.filename == str(directory / SECRETS_FILE)
        return UnreachableError(
            f"{error.filename} cannot be used.",
            why(error),
            LOST_SECRETS if secrets else f"mv {word(error.filename)} somewhere else, and the same again",
        )
    return UnreachableError(
        f"The state directory {directory} cannot be used.",
        reason,
        "set VALERIX_STATE_DIR to a directory you may write to",
    )


def _refuse_foreign(directory: Path) -> None:
    if others := foreign(directory):
        raise GuardError(
            f"{directory} is not used as a state directory.",
            f"it already holds something else ({', '.join(others[:3])}{', …' if len(others) > 3 else ''})",  # noqa: PLR2004 - three names are enough to recognise it
            "set VALERIX_STATE_DIR to an empty directory, or to one that does not exist yet",
        )
