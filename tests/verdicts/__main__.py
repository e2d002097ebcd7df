"""`python -m tests.verdicts`: mutate the code that computes verdicts, and report mutants that no unit test catches.

Each mutant runs in a separate process, forked from one that has loaded all libraries and nothing of Valerix. There the
tests of its module run until one fails.
"""

import argparse
import gc
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from types import CodeType

import pytest

from tests.verdicts.equivalents import EQUIVALENT
from tests.verdicts.mutants import Mutant, mutated
from tests.verdicts.targets import TARGETS, Target

LIBRARIES = (
    "asyncio", "aiohttp", "httpx", "httptools", "hypothesis", "jinja2", "jsonschema", "litestar", "msgspec", "psycopg",
    "pytest_asyncio", "redis", "rich.console", "rich.table", "structlog", "textual.app", "typer.main", "yaml", "yarl",
)  # fmt: skip
PYTEST = ("-x", "-q", "--noconftest", "--assert=plain", "-p", "no:cacheprovider")
PATIENCE = 120  # seconds: a mutant that takes longer loops forever
SIDE_BY_SIDE = 2
CAUGHT = {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}  # the second if a module cannot be imported
SURVIVED = 11


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    _load_libraries()
    targets = [target for target in TARGETS if options.match in target.module]
    began, survivors, tried = time.monotonic(), list[str](), 0
    for target in targets:
        if not _passes(target):
            sys.stdout.write(f"{target.module}: its tests fail without any mistake\n")
            return 1
    for mutant, caught in _tried(targets, options.names):
        tried += 1
        if not caught:
            survivors.append(survivor := f"{mutant.module}:{mutant.line} {mutant.name}")
            sys.stdout.write(f"SURVIVED {survivor}\n")
            sys.stdout.flush()
    if not tried:
        sys.stdout.write("nothing was tried\n")
        return 2
    took = time.monotonic() - began
    sys.stdout.write(
        f"{tried - len(survivors)} of {tried} mutants caught, {len(EQUIVALENT)} equivalent, {took:.0f} s\n"
    )
    return SURVIVED if survivors else 0


def _load_libraries() -> None:
    """Load the libraries that all mutants need, and pytest's plugins by a first run without tests of Valerix."""
    for library in LIBRARIES:
        __import__(library)
    with redirect_stdout(StringIO()):
        os.environ["EXAMPLES"] = "100"  # of tests that Hypothesis generates; fewer in the default suite
        pytest.main([*PYTEST, "--collect-only", "tests/verdicts/test_mutants.py"])
    assert not any(name.startswith("valerix_cli") for name in sys.modules), "a mutant would come too late"
    gc.freeze()  # pytest collects garbage five times at its end, which takes most of the time otherwise


def _tried(targets: Sequence[Target], only: str) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant and whether it was caught, in order of completion."""
    waiting = [(mutant, target) for target in targets for mutant in target.mutants() if only in mutant.name]
    waiting = [(mutant, target) for mutant, target in waiting if (mutant.module, mutant.name) not in EQUIVALENT]
    running: dict[int, Mutant] = {}
    while waiting or running:
        while waiting and len(running) < SIDE_BY_SIDE:
            mutant, target = waiting.pop(0)
            running[_begin(target, mutant)] = mutant
        pid, status = os.wait()
        yield running.pop(pid), _is_caught(status)


def _passes(target: Target) -> bool:
    _, status = os.waitpid(_begin(target, None), 0)
    return os.waitstatus_to_exitcode(status) == 0


def _is_caught(status: int) -> bool:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM or code in CAUGHT:
        return True
    if code != 0:
        raise SystemExit(f"pytest ended with {code}, which says nothing of the mutant")
    return False


def _begin(target: Target, mutant: Mutant | None) -> int:
    """Run the tests of a module with this mutation in a new process; return its pid."""
    if pid := os.fork():
        return pid
    code = 3
    with suppress(BaseException), open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no path
        signal.alarm(PATIENCE)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        if mutant:
            sys.meta_path.insert(0, _Finder(mutant))
        code = pytest.main([*PYTEST, *target.tests])
    os._exit(int(code))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, with a mutation in it."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None, _: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin, self._mutant)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType | None:
        source = self.get_source(fullname) or ""
        return compile(mutated(source, self._mutant), self.path, "exec", dont_inherit=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.verdicts", description=__doc__)
    parser.add_argument("match", nargs="?", default="", metavar="MODULE", help="only modules with it in their name")
    parser.add_argument("--names", default="", metavar="TEXT", help="only mutants with it in their name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
