"""Wake-ups through a Redis stream: an optimization that is never required and never blocks."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from services.common.redis import FAILURES, BestEffort, Redis, closing, open_redis
from services.order import wakeups
from services.order.wakeups import BLOCK_MS, GROUP, MAX_ENTRIES, STREAM, Reader, WakeUp, notify
from tests.integration.order.rows import until, wanted
from tests.machine_load import slowdown

ONE, TWO, THREE = (wanted(name).order_id for name in ("one", "two", "three"))


@pytest.fixture
async def patient(redis_url: str) -> AsyncIterator[Redis]:
    """A client with a timeout longer than the blocking read."""
    opened = open_redis(redis_url, name="reader", socket_timeout=BLOCK_MS / 400)
    async with closing(opened):
        yield opened


@contextlib.asynccontextmanager
async def reading(redis: Redis, name: str = "worker-1") -> AsyncIterator[AsyncIterator[list[WakeUp]]]:
    """Yield the batches that a worker of this name reads, without empty ones."""

    async def batches() -> AsyncGenerator[list[WakeUp], None]:
        async for batch in Reader(redis, name).read():
            if batch:
                yield batch

    async with contextlib.aclosing(batches()) as opened, asyncio.timeout(20):
        yield opened


async def test_a_wake_up_is_read_with_its_delay(redis: BestEffort, patient: Redis) -> None:
    await notify(redis, [(ONE, 0), (TWO, 1.25)])
    async with reading(patient) as batches:
        batch = await anext(batches)
    assert [(wake_up.order_id, wake_up.delay) for wake_up in batch] == [(ONE, 0.0), (TWO, 1.25)]


async def test_a_waiting_reader_gets_a_wake_up_at_once(redis: BestEffort, patient: Redis, client: Redis) -> None:
    async with reading(patient) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await until(lambda: client.exists(STREAM))
        async with asyncio.timeout(slowdown()):
            await notify(redis, [(ONE, 0)])
            assert [wake_up.order_id for wake_up in await waiting] == [ONE]


async def test_two_workers_share_the_wake_ups(redis: BestEffort, patient: Redis) -> None:
    async with reading(patient, "worker-1") as first, reading(patient, "worker-2") as second:
        await notify(redis, [(ONE, 0)])
        assert [wake_up.order_id for wake_up in await anext(first)] == [ONE]
        await notify(redis, [(TWO, 0)])
        assert [wake_up.order_id for wake_up in await anext(second)] == [TWO]


async def test_an_acknowledged_wake_up_is_not_delivered_again(redis: BestEffort, patient: Redis, client: Redis) -> None:
    await notify(redis, [(ONE, 0), (TWO, 0)])
    async with reading(patient) as batches:
        first, second = await anext(batches)
        reader = Reader(patient, "worker-1")
        await reader.acknowledge([first])
        assert (await client.xpending(STREAM, GROUP))["pending"] == 1
        await reader.acknowledge([first, second])
        assert (await client.xpending(STREAM, GROUP))["pending"] == 0


async def test_wake_ups_of_a_dead_worker_are_claimed(
    redis: BestEffort, patient: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await notify(redis, [(ONE, 0)])
    async with reading(patient, "worker-1") as batches:
        await anext(batches)
    monkeypatch.setattr(wakeups, "STALE_MS", 0)
    async with reading(patient, "worker-2") as batches:
        assert [wake_up.order_id for wake_up in await anext(batches)] == [ONE]


@pytest.mark.parametrize(
    "fields",
    [
        {"nothing": "of ours"},
        {"order_id": "seven", "delay": "0"},
        {"order_id": b"\xff\xfe", "delay": "0"},
        {"order_id": str(ONE)},
        {"order_id": str(ONE), "delay": "soon"},
        {"order_id": str(ONE), "delay": "nan"},
        {"order_id": str(ONE), "delay": "inf"},
        {"order_id": str(ONE), "delay": "-1"},
        {"order_id": str(ONE), "delay": "1e300"},
    ],
)
async def test_an_invalid_entry_is_discarded_and_blocks_nothing(
    redis: BestEffort, patient: Redis, client: Redis, fields: dict[bytes | str, bytes | str]
) -> None:
    await client.xadd(STREAM, fields)  # type: ignore[arg-type]  # its dict is invariant
    await notify(redis, [(TWO, 0)])
    async with reading(patient) as batches:
        batch = await anext(batches)
    assert [wake_up.order_id for wake_up in batch] == [TWO]
    assert (await client.xpending(STREAM, GROUP))["pending"] == 1


async def test_a_reader_fails_after_a_flush_and_the_next_one_resumes(
    redis: BestEffort, patient: Redis, client: Redis
) -> None:
    async with reading(patient) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await until(lambda: client.exists(STREAM))
        await client.flushall()
        with pytest.raises(FAILURES):
            await waiting
    await notify(redis, [(THREE, 0)])
    async with reading(patient) as batches:
        assert [wake_up.order_id for wake_up in await anext(batches)] == [THREE]


async def test_the_stream_is_bounded(redis: BestEffort, client: Redis) -> None:
    for _ in range(15):
        await notify(redis, [(ONE, 0)] * 1000)
    assert await client.xlen(STREAM) <= MAX_ENTRIES + 200


async def test_notifying_without_redis_does_not_fail() -> None:
    nowhere = open_redis("redis://127.0.0.1:1", name="test")
    async with closing(nowhere):
        assert await notify(BestEffort(nowhere), [(ONE, 0)]) == [None]


async def test_acknowledging_without_redis_does_not_fail() -> None:
    nowhere = open_redis("redis://127.0.0.1:1", name="test")
    async with closing(nowhere):
        await Reader(nowhere, "worker-1").acknowledge([WakeUp(b"1-1", ONE, 0)])
