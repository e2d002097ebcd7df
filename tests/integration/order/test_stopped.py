"""Processes stopped beyond their leases and continued: no order is lost, and none has two effects."""

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import httpx
import pytest

from tests.e2e.shop import Shop
from tests.integration.order.rows import chance
from tests.processes import Processes, Service, eventually

SHORT = {"LEASE_SECONDS": "1", "BREAKER_OPEN_SECONDS": "1", "INVENTORY_TIMEOUT_SECONDS": "1"}


@pytest.fixture
def shop(services: Processes, order_database: str, inventory_database: str) -> Shop:
    shop = Shop(services, order_database, inventory_database, orders=1, **SHORT)
    shop.stock("ps5", 1000)
    return shop


def test_a_stopped_order_service_returns_the_order_that_a_worker_settled(services: Processes, shop: Shop) -> None:
    services.start(*shop.everyone)
    shop.chaos(latency=True, latency_ms=600, ttl_seconds=30)
    with ThreadPoolExecutor() as pool:
        placing = pool.submit(shop.place, key="stopped")
        eventually(shop.deductions, what="the deduction")
        shop.order.signal(signal.SIGSTOP)
        shop.calm()
        eventually(lambda: set(shop.statuses().values()) == {"confirmed"}, what="the worker's settlement")
        shop.order.signal(signal.SIGCONT)
        answer = placing.result(10)
    assert (answer.status_code, answer.json()["status"]) == (201, "confirmed")
    shop.assert_exactly_one_effect()
    assert shop.quantity() == 999


def test_a_stopped_worker_settles_no_order_that_another_has_claimed(services: Processes, shop: Shop) -> None:
    services.start(shop.order)
    orders = [shop.place().json()["order_id"] for _ in range(5)]  # inventory is down: they are queued
    second = services.worker(shop.inventory, **SHORT)
    services.start(shop.inventory)
    shop.chaos(latency=True, latency_ms=700, ttl_seconds=30)
    services.start(shop.worker)
    eventually(shop.deductions, what="the worker's first deductions")
    shop.worker.signal(signal.SIGSTOP)
    shop.calm()
    services.start(second)
    eventually(lambda: set(shop.statuses().values()) == {"confirmed"}, what="the other worker's settlements")
    before = [shop.get(order_id) for order_id in orders]
    shop.worker.signal(signal.SIGCONT)
    shop.worker.stop()
    assert [shop.get(order_id) for order_id in orders] == before
    shop.assert_exactly_one_effect()


def test_an_inventory_stopped_during_a_call_deducts_once_when_it_resumes(services: Processes, shop: Shop) -> None:
    services.start(*shop.everyone)
    assert shop.place(key="warm").status_code == 201
    shop.inventory.signal(signal.SIGSTOP)
    assert [shop.place(key=f"stopped-{number}").status_code for number in range(3)] == [202, 202, 202]
    shop.inventory.signal(signal.SIGCONT)
    assert set(shop.wait_settled().values()) == {"confirmed"}
    assert shop.quantity() == 996
    shop.assert_exactly_one_effect()


@pytest.mark.long
async def test_every_key_has_one_effect_when_random_processes_are_stopped_and_resumed(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, order_database, inventory_database, orders=2, **SHORT)
    shop.stock("ps5", 1000)
    everyone = [*shop.everyone, services.worker(shop.inventory, **SHORT)]
    services.start(*everyone)
    enough = threading.Event()
    stopping = [
        asyncio.create_task(asyncio.to_thread(stop_and_go, service, chance(service.name), enough))
        for service in everyone
    ]
    acknowledged = await load(shop, keys=80)
    enough.set()
    await asyncio.gather(*stopping)
    settled = await asyncio.to_thread(shop.wait_settled, 30)
    assert set(settled.values()) == {"confirmed"}
    assert acknowledged <= {str(order_id) for order_id in settled}
    shop.assert_exactly_one_effect()
    assert shop.quantity() == 1000 - len(settled)


def stop_and_go(service: Service, dice: Random, enough: threading.Event) -> None:
    """Stop a process and continue it, sometimes after the end of its leases."""
    while not enough.wait(dice.uniform(0.1, 1.5)):
        service.signal(signal.SIGSTOP)
        enough.wait(dice.choice([0.1, 0.5, 1.2, 2.0]))
        service.signal(signal.SIGCONT)


async def load(shop: Shop, keys: int) -> set[str]:
    """Place orders on both replicas, repeating each until it is answered, and return the order ids."""
    accepted: set[str] = set()

    async def place(client: httpx.AsyncClient, key: str, number: int) -> None:
        for attempt in range(60):
            url = shop.orders[(number + attempt) % 2].url
            try:
                answer = await client.post(
                    f"{url}/api/orders", json={"item_id": "ps5", "quantity": 1}, headers={"Idempotency-Key": key}
                )
            except httpx.TransportError:
                continue
            if answer.status_code in {201, 202}:
                accepted.add(answer.json()["order_id"])
                return
            assert answer.status_code in {409, 503}, answer.text
            await asyncio.sleep(0.2)
        raise AssertionError(f"{key} was never answered")

    turn = asyncio.Semaphore(12)

    async def in_turn(client: httpx.AsyncClient, number: int) -> None:
        async with turn:
            await place(client, f"storm-{number}", number)
            await asyncio.sleep(0.3)

    async with httpx.AsyncClient(timeout=3) as client:
        await asyncio.gather(*(in_turn(client, number) for number in range(keys)))
    return accepted
