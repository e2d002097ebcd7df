"""All four services, running for the tests of this folder."""

import itertools
from collections.abc import Iterator

import pytest

from tests.conftest import Databases
from tests.e2e.conftest import Builder
from tests.e2e.shop import Shop
from tests.integration.frontend.conftest import Dashboards
from tests.processes import OPERATOR_TOKEN, SERVICE_TOKEN, Service
from valerix_cli.local.servers import ValkeyServer

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
SERVICE = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
_numbers = itertools.count(1)


class Platform:
    """One replica of each service, by its name."""

    def __init__(self, shop: Shop, frontend: Service) -> None:
        self.shop = shop
        self.services = {
            "order": shop.order,
            "worker": shop.worker,
            "inventory": shop.inventory,
            "frontend": frontend,
        }

    def url(self, service: str, path: str = "") -> str:
        return self.services[service].url + path


@pytest.fixture(scope="module")
def platform(
    databases: Databases, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    dashboards = Dashboards(tmp_path_factory.mktemp("frontend"))
    name = f"contract_{next(_numbers)}"
    with Builder(databases, valkey_server, tmp_path_factory).shop(name, 2) as shop:
        shop.services.start(*shop.everyone)
        try:
            dashboard = dashboards.start(ORDER_URL=shop.order.url, INVENTORY_URL=shop.inventory.url)
            yield Platform(shop, dashboard.service)
        finally:
            dashboards.end()
