"""Supervised processes, restart decisions, and logs."""

import asyncio
import sys
from pathlib import Path

import pytest

from valerix_cli.errors import UnreachableError
from valerix_cli.local.launch import Launch
from valerix_cli.local.logs import last_lines, rotate
from valerix_cli.local.ports import free_port
from valerix_cli.local.supervised_process import ProcessSpec, SupervisedProcess, SupervisorContext, restart_delay
from valerix_cli.local.supervisor_log import SupervisorLog
from valerix_cli.local.topology import FRONTEND, INVENTORY, ORDER, Dependencies, Replica, environment

BACKING = Dependencies(
    {"order_service": "postgresql://o", "inventory_service": "postgresql://i"}, "redis://r", "s", "o", "p"
)


def test_delays_between_restarts_grow_to_half_a_minute() -> None:
    assert [restart_delay(crashes) for crashes in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restart_delay(10_000) == 30


async def test_a_failed_start_reports_the_service_and_its_output(tmp_path: Path) -> None:
    child = _child(tmp_path, """print('{"event": "settings refused", "why": "VALERIX_PORT is not set"}'); exit(2)""")
    with pytest.raises(UnreachableError) as caught:
        await child.start(within=20)
    assert caught.value.what == "order-1 did not start."
    assert caught.value.why == "it ended with exit code 2: settings refused: VALERIX_PORT is not set"
    assert caught.value.hint == f"read {tmp_path / 'order-1.log'}"


async def test_a_service_that_never_becomes_ready_fails_its_start(tmp_path: Path) -> None:
    child = _child(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(UnreachableError, match=r"it was not ready within 0\.2 s"):
        await child.start(within=0.2)
    await child.stop(asyncio.Event())
    assert child.pid is None


def _child(directory: Path, program: str) -> SupervisedProcess:
    launch = Launch((sys.executable, "-c", program), directory)
    log = directory / "order-1.log"
    spec = ProcessSpec("order-1", "nowhere", free_port(), lambda: launch, answers=lambda _: False, log=log)
    return SupervisedProcess(spec, SupervisorContext(SupervisorLog(), changed=lambda: None, inherited=()))


def test_a_service_gets_the_url_of_every_inventory_and_no_setting_of_the_caller() -> None:
    fleet = (Replica(INVENTORY, 1, 3002), Replica(INVENTORY, 2, 4002), Replica(ORDER, 1, 3001))
    ours = {"PATH": "/bin", "VALERIX_DATABASE_URL": "admin", "VALERIX_STATE_DIR": "x", "VALERIX_LEASE_SECONDS": "2"}
    variables = environment(fleet[2], fleet, BACKING, ours)
    assert variables["VALERIX_INVENTORY_URL"] == "http://127.0.0.1:3002,http://127.0.0.1:4002"
    assert variables["VALERIX_DATABASE_URL"] == "postgresql://o"
    assert variables["VALERIX_LEASE_SECONDS"] == "2"
    assert variables["PATH"] == "/bin"
    assert "VALERIX_STATE_DIR" not in variables


def test_the_dashboard_gets_the_urls_of_the_services_and_no_database() -> None:
    fleet = (Replica(INVENTORY, 1, 3002), Replica(ORDER, 1, 3001), Replica(ORDER, 2, 4001), Replica(FRONTEND, 1, 3000))
    variables = environment(fleet[3], fleet, BACKING, {"PATH": "/bin"})
    assert variables["VALERIX_ORDER_URL"] == "http://127.0.0.1:3001,http://127.0.0.1:4001"
    assert (variables["VALERIX_OPERATOR_TOKEN"], variables["VALERIX_DASHBOARD_PASSWORD"]) == ("o", "p")
    assert "VALERIX_STATE_DIR" not in variables, "it may not read the secrets there"
    assert variables["VALERIX_REDIS_URL"] == BACKING.redis_url
    assert not {"VALERIX_DATABASE_URL", "VALERIX_SERVICE_TOKENS"} & set(variables)


def test_a_large_log_is_rotated_and_old_ones_are_deleted(tmp_path: Path) -> None:
    log = tmp_path / "order-1.log"
    with log.open("ab") as child:
        for number in range(6):
            child.write(f"line {number}\n".encode() * 10)
            child.flush()
            assert not rotate(log, limit=100)
            assert rotate(log, limit=50, kept=3)
        child.write(b"still the same file\n")
    assert last_lines(log, 5) == ["still the same file"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"order-1.log{end}" for end in ("", ".1", ".2", ".3")]
    assert last_lines(Path(f"{log}.1"), 1) == ["line 5"]
    assert last_lines(Path(f"{log}.3"), 1) == ["line 3"]
