"""Commands run in this process on a state directory, and processes that they must or must not signal."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from valerix_cli import main
from valerix_cli.local.identity import start_time

NOBODY = 65534
AN_ORDER = "00000000-0000-4000-8000-000000000000"
PATIENCE = 20.0
READ_NOTHING = {  # commands that never read a state directory
    "alerts": "with --prometheus it asks that one",
    "drill list": "drills and receipts are kept elsewhere",
    "drill show": "the same",
    "drill init": "the same",
    "drill validate": "the same",
    "drill compare": "the same",
    "drill replay": "on a platform of its own",
    "cluster check": "about a cluster",
    "cluster diff": "about a cluster",
    "cluster apply": "about a cluster",
    "cluster status": "about a cluster",
    "cluster history": "about a cluster",
    "cluster rollback": "about a cluster",
    "cluster delete": "about a cluster",
    "context list": "names only",
    "context untrust": "about the file of a project",
    "context use": "names only",
    "context trust": "about a project's file",
    "explain": "words",
    "schema": "words",
    "version": "words",
}

READ_IT = {
    "up": ["--detach"],
    "down": [],
    "status": [],
    "top": [],
    "dashboard": [],
    "logs": [],
    "alerts": [],
    "order place": ["mouse"],
    "order replay": ["key"],
    "order get": [AN_ORDER],
    "order list": [],
    "order watch": [AN_ORDER],
    "order trace": [AN_ORDER],
    "load": ["--for", "1s"],
    "stock list": [],
    "stock restock": ["mouse", "1"],
    "stock watch": [],
    "chaos on": ["latency"],
    "chaos off": [],
    "chaos status": [],
    "chaos hits": [],
    "chaos halt": [],
    "breaker status": [],
    "breaker history": [],
    "breaker open": [],
    "breaker close": [],
    "breaker auto": [],
    "queue status": [],
    "queue dead": [],
    "queue requeue": ["--all"],
    "audit": [],
    "drill run": ["slow-inventory"],
    "demo": ["--auto"],
    "doctor": [],
    "context show": [],
    "api": ["GET", "/health"],
}

COMMANDS = sorted(READ_IT)


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        loaded = command.load() if hasattr(command, "load") else command
        if hasattr(loaded, "commands"):
            yield from commands(loaded, (*before, name))
        else:
            yield " ".join((*before, name))


@dataclass(frozen=True)
class Ended:
    code: int
    output: str


@dataclass(frozen=True)
class Typed:
    """Runs a command as `valerix` does, with the state directory `directory`."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, command: str, *more: str) -> Ended:
        arguments = [*command.split(), *READ_IT[command], *more, "--yes", "--no-input"]
        self.monkeypatch.setenv("VALERIX_STATE_DIR", str(self.directory))
        self.monkeypatch.setenv("VALERIX_CONFIG", str(self.directory.parent / "config.toml"))
        self.monkeypatch.setenv("VALERIX_TIMEOUT", "2s")
        self.monkeypatch.setattr("sys.argv", ["valerix", *arguments])
        self.monkeypatch.setattr("valerix_cli.commands.top._need_a_terminal", lambda: None)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        self.capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as caught:
                _run()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = self.capsys.readouterr()
        assert "a bug of its own" not in err, err
        return Ended(int(caught.value.code or 0), out + err)


def _run() -> NoReturn:
    main.run()


class Innocent:
    """A process unrelated to any platform, which records the signals that it gets."""

    def __init__(self, process: "subprocess.Popen[bytes]", record: Path) -> None:
        self.process, self._record = process, record
        self.pid = process.pid
        started = start_time(process.pid)
        assert started is not None
        self.start_time = started

    def is_unharmed(self) -> bool:
        assert self.process.poll() is None, f"it was ended: {self.process.poll()}"
        assert self._record.read_text() == "", f"it was signalled: {self._record.read_text()}"
        status = Path(f"/proc/{self.pid}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "T"


INNOCENT = """
import pathlib, signal, sys
record = open(sys.argv[1], "a")
def note(number, frame):
    record.write(f"{number} ")
    record.flush()
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCONT, signal.SIGUSR1):
    signal.signal(number, note)
pathlib.Path(sys.argv[1]).touch()
print("ready", flush=True)
while True:
    signal.pause()
"""

HOLDER = """
import fcntl, os, signal, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
if sys.argv[2] == "supervisor":
    fcntl.lockf(lock, fcntl.LOCK_EX)
print("ready", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def process_of(program: str, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def forged(pid: int, **more: Any) -> dict[str, Any]:
    """Return a stack.json in which every process has this pid."""
    now = "2026-01-01T00:00:00Z"
    one = {"pid": pid, "state": "running", "restarts": 0, "last_exit": None, "since": now, "port": 9}
    services = {
        kind: [one | {"name": f"{kind}-1", "url": "http://127.0.0.1:9"}]
        for kind in ("order", "inventory", "worker", "frontend")
    }
    databases = {name: one | {"kind": "embedded", "host": "127.0.0.1"} for name in ("postgres", "redis")}
    stack = {
        "state": "running",
        "supervisor_pid": pid,
        "started_at": now,
        "log_dir": "/",
        "valerix_version": "0",
        "services": services,
        "databases": databases,
        "monitoring": {"prometheus": one | {"kind": "system", "host": "127.0.0.1"}},
        "version": 1,
    }
    return stack | more


def only_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
