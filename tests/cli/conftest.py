"""The real `valerix`, as a process, with a platform that it started itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.fork_server import FORKS, be_valerix, end_of, start
from tests.processes import open_directory
from valerix_cli.local.state_directory import prepare

PROGRAM = str(Path(sys.executable).with_name("valerix"))
PATIENCE = 180  # seconds, for a busy machine on which five platforms start at once
_STARTED: list[subprocess.Popen[str]] = []


class Done(NamedTuple):
    """Exit status and output of a command."""

    code: int
    out: str
    err: str


class Valerix:
    """Runs `valerix` as a shell would, with a separate state directory and config."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VALERIX_")}
        self.environ = kept | {
            "VALERIX_STATE_DIR": str(directory / "state"),
            "VALERIX_CONFIG": str(directory / "config.toml"),
            "VALERIX_BREAKER_OPEN_SECONDS": "2",
            "COLUMNS": "200",
        }

    def __call__(self, *typed: str, code: int | None = 0, stdin: str = "", **environ: str) -> Done:
        """Run a command to its end; its exit status has to be `code`, unless that is None.

        The command is forked (see tests.fork_server). `up` is started as by a shell: its children may have no other
        parent.
        """
        arguments = (typed, self.directory, self.environ | environ)
        ran = self.as_a_shell_would(*arguments, stdin) if "up" in typed else self._fork(*arguments, stdin)
        assert code in {None, ran.code}, f"valerix {' '.join(typed)}\n{ran.out}{ran.err}"
        return ran

    @staticmethod
    def as_a_shell_would(typed: tuple[str, ...], directory: Path, environ: dict[str, str], stdin: str = "") -> Done:
        ran = subprocess.run(
            [PROGRAM, *typed],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=directory,
            env=environ,
        )
        return Done(ran.returncode, ran.stdout, ran.stderr)

    @staticmethod
    def _fork(typed: tuple[str, ...], directory: Path, environ: dict[str, str], stdin: str) -> Done:
        with open_directory("command") as streams:
            (streams / "0").write_text(stdin)
            command = FORKS.Process(target=be_valerix, args=(typed, directory, environ, streams))
            start(command)
            code = end_of(command, PATIENCE)
            assert code is not None, f"valerix {' '.join(typed)} did not end"
            return Done(code, (streams / "1").read_text(), (streams / "2").read_text())

    def restore(self) -> None:
        """Revert what a failed test has left on: other tests share the platform."""
        for typed in (("chaos", "halt", "--resume"), ("chaos", "off"), ("breaker", "auto")):
            self(*typed, code=None)

    def json(self, *typed: str, code: int = 0) -> Any:
        """Return what a command prints with `-o json`."""
        return json.loads(self(*typed, "-o", "json", code=code).out)

    def stack(self) -> Any:
        """Return the contents of the running platform's stack.json."""
        return json.loads((self.directory / "state" / "stack.json").read_text())

    def start(self, *typed: str) -> subprocess.Popen[str]:
        """Start a command that keeps running, at most until the end of the test."""
        process = subprocess.Popen(
            [PROGRAM, *typed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=self.environ,
        )
        _STARTED.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: signal.Signals) -> Done:
        """Send a signal and return how the command ended."""
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out, err)


@pytest.fixture(scope="package")
def platform() -> Iterator[Valerix]:
    """A platform with two order services, until tests of another folder begin: an idle one costs time too."""
    with open_directory("cli") as directory:
        valerix = Valerix(directory)
        valerix("up", "--detach", "--replicas", "order=2")
        try:
            yield valerix
        finally:
            valerix("down")


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """Ends the commands that a test started, in any case."""
    yield
    while _STARTED:
        with _STARTED.pop() as process:
            process.kill()


@pytest.fixture
def valerix(platform: Valerix) -> Iterator[Valerix]:
    """The platform; the user's config is removed after a test."""
    yield platform
    (platform.directory / "config.toml").unlink(missing_ok=True)


@pytest.fixture
def state() -> Iterator[Path]:
    """A separate state directory without a running platform."""
    with open_directory("doctor") as parent:
        prepare(parent / "state")
        yield parent / "state"


@pytest.fixture
def closed_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes HTTP clients: a command leaves that to the end of its process, which here continues."""
    clients: list[httpx.Client] = []
    make = httpx.Client.__init__

    def remember(client: httpx.Client, *args: Any, **settings: Any) -> None:
        make(client, *args, **settings)
        clients.append(client)

    monkeypatch.setattr(httpx.Client, "__init__", remember)
    yield
    for client in clients:
        client.close()
