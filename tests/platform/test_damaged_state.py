"""Wrong values in the files of a state directory, tested with each command: no foreign process is signalled."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.platform.bystanders import COMMANDS, HOLDER, NOBODY, PATIENCE, Innocent, Typed, forged, only_root, process_of
from valerix_cli.drills.targets import LocalProcesses, Process
from valerix_cli.errors import CliError, GuardError
from valerix_cli.local import restart_holds
from valerix_cli.local.identity import start_time
from valerix_cli.local.instance import end, running
from valerix_cli.local.stack import read_secrets, read_stack

STARTS_ONE = {"up", "demo"}  # they start a platform if none runs, which is not tested here


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
    with process_of(HOLDER, str(state / "lock"), "lock") as holder:
        ended = typed(command)
        assert ended.code != 0 or command in {"down", "context show", "doctor", "logs"}, ended.output
        assert (holder.poll() is not None) == (command == "down"), "what holds the lock is ended by down alone"
    assert innocent.is_unharmed()


@pytest.mark.parametrize("damage", DAMAGED)
def test_down_terminates_the_supervisor_despite_a_damaged_stack_file(
    damage: str, state: Path, innocent: Innocent
) -> None:
    with process_of(HOLDER, str(state / "lock"), "supervisor") as supervisor:
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
    with process_of(HOLDER, str(state / "lock"), "supervisor") as supervisor, (state / "lock").open() as reading:
        pid, other = innocent.pid, None
        if target != "the innocent":
            command = [sys.executable, "-c", "import time; time.sleep(60)"]
            other = subprocess.Popen(command, pass_fds=(reading.fileno(),))
            pid = other.pid
        output = {"right": start_time(pid), "wrong": 1, "unknown": None}[started]
        stack = _with_start(pid, output) | {"supervisor_pid": supervisor.pid}
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
        process_of(HOLDER, str(lock), "lock") as holder,
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
        only_root()
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
