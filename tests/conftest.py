"""One PostgreSQL and one Valkey per run; a new copy of each migrated database for every test that requests it."""

import itertools
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from services.common.postgres import migrate
from tests import machine_load, surroundings
from tests.processes import LEAST_WAIT, Processes, open_directory, processes
from valerix_cli.local import ports
from valerix_cli.local.servers import PostgresServer, ValkeyServer, running

PASSWORD = "only-for-this-run"
MOST_WORKERS = 16

# Hypothesis tries the same examples in each run, without a deadline: `--hypothesis-profile default` generates others.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")
_numbers = itertools.count(1)


def _files(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py" for name in names)


GROUPS = (
    _files("cli", "demo"),
    _files("cli/drills", "drills", "interruptions"),
    _files("platform", "damage", "down", "kill", "lost"),
    _files("cli", "audit", "doctor", "doctor_files", "faults"),
    _files("browser", "dashboard"),
    _files("platform", "databases", "signals", "status", "up", "watched"),
    _files("cli", "load", "orders", "streams", "toolbox", "top"),
    _files("unit/top", "screen"),
    _files("integration/audit", "audit"),
    _files("e2e", "gremlins"),
    _files("platform", "accounts"),
    _files("e2e", "crashes"),
    _files("integration/inventory", "gremlins", "hits"),
)
"""Files whose tests share a platform run in one worker. The slow ones start before all others, in this order."""


FOLDERS = ("tests/unit/manifests/",)
"""Files whose tests share results computed once per process, here rendered manifests, run in one worker too."""


class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # xdist is not typed
    """In parallel runs, the tests of a file run in one worker, as do files that share a platform."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        shared = (*(group[0] for group in GROUPS if file in group), *filter(file.startswith, FOLDERS))
        return next(iter(shared), file)

    def _assign_work_unit(self, node: Any) -> None:
        if first := next((group[0] for group in GROUPS if group[0] in self.workqueue), None):
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the load of the machine during timed tests."""
    is_timed = item.get_closest_marker("timed") is not None
    LEAST_WAIT["seconds"] = 0.0 if is_timed else 30.0
    with machine_load.observed() if is_timed else nullcontext():
        return (yield)


@pytest.hookimpl(trylast=True)  # by then, pytest has chosen the colours of its output
def pytest_configure() -> None:
    surroundings.settle()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, Any]:
    """Restore what a failed test shares with others: gremlins, halts and forced breakers would make them fail too."""
    report = yield
    if call.when == "call" and report.failed:
        for shared in getattr(item, "funcargs", {}).values():
            if hasattr(type(shared), "restore"):
                try:
                    shared.restore()
                except Exception as error:  # noqa: BLE001 - reported with the failure, which may have caused it
                    report.sections.append(("not put right", repr(error)))
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_ports(worker_id: str) -> None:
    """In parallel runs, each worker has its own ports: none takes a port that another has chosen but not opened yet."""
    if worker_id != "master":
        ports.OURS = ports.OURS[int(worker_id.removeprefix("gw")) :: MOST_WORKERS]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    assert all((config.rootpath / file).exists() for group in GROUPS for file in group), (
        "a group names a file that is gone"
    )
    return Grouped(config, log)


class Databases:
    """Creates databases by copying a template, which takes a few hundredths of a second."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    def make(self, name: str, template: str = "template1") -> str:
        self._admin(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.server.url(name)

    def drop(self, name: str) -> None:
        self._admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as conn:
            conn.execute(statement.encode())


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Plain tracebacks: structlog's default prints all local variables, which blocks the event loop for seconds."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """Directory for both servers' data."""
    with open_directory("tests") as directory:
        yield directory


@pytest.fixture(scope="session")
def postgres_server(scratch: Path) -> Iterator[PostgresServer]:
    directory = scratch / "postgres"
    directory.mkdir()
    with running(PostgresServer.at(directory, password=PASSWORD, fsync=False)) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(scratch: Path) -> Iterator[ValkeyServer]:
    directory = scratch / "valkey"
    directory.mkdir()
    with running(ValkeyServer.at(directory, password=PASSWORD)) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres_server: PostgresServer) -> Databases:
    databases = Databases(postgres_server)
    for service in ("order", "inventory"):
        migrate(databases.make(f"{service}_template"), f"services.{service}")
    return databases


@pytest.fixture
def order_database(databases: Databases) -> Iterator[str]:
    """URL of an order_db for this test."""
    yield from _copy(databases, "order")


@pytest.fixture
def inventory_database(databases: Databases) -> Iterator[str]:
    """URL of an inventory_db for this test, without items."""
    yield from _copy(databases, "inventory")


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """URL of the run's Valkey, emptied."""
    with redis.Redis.from_url(valkey_server.url()) as client:
        client.flushall()
    return valkey_server.url()


@pytest.fixture
def services(tmp_path: Path, order_database: str, inventory_database: str, redis_url: str) -> Iterator[Processes]:
    """Creates services that share this test's databases; none is started yet."""
    with processes(tmp_path, order_database, inventory_database, redis_url) as made:
        yield made


def _copy(databases: Databases, service: str) -> Iterator[str]:
    name = f"{service}_{next(_numbers)}"
    yield databases.make(name, f"{service}_template")
    databases.drop(name)
