"""A running shop, in the sizes that the tests need."""

import pytest

from tests.integration.life.shop import Shop
from tests.processes import Processes


@pytest.fixture
def shop(services: Processes, order_database: str, inventory_database: str) -> Shop:
    """One replica of each, running, with 100 ps5 on the shelf."""
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 100)
    services.start(*shop.everyone)
    return shop


@pytest.fixture
def big_shop(services: Processes, order_database: str, inventory_database: str) -> Shop:
    """Two order replicas, running, with 100 ps5 on the shelf."""
    shop = Shop(services, order_database, inventory_database, orders=2)
    shop.stock("ps5", 100)
    services.start(*shop.everyone)
    return shop
