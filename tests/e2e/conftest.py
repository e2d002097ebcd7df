"""A running platform, in several sizes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Databases
from tests.e2e.shop import Shop
from tests.processes import Processes, processes
from valerix_cli.local.servers import ValkeyServer


@pytest.fixture
def shop(services: Processes, order_database: str, inventory_database: str) -> Shop:
    """One replica of each service, running, with 100 ps5 in stock."""
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 100)
    services.start(*shop.everyone)
    return shop


class Builder:
    """Builds platforms that outlive a test: each with named databases and a separate database number of Valkey."""

    def __init__(self, databases: Databases, valkey: ValkeyServer, directories: pytest.TempPathFactory) -> None:
        self._databases, self._valkey, self._directories = databases, valkey, directories

    @contextmanager
    def shop(self, name: str, number: int, *, orders: int = 1, **settings: str) -> Iterator[Shop]:
        order_database = self._databases.make(f"{name}_orders", "order_template")
        inventory_database = self._databases.make(f"{name}_inventory", "inventory_template")
        redis_url = self._valkey.url(number)
        with processes(self._directories.mktemp(name), order_database, inventory_database, redis_url) as services:
            shop = Shop(services, order_database, inventory_database, orders=orders, **settings)
            shop.stock("ps5", 100)
            yield shop


@pytest.fixture(scope="session")
def builder(databases: Databases, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(databases, valkey_server, tmp_path_factory)


@pytest.fixture(scope="session")
def open_shop(builder: Builder) -> Iterator[Shop]:
    """Two order replicas, shared by all tests that leave every process alive and buy separate items."""
    with builder.shop("open_shop", 1, orders=2) as shop:
        shop.services.start(*shop.everyone)
        yield shop
