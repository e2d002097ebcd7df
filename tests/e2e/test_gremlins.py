"""Injected faults: orders with an unknown result are queued, finished later, and never deducted twice."""

import asyncio
import time
from datetime import datetime
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests.e2e.shop import Shop, send_all
from tests.processes import Processes, eventually


async def test_answers_lost_after_the_commit_are_queued_and_deducted_once(shop: Shop) -> None:
    shop.chaos(partial_failure_rate=1.0, ttl_seconds=120)
    answers = await send_all(
        [(shop.order.url, f"cat-{n}", {"item_id": "ps5", "quantity": 1}) for n in range(20)], concurrency=4
    )
    assert {answer.status_code for answer in answers} == {202}
    assert set(shop.statuses().values()) == {"queued"}
    ended = shop.calm()
    assert ended["counts"]["partial_failure"]["hits"] >= 5  # the breaker blocked the others

    shop.wait_settled(within=15)
    assert set(shop.statuses().values()) == {"confirmed"}
    assert shop.quantity() == 80
    shop.assert_exactly_one_effect()


@pytest.mark.timed
async def test_a_slow_inventory_opens_the_breaker_which_fails_fast_and_closes_after_recovery(shop: Shop) -> None:
    shop.chaos(latency=True, latency_ms=5000, ttl_seconds=12, reason="slow on purpose")
    began = time.monotonic()
    statuses: list[tuple[float, float, int]] = []
    async with httpx.AsyncClient(timeout=15) as client, asyncio.TaskGroup() as group:

        async def order(n: int) -> None:
            sent = time.monotonic()
            answer = await client.post(
                f"{shop.order.url}/api/orders",
                json={"item_id": "ps5", "quantity": 1},
                headers={"Idempotency-Key": f"slow-{n}"},
            )
            statuses.append((sent - began, time.monotonic() - sent, answer.status_code))

        def closed_again() -> bool:
            history = shop.breaker_history("order-1")
            return bool(history) and history[-1]["to"] == "closed"

        n = 0
        while not (closed_again() and time.monotonic() - began > 12):
            group.create_task(order(n))
            n += 1
            assert n < 20 * 40, f"not closed after 40 s: {shop.breaker_history('order-1')}"
            await asyncio.sleep(0.05)  # the load: 20 orders per second

    history = shop.breaker_history("order-1")
    assert [entry["to"] for entry in history[:2]] == ["open", "half-open"]
    opened, half_open = (_seconds(entry["at"]) for entry in history[:2])
    assert 9.5 < half_open - opened < 12
    assert "timeouts" in history[0]["reason"]
    assert "% " not in history[0]["reason"]
    assert history[-1]["reason"] == "the trial call succeeded"
    first_open = next(sent for sent, took, status in sorted(statuses) if status == 202 and took < 1)
    assert first_open < 10
    while_open = sorted(took for sent, took, status in statuses if first_open < sent < first_open + 6)
    assert while_open[len(while_open) // 2] < 0.1
    assert {status for _, _, status in statuses} <= {201, 202, 409}
    shop.wait_settled(within=20)
    shop.assert_exactly_one_effect()


async def test_a_crashing_inventory_neither_loses_nor_duplicates_an_order(shop: Shop) -> None:
    shop.chaos(crash_rate=0.3, partial_failure_rate=0.2, seed=7, ttl_seconds=60)
    await send_all([(shop.order.url, f"crash-{n}", {"item_id": "ps5", "quantity": 1}) for n in range(80)], 8)
    shop.calm()
    assert set(shop.wait_settled(within=15).values()) == {"confirmed"}
    assert shop.quantity() == 20
    shop.assert_exactly_one_effect()


async def test_the_same_seed_and_orders_meet_the_same_faults_at_any_concurrency(
    services: Processes, order_database: str, inventory_database: str, redis_url: str
) -> None:
    shop = Shop(services, order_database, inventory_database, BREAKER_MINIMUM_CALLS="100000")
    shop.stock("ps5", 1000)
    services.start(shop.inventory, shop.order)  # no worker: each order has only its first attempt

    async def run(concurrency: int) -> tuple[list[int], dict[str, Any]]:
        shop.chaos(crash_rate=0.3, partial_failure_rate=0.2, seed=42, ttl_seconds=60)
        requests = [(shop.order.url, f"seeded-{n}", {"item_id": "ps5", "quantity": 1}) for n in range(60)]
        answers = await send_all(requests, concurrency)
        ended = shop.calm()
        for url in (order_database, inventory_database):
            _forget_orders(url)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        return [answer.status_code for answer in answers], ended["counts"]

    alone, counts_alone = await run(1)
    together, counts_together = await run(50)
    assert alone == together
    assert counts_alone == counts_together
    assert set(alone) == {201, 202}


def test_a_gremlin_expires_with_its_lease(shop: Shop) -> None:
    shop.chaos(crash_rate=1.0, ttl_seconds=3)
    assert shop.place().status_code == 202
    eventually(
        lambda: shop.operator.get(f"{shop.inventory.url}/api/admin/chaos").json()["live"] is None, 30, "the lease's end"
    )
    eventually(lambda: shop.place().status_code == 201, 15, "business as usual")


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _forget_orders(url: str) -> None:
    with psycopg.connect(url) as conn:
        tables = {row[0] for row in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        for table in tables & {"orders", "order_events", "refusals"}:
            conn.execute(f"TRUNCATE {table}".encode())
        if "inventory" in tables:
            conn.execute("DELETE FROM inventory_transactions WHERE transaction_type = 'deduct'")
            conn.execute("UPDATE inventory SET quantity = 1000")
