"""Ended sessions, shared between replicas through a real Redis that may lose them."""

from collections.abc import AsyncIterator

import pytest

from services.common.redis import BestEffort, Redis, closing, open_redis
from services.frontend.revocations import KEY, RETENTION_SECONDS, Revocations

NOW = 1_790_000_000.0
SESSION_SECONDS = 43_200
PATIENCE = 5.0  # seconds that Redis may take on a busy machine


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_redis(redis_url, name="test", socket_timeout=PATIENCE, connect_timeout=PATIENCE)
    async with closing(opened):
        yield opened


async def replica(redis: Redis, clock: Clock, generation: str) -> Revocations:
    """Return a replica that has just started."""
    revocations = Revocations(BestEffort(redis, PATIENCE), SESSION_SECONDS, generation=generation, clock=clock)
    await revocations.sync()
    return revocations


async def test_a_sign_out_reaches_every_replica_and_later_ones(redis: Redis) -> None:
    clock = Clock()
    first, second = [await replica(redis, clock, name) for name in ("first", "second")]
    await first.sync()
    assert first.accepts("second", "mine")
    await first.revoke_session("mine", NOW + 60)
    await second.sync()
    third = await replica(redis, clock, "third")
    for one in (first, second, third):
        assert not one.accepts("second", "mine")
        assert one.accepts("second", "another's")


async def test_a_code_is_used_once_by_racing_replicas(redis: Redis) -> None:
    clock = Clock()
    replicas = [await replica(redis, clock, name) for name in ("first", "second", "third")]
    assert [await one.use_code("code", NOW + 60) for one in (*replicas, *replicas)] == [True] + [False] * 5


async def test_sign_outs_lost_by_redis_are_restored_by_a_replica(redis: Redis) -> None:
    clock = Clock()
    first, second = [await replica(redis, clock, name) for name in ("first", "second")]
    await first.revoke_session("mine", NOW + 60)
    await redis.flushall()
    await first.sync()
    await second.sync()
    third = await replica(redis, clock, "third")
    assert [one.accepts("first", "mine") for one in (first, second, third)] == [False] * 3
    assert third.accepts("first", "another's")


async def test_no_session_is_accepted_when_all_sign_outs_are_lost(redis: Redis) -> None:
    """All replicas have restarted and Redis is empty: sign-outs are unknown, so no session is accepted."""
    clock = Clock()
    first = await replica(redis, clock, "first")
    await first.revoke_session("mine", NOW + 60)
    await redis.flushall()
    again = await replica(redis, clock, "again")
    assert not again.accepts("first", "mine")
    assert not again.accepts("first", "another's")


@pytest.mark.parametrize(
    "command", [("SET", "x"), ("LPUSH", "x"), ("HSET", "a", "b"), ("SADD", "x"), ("XADD", "*", "a", "b")]
)
async def test_a_key_of_another_type_is_replaced(redis: Redis, command: tuple[str, ...]) -> None:
    clock = Clock()
    first = await replica(redis, clock, "first")
    await redis.delete(KEY)
    await redis.execute_command(command[0], KEY, *command[1:])  # type: ignore[no-untyped-call]  # redis-py has no types for it
    for _ in range(2):
        first._redis = BestEffort(redis, PATIENCE)  # noqa: SLF001 - the old client pauses for a second after a refusal
        await first.sync()
    assert await redis.type(KEY) == b"zset"
    assert (await replica(redis, clock, "second")).accepts("first", "mine")


async def test_a_generation_lasts_as_long_as_its_last_session_and_entries_expire(redis: Redis) -> None:
    clock = Clock()
    first = await replica(redis, clock, "first")
    await first.revoke_session("mine", NOW + 60)
    second = await replica(redis, clock, "second")
    for now, accepted in ((NOW + SESSION_SECONDS, True), (NOW + SESSION_SECONDS + 2, False)):
        clock.now = now
        await second.sync()
        assert second.accepts("first", "another's") is accepted
    clock.now = NOW + SESSION_SECONDS + RETENTION_SECONDS + 2
    await second.sync()
    assert await redis.zrange(KEY, 0, -1) == [b"generation:second"]


async def test_each_replica_uses_its_own_sign_outs_without_redis(redis: Redis) -> None:
    clock = Clock()
    first = await replica(redis, clock, "first")
    away = Revocations(
        BestEffort(open_redis("redis://127.0.0.1:9", name="test")), SESSION_SECONDS, generation="away", clock=clock
    )
    await away.sync()
    await away.revoke_session("mine", NOW + 60)
    assert (away.accepts("away", "mine"), away.accepts("away", "x"), away.accepts("first", "x")) == (False, True, False)
    away._redis = BestEffort(redis, PATIENCE)  # noqa: SLF001 - Redis is back
    await away.sync()
    await first.sync()
    assert (first.accepts("away", "mine"), first.accepts("away", "x"), away.accepts("first", "x")) == (
        False,
        True,
        True,
    )
