"""Starting the platform, and the obstacles to a start."""

import json
import os
import socket
import stat
from contextlib import nullcontext
from pathlib import Path

import psutil

from tests.platform.installation import Installation, as_another_user, installed
from valerix_cli.local.ports import LOOPBACK, is_free
from valerix_cli.local.state_directory import prepare


def test_a_second_up_is_refused_with_a_hint(platform: Installation) -> None:
    refused = platform.run("up", "--detach")
    what, why, hint = refused.stderr.splitlines()
    assert refused.returncode == 4
    assert what == "Error: A platform already runs here."
    assert f"pid {platform.stack.supervisor_pid}" in why
    assert "valerix status" in hint
    assert "valerix down" in hint


def test_secrets_are_readable_only_by_the_owner_and_absent_from_the_stack_file(platform: Installation) -> None:
    secrets = platform.directory / "secrets.json"
    stack = platform.directory / "stack.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.stat().st_mode) == 0o644
    held = list(json.loads(secrets.read_text()).values())
    assert len(held) == 8
    assert not any(secret in stack.read_text() for secret in held)
    assert not any(secret in " ".join(psutil.Process(pid).cmdline()) for secret in held for pid in platform.processes)


def test_everything_listens_on_loopback_only(platform: Installation) -> None:
    listening = [
        one.laddr.ip
        for pid in platform.processes
        for one in psutil.Process(pid).net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert set(listening) == {LOOPBACK}


def test_a_taken_port_is_reported_and_another_used(stopped: Installation) -> None:
    with socket.create_server((LOOPBACK, 3001)) if is_free(3001) else nullcontext():
        done = stopped.up("--replicas", "order=2", "--replicas", "worker=1")
    assert "port 3001 is taken by " in done.stderr
    assert f"order-1 listens on {stopped.service('order-1').port}" in done.stderr
    assert stopped.service("order-1").port != 3001
    assert stopped.service("order-2").state == "running"
    assert stopped.place("over-a-taken-port").status_code == 201


def test_an_unwritable_directory_is_reported(tmp_path: Path) -> None:
    """Permissions do not restrict root, so for root it is a directory that cannot exist."""
    closed = tmp_path / "closed"
    if os.geteuid() == 0:
        closed.touch()
    else:
        closed.mkdir(mode=0o500)
    refused = Installation(closed / "state").run("up", "--detach")
    assert refused.returncode == 3
    assert f"The state directory {closed / 'state'} cannot be used." in refused.stderr
    assert "VALERIX_STATE_DIR" in refused.stderr.splitlines()[-1]


def test_a_directory_with_other_content_is_left_unchanged(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("not yours")
    for command in (["up", "--detach"], ["down", "--wipe", "--yes"]):
        refused = Installation(tmp_path).run(*command)
        assert refused.returncode == 4
        assert len(refused.stderr.splitlines()[-3:]) == 3
    assert list(tmp_path.iterdir()) == [mine]


def test_invalid_secrets_are_reported_and_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    prepare(state)
    (state / "secrets.json").write_text("not mine")
    refused = Installation(state).run("up", "--detach")
    assert refused.returncode == 3
    assert refused.stderr.splitlines()[-3] == f"Error: {state / 'secrets.json'} is invalid."
    assert refused.stderr.splitlines()[-1].startswith("  try: put the old secrets.json back")
    assert (state / "secrets.json").read_text() == "not mine"


def test_a_platform_runs_as_an_ordinary_user() -> None:
    with installed(**as_another_user()) as theirs:
        theirs.up()
        owners = {psutil.Process(pid).username() for pid in theirs.processes}
        assert theirs.place("as-an-ordinary-user").status_code == 201
        assert theirs.run("down").returncode == 0
        assert theirs.is_gone()
    assert len(owners) == 1, "PostgreSQL needs no other account when we are not root"
    assert os.geteuid() != 0 or theirs.prefix or owners == {"nobody"}
