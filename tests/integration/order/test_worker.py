"""The worker: claims due orders, never more than it can process, and survives failures of its dependencies."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY

from services.common.background import background_tasks
from services.common.postgres import Pool
from services.common.redis import BestEffort, Redis, closing, open_redis
from services.order import usecases
from services.order.wakeups import BLOCK_MS, GROUP, STREAM, notify
from services.order.worker import MAX_IN_FLIGHT, Worker
from tests.integration.order.replica import Replica, Start
from tests.integration.order.rows import LEASE, end_leases, keys, queued, rows, statuses, until, wanted
from tests.processes import eventually
from tests.unit.order.fake_inventory import Fault

DEDUCTIONS = "/api/inventory/deductions"


async def all_are(pool: Pool, status: str) -> bool:
    return set((await statuses(pool)).values()) == {status}


async def test_one_sweep_claims_every_due_order(pool: Pool, start: Start) -> None:
    await queued(pool, *keys(600))
    replica = start()
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await all_are(pool, "confirmed")
    assert sum(map(len, replica.warehouse.batches)) == 600


async def test_the_time_since_the_last_poll_is_known_despite_a_changed_clock(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It polled while its clock was an hour ahead, and does not poll again."""
    replica = start()
    with monkeypatch.context() as ahead:
        right = time.time
        ahead.setattr("time.time", lambda: right() + 3600)
        await replica.worker.sweep()

    def age() -> float:
        found = REGISTRY.get_sample_value("worker_last_heartbeat_age_seconds")
        assert found is not None
        return found

    before = age()
    assert 0 <= before < 60
    eventually(lambda: before < age() < 60, what="a greater age")


async def test_two_workers_never_claim_the_same_order(pool: Pool, start: Start) -> None:
    await queued(pool, *keys(300))
    replicas = [start(REPLICA=f"worker-{number}") for number in range(2)]
    await asyncio.gather(*(replica.worker.sweep() for replica in replicas))
    await asyncio.gather(*(replica.worker.drain() for replica in replicas))
    sent = [line["order_id"] for replica in replicas for batch in replica.warehouse.batches for line in batch]
    assert len(sent) == len(set(sent)) == 300


async def test_a_worker_holds_at_most_its_limit_and_continues_when_it_has_capacity(pool: Pool, start: Start) -> None:
    await queued(pool, *keys(MAX_IN_FLIGHT + 300))
    replica = start(patient=True)
    for _ in range(3):
        await replica.worker.sweep()
    assert await rows(pool, b"SELECT count(*) FROM orders WHERE lease_until > now()") == [(MAX_IN_FLIGHT,)]
    sweeping = asyncio.create_task(until_confirmed(pool, replica))
    await sweeping
    assert len(await statuses(pool)) == MAX_IN_FLIGHT + 300


async def until_confirmed(pool: Pool, replica: Replica) -> None:
    """Sweep and let inventory respond until every order is confirmed."""

    async def look() -> bool:
        replica.warehouse.release_all()
        await replica.worker.sweep()
        return await all_are(pool, "confirmed")

    await until(look, within=20)


async def test_a_worker_claims_nothing_while_the_breaker_is_open(pool: Pool, start: Start) -> None:
    await queued(pool, *keys(5))
    replica = start()
    replica.breaker_sync.breaker.force("open")
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await rows(pool, b"SELECT DISTINCT lease_token FROM orders") == [(1,)]
    replica.breaker_sync.breaker.force(None)
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await all_are(pool, "confirmed")


async def test_a_worker_claims_one_trial_order_half_open_and_the_rest_once_it_succeeded(
    pool: Pool, start: Start
) -> None:
    await queued(pool, *keys(5))
    replica = start(patient=True)
    for _ in range(5):
        replica.breaker_sync.breaker.admit().fail("timeout")
    replica.breaker_sync.breaker.half_open()
    for _ in range(3):
        await replica.worker.sweep()
    assert await rows(pool, b"SELECT count(*) FROM orders WHERE lease_until > now()") == [(1,)]
    await until_confirmed(pool, replica)
    assert len(replica.warehouse.batches[0]) == 1
    assert replica.breaker_sync.breaker.state_name == "closed"


async def test_a_database_that_is_not_ready_yet_uses_no_capacity(pool: Pool, start: Start) -> None:
    """A worker may start before the schema exists; it has to work once it does."""
    await queued(pool, *keys(10))
    replica = start()
    await rows(pool, b"ALTER TABLE orders RENAME TO elsewhere")
    for _ in range(MAX_IN_FLIGHT // 256 + 1):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await replica.worker.sweep()
    await rows(pool, b"ALTER TABLE elsewhere RENAME TO orders")
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await all_are(pool, "confirmed")


async def test_a_cancelled_sweep_uses_no_capacity(pool: Pool, start: Start) -> None:
    await queued(pool, *keys(10))
    replica = start()
    async with pool.connection() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE orders")
        for _ in range(MAX_IN_FLIGHT // 256 + 1):
            sweeping = asyncio.create_task(replica.worker.sweep())
            await until(lambda: rows(pool, b"SELECT 1 FROM pg_locks WHERE NOT granted"))
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
    await end_leases(pool)
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await all_are(pool, "confirmed")


async def test_an_order_that_hits_a_bug_affects_no_other_and_frees_its_capacity(pool: Pool, start: Start) -> None:
    names = keys(20)
    await queued(pool, *names)
    replica = start()
    await rows(pool, b"ALTER TABLE orders ADD CHECK (idempotency_key <> 'key-7' OR status <> 'confirmed')")
    for _ in range(3):
        await replica.worker.sweep()
        await replica.worker.drain()
        await end_leases(pool)
    assert {name for name, status in (await statuses(pool)).items() if status != "confirmed"} == {"key-7"}
    await rows(pool, b"ALTER TABLE orders DROP CONSTRAINT orders_check")
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await all_are(pool, "confirmed")


@pytest.fixture
async def reader(redis_url: str) -> Any:
    opened = open_redis(redis_url, name="reader", socket_timeout=BLOCK_MS / 400)
    async with closing(opened):
        yield opened


@contextlib.asynccontextmanager
async def listening(worker: Worker, reader: Redis, client: Redis) -> AsyncIterator[None]:
    """Run a worker that receives wake-ups during the block."""
    async with background_tasks(worker.listen(reader, "worker-1")):
        await until(lambda: client.exists(STREAM))
        yield


async def test_a_wake_up_is_acknowledged_after_its_order_was_tried_at_once(
    pool: Pool, redis: BestEffort, start: Start, reader: Redis, client: Redis
) -> None:
    await queued(pool, "key-1", "key-2")
    replica = start()

    async def done() -> bool:
        pending: Any = await client.xpending(STREAM, GROUP)
        return await statuses(pool) == {"key-1": "confirmed", "key-2": "queued"} and pending["pending"] == 0

    async with listening(replica.worker, reader, client):
        await notify(redis, [(wanted("key-1").order_id, 0)])
        await until(done)


async def test_a_wake_up_for_a_settled_order_is_acknowledged_without_effect(
    redis: BestEffort, start: Start, reader: Redis, client: Redis
) -> None:
    replica = start()

    async def done() -> bool:
        groups: Any = await client.xinfo_groups(STREAM)
        return bool(groups[0]["entries-read"] == 1 and groups[0]["pending"] == 0)

    async with listening(replica.worker, reader, client):
        await notify(redis, [(wanted("nobody").order_id, 0)])
        await until(done)
    assert replica.warehouse.asked == []


async def test_a_stopping_worker_claims_nothing_on_a_later_wake_up(
    pool: Pool, redis: BestEffort, start: Start, reader: Redis, client: Redis
) -> None:
    await queued(pool, "key-1")
    replica = start()

    async def read() -> bool:
        groups: Any = await client.xinfo_groups(STREAM)
        return bool(groups[0]["pending"] == 1)

    async with listening(replica.worker, reader, client):
        await notify(redis, [(wanted("key-1").order_id, 0.3)])
        await until(read)
    await replica.worker.shutdown()
    loop = asyncio.get_running_loop()
    due = loop.time() + 0.5
    await until(lambda: asyncio.sleep(0, loop.time() > due))
    await replica.worker.drain()
    assert await statuses(pool) == {"key-1": "queued"}
    assert len(await usecases.claim(pool, LEASE, "worker-1", 1)) == 1


async def test_orders_wait_while_inventory_does_not_answer_and_none_is_lost(pool: Pool, start: Start) -> None:
    await queued(pool, *keys(30))
    replica = start(BREAKER_MINIMUM_CALLS="1000")
    replica.warehouse.responses[DEDUCTIONS] = Fault.RESET
    for _ in range(3):
        await replica.worker.sweep()
        await replica.worker.drain()
        assert await all_are(pool, "queued")
        await end_leases(pool)
    del replica.warehouse.responses[DEDUCTIONS]
    await replica.worker.sweep()
    await replica.worker.drain()
    assert await all_are(pool, "confirmed")
    assert await rows(pool, b"SELECT DISTINCT attempts FROM orders") == [(5,)]
