"""The rate limit per client: counted across replicas, and open while Redis is unavailable."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from services.common.rate_limit import RateLimit
from services.common.redis import TIMEOUT as REDIS_LIMIT
from services.common.redis import BestEffort, Redis, closing, open_redis
from tests.machine_load import slowdown
from tests.unit.common.bare_service import build
from tests.unit.common.environment import TOKENS
from tests.unit.common.test_addresses import NONE, SPELLINGS

TIMEOUT = 10
PATIENCE = 10.0  # seconds
NOON = 1_793_534_400.0  # the first second of a minute


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Client with timeouts for a busy machine."""
    opened = open_redis(redis_url, name="test", socket_timeout=PATIENCE, connect_timeout=PATIENCE)
    async with closing(opened):
        yield opened


@pytest.fixture
async def hasty(redis_url: str) -> AsyncIterator[Redis]:
    """Client with the timeouts of the request path."""
    opened = open_redis(redis_url, name="test")
    async with closing(opened):
        yield opened


def replica(
    redis: Redis,
    *,
    per_minute: int = TIMEOUT,
    hops: int = 0,
    peer: str = "10.0.0.1",
    at: float = NOON,
    patience: float = PATIENCE,
) -> httpx.AsyncClient:
    """Return a client with the address `peer` of a new replica whose clock shows `at`."""
    limit = RateLimit(BestEffort(redis, patience), per_minute, hops, clock=lambda: at)
    transport = httpx.ASGITransport(app=build({"rate_limit": limit}), client=(peer, 50_000))  # type: ignore[arg-type]  # two types of the same protocol
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def statuses(client: httpx.AsyncClient, times: int, **headers: str) -> Counter[int]:
    answers = await asyncio.gather(*(client.get("/public", headers=headers) for _ in range(times)))
    return Counter(answer.status_code for answer in answers)


async def test_replicas_share_one_exact_count(redis: Redis) -> None:
    async with replica(redis) as one, replica(redis) as two:
        first, second = await asyncio.gather(statuses(one, 15), statuses(two, 15))
    assert first + second == {200: TIMEOUT, 429: 20}


async def test_each_client_has_its_own_limit(redis: Redis) -> None:
    async with replica(redis, peer="10.0.0.1") as one, replica(redis, peer="10.0.0.2") as two:
        assert await statuses(one, 12) == {200: 10, 429: 2}
        assert await statuses(two, 12) == {200: 10, 429: 2}


async def test_a_refused_request_gets_a_retry_after(redis: Redis) -> None:
    async with replica(redis, per_minute=1, at=NOON + 41.7) as client:
        await client.get("/public")
        refused = await client.get("/public")
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:valerix:problem:rate-limited")
    assert refused.headers["retry-after"] == "19"


async def test_the_limit_starts_again_each_minute(redis: Redis) -> None:
    async with replica(redis, at=NOON + 59.9) as before, replica(redis, at=NOON + 60) as after:
        assert await statuses(before, 12) == {200: 10, 429: 2}
        assert await statuses(after, 12) == {200: 10, 429: 2}


async def test_a_valid_token_is_exempt_and_a_wrong_one_is_refused(redis: Redis) -> None:
    async with replica(redis, per_minute=1) as client:
        assert await statuses(client, 2) == {200: 1, 429: 1}
        for token in TOKENS:
            assert await statuses(client, 3, Authorization=f"Bearer {token}") == {200: 3}
        assert await statuses(client, 3, Authorization="Bearer wrong-0123456789") == {401: 3}


async def test_a_limit_of_zero_disables_rate_limiting(redis: Redis) -> None:
    async with replica(redis, per_minute=0) as client:
        assert await statuses(client, 30) == {200: 30}
    assert await redis.keys("rate:*") == []


async def test_a_count_expires_shortly_after_its_minute(redis: Redis) -> None:
    async with replica(redis) as client:
        await client.get("/public")
    (key,) = await redis.keys("rate:*")
    assert 60 < await redis.ttl(key) <= 120


async def test_behind_a_trusted_proxy_the_address_it_appended_identifies_the_client(redis: Redis) -> None:
    async with replica(redis, hops=1, per_minute=2) as client:
        assert await statuses(client, 3, **{"X-Forwarded-For": "1.1.1.1"}) == {200: 2, 429: 1}
        assert await statuses(client, 3, **{"X-Forwarded-For": "6.6.6.6, 2.2.2.2"}) == {200: 2, 429: 1}
        assert await statuses(client, 1, **{"X-Forwarded-For": "7.7.7.7, 2.2.2.2"}) == {429: 1}


@pytest.mark.parametrize("network", SPELLINGS)
async def test_every_spelling_of_an_address_shares_one_limit(redis: Redis, network: str) -> None:
    async with replica(redis, hops=1, per_minute=3) as client:
        sent = [await statuses(client, 1, **{"X-Forwarded-For": address}) for address in SPELLINGS[network]]
    assert sent == [{200: 1}] * 3 + [{429: 1}] * (len(sent) - 3)
    assert await redis.keys("rate:*") == [f"rate:{network}:{int(NOON) // 60}".encode()]


async def test_an_invalid_address_counts_for_the_peer(redis: Redis) -> None:
    """The peer's address counts then."""
    async with replica(redis, hops=1, per_minute=2) as client:
        named = [name for name in NONE if name.isascii() and "\n" not in name and "," not in name]
        assert {frozenset(await statuses(client, 1, **{"X-Forwarded-For": name})) for name in named[:2]} == {
            frozenset([200])
        }
        for name in named[2:]:
            assert await statuses(client, 1, **{"X-Forwarded-For": name}) == {429: 1}, name[:64]


async def test_addresses_of_one_network_share_a_limit_without_a_proxy_too(redis: Redis) -> None:
    counted: Counter[int] = Counter()
    for host in range(1, 6):
        async with replica(redis, per_minute=3, peer=f"2001:db8:7:7:{host}::{host}") as client:
            counted += await statuses(client, 1)
    assert counted == {200: 3, 429: 2}


async def test_a_forwarded_address_is_ignored_without_a_trusted_proxy(redis: Redis) -> None:
    async with replica(redis, per_minute=2) as client:
        answers = [await client.get("/public", headers={"X-Forwarded-For": f"1.1.1.{n}"}) for n in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


@pytest.mark.timed
async def test_every_request_is_allowed_at_once_without_redis() -> None:
    nowhere = open_redis("redis://127.0.0.1:1", name="test")
    async with (
        closing(nowhere),
        replica(nowhere, per_minute=1, patience=REDIS_LIMIT) as client,
        asyncio.timeout(2 * slowdown()),
    ):
        assert await statuses(client, 50) == {200: 50}


@pytest.mark.timed
async def test_every_request_is_allowed_within_the_timeout_of_an_unresponsive_redis(hasty: Redis) -> None:
    async with replica(hasty, per_minute=1, patience=REDIS_LIMIT) as client:
        slower = slowdown()
        await hasty.client_pause(round(600 * slower))
        async with asyncio.timeout(0.9 * slower):
            assert await statuses(client, 50) == {200: 50}
            assert await statuses(client, 50) == {200: 50}


@pytest.mark.timed
async def test_every_request_of_a_concurrent_burst_is_counted(hasty: Redis) -> None:
    """Each request needs a connection to Redis; there are fewer connections than requests."""
    async with replica(hasty, patience=REDIS_LIMIT) as client:
        assert await statuses(client, 400) == {200: TIMEOUT, 429: 400 - TIMEOUT}
