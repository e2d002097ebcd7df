"""Breaker state shared between replicas: an operator's command reaches all, and all see each other's transitions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec
import pytest

from services.common.background import background_tasks
from services.common.redis import BestEffort, Redis, closing, open_redis
from services.common.settings import read
from services.order.breaker import Forced
from services.order.breaker_sync import FORCED, HISTORY, REPLICAS, BreakerSync
from services.order.settings import OrderSettings
from tests.integration.order.rows import until
from tests.unit.common.environment import ENVIRON

T = TypeVar("T")


def breaker_sync(redis: BestEffort, replica: str) -> BreakerSync:
    return BreakerSync(read(OrderSettings, ENVIRON | {"VALERIX_REPLICA": replica}), "order", redis)


@pytest.fixture
async def replicas(redis_url: str) -> AsyncIterator[tuple[BreakerSync, BreakerSync]]:
    """Two replicas that share a Redis, each with its own connection."""
    one, two = open_redis(redis_url, name="one"), open_redis(redis_url, name="two")
    async with closing(one), closing(two):
        first, second = breaker_sync(BestEffort(one), "order-1"), breaker_sync(BestEffort(two), "order-2")
        async with background_tasks(first.run(), second.run()):
            await until(lambda: knows(first, "order-2"))
            await until(lambda: knows(second, "order-1"))
            yield first, second


async def knows(one: BreakerSync, other: str) -> bool:
    return other in {view.replica for view in (await one.view()).replicas}


async def forced_to(breaker_sync: BreakerSync, forced: Forced | None) -> bool:
    await asyncio.sleep(0)
    return breaker_sync.breaker.forced == forced


async def test_a_forced_state_reaches_the_other_replica_within_a_second(
    replicas: tuple[BreakerSync, BreakerSync],
) -> None:
    first, second = replicas
    commands: list[Forced | None] = ["open", "closed", None, "open", None]
    for forced in commands:
        await first.force(forced)
        assert first.breaker.forced == forced
        await until(partial(forced_to, second, forced), within=1)


@pytest.mark.parametrize("hours", [-2, 2])
async def test_replicas_see_each_other_despite_a_wrong_clock(redis: BestEffort, hours: int) -> None:
    right = breaker_sync(redis, "order-1")
    settings = read(OrderSettings, ENVIRON | {"VALERIX_REPLICA": "order-2"})
    wrong = BreakerSync(settings, "order", redis, lambda: datetime.now(UTC) + timedelta(hours=hours))
    for _ in range(2):
        await right.sync()
        await wrong.sync()
    for one in (right, wrong, right):
        assert {view.replica for view in (await one.view()).replicas} == {"order-1", "order-2"}


async def test_a_replica_that_starts_later_adopts_the_forced_state(
    replicas: tuple[BreakerSync, BreakerSync], redis: BestEffort
) -> None:
    await replicas[0].force("open")
    late = breaker_sync(redis, "order-3")
    async with background_tasks(late.run()):
        await until(lambda: forced_to(late, "open"), within=1)


async def test_transitions_are_listed_for_all_replicas_with_reasons_newest_first(
    replicas: tuple[BreakerSync, BreakerSync],
) -> None:
    first, second = replicas
    for _ in range(5):
        first.breaker.admit().fail("timeout")

    async def is_listed() -> bool:
        return [entry.to for entry in (await second.view()).history] == ["open"]

    await until(is_listed)
    view = await second.view()
    (entry,) = view.history
    assert (entry.replica, entry.from_, entry.reason) == (
        "order-1",
        "closed",
        "5 of 5 calls failed in 10 s (5 timeouts)",
    )
    shown = {replica.replica: replica for replica in view.replicas}
    assert shown["order-2"].state == "closed"
    await until(lambda: state_seen(second, "order-1", "open"))


async def state_seen(by: BreakerSync, replica: str, state: str) -> bool:
    return any(view.replica == replica and view.state == state for view in (await by.view()).replicas)


async def test_a_state_forced_during_the_redis_cooldown_still_reaches_the_others(
    replicas: tuple[BreakerSync, BreakerSync], client: Redis
) -> None:
    """Redis is not used for a second after a failure; an operator's command has to outlast that."""
    first, second = replicas
    await client.client_pause(400)
    await first._redis(lambda redis: redis.ping(), fallback=False)  # noqa: SLF001 - pauses the use of Redis
    await first.force("open")
    assert first.breaker.forced == "open"
    await until(lambda: forced_to(second, "open"), within=4)
    assert first.breaker.forced == "open"
    assert [transition.to for transition in (await first.view()).history if transition.replica == "order-1"] == ["open"]


class Late(BestEffort):
    """A client whose replies arrive when the test releases them."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self.replied = asyncio.Event()
        self.arrives = asyncio.Event()

    async def __call__(self, operation: Callable[[Redis], Awaitable[T]], fallback: T) -> T:
        result = await super().__call__(operation, fallback)
        self.replied.set()
        await self.arrives.wait()
        return result


async def test_a_poll_in_flight_does_not_undo_an_operators_command(client: Redis) -> None:
    """The poll found no command; its reply arrives after the operator has forced the breaker open."""
    late = Late(client)
    first = breaker_sync(late, "order-1")
    looking = asyncio.create_task(first.sync())
    await late.replied.wait()
    forcing = asyncio.create_task(first.force("open"))
    await asyncio.sleep(0)
    late.arrives.set()
    await asyncio.gather(looking, forcing)
    assert first.breaker.forced == "open"
    assert [entry.reason for entry in (await first.view()).history] == ["forced open by an operator"]
    assert await client.get(FORCED) == b"open"


async def test_each_replica_shows_and_applies_its_own_state_without_redis() -> None:
    nowhere = open_redis("redis://127.0.0.1:1", name="test")
    async with closing(nowhere):
        alone = breaker_sync(BestEffort(nowhere), "order-1")
        async with background_tasks(alone.run()):
            await alone.force("open")
            view = await alone.view()
            assert [replica.state for replica in view.replicas] == ["open"]
            assert [entry.to for entry in view.history] == ["open"]
            await alone.sync()
            assert alone.breaker.forced == "open"


@pytest.mark.parametrize("value", [b"", b"sideways", b"\xff"])
async def test_an_invalid_forced_state_is_ignored(redis: BestEffort, client: Redis, value: bytes) -> None:
    await client.set(FORCED, value)
    alone = breaker_sync(redis, "order-1")
    await alone.sync()
    assert alone.breaker.forced is None
    assert await client.hexists(REPLICAS, "order-1")


async def test_entries_of_another_version_are_left_out_of_the_view(redis: BestEffort, client: Redis) -> None:
    await client.hset(REPLICAS, "order-9", b'{"replica":"order-9","colour":"blue"}')
    await client.lpush(HISTORY, b"not json", b"{}")
    alone = breaker_sync(redis, "order-1")
    await alone.sync()
    view = await alone.view()
    assert [replica.replica for replica in view.replicas] == ["order-1"]
    assert view.history == []


@pytest.mark.parametrize("year", [2020, 2200])
async def test_a_removed_replica_disappears_from_the_view_and_from_redis(
    redis: BestEffort, client: Redis, year: int
) -> None:
    """Including one that reported before Redis' clock was set back, with a time in the future."""
    gone, here = breaker_sync(redis, "order-1-x7k2p"), breaker_sync(redis, "order-1-m4q9z")
    await gone.sync()
    outdated = msgspec.structs.replace(gone.own_view(), updated_at=datetime(year, 1, 1, tzinfo=UTC))
    await client.hset(REPLICAS, "order-1-x7k2p", msgspec.json.encode(outdated))
    await here.sync()
    assert [replica.replica for replica in (await here.view()).replicas] == ["order-1-m4q9z"]
    await here.view()
    assert await client.hkeys(REPLICAS) == [b"order-1-m4q9z"]


async def test_the_history_is_bounded_and_keeps_new_transitions_while_redis_is_down(redis_url: str) -> None:
    own = open_redis(redis_url, name="own")
    async with closing(own):
        alone = breaker_sync(BestEffort(own), "order-1")
        for _ in range(130):
            alone.breaker.force("open")
            alone.breaker.force(None)
        await alone.force("closed")
        await alone.sync()
        history = (await alone.view()).history
    assert len(history) == 100
    assert history[0].reason == "forced closed by an operator"
    assert history == sorted(history, key=lambda entry: entry.at, reverse=True)
