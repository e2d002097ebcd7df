"""Two processes that follow the gremlins in a real Redis, without HTTP: every hit is reported exactly once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from services.common.background import background_tasks
from services.common.redis import Redis, open_redis
from services.inventory import chaos_store, gremlins
from services.inventory.chaos_leases import MAX_HITS, MAX_HITS_PER_REPORT, Lease, LeaseFollower
from services.inventory.gremlins import Activation, ActivationRequest, Gremlin, Hit, build_activation

ORDERS = [uuid5(UUID(int=0), str(number)) for number in range(MAX_HITS + 1)]
ALL: dict[str, Any] = {"latency": True, "latency_rate": 0.3, "crash_rate": 0.3, "partial_failure_rate": 0.3}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = open_redis(redis_url, name="test", socket_timeout=5)
    yield client
    await client.aclose()


@pytest.fixture
def replicas(redis: Redis) -> list[LeaseFollower]:
    return [LeaseFollower(redis, f"inventory-{number}", f"process-{number}") for number in (1, 2)]


async def begin(redis: Redis, *replicas: LeaseFollower, **wish: Any) -> Activation:
    """Start an activation that the replicas follow."""
    wanted = msgspec.convert(wish, ActivationRequest)
    activation = build_activation(wanted, "a1", 7, datetime.now(UTC))
    await chaos_store.set_live(redis, activation, wanted.script)
    for leases in replicas:
        await leases.sync()
    return activation


def lease_of(leases: LeaseFollower) -> Lease:
    lease = leases.live()
    assert lease is not None
    return lease


def roll(leases: LeaseFollower, orders: list[UUID], attempt: int = 1) -> list[Hit]:
    """Offer each order to each gremlin, and return the hits."""
    lease = lease_of(leases)
    return [
        Hit(gremlin, order, attempt)
        for order in orders
        for gremlin in gremlins.GREMLINS
        if lease.should_inject(gremlin, order, attempt)
    ]


async def listed(redis: Redis, activation: Activation) -> tuple[list[Hit], bool]:
    found = await chaos_store.read_hits(redis, activation.id)
    assert found is not None
    return found.hits, found.complete


def in_order(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (str(hit.order_id), hit.attempt, hit.gremlin))


async def test_two_replicas_report_exactly_the_hits_of_the_seed(redis: Redis, replicas: list[LeaseFollower]) -> None:
    activation = await begin(redis, *replicas, **ALL)
    roll(replicas[0], ORDERS[:50])
    roll(replicas[1], ORDERS[50:100], attempt=2)
    for leases in replicas:
        await leases.sync()
    asked: list[tuple[Gremlin, UUID, int]] = [
        (gremlin, order, 1 if number < 50 else 2)
        for number, order in enumerate(ORDERS[:100])
        for gremlin in gremlins.GREMLINS
    ]
    foretold = [Hit(*attempt) for attempt in asked if gremlins.is_hit(activation, *attempt)]
    assert await listed(redis, activation) == (in_order(foretold), True)
    assert 60 < len(foretold) < 120


async def test_only_new_hits_are_reported(redis: Redis, replicas: list[LeaseFollower]) -> None:
    first, _ = replicas
    activation = await begin(redis, first, **ALL)
    roll(first, ORDERS[:50])
    await first.sync()
    await redis.delete(f"chaos:hits:{activation.id}")
    new = roll(first, ORDERS[50:100])
    await first.sync()
    assert await listed(redis, activation) == (in_order(new), False)  # the process still counts the deleted ones


async def test_reporting_the_same_hits_twice_changes_nothing(redis: Redis, replicas: list[LeaseFollower]) -> None:
    first, _ = replicas
    activation = await begin(redis, first, **ALL)
    hit = roll(first, ORDERS[:50])
    first_report = lease_of(first).report(MAX_HITS_PER_REPORT)
    for _ in range(2):
        await chaos_store.write_report(redis, "inventory-1", "process-1", activation.id, [first_report])
    await first.sync()
    assert await listed(redis, activation) == (in_order(hit), True)


async def test_after_a_flush_every_replica_reports_its_hits_again_without_duplicates(
    redis: Redis, replicas: list[LeaseFollower]
) -> None:
    activation = await begin(redis, *replicas, **ALL)
    hit = roll(replicas[0], ORDERS[:50]) + roll(replicas[1], ORDERS[50:100])
    for _ in range(2):
        await redis.flushall()
        for leases in replicas:
            await leases.sync()
        assert await listed(redis, activation) == (in_order(hit), True)


async def test_a_flush_during_a_sync_is_repaired_by_the_next_sync(
    redis: Redis, replicas: list[LeaseFollower], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = replicas
    activation = await begin(redis, first, **ALL)
    hit = roll(first, ORDERS[:50])
    await first.sync()
    hit += roll(first, ORDERS[50:100])
    look = chaos_store.sync_replica

    async def look_and_flush(*args: Any) -> chaos_store.LiveState:
        seen = await look(*args)
        await redis.flushall()
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(chaos_store, "sync_replica", look_and_flush)
        await first.sync()
    assert not (await listed(redis, activation))[1]
    await first.sync()
    assert await listed(redis, activation) == (in_order(hit), True)


async def test_an_attempt_hit_on_both_replicas_is_listed_once(redis: Redis, replicas: list[LeaseFollower]) -> None:
    activation = await begin(redis, *replicas, **ALL)
    hit = [roll(leases, ORDERS[:50]) for leases in replicas for _ in range(2)]
    for leases in replicas:
        await leases.sync()
    assert hit == [hit[0]] * 4
    assert await listed(redis, activation) == (in_order(hit[0]), True)


async def test_the_hit_list_is_incomplete_beyond_its_bound_and_until_all_hits_are_reported(
    redis: Redis, replicas: list[LeaseFollower]
) -> None:
    first, _ = replicas
    activation = await begin(redis, first, crash_rate=1.0)
    hit = roll(first, ORDERS[:MAX_HITS])
    steps = []
    for _ in range(MAX_HITS // MAX_HITS_PER_REPORT):
        await first.sync()
        hits, complete = await listed(redis, activation)
        steps.append((len(hits), complete))
    assert steps == [(2000, False), (4000, False), (6000, False), (8000, False), (10_000, True)]
    assert roll(first, ORDERS[MAX_HITS:]) != []
    await first.sync()
    assert await listed(redis, activation) == (in_order(hit), False)


async def test_a_stopping_process_reports_all_its_hits_first(redis: Redis, replicas: list[LeaseFollower]) -> None:
    first, _ = replicas
    activation = await begin(redis, first, crash_rate=1.0)
    async with background_tasks(first.run()):
        await asyncio.sleep(0)  # starts its first step
        await first.sync()  # and completes it
        hit = roll(first, ORDERS[: MAX_HITS_PER_REPORT * 2 + 1])  # no other step runs before the end
    assert await listed(redis, activation) == (in_order(hit), True)


async def test_counts_hits_and_the_script_expire(redis: Redis, replicas: list[LeaseFollower]) -> None:
    first, _ = replicas
    activation = await begin(redis, first, crash_rate=1.0, script=[Hit("crash", ORDERS[0], 1)], ttl_seconds=20)
    roll(first, ORDERS[:2])
    await first.sync()
    for kept in ("counts", "hits"):
        ttl = await redis.ttl(f"chaos:{kept}:{activation.id}")
        assert chaos_store.RETENTION_SECONDS - 10 < ttl <= chaos_store.RETENTION_SECONDS
    assert 10 < await redis.ttl(f"chaos:script:{activation.id}") <= 20


async def test_every_follower_of_an_activation_has_its_script(redis: Redis, replicas: list[LeaseFollower]) -> None:
    script = [Hit("crash", ORDERS[1], 1), Hit("latency", ORDERS[2], 1), Hit("partial_failure", ORDERS[3], 1)]
    activation = await begin(redis, *replicas, **ALL | {"script": script})
    assert activation.script_length == 3
    for leases in replicas:
        assert roll(leases, ORDERS[:50]) == script
        assert roll(leases, ORDERS[:50], attempt=2) == []


async def test_a_script_lost_by_redis_hits_nothing_and_logs_a_warning(
    redis: Redis, replicas: list[LeaseFollower]
) -> None:
    activation = await begin(redis, **ALL | {"script": [Hit("crash", ORDERS[1], 1)]})
    for lost in (None, b"no script"):
        await redis.delete(key := f"chaos:script:{activation.id}")
        if lost:
            await redis.set(key, lost)
        leases = replicas.pop()
        with capture_logs() as logs:
            await leases.sync()
        assert [each["log_level"] for each in logs if "script lost" in each["event"]] == ["warning"]
        assert roll(leases, ORDERS[:50]) == []
        assert lease_of(leases).counts.crash.rolls == 50
    assert set((await chaos_store.followers(redis)).values()) == {activation.id}


async def test_an_activation_with_an_unreadable_script_is_not_followed_nor_is_the_previous_one(
    redis: Redis, replicas: list[LeaseFollower]
) -> None:
    first, _ = replicas
    await begin(redis, first, crash_rate=1.0)
    wanted = ActivationRequest(crash_rate=1.0, script=[Hit("crash", ORDERS[1], 1)])
    await chaos_store.set_live(redis, build_activation(wanted, "a2", 7, datetime.now(UTC)), wanted.script)
    await redis.rename("chaos:script:a2", "aside")
    await redis.rpush("chaos:script:a2", "a list, which GET refuses to read")
    with pytest.raises(ResponseError):
        await first.sync()
    assert first.live() is None
    await redis.rename("aside", "chaos:script:a2")
    await first.sync()
    assert roll(first, ORDERS[:3]) == wanted.script


async def test_an_activation_without_followers_has_no_hit_list(redis: Redis) -> None:
    assert await chaos_store.read_hits(redis, "a1") is None
