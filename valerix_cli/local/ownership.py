"""Files and directories that root creates for a process of another user, and their paths for it."""

import os
import stat
from pathlib import Path

from valerix_cli.local.binaries import is_open_to_all
from valerix_cli.local.launch import Account

_HERE = Path("/proc/self/cwd")  # for programs that make all paths absolute


def write_anew(file: Path, text: str) -> None:
    """Write a new file, replacing any existing one: its account may have put a link there."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as new:
        new.write(text)


def give(directory: Path, account: Account) -> None:
    """Give a directory and all its content to the account, except files with hard links elsewhere."""
    os.lchown(directory, account.uid, account.gid)
    for place, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(place, name)
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                os.lchown(path, account.uid, account.gid)


def as_seen(directory: Path, account: Account | None) -> Path:
    """Return the path by which `account` (None: this user) reaches its `directory`.

    If the account may not enter the parent directories, the process is started in it and uses relative paths.
    """
    return directory if account is None or is_open_to_all(directory.parent) else _HERE
