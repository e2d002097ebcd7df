"""Valerix as a user runs it: the command, in an environment with a separate state directory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from tests.processes import eventually, open_directory
from valerix_cli.errors import UnreachableError
from valerix_cli.local.binaries import is_open_to_all
from valerix_cli.local.launch import Account
from valerix_cli.local.lock import holders, is_held
from valerix_cli.local.prometheus import program
from valerix_cli.local.stack import Service, Stack, read_stack

PATIENCE = 120.0  # seconds, for a busy machine
_TERMINAL = {"TERM": "xterm", "COLUMNS": "160"}  # makes the output independent of the tests' terminal
VALERIX = str(Path(sys.executable).with_name("valerix"))


def can_watch() -> bool:
    """Return True if Prometheus and Alertmanager are installed, which `up --monitoring` runs."""
    with suppress(UnreachableError):
        return all(program(product) for product in ("Prometheus", "Alertmanager"))
    return False


@dataclass(frozen=True)
class Installation:
    """An installation. `prefix` and `account` set the user of its commands, if it is not ours."""

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    account: Account | None = None

    @contextmanager
    def started(self, *arguments: str, into: IO[str] | int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
        """Run a command during the block, with its output in `into`; it ends with the block in any case."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VALERIX_")}
        become = self.account
        with subprocess.Popen(
            [*self.prefix, VALERIX, *arguments],
            env={**inherited, **_TERMINAL, "VALERIX_STATE_DIR": str(self.directory), **self.environment},
            cwd="/",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=subprocess.PIPE,
            user=become.uid if become else None,
            group=become.gid if become else None,
            extra_groups=[] if become else None,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.started(*arguments) as process:
            out, err = process.communicate(timeout=PATIENCE * 2)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """Return what a command prints with -o json; it has to succeed."""
        done = self.run(*arguments, "-o", "json", "--yes", "--no-input")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `valerix up --detach`, which has to succeed."""
        done = self.run("up", "--detach", *arguments)
        assert done.returncode == 0, done.stderr
        return done

    @property
    def stack(self) -> Stack:
        stack = read_stack(self.directory)
        assert stack is not None
        return stack

    @property
    def is_ready(self) -> bool:
        stack = read_stack(self.directory)
        return stack is not None and stack.state == "running" and stack.supervisor_pid in self.processes

    @property
    def is_whole(self) -> bool:
        """True if every process is up, not only the supervisor."""
        if not self.is_ready:
            return False
        parts: list[Any] = [
            *self.stack.databases.values(),
            *(one for several in self.stack.services.values() for one in several),
        ]
        return all(part.state == "running" for part in parts)

    def service(self, name: str) -> Service:
        kind = name.rpartition("-")[0]
        return next(service for service in self.stack.services[kind] if service.name == name)

    @property
    def processes(self) -> list[int]:
        """Every live process of it: all of them hold the lock, including PostgreSQL's children."""
        return holders(self.directory)

    def kill_everything(self) -> None:
        for pid in self.processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(self.is_gone, PATIENCE)

    def is_gone(self) -> bool:
        return not self.processes and not is_held(self.directory)

    def place(self, key: str, item: str = "switch") -> httpx.Response:
        return httpx.post(
            f"{self.service('order-1').url}/api/orders",
            json={"item_id": item, "quantity": 1},
            headers={"Idempotency-Key": key},
            timeout=10,
        )

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "-o", "json").stdout)
        return found

    def remove(self) -> None:
        """Stop all processes and delete the directory, whatever their state."""
        self.kill_everything()
        self.run("down", "--wipe", "--yes")


@contextmanager
def installed(**more: Any) -> Iterator[Installation]:
    """Yield an empty installation that the database's account can access; it is removed at the end."""
    with open_directory("platform") as parent:
        installation = Installation(parent / "state", **more)
        if installation.account:
            os.chown(parent, installation.account.uid, installation.account.gid)
        try:
            yield installation
        finally:
            installation.remove()


def as_another_user() -> dict[str, Any]:
    """Return the arguments with which `installed` runs root's commands as another user; none for other users.

    The user is `nobody` if it can access this Python and this code. Otherwise it is a user namespace in which we are
    `nobody`: without privileges, but still the owner of our files.
    """
    if os.geteuid() != 0:
        return {}
    nobody = Account.named("nobody")
    ours = [Path(sys.executable).resolve(), Path(sys.executable).parent, *(Path(path) for path in sys.path if path)]
    if is_open_to_all(*(path for path in ours if path.exists())):
        return {"account": nobody}
    prefix = ("unshare", "--user", f"--map-user={nobody.uid}", f"--map-group={nobody.gid}", "--")
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"nobody may not come to {sys.executable}, and this machine has no user namespaces")
    return {"prefix": prefix}
