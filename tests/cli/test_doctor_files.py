"""State directories, secrets and stacks that are really broken: the doctor finds the fault, and its fix repairs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Valerix
from tests.cli.diagnosis import diagnose, examined, in_a_shell
from valerix_cli.local.lock import take
from valerix_cli.local.stack import Stack, ensure_secrets, read_stack, write_stack


@pytest.fixture
def left_behind(valerix: Valerix, state: Path) -> Stack:
    """The files that a killed platform leaves in `state`: its secrets, and a stack.json whose supervisor is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    stack = read_stack(valerix.directory / "state")
    assert stack is not None
    ensure_secrets(state)
    write_stack(state, msgspec.structs.replace(stack, supervisor_pid=gone.pid))
    return stack


@contextmanager
def kept(file: Path) -> Iterator[None]:
    """Restore a file when the block ends."""
    content, mode = file.read_bytes(), file.stat().st_mode
    try:
        yield
    finally:
        file.write_bytes(content)
        file.chmod(mode)


def test_a_fresh_machine_has_no_failed_check_and_a_hint_to_start(valerix: Valerix, state: Path) -> None:
    shutil.rmtree(state)
    found = diagnose(valerix, VALERIX_STATE_DIR=str(state))
    supervisor = found["platform: supervisor"]
    assert (supervisor["status"], supervisor["hint"]) == ("skipped", "valerix up --detach")
    assert found["databases: postgres"]["found"] == "No platform runs here."
    assert not state.exists(), "looking changes nothing"


def test_an_impossible_state_directory_is_reported(valerix: Valerix, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = valerix("doctor", code=3, VALERIX_STATE_DIR=str(tmp_path / "file" / "state"))
    what, why, hint = done.err.splitlines()
    assert what == "Error: A check failed."
    assert why.startswith(f"  why: state directory: directory; first: {tmp_path / 'file' / 'state'} cannot be used:")
    assert hint == '  try: export VALERIX_STATE_DIR="$HOME/valerix"'


def test_a_state_directory_with_other_content_is_reported(valerix: Valerix, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    found = diagnose(valerix, "--fix", code=3, VALERIX_STATE_DIR=str(tmp_path))["state directory: directory"]
    assert (found["status"], "thesis.tex" in found["found"]) == ("failed", True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_secrets_readable_by_others_are_protected_by_the_hint_and_by_the_fix(valerix: Valerix) -> None:
    secrets = valerix.directory / "state" / "secrets.json"
    secrets.chmod(0o644)
    found = diagnose(valerix, code=3)["state directory: secrets"]
    assert (found["status"], found["fixable"]) == ("failed", True)
    assert "mode 644" in found["found"]
    first, second = found["hint"].split(", or ")
    assert first == "valerix doctor --fix"
    in_a_shell(second)
    assert secrets.stat().st_mode & 0o777 == 0o600

    secrets.chmod(0o640)
    done = valerix("doctor", "--fix")
    assert done.err == f"{secrets} had mode 640 and has 600 now.\n"
    assert secrets.stat().st_mode & 0o777 == 0o600


def test_a_state_directory_writable_by_others_is_protected_by_the_fix(valerix: Valerix, state: Path) -> None:
    state.chmod(0o777)
    found = diagnose(valerix, code=3, VALERIX_STATE_DIR=str(state))["state directory: directory"]
    assert (found["status"], found["hint"]) == ("failed", f"valerix doctor --fix, or chmod go-w {state}")
    assert diagnose(valerix, "--fix", VALERIX_STATE_DIR=str(state))["state directory: directory"]["status"] == "ok"
    assert state.stat().st_mode & 0o777 == 0o755


def test_invalid_secrets_are_reported_with_a_hint_to_restore_the_old_ones(valerix: Valerix) -> None:
    secrets = valerix.directory / "state" / "secrets.json"
    with kept(secrets):
        secrets.write_text("{}")
        found = examined(valerix)
    assert found["state directory: secrets"].status == "failed"
    assert (
        found["state directory: secrets"].hint
        == "put the old secrets.json back, or start from scratch: valerix down --wipe"
    )
    assert found["access: token"].status == "failed"
    assert found["databases: order_db"].status == "skipped"


def test_missing_secrets_of_an_existing_database_fail(valerix: Valerix) -> None:
    secrets = valerix.directory / "state" / "secrets.json"
    with kept(secrets):
        secrets.unlink()
        assert examined(valerix)["state directory: secrets"].status == "failed"


def test_an_invalid_stack_file_is_removed(valerix: Valerix, state: Path) -> None:
    (state / "stack.json").write_text("\0")
    found = diagnose(valerix, VALERIX_STATE_DIR=str(state))["platform: stack.json"]
    assert (found["status"], found["fixable"]) == ("warning", True)
    assert found["hint"].startswith("valerix doctor --fix, ")
    after = diagnose(valerix, "--fix", VALERIX_STATE_DIR=str(state))["platform: stack.json"]
    assert after["found"] == "There is none while nothing runs."
    assert not (state / "stack.json").exists()


@pytest.mark.usefixtures("left_behind")
def test_the_stack_file_of_a_killed_supervisor_is_removed(valerix: Valerix, state: Path) -> None:
    done = valerix("doctor", "--fix", "-o", "json", VALERIX_STATE_DIR=str(state))
    assert json.loads(done.out)["fixed"] == [done.err.strip()]
    assert done.err == f"{state / 'stack.json'} was removed: no platform is running.\n"
    assert not (state / "stack.json").exists()
    assert (state / "secrets.json").exists()


@pytest.mark.usefixtures("left_behind")
def test_the_hint_for_a_killed_supervisor_ends_its_remaining_processes(valerix: Valerix, state: Path) -> None:
    lock = take(state)
    assert lock is not None
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=(lock,)) as left:
        os.close(lock)
        try:
            found = diagnose(valerix, "--fix", code=3, VALERIX_STATE_DIR=str(state))["platform: supervisor"]
            assert (found["status"], found["hint"]) == ("failed", "valerix down")
            assert f"still running: {left.pid}" in found["found"]
            assert left.poll() is None, "the doctor ends nobody"
            valerix("down", VALERIX_STATE_DIR=str(state))
            assert left.wait(10) == -signal.SIGTERM
        finally:
            left.kill()


def test_a_running_platform_that_lost_its_stack_is_checked_after_the_stack_is_rewritten(valerix: Valerix) -> None:
    stack = valerix.directory / "state" / "stack.json"
    stack.write_text("{")
    found = examined(valerix)
    assert {found[name].status for name in ("platform: stack.json", "platform: supervisor")} == {"ok"}
