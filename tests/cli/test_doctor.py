"""Services and datastores that are really broken: the doctor finds the fault, and the suggested fix repairs it."""

import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import LiteralString

import jsonschema
import msgspec
import pytest

from tests.cli.conftest import PATIENCE, PROGRAM, Valerix
from tests.cli.diagnosis import NOBODY, describe, diagnose, examined, in_a_shell
from tests.cli.test_audit import database
from tests.cli.test_toolbox import describe_staging
from tests.processes import eventually
from valerix_cli.commands.schema import SHAPES
from valerix_cli.doctor.environment import Limits, time_of_day
from valerix_cli.doctor.model import GROUPS
from valerix_cli.local.ports import LOOPBACK, free_port, is_free
from valerix_cli.local.stack import read_stack


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process, as if it hung, until the block ends or something else continues it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_healthy_platform_fails_no_check_in_any_group(valerix: Valerix) -> None:
    found = diagnose(valerix)
    assert {check["group"] for check in found.values()} == set(GROUPS)
    assert [name for name, check in found.items() if check["status"] == "failed"] == []
    well = ["platform: supervisor", "databases: order_db", "databases: inventory_db durability", "redis: redis"]
    well += ["services: order-2", "services: worker-1 heartbeat", "access: inventory-1", "schema: order_db"]
    assert {found[name]["status"] for name in [*well, "clock: postgres", "clock: worker-1"]} == {"ok"}


def test_the_doctors_output_matches_its_schema_in_every_format(valerix: Valerix) -> None:
    result = json.loads(valerix("doctor", "-o", "jsonl").out)
    jsonschema.validate(result, msgspec.json.schema(SHAPES["doctor"]))
    table = valerix("doctor").out
    assert "\x1b" not in table
    assert "doctor" in valerix("schema").out


def test_a_spinner_is_the_only_extra_output_on_a_terminal(valerix: Valerix, state: Path) -> None:
    ours, theirs = pty.openpty()
    environ = valerix.environ | {"TERM": "xterm", "VALERIX_STATE_DIR": str(state)}
    command = [PROGRAM, "doctor"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=valerix.directory, env=environ
    ) as process:
        os.close(theirs)
        output = b"".join(iter(lambda: read(ours), b"")).decode()
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    assert "running checks" in output
    assert "Output is UTF-8." in output
    assert "\x1b[32mok" in output


def read(terminal: int) -> bytes:
    """Return the next output on a terminal; b"" once it is closed on the other side."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_a_port_held_by_another_process_is_reported_with_its_name(valerix: Valerix, state: Path) -> None:
    with socket.create_server((LOOPBACK, 3001)) if is_free(3001) else nullcontext():
        found = diagnose(valerix, VALERIX_STATE_DIR=str(state))["ports: 3001"]
    assert found["status"] == "warning"
    assert "(pid " in found["found"]
    pid = found["found"].partition("(pid ")[2].partition(")")[0]
    assert found["hint"].startswith(f"kill {pid} ")


def test_a_stopped_service_is_detected_and_resumed_by_the_hint(valerix: Valerix) -> None:
    pid = valerix.stack()["services"]["order"][1]["pid"]
    with stopped(pid):
        began = time.monotonic()
        found = diagnose(valerix, "--timeout", "2s", code=3)["services: order-2"]
        assert time.monotonic() - began < 10
        assert (found["status"], found["hint"]) == ("failed", f"kill -CONT {pid}")
        in_a_shell(found["hint"])
        assert examined(valerix)["services: order-2"].status == "ok"


def _ails(valerix: Valerix, name: str) -> bool:
    return examined(valerix)[name].status in {"warning", "failed"}


def test_stopped_datastores_are_detected_and_resumed_by_the_hints(valerix: Valerix) -> None:
    databases = valerix.stack()["databases"]
    with stopped(databases["redis"]["pid"]), stopped(databases["postgres"]["pid"]):
        found = examined(valerix)
        hung = {name: found[name] for name in ("redis: redis", "databases: order_db", "databases: inventory_db")}
        assert {check.status for check in hung.values()} == {"failed"}
        assert hung["redis: redis"].hint == f"kill -CONT {databases['redis']['pid']}"
        assert hung["databases: order_db"].hint == f"kill -CONT {databases['postgres']['pid']}"
        assert found["schema: order_db"].status == "skipped"
        eventually(lambda: _ails(valerix, "services: order-1"), 10, "a service looks at what it needs once a second")
        for check in hung.values():
            in_a_shell(str(check.hint))

    def is_well() -> bool:
        found = examined(valerix)
        return {found[name].status for name in (*hung, "services: order-1", "services: inventory-1")} == {"ok"}

    eventually(is_well, 20)


def test_external_datastores_are_checked_before_a_start(valerix: Valerix, state: Path) -> None:
    urls = {"VALERIX_DATABASE_URL": f"postgresql://me@{LOOPBACK}:9/x", "VALERIX_REDIS_URL": f"redis://{LOOPBACK}:9"}
    found = diagnose(valerix, code=3, VALERIX_STATE_DIR=str(state), **urls)
    database, redis = found["databases: VALERIX_DATABASE_URL"], found["redis: redis"]
    assert (database["status"], redis["status"]) == ("failed", "failed")
    assert database["hint"].startswith("unset VALERIX_DATABASE_URL")
    assert redis["hint"].startswith("unset VALERIX_REDIS_URL")
    assert found["machine: postgres program"]["status"] == "skipped"


@pytest.mark.parametrize("version", ["3", pytest.param("4", marks=pytest.mark.long)])
def test_a_missing_migration_is_detected_in_the_database_and_by_the_service(valerix: Valerix, version: str) -> None:
    """The result does not depend on whether it is the last migration."""
    with changed_schema(valerix, "DELETE FROM schema_migrations WHERE version = %s", version):
        eventually(lambda: _ails(valerix, "services: order-1"), 10, "a service looks at what it needs once a second")
        found = examined(valerix)
    behind = found["schema: order_db"]
    assert (behind.status, behind.hint) == ("failed", "valerix down && valerix up --detach")
    assert behind.found.startswith(f"It lacks migration 000{version}:")
    assert (found["services: order-1"].status, found["services: order-1"].hint) == ("failed", behind.hint)
    assert found["schema: inventory_db"].status == "ok"


def test_a_schema_newer_than_the_code_is_a_warning(valerix: Valerix) -> None:
    with changed_schema(valerix, "INSERT INTO schema_migrations (version, name) VALUES (9999, '9999_later.sql')"):
        found = examined(valerix)["schema: order_db"]
    assert found.status == "warning"
    assert found.found.startswith("It has migration 9999,")


@contextmanager
def changed_schema(valerix: Valerix, statement: LiteralString, *parameters: str) -> Iterator[None]:
    with database(valerix, "order_db") as conn:
        conn.execute("CREATE TEMPORARY TABLE before AS SELECT * FROM schema_migrations")
        conn.execute(statement, parameters)
        try:
            yield
        finally:
            with conn.transaction():
                conn.execute("DELETE FROM schema_migrations")
                conn.execute("INSERT INTO schema_migrations SELECT * FROM before")


def test_commits_without_durability_are_detected_and_corrected_by_the_hint(valerix: Valerix) -> None:
    with database(valerix, "order_db") as admin:
        admin.execute("ALTER ROLE order_service SET synchronous_commit = off")
        found = examined(valerix)["databases: order_db durability"]
        assert (found.status, "synchronous_commit is off" in found.found) == ("warning", True)
        statement = str(found.hint).partition(' -c "')[2].rstrip('"')
        assert statement == "ALTER ROLE order_service RESET synchronous_commit"
        admin.execute(statement.encode())
    assert examined(valerix)["databases: order_db durability"].status == "ok"


def test_a_server_without_fsync_is_detected(valerix: Valerix, order_database: str, inventory_database: str) -> None:
    """The tests' own PostgreSQL runs without it."""
    staging = {"order": [NOBODY], "inventory": [NOBODY], "operator_token_env": "STAGING_TOKEN"}
    urls = {"STAGING_ORDERS": order_database, "STAGING_STOCK": inventory_database}
    describe(valerix, "staging", order_database_env="STAGING_ORDERS", inventory_database_env="STAGING_STOCK", **staging)
    result = valerix("doctor", "--context", "staging", "-o", "json", code=3, **urls).out
    lax = [check for check in json.loads(result)["checks"] if check["name"] == "order_db durability"]
    assert {check["status"] for check in lax} == {"warning"}
    assert "start that PostgreSQL without -c fsync=off" in {check["hint"] for check in lax}


def test_an_unreachable_remote_platform_fails_and_local_checks_are_skipped(valerix: Valerix) -> None:
    describe(valerix, "void", order=[NOBODY], inventory=[NOBODY])
    found = diagnose(valerix, "--context", "void", code=3)
    order = found[f"services: order {NOBODY}"]
    assert (order["status"], order["hint"]) == ("failed", f"curl -sS {NOBODY}/health/ready")
    assert {found[f"{name}"]["status"] for name in ("platform: supervisor", "ports: ports")} == {"skipped"}
    assert found["state directory: directory"]["found"] == "`void` does not run on this machine."
    assert found["access: token"]["hint"].startswith("set operator_token_env of [contexts.void] in ")


def test_a_wrong_token_is_detected_for_each_service_with_the_variable_to_correct(valerix: Valerix) -> None:
    describe_staging(valerix)
    found = diagnose(valerix, "--context", "staging", code=3, STAGING_TOKEN="not-the-operators")
    refused = [check for name, check in found.items() if name.startswith("access: ") and check["status"] == "failed"]
    assert len(refused) == 3, "two order services and inventory"
    assert {check["hint"] for check in refused} == {"export STAGING_TOKEN=…, the operator's token of that platform"}
    assert found["services: queue"]["status"] == "skipped"


def test_a_server_that_never_responds_does_not_delay_other_checks(valerix: Valerix) -> None:
    with socket.create_server((LOOPBACK, free_port())) as silent:
        where = f"{LOOPBACK}:{silent.getsockname()[1]}"
        describe(valerix, "mute", order=[f"http://{where}"], inventory=[NOBODY], order_database_env="MUTE")
        began = time.monotonic()
        found = diagnose(
            valerix, "--context", "mute", "--timeout", "1s", code=3, MUTE=f"postgresql://auditor@{where}/order_db"
        )
        assert time.monotonic() - began < 10
    assert found[f"services: order http://{where}"]["found"] == "It did not respond within 500 ms."
    assert found["databases: order_db"]["found"] == "There was no response within 1.0 s."


def test_live_or_halted_gremlins_are_detected_and_undone_by_the_hints(valerix: Valerix) -> None:
    valerix("chaos", "on", "crash", "--rate", "0.01", "--ttl", "60s")
    live = examined(valerix)["services: gremlins"]
    assert (live.status, live.hint) == ("warning", "valerix chaos off")
    valerix("chaos", "off")
    valerix("chaos", "halt")
    halted = examined(valerix)["services: gremlins"]
    assert (halted.status, halted.hint) == ("warning", "valerix chaos halt --resume")
    valerix("chaos", "halt", "--resume")
    assert examined(valerix)["services: gremlins"].status == "ok"


def test_low_disk_space_and_memory_are_detected(valerix: Valerix) -> None:
    found = examined(valerix, limits=Limits(room=2**60, memory=2**60, files=2**60))
    room = found["state directory: room"]
    assert room.status == "warning"
    assert str(room.hint).startswith(f"df -h {valerix.directory / 'state'};")
    assert (found["machine: memory"].status, found["machine: open files"].status) == ("warning", "warning")


def test_a_clock_difference_is_reported_for_the_database_and_each_service(valerix: Valerix) -> None:
    found = examined(valerix, now=lambda: time_of_day() - timedelta(seconds=60))
    clocks = {name: check for name, check in found.items() if name.startswith("clock: ")}
    assert len(clocks) == 6
    assert {check.status for check in clocks.values()} == {"warning"}
    assert all(" ahead of this machine's" in check.found for check in clocks.values())


def test_a_program_of_an_older_version_is_detected(valerix: Valerix) -> None:
    stack = read_stack(valerix.directory / "state")
    assert stack is not None
    found = examined(valerix, stack=msgspec.structs.replace(stack, valerix_version="0.0.1"))["platform: version"]
    assert (found.status, found.hint) == ("warning", "valerix down && valerix up --detach")
