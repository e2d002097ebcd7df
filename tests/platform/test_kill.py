"""SIGKILL of any process, at any time."""

import os
import signal

from tests.platform.installation import PATIENCE, Installation
from tests.processes import eventually
from valerix_cli.local.stack import Service, read_secrets


def test_killing_every_process_at_once_loses_no_order(platform: Installation) -> None:
    orders = [platform.place(f"before-the-kill-{number}") for number in range(5)]
    assert [order.status_code for order in orders] == [201] * 5
    secrets = read_secrets(platform.directory)
    platform.kill_everything()
    assert (platform.directory / "stack.json").exists(), "what a crash leaves behind"

    platform.up()
    assert read_secrets(platform.directory) == secrets
    again = [platform.place(f"before-the-kill-{number}") for number in range(5)]
    assert [order.headers["Idempotent-Replayed"] for order in again] == ["true"] * 5
    assert [order.json() for order in again] == [order.json() for order in orders]


def test_a_killed_service_is_restarted_and_the_restart_is_reported(platform: Installation) -> None:
    before = platform.service("inventory-1")
    assert before.pid
    os.kill(before.pid, signal.SIGKILL)
    after = eventually(lambda: _is_back(platform, "inventory-1", before.restarts), PATIENCE)
    assert after
    assert (after.port, after.last_exit) == (before.port, -9)
    assert after.pid != before.pid
    output = platform.run("logs", "supervisor", "-n", "20").stdout
    assert "inventory-1 was killed by SIGKILL; restarting in 0.5 s" in output
    assert "inventory-1 is ready again" in output


def test_killed_databases_are_restarted_on_the_same_ports(platform: Installation) -> None:
    assert platform.place("before-the-databases-die").status_code == 201
    before = platform.stack.databases
    for database in before.values():
        assert database.pid
        os.kill(database.pid, signal.SIGKILL)
    eventually(
        lambda: all(one.restarts and one.state == "running" for one in platform.stack.databases.values()), PATIENCE
    )
    assert {name: one.port for name, one in platform.stack.databases.items()} == {
        name: one.port for name, one in before.items()
    }
    eventually(lambda: platform.place("before-the-databases-die").status_code == 201, PATIENCE)


def test_no_process_outlives_a_killed_supervisor(platform: Installation) -> None:
    assert len(platform.processes) >= 6
    os.kill(platform.stack.supervisor_pid, signal.SIGKILL)
    eventually(platform.is_gone, 5)


def _is_back(platform: Installation, name: str, restarts: int) -> Service | None:
    service = platform.service(name)
    return service if service.state == "running" and service.restarts > restarts else None
