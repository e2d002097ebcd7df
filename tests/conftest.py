"""One PostgreSQL and one Valkey for the run; a fresh copy of each migrated database for every test that asks."""

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

# Hypothesis tries the same examples in each run, and none is too slow: `--hypothesis-profile default` makes others up.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")
_numbers = itertools.count(1)


def _files(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py" for name in names)


GROUPS = (
    _files("cli", "demo"),
    _files("cli/drills", "drills", "interruptions"),
    _files("platform", "damage", "down", "kill", "lost"),
    _files("cli", "audit", "doctor", "faults"),
    _files("browser", "dashboard"),
    _files("platform", "databases", "signals", "status", "up", "watched"),
    _files("cli", "load", "orders", "streams", "toolbox", "top"),
    _files("unit/top", "screen"),
    _files("integration/audit", "audit"),
    _files("e2e", "gremlins"),
    _files("platform", "accounts"),
    _files("e2e", "crashes"),
    _files("integration/inventory", "gremlins"),
)
"""Files whose tests share a platform go to one worker; what takes long begins before all others, in this order."""


FOLDERS = ("tests/unit/manifests/",)
"""Files whose tests share what is made once per process, here what kustomize renders, go to one worker too."""


class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # xdist is not typed
    """Side by side, a file goes to one worker; so do files that share a platform."""

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
    """Measure the machine during tests that say how long something may take."""
    is_timed = item.get_closest_marker("timed") is not None
    LEAST_WAIT["seconds"] = 0.0 if is_timed else 30.0
    with machine_load.observed() if is_timed else nullcontext():
        return (yield)


@pytest.hookimpl(trylast=True)  # pytest has seen by then how it is to colour what it prints
def pytest_configure() -> None:
    surroundings.settle()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, Any]:
    """Have what a failed test shares with others put right: gremlins, halts and forced breakers would fail them too."""
    report = yield
    if call.when == "call" and report.failed:
        for shared in getattr(item, "funcargs", {}).values():
            if hasattr(type(shared), "restore"):
                try:
                    shared.restore()
                except Exception as error:  # noqa: BLE001 - told with the failure, of which this may be a part
                    report.sections.append(("not put right", repr(error)))
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_ports(worker_id: str) -> None:
    """Side by side, no worker takes a port that another has chosen, and does not listen on yet."""
    if worker_id != "master":
        ports.OURS = ports.OURS[int(worker_id.removeprefix("gw")) :: MOST_WORKERS]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    assert all((config.rootpath / file).exists() for group in GROUPS for file in group), (
        "a group names a file that is gone"
    )
    return Grouped(config, log)


class Databases:
    """Makes databases by copying a template, which takes a few hundredths of a second."""

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
    """Without this, structlog draws each traceback with all local variables, and the event loop stands for seconds."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for both servers' data."""
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
    """The URL of an order_db of this test's own."""
    yield from _copy(databases, "order")


@pytest.fixture
def inventory_database(databases: Databases) -> Iterator[str]:
    """The URL of an inventory_db of this test's own, without items."""
    yield from _copy(databases, "inventory")


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """The URL of the run's Valkey, emptied."""
    with redis.Redis.from_url(valkey_server.url()) as client:
        client.flushall()
    return valkey_server.url()


@pytest.fixture
def services(tmp_path: Path, order_database: str, inventory_database: str, redis_url: str) -> Iterator[Processes]:
    """Makes services that share this test's databases; none is started yet."""
    with processes(tmp_path, order_database, inventory_database, redis_url) as made:
        yield made


def _copy(databases: Databases, service: str) -> Iterator[str]:
    name = f"{service}_{next(_numbers)}"
    yield databases.make(name, f"{service}_template")
    databases.drop(name)
