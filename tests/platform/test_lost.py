"""A platform whose files are removed, damaged or forged while it runs."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platform.installation import PATIENCE, Installation, installed
from tests.processes import eventually
from valerix_cli.local.stack import read_stack


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def _with_other_pids(file: Path) -> str:
    stack = json.loads(file.read_text())
    stack["supervisor_pid"] = os.getpid()
    return json.dumps(stack)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": lambda file: file.unlink(),
    "empty": lambda file: _write(file, ""),
    "cut short": lambda file: os.truncate(file, 100),
    "another JSON": lambda file: _write(file, "[]"),
    "wrong types": lambda file: _write(file, '{"supervisor_pid": "1"}'),
    "forged": lambda file: _write(file, _with_other_pids(file)),
    "a dead link": _link,
    "read by nobody": lambda file: file.chmod(0),
}


def test_a_lost_or_damaged_stack_file_is_rewritten_and_status_stays_correct(platform: Installation) -> None:
    file = platform.directory / "stack.json"
    for name, damage in DAMAGES.items():
        before = platform.stack
        damage(file)
        result = platform.status()
        assert (result["state"], result["supervisor_pid"]) == ("running", before.supervisor_pid), name
        assert {one["name"] for one in result["services"]} >= {"order-1", "worker-1"}, name
        eventually(lambda: read_stack(platform.directory), 5, name)
        assert platform.stack.supervisor_pid == before.supervisor_pid, name
    assert "stack.json was lost or changed" in platform.run("logs", "supervisor", "-n", "20").stdout


def test_a_frozen_supervisor_without_a_stack_file_is_reported(platform: Installation) -> None:
    pid, file = platform.stack.supervisor_pid, platform.directory / "stack.json"
    os.kill(pid, signal.SIGSTOP)
    try:
        file.unlink()
        result = platform.run("status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert result.returncode == 3
    assert f"process {pid} supervises" in result.stderr
    eventually(file.exists, 5)


def test_down_stops_cleanly_with_an_unreadable_stack_file(platform: Installation) -> None:
    """The supervisor is paused, so that it does not repair the file first."""
    pid, file = platform.stack.supervisor_pid, platform.directory / "stack.json"
    os.kill(pid, signal.SIGSTOP)
    try:
        file.write_text("{")
        with platform.started("down") as down:
            time.sleep(1)
            os.kill(pid, signal.SIGCONT)
            assert down.wait(PATIENCE) == 0
    finally:
        if not platform.is_gone():
            os.kill(pid, signal.SIGCONT)
    output = platform.run("logs", "supervisor", "-n", "12").stdout
    assert "stopping, since SIGTERM was received" in output
    assert "database system is shut down" in platform.run("logs", "postgres", "-n", "1").stdout
    assert platform.is_gone()


@pytest.mark.parametrize(
    "how", ["deleted", pytest.param("moved", marks=pytest.mark.long), pytest.param("replaced", marks=pytest.mark.long)]
)
def test_a_platform_whose_directory_is_removed_stops_and_reports_why(how: str, tmp_path: Path) -> None:
    with installed() as platform, (tmp_path / "said").open("w") as output:
        with platform.started("up", "--free-ports", into=output) as process:
            eventually(lambda: platform.is_ready, PATIENCE)
            pids = platform.processes
            assert len(pids) > 6
            began = time.monotonic()
            if how == "deleted":
                shutil.rmtree(platform.directory, ignore_errors=True)
                shutil.rmtree(platform.directory, ignore_errors=True)  # written in the meantime
            else:
                platform.directory.rename(platform.directory.with_name("elsewhere"))
                if how == "replaced":
                    platform.directory.mkdir()
                    (platform.directory / "stack.json").write_text("of somebody else")
            assert process.stderr
            complaint = process.stderr.read()
            assert process.wait(PATIENCE) == 1
            eventually(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], 10)
            assert time.monotonic() - began < 15
        what, why, _ = complaint.splitlines()[-3:]
        assert what == "Error: The platform was stopped."
        assert "was deleted, moved or replaced while it ran" in why
        if how == "replaced":
            assert (platform.directory / "stack.json").read_text() == "of somebody else"
        elif how == "deleted":
            assert not platform.directory.exists(), "nothing is written where it was"
        shutil.rmtree(platform.directory.with_name("elsewhere"), ignore_errors=True)
        shutil.rmtree(platform.directory, ignore_errors=True)
