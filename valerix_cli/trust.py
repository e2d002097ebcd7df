"""Checks that only this user and root can change a path and its content.

A state directory determines the processes to signal, the addresses that get tokens and the files to write, so one that
another user may have changed is refused. The rule is OpenSSH's StrictModes, for each directory and symbolic link.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from valerix_cli.errors import GuardError
from valerix_cli.quoting import word

ROOT = 0
_ELSEWHERE = "set VALERIX_STATE_DIR to a directory of your own"
_MOST_LINKS = 40  # the kernel's limit: path_resolution(7)
_ACL = "system.posix_acl_access"
_LARGEST = 2**20  # bytes: stack.json of a hundred processes has a tenth of it


class Distrust(NamedTuple):
    """The reason why a directory is not trusted, and a hint."""

    why: str
    hint: str


def ensure_trusted(directory: Path) -> None:
    """Raise GuardError unless `directory` belongs to this user and only root may change its content besides."""
    if found := distrust(directory):
        raise GuardError(f"The state directory {directory} is not trusted.", found.why, found.hint)


def distrust(directory: Path) -> Distrust | None:
    """Return why the content of `directory` is not trusted; None if it is, or does not exist yet."""
    last = None
    try:
        for place, found in walk(directory):
            last = place, found
            if reason := _reason(place, found):
                return reason
    except OSError as error:
        return Distrust(f"{error.filename}: {error.strerror}", _ELSEWHERE)
    if last is None or not stat.S_ISDIR(last[1].st_mode):
        return None  # opening it reports the error
    place, found = last
    return _reason_at_end(place, found) if place == Path(os.path.realpath(directory)) else None


def walk(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each directory and symbolic link of `path`, from / on; ends at the first that does not exist.

    Raises OSError if it cannot be followed.
    """
    current, links = Path("/"), 0
    yield current, current.lstat()
    ahead = list(reversed(path.absolute().parts[1:]))
    while ahead:
        part = ahead.pop()
        if part in {".", ".."}:
            current = current.parent if part == ".." else current
            continue
        try:
            found = (current / part).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        yield current / part, found
        if not stat.S_ISLNK(found.st_mode):
            current /= part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = (current / part).readlink()
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        current = Path("/") if target.is_absolute() else current


def read_own(path: Path) -> bytes:
    """Read a file of a trusted directory. Raises OSError, and GuardError if another user has written it.

    Symbolic links are not followed, and a pipe is not waited for: all but regular files raise OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in {os.geteuid(), ROOT}:
            owner, hint = user(found.st_uid), "move it away, or set VALERIX_STATE_DIR to another directory"
            raise GuardError(f"{path} was not read.", f"{owner} has written it", hint)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise OSError(errno.EINVAL, "It is not a regular file of less than 1 MB", str(path))
        return os.pread(descriptor, _LARGEST, 0)
    finally:
        os.close(descriptor)


def user(uid: int) -> str:
    """Return the name of an account, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _reason_at_end(place: Path, found: os.stat_result) -> Distrust | None:
    """Check the directory itself: it belongs to this user, and no other may add to it."""
    if found.st_uid != os.geteuid():
        owner = user(found.st_uid)
        return Distrust(
            f"it belongs to {owner}, and you are {user(os.geteuid())}", f"run this as {owner}, or {_ELSEWHERE}"
        )
    return _writable(place, found) if _others_may_write(place, found) else None


def _reason(place: Path, found: os.stat_result) -> Distrust | None:
    if found.st_uid not in _trusted_users():
        what = "symbolic link" if stat.S_ISLNK(found.st_mode) else "directory"
        return Distrust(f"{place} is a {what} of {user(found.st_uid)}, and you are {user(os.geteuid())}", _ELSEWHERE)
    if stat.S_ISDIR(found.st_mode) and _others_may_write(place, found) and not found.st_mode & stat.S_ISVTX:
        return _writable(place, found)
    return None


def _writable(place: Path, found: os.stat_result) -> Distrust:
    return Distrust(
        f"others may write to {place} (mode {stat.S_IMODE(found.st_mode):o})",
        f"chmod go-w {word(place)}, if all in it is yours; or {_ELSEWHERE}",
    )


def _others_may_write(place: Path, found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and (_has_list(place) or not _is_private(found.st_gid))


def _has_list(place: Path) -> bool:
    """Return whether an access control list may grant access to others, if the system supports it (Linux): acl(5)."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        return bool(os.getxattr(place, _ACL))
    except OSError:
        return False


@cache
def _is_private(gid: int) -> bool:
    """Return whether only this user and root are in the group: with umask 002 each user has such a group."""
    trusted = {user(uid) for uid in _trusted_users()}
    try:
        named = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return False
    return named | {one.pw_name for one in pwd.getpwall() if one.pw_gid == gid} <= trusted


@cache
def _trusted_users() -> frozenset[int]:
    """Return root and this user. In a user namespace without root, the machine's root has the overflow id instead."""
    trusted = {ROOT, os.geteuid()}
    try:
        mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        if not any(int(first) == ROOT for first, _, _ in mapped):
            trusted.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    except OSError:  # not Linux
        pass
    return frozenset(trusted)
