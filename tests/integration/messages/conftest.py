"""All four services, shared by the tests that leave them alive."""

from collections.abc import Iterator

import pytest

from tests.conftest import Databases
from tests.e2e.shop import Shop
from tests.integration.messages.services import ROLES, Role, role
from tests.processes import Service, processes, start_all
from valerix_cli.local.servers import ValkeyServer

ITEM = "wire"


@pytest.fixture(scope="session")
def fleet(
    databases: Databases, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    """Each service by its name, with more stock of one item than any test buys."""
    order, inventory = (
        databases.make("wire_orders", "order_template"),
        databases.make("wire_inventory", "inventory_template"),
    )
    with processes(tmp_path_factory.mktemp("wire"), order, inventory, valkey_server.url(5)) as services:
        shop = Shop(services, order, inventory)
        shop.stock(ITEM, 1_000_000)
        frontend = services.frontend(shop.order, shop.inventory)
        start_all([*shop.everyone, frontend])
        yield dict(zip(ROLES, (shop.order, shop.inventory, shop.worker, frontend), strict=True))


ALIKE = ("inventory", "worker")  # serve like the order service: tested where time does not matter


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.long] * (name in ALIKE)) for name in ROLES])
def each(request: pytest.FixtureRequest, fleet: dict[str, Service]) -> Role:
    """Every service in turn."""
    name = str(request.param)
    return role(name, fleet[name], ITEM)
