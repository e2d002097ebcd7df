"""Files and directories that a process of another user gets from root, and how it finds them."""

import os
import stat
from pathlib import Path

from valerix_cli.local.binaries import is_open_to_all
from valerix_cli.local.launch import Account

_HERE = Path("/proc/self/cwd")  # for programs that make every path an absolute one


def write_anew(file: Path, text: str) -> None:
    """A new file, never what lies there: the directory may be its account's, who could have put a link in its place."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as new:
        new.write(text)


def give(directory: Path, account: Account) -> None:
    """Make a directory and all in it the account's, but nothing that has another name elsewhere (a hard link)."""
    os.lchown(directory, account.uid, account.gid)
    for place, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(place, name)
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                os.lchown(path, account.uid, account.gid)


def as_seen(directory: Path, account: Account | None) -> Path:
    """Return the path by which `account` (None: this user) reaches its `directory`.

    Where it may not come there from outside, it has to be started in it, and names nothing above.
    """
    return directory if account is None or is_open_to_all(directory.parent) else _HERE
