"""Processes killed at each crash point: every accepted order ends with exactly one effect."""

import threading
from collections.abc import Iterable, Iterator

import httpx
import pytest

from services.order.app import CRASH_POINTS as ORDER_POINTS
from services.order.worker import CRASH_POINTS as WORKER_POINTS
from tests.e2e.conftest import Builder
from tests.e2e.shop import Shop, new_key
from tests.processes import Processes, eventually

DAILY = {"after-accept", "before-settle", "after-claim", "after-deduct", "before-commit", "after-commit"}
"""The crash points of the default run; the others are long tests, and the campaign strikes each point fifty times."""


def points(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "point", [name if name in DAILY else pytest.param(name, marks=pytest.mark.long) for name in sorted(names)]
    )


@pytest.fixture(scope="module")
def backstage(builder: Builder) -> Iterator[Shop]:
    """Inventory and a worker, for order services that die; leases last one second."""
    with builder.shop("backstage", 2, LEASE_SECONDS="1", BREAKER_OPEN_SECONDS="1") as shop:
        shop.services.start(shop.inventory, shop.worker)
        yield shop


@pytest.fixture(scope="module")
def frontstage(builder: Builder) -> Iterator[Shop]:
    """Inventory and an order service that cannot reach it, for workers that die while processing its queued orders."""
    with builder.shop("frontstage", 3, LEASE_SECONDS="1", BREAKER_OPEN_SECONDS="1") as shop:
        shop.orders[0] = shop.services.order("http://127.0.0.1:9", BREAKER_OPEN_SECONDS="1")
        shop.services.start(shop.inventory, shop.order)
        yield shop


@pytest.fixture
def quick_shop(services: Processes, order_database: str, inventory_database: str) -> Shop:
    """A platform with leases of one second, not yet running."""
    shop = Shop(services, order_database, inventory_database, LEASE_SECONDS="1", BREAKER_OPEN_SECONDS="1")
    shop.stock("ps5", 100)
    return shop


def place_at(shop: Shop, item: str, keys: list[str]) -> None:
    """Send orders to a service that may die during any of them."""
    for key in keys:
        try:
            shop.place(item, key=key)
        except httpx.TransportError:
            return


@points(ORDER_POINTS)
def test_an_order_service_killed_at_a_step_neither_loses_nor_duplicates_an_order(backstage: Shop, point: str) -> None:
    shop, item, keys = backstage, backstage.new_item(), [new_key() for _ in range(3)]
    shop.order.start(CRASH_AT=point)
    shop.order.wait_ready()
    place_at(shop, item, keys)
    assert shop.order.wait_killed() == -9
    shop.order.start()
    shop.order.wait_ready()

    assert shop.statuses(item)
    assert set(shop.wait_settled(item_id=item).values()) == {"confirmed"}
    shop.assert_exactly_one_effect(item)
    assert [shop.place(item, key=key).status_code for key in keys] == [201, 201, 201]
    assert shop.quantity(item) == 97
    shop.assert_exactly_one_effect(item)
    assert shop.order.stop() == 0


@points(WORKER_POINTS)
def test_a_worker_killed_at_a_step_neither_loses_nor_duplicates_an_order(frontstage: Shop, point: str) -> None:
    shop, item = frontstage, frontstage.new_item()
    accepted = [shop.place(item).json()["order_id"] for _ in range(3)]  # inventory is unreachable: they are queued
    shop.worker.start(CRASH_AT=point)
    assert shop.worker.wait_killed() == -9
    shop.worker.start()
    shop.worker.wait_ready()

    settled = shop.wait_settled(item_id=item)
    assert {str(order_id) for order_id in settled} == set(accepted)
    assert set(settled.values()) == {"confirmed"}
    shop.assert_exactly_one_effect(item)
    assert shop.worker.stop() == 0


@points({"after-insert", "before-commit", "after-commit"})
def test_an_inventory_killed_during_a_deduction_neither_loses_nor_duplicates_it(
    services: Processes, quick_shop: Shop, point: str
) -> None:
    shop = quick_shop
    shop.inventory.start(CRASH_AT=point)
    services.start(shop.order, shop.worker)
    shop.inventory.wait_ready()
    assert [shop.place().status_code for _ in range(3)] == [202, 202, 202]
    assert shop.inventory.wait_killed() == -9
    shop.inventory.start()
    shop.inventory.wait_ready()

    assert set(shop.wait_settled().values()) == {"confirmed"}
    assert shop.quantity() == 97
    shop.assert_exactly_one_effect()


def test_a_terminated_service_finishes_its_requests_in_flight(services: Processes, quick_shop: Shop) -> None:
    shop = quick_shop
    services.start(shop.inventory, shop.order)
    shop.chaos(latency=True, latency_ms=1000, ttl_seconds=30)
    answers: list[int] = []
    sending = threading.Thread(target=lambda: answers.append(shop.place().status_code))
    sending.start()
    eventually(shop.deductions, what="the order under way")
    assert shop.order.stop() == 0
    sending.join(10)
    assert answers == [201]
    assert set(shop.statuses().values()) == {"confirmed"}
