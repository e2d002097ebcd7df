"""State directories that others could have written, and wrong values in their files, tested with each command.

The list of commands is that of the command line. Each runs in this process, against real files, locks and processes.
"""

import grp
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.processes import open_directory
from valerix_cli import main
from valerix_cli.drills.targets import LocalProcesses, Process
from valerix_cli.errors import CliError, GuardError
from valerix_cli.local import restart_holds
from valerix_cli.local.identity import start_time
from valerix_cli.local.instance import end, running
from valerix_cli.local.stack import ensure_secrets, read_secrets, read_stack
from valerix_cli.local.state_directory import prepare
from valerix_cli.trust import distrust

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
STARTS_ONE = {"up", "demo"}  # they start a platform if none runs, which is not tested here
COMMANDS = sorted(READ_IT)


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        loaded = command.load() if hasattr(command, "load") else command
        if hasattr(loaded, "commands"):
            yield from commands(loaded, (*before, name))
        else:
            yield " ".join((*before, name))


def test_the_tests_cover_every_command() -> None:
    there = set(commands(main.build()))
    assert there - set(READ_IT) - set(READ_NOTHING) == set()
    assert set(READ_IT) <= there


@dataclass(frozen=True)
class Ended:
    code: int
    said: str


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


@pytest.fixture
def state() -> Iterator[Path]:
    with open_directory("trust") as parent:
        prepare(parent / "state")
        ensure_secrets(parent / "state")
        yield parent / "state"


@pytest.fixture
def typed(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.setenv("VALERIX_RECEIPTS_DIR", str(state.parent / "receipts"))
    return Typed(state, monkeypatch, capsys)


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


_INNOCENT = """
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

_HOLDER = """
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


@pytest.fixture
def innocent(tmp_path: Path) -> Iterator[Innocent]:
    record = tmp_path / "signals"
    with process_of(_INNOCENT, str(record)) as process:
        found = Innocent(process, record)
        yield found
        assert found.is_unharmed()


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


# --- directories that are not ours alone -------------------------------------------------------------------------


def _of_another_owner(state: Path) -> Path:
    _only_root()
    os.chown(state, NOBODY, NOBODY)
    return state


def _writable_by_all(state: Path) -> Path:
    state.chmod(0o777)
    return state


def _writable_by_all_with_sticky_bit(state: Path) -> Path:
    state.chmod(0o1777)
    return state


def _writable_by_a_group(state: Path) -> Path:
    _only_root()
    os.chown(state, 0, NOBODY)
    state.chmod(0o775)
    return state


def _below_one_writable_by_all(state: Path) -> Path:
    state.parent.chmod(0o777)
    return state


def _below_one_of_another_owner(state: Path) -> Path:
    _only_root()
    os.chown(state.parent, NOBODY, NOBODY)
    return state


def _behind_a_link_of_another_owner(state: Path) -> Path:
    _only_root()
    link = state.parent / "link"
    link.symlink_to(state)
    os.lchown(link, NOBODY, NOBODY)
    return link


def _behind_a_link_through_one_writable_by_all(state: Path) -> Path:
    open_to_all = state.parent / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "link").symlink_to(state)
    (state.parent / "link").symlink_to("open/link")
    return state.parent / "link"


def _only_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")


UNTRUSTED = [
    _of_another_owner,
    _writable_by_all,
    _writable_by_all_with_sticky_bit,
    _writable_by_a_group,
    _below_one_writable_by_all,
    _below_one_of_another_owner,
    _behind_a_link_of_another_owner,
    _behind_a_link_through_one_writable_by_all,
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_writable_by_others_is_refused(command: str, typed: Typed, state: Path, innocent: Innocent) -> None:
    """By each command, whatever the permission that allows the write; nothing in it is changed or deleted."""
    (state / "stack.json").write_text(json.dumps(forged(innocent.pid)))
    with process_of(_HOLDER, str(state / "lock"), "lock") as holder:
        before = sorted((path.name, path.lstat().st_size) for path in state.iterdir())
        for spoil in UNTRUSTED:
            place, restore = _spoilt(spoil, state)
            if place is None:
                continue
            ended = Typed(place, typed.monkeypatch, typed.capsys)(command)
            restore()
            assert ended.code == (3 if command == "doctor" else 4), f"{spoil.__name__}: {ended.said}"
            assert re.search("not trusted|Others may write", ended.said), ended.said
            if command != "doctor":
                assert [line[:7] for line in ended.said.splitlines()[-3:]] == ["Error: ", "  why: ", "  try: "]
        assert sorted((path.name, path.lstat().st_size) for path in state.iterdir()) == before
        assert holder.poll() is None


def _spoilt(spoil: Callable[[Path], Path], state: Path) -> tuple[Path | None, Callable[[], None]]:
    def restore() -> None:
        for path in (state, state.parent):
            os.chown(path, os.geteuid(), os.getegid())
            path.chmod(0o755)
        (state.parent / "link").unlink(missing_ok=True)
        shutil.rmtree(state.parent / "open", ignore_errors=True)

    try:
        return spoil(state), restore
    except pytest.skip.Exception:
        return None, restore


def test_an_own_directory_is_trusted_under_every_path(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state.parent / "own-link").symlink_to("state")
    monkeypatch.chdir(state)
    for name in (state, state.parent / "own-link", Path(), Path("../state/./../state"), state.parent / "missing"):
        assert distrust(name) is None, name
    state.chmod(0o775)
    assert (distrust(state) is None) == (os.getegid() == state.stat().st_gid and _alone_in_group())


def _alone_in_group() -> bool:
    gid = os.getegid()
    others = {one.pw_uid for one in pwd.getpwall() if one.pw_gid == gid} - {0, os.geteuid()}
    return not others and set(grp.getgrgid(gid).gr_mem) <= {"root", pwd.getpwuid(os.geteuid()).pw_name}


# --- files that say something wrong ------------------------------------------------------------------------------

DAMAGED: Mapping[str, Callable[[int], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda pid: json.dumps(forged(pid)).encode()[:-40],
    "binary": lambda _: bytes(range(256)) * 8,
    "another JSON": lambda _: b"[1, 2, 3]",
    "null": lambda _: b"null",
    "nested too deep": lambda _: b"[" * 100_000,
    "pid as text": lambda pid: json.dumps(forged(pid, supervisor_pid=str(pid))).encode(),
    "pid as a fraction": lambda pid: json.dumps(forged(pid, supervisor_pid=pid + 0.5)).encode(),
    "pid zero": lambda _: json.dumps(forged(0)).encode(),
    "pid out of range": lambda _: json.dumps(forged(2**40)).encode(),
    "services as a list": lambda pid: json.dumps(forged(pid, services=[])).encode(),
    "state unknown": lambda pid: json.dumps(forged(pid, state="asleep")).encode(),
    "the innocent": lambda pid: json.dumps(forged(pid)).encode(),
    "the innocent, with when it started": lambda pid: json.dumps(_with_start(pid, start_time(pid))).encode(),
    "the innocent, with another start": lambda pid: json.dumps(_with_start(pid, 1)).encode(),
}


def _with_start(pid: int, started: int | None) -> dict[str, Any]:
    stack = forged(pid, supervisor_start=started)
    for one in itertools.chain(*stack["services"].values(), stack["databases"].values()):
        one["start_time"] = started
    return stack


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in STARTS_ONE])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(name, marks=() if name == "the innocent" else pytest.mark.long)
        for name in DAMAGED
        if name != "pid zero"  # code that trusts it would signal the tests themselves: see below
    ],
)
def test_a_damaged_stack_file_signals_no_foreign_process(
    damage: str, command: str, typed: Typed, state: Path, innocent: Innocent
) -> None:
    (state / "stack.json").write_bytes(DAMAGED[damage](innocent.pid))
    with process_of(_HOLDER, str(state / "lock"), "lock") as holder:
        ended = typed(command)
        assert ended.code != 0 or command in {"down", "context show", "doctor", "logs"}, ended.said
        assert (holder.poll() is not None) == (command == "down"), "what holds the lock is ended by down alone"
    assert innocent.is_unharmed()


@pytest.mark.parametrize("damage", DAMAGED)
def test_down_terminates_the_supervisor_despite_a_damaged_stack_file(
    damage: str, state: Path, innocent: Innocent
) -> None:
    with process_of(_HOLDER, str(state / "lock"), "supervisor") as supervisor:
        (state / "stack.json").write_bytes(DAMAGED[damage](innocent.pid))
        assert end(state, PATIENCE)
        assert supervisor.wait(PATIENCE) == -signal.SIGTERM, "asked, not killed"
    assert innocent.is_unharmed()


@pytest.mark.parametrize("fault", ["kill", "stop", "resume"])
@pytest.mark.parametrize("started", ["right", "wrong", "unknown"])
@pytest.mark.parametrize("target", ["the innocent", "one that has the lock's file open"])
def test_a_fault_affects_no_process_outside_the_platform(
    target: str, started: str, fault: str, state: Path, innocent: Innocent
) -> None:
    with process_of(_HOLDER, str(state / "lock"), "supervisor") as supervisor, (state / "lock").open() as reading:
        pid, other = innocent.pid, None
        if target != "the innocent":
            command = [sys.executable, "-c", "import time; time.sleep(60)"]
            other = subprocess.Popen(command, pass_fds=(reading.fileno(),))
            pid = other.pid
        said = {"right": start_time(pid), "wrong": 1, "unknown": None}[started]
        stack = _with_start(pid, said) | {"supervisor_pid": supervisor.pid}
        (state / "stack.json").write_text(json.dumps(stack))
        processes = LocalProcesses(state)
        for name in ("inventory", "order", "worker", "frontend", "redis", "postgres"):
            (victim,) = processes.find(name)
            assert victim.pid == pid
            with pytest.raises(CliError, match="No signal was sent to"):
                _inject(processes, fault, victim)
        if other:
            assert other.poll() is None
            other.kill()
            other.wait()


def _inject(processes: LocalProcesses, fault: str, victim: Process) -> None:
    if fault == "kill":
        processes.kill(victim)
    elif fault == "stop":
        processes.stop(victim, 0.1)
    else:
        processes.resume(victim)


def test_a_process_that_only_reads_the_lock_file_is_not_part_of_the_platform(state: Path) -> None:
    lock = state / "lock"
    command = [sys.executable, "-c", "input()"]
    with (
        process_of(_HOLDER, str(lock), "lock") as holder,
        lock.open() as reading,
        subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(reading.fileno(),)) as reader,
    ):
        try:
            assert end(state, PATIENCE)
            assert holder.wait(PATIENCE) == -signal.SIGTERM
            assert reader.poll() is None
        finally:
            reader.kill()


@pytest.mark.parametrize("name", ["stack.json", "secrets.json", "lock", "holds/order-1"])
@pytest.mark.parametrize("planted", ["link", "pipe", "directory", "of another user"])
def test_a_planted_link_or_pipe_is_neither_followed_nor_waited_for(
    name: str, planted: str, state: Path, tmp_path: Path
) -> None:
    target, file = tmp_path / "target", state / name
    target.write_text(json.dumps(forged(1)) if name == "stack.json" else "9999999999")
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    if planted == "link":
        file.symlink_to(target)
    elif planted == "pipe":
        os.mkfifo(file)
    elif planted == "directory":
        file.mkdir()
    else:
        _only_root()
        file.write_text(target.read_text())
        os.chown(file, NOBODY, NOBODY)
    before = target.read_text()
    began = time.monotonic()
    for look in (read_stack, read_secrets, running):
        with suppress(CliError, OSError):
            assert not look(state) or name != {"read_stack": "stack.json", "read_secrets": "secrets.json"}.get(
                look.__name__
            )
    assert restart_holds.held_for(state, "order-1") == 0
    assert time.monotonic() - began < 5
    assert target.read_text() == before


def test_a_restart_hold_is_not_written_into_a_directory_of_another_user(state: Path) -> None:
    state.chmod(0o777)
    with pytest.raises(GuardError):
        restart_holds.hold(state, "order-1", 1)
    assert not (state / "holds").exists()


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "soon", "\0", "1e400", "-1", "9" * 400, "1 2"])
def test_an_invalid_restart_hold_is_ignored(text: str, state: Path) -> None:
    (state / "holds").mkdir()
    (state / "holds" / "order-1").write_text(text)
    assert 0 <= restart_holds.held_for(state, "order-1") <= (restart_holds.LONGEST if text.startswith("9") else 0)
