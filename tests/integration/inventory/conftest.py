"""Two inventory replicas shared by tests with separate items, and a pool for tests without HTTP."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from services.common.postgres import Pool, open_pool
from tests.conftest import Databases
from tests.integration.inventory.service import Inventory
from tests.processes import processes
from valerix_cli.local.servers import ValkeyServer


@pytest.fixture(scope="package")
def shared_database(databases: Databases) -> Iterator[str]:
    """URL of an inventory_db in which each test creates its own items."""
    yield databases.make("inventory_shared", "inventory_template")
    databases.drop("inventory_shared")


@pytest.fixture
async def pool(shared_database: str) -> AsyncIterator[Pool]:
    async with open_pool(shared_database, name="test", size=6) as pool:
        yield pool


@pytest.fixture(scope="package")
def running_warehouse(
    tmp_path_factory: pytest.TempPathFactory, shared_database: str, valkey_server: ValkeyServer
) -> Iterator[Inventory]:
    logs: Path = tmp_path_factory.mktemp("warehouse")
    redis_url = valkey_server.url(1)
    with processes(logs, shared_database, shared_database, redis_url) as made:
        replicas = [made.inventory(), made.inventory()]
        made.start(*replicas)
        with Inventory(shared_database, redis_url, replicas) as warehouse:
            yield warehouse


@pytest.fixture
def warehouse(running_warehouse: Inventory) -> Iterator[Inventory]:
    """The shared inventory, without gremlins before and after."""
    with redis.Redis.from_url(running_warehouse.redis_url) as client:
        client.delete("chaos:halted")
    running_warehouse.deactivate()
    yield running_warehouse
    running_warehouse.deactivate()
