"""Runs tests in each environment that a user may start them in: `nox -s surroundings`.

python -m tests.surroundings_runner
python -m tests.surroundings_runner --only nohup,"another user" -- tests/cli -n 2
python -m tests.surroundings_runner --only combined -- -n 3 --dist loadfile -m "not timed and not long"

Arguments after `--` go to pytest and replace TESTS. Exits with 0 if all environments that could be tried passed, else
with 1. Environments that could not be tried are listed, with the reason.
"""

import argparse
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    *("tests/unit/test_surroundings.py", "tests/unit/cli", "tests/unit/top", "tests/unit/demo", "tests/unit/common"),
    *(
        "tests/integration/common",
        "tests/cli/test_streams.py",
        "tests/cli/test_top.py",
        "tests/cli/test_lost_terminal.py",
    ),
    *("tests/platform/test_signals.py", "tests/platform/test_surroundings.py"),
)
"""Tests of signals, streams, terminals, variables and accounts; a few minutes in each environment."""
STRANGE = """it's a "strange" $place"""
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".nox", "__pycache__", "node_modules", ".*_cache")
_SHELL = "/bin/sh"
_PROXY = "http://127.0.0.1:9"
_DEVELOPMENT = (
    "--constraint",
    "constraints.txt",
    "--build-constraint",
    "constraints.txt",
    "--editable",
    ".",
    "--group",
    "dev",
)


class Untried(Exception):  # noqa: N818 - a reason, not a failure
    """The reason for which an environment is not possible on this machine."""


@dataclass(frozen=True)
class Place:
    """A tree, a Python with the dependencies, and the user that runs the tests (None: this one)."""

    tree: Path = ROOT
    python: str = sys.executable
    user: str | None = None


@contextmanager
def here(_: Path) -> Iterator[Place]:
    yield Place()


@contextmanager
def strange_directory(temporary: Path) -> Iterator[Place]:
    yield copied(temporary / STRANGE, sys.executable)


@contextmanager
def another_user(temporary: Path, directory: str = "copy") -> Iterator[Place]:
    """Yield a copy that belongs to `nobody`, with a Python that every user can run."""
    if os.geteuid() != 0:
        raise Untried("only root can become somebody else")
    python = shutil.which("python3", path=os.defpath)
    if (
        python is None
        or subprocess.run([python, "-c", "import sys; assert sys.version_info >= (3, 11)"], check=False).returncode
    ):
        raise Untried("this machine has no Python 3.11 or later that everybody may run")
    made = copied(temporary / directory, python)
    who = pwd.getpwnam("nobody")
    for path in (temporary, *temporary.rglob("*")):
        os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)
    yield Place(made.tree, made.python, who.pw_name)


def copied(tree: Path, python: str) -> Place:
    """Return a copy of this tree with a separate virtual environment."""
    shutil.copytree(ROOT, tree, ignore=_NOT_COPIED)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", python, ".venv"], cwd=tree, check=True)
    own = str(tree / ".venv" / "bin" / "python")
    install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--link-mode", "copy", "--python", own]
    subprocess.run([*install, *_DEVELOPMENT], cwd=tree, check=True)
    return Place(tree, own)


@dataclass(frozen=True)
class Surroundings:
    """Conditions of a run: `ignored` signals, `wrapped` in another program, a `redirection`, variables, a place.

    A variable that is None is not set.
    """

    ignored: str = ""
    wrapped: tuple[str, ...] = ()
    redirection: str = ""
    variables: Mapping[str, str | None] = field(default_factory=dict)
    place: Callable[[Path], AbstractContextManager[Place]] = here


KNOWN = {
    "background": Surroundings(ignored="INT QUIT"),
    "nohup": Surroundings(ignored="INT QUIT", wrapped=("nohup",)),
    "input closed": Surroundings(redirection="<&-"),
    "libpq": Surroundings(
        variables={"PGSSLMODE": "require", "PGHOSTADDR": "127.0.0.9", "PGSERVICE": "nosuch", "PGPORT": "1"}
        | {"PGOPTIONS": "-c default_transaction_read_only=on", "PGCONNECT_TIMEOUT": "1"}
    ),
    "proxies": Surroundings(
        variables=dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), _PROXY)
        | dict.fromkeys(("NO_PROXY", "no_proxy"))
    ),
    "no terminal": Surroundings(variables={"TERM": None, "COLUMNS": "20", "NO_COLOR": "1"}),
    "colours": Surroundings(variables={"TERM": "dumb", "LINES": "3", "FORCE_COLOR": "1"}),
    "locale": Surroundings(variables={"LANG": "C", "LC_ALL": "C", "TZ": "America/St_Johns"}),
    "warnings": Surroundings(variables={"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}),
    "temporary directory": Surroundings(variables={"TMPDIR": STRANGE}),
    "strange directory": Surroundings(place=strange_directory),
    "another user": Surroundings(place=another_user),
}
COMBINED = "combined"
KNOWN[COMBINED] = Surroundings(
    ignored="INT QUIT",
    wrapped=("nohup",),
    redirection="<&-",
    variables={**KNOWN["libpq"].variables, **KNOWN["proxies"].variables},
    place=partial(another_user, directory=STRANGE),
)
"""The environments in which the default suite has to pass, combined into one run."""


def run(found: Surroundings, pytest: Sequence[str]) -> int:
    """Run pytest in an environment and return its exit code. Raises Untried."""
    with tempfile.TemporaryDirectory(prefix="valerix-elsewhere-") as name:
        temporary = Path(name)
        temporary.chmod(0o755)
        with found.place(temporary) as place:
            environ = (
                {**os.environ, **found.variables, "HOME": name} if place.user else {**os.environ, **found.variables}
            )
            if given := found.variables.get("TMPDIR"):
                (temporary / given).mkdir(mode=0o755)
                environ["TMPDIR"] = str(temporary / given)
            command = [*found.wrapped, place.python, "-m", "pytest", "-p", "no:cacheprovider", *pytest]
            if place.user:
                command = ["setpriv", "--reuid", place.user, "--regid", "nogroup", "--clear-groups", *command]
            ignore = f"trap '' {found.ignored}; " if found.ignored else ""
            return subprocess.run(
                [_SHELL, "-c", f"{ignore}exec {shlex.join(command)} {found.redirection}"],
                cwd=place.tree,
                env={name: value for name, value in environ.items() if value is not None},
                check=False,
            ).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    ours, pytest = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [*TESTS])
    parser = argparse.ArgumentParser(prog="python -m tests.surroundings_runner", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME,...", default=",".join(KNOWN), help=f"of {', '.join(KNOWN)}")
    names = parser.parse_args(ours).only.split(",")
    if unknown := set(names) - set(KNOWN):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known names: {', '.join(KNOWN)}")
    outcomes = {}
    for name in names:
        say(f"== {name}")
        try:
            code = run(KNOWN[name], pytest)
            outcomes[name] = "passed" if code == 0 else f"failed: pytest ended with {code}"
        except Untried as why:
            outcomes[name] = f"not tried: {why}"
    for name, outcome in outcomes.items():
        say(f"{name:20} {outcome}")
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
