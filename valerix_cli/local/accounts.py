"""Users for the processes of a platform that root starts: one for each kind of process.

None of these users has an entry in /etc/passwd, and none is added: an unused number is enough to protect a
process's memory, environment and files from others. The numbers are from the range that systemd reserves for the
same purpose (`DynamicUser=`, see https://systemd.io/UIDS-GIDS/). PostgreSQL, whose initdb wants an entry, runs as
`nobody`.
"""

import compileall
import grp
import os
import pwd
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from valerix_cli import bundled
from valerix_cli.local.binaries import is_open_to_all
from valerix_cli.local.launch import Account

NUMBERS = range(61184, 65520)
_SERVICES = bundled.ROOT / "services"


def accounts(directory: Path, roles: Iterable[str]) -> dict[str, Account]:
    """Return a user for each role of the platform in `directory`; empty unless this is root and may change users.

    They are the same at each start, unless another process uses the number. The caller holds the directory's lock.
    """
    if os.geteuid() != 0 or not _may_become(NUMBERS[-1]):
        return {}
    chosen: dict[str, Account] = {}
    taken = _in_use()
    for role in roles:
        first = zlib.crc32(f"{directory}\0{role}".encode())
        number = next(one for one in _round(first) if one not in taken and not _is_named(one))
        taken.add(number)
        chosen[role] = Account(f"user {number}", number, number)
    return chosen


def closed_to_others() -> Path | None:
    """Return the first file of this Python or its packages that other users may not read; None if all are readable."""
    places = [Path(sys.prefix, "pyvenv.cfg"), Path(sys.executable), Path(os.__file__), *map(Path, sys.path)]
    places += [file for package in (_SERVICES, Path(__file__).parents[1]) for file in package.rglob("*.py")]
    places += [init for place in sys.path for init in Path(place).glob("*/__init__.py") if "site-packages" in place]
    return next((place for place in places if place.exists() and not is_open_to_all(place)), None)


def compile_services() -> None:
    """Compile the services, since their processes may not write bytecode if they do not run as root."""
    if not sys.dont_write_bytecode:
        compileall.compile_dir(_SERVICES, quiet=2)


def _round(first: int) -> Iterator[int]:
    return (NUMBERS[(first + step) % len(NUMBERS)] for step in range(len(NUMBERS)))


def _in_use() -> set[int]:
    """Return the users of all running processes, which may be those of another platform."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(process.stat().st_uid)
        except OSError:
            continue
    return found


def _is_named(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        pass
    else:
        return True
    try:
        grp.getgrgid(number)
    except KeyError:
        return False
    return True


def _may_become(number: int) -> bool:
    """Return whether this user namespace maps the number: user_namespaces(7). Linux only."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    spans = [(int(first), int(count)) for first, _, count in (line.split() for line in lines)]
    return any(first <= number < first + count for first, count in spans)
