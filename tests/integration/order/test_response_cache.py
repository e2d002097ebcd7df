"""Responses cached in Redis: correct or missing, whatever Redis does."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.common.redis import COOLDOWN, TIMEOUT, BestEffort, Redis, closing, open_redis
from services.order.domain import fingerprint
from services.order.origin import TRUST_SECONDS, Origin
from services.order.response_cache import TTL_SECONDS, ResponseCache
from tests.integration.order.rows import chance, keys
from tests.machine_load import slowdown
from tests.unit.order.samples import order

PS5 = fingerprint("ps5", 1)


@pytest.fixture
def answers(redis: BestEffort) -> ResponseCache:
    return ResponseCache(redis)


@pytest.fixture
def hasty_answers(hasty: BestEffort) -> ResponseCache:
    return ResponseCache(hasty)


@pytest.fixture
async def nowhere() -> AsyncIterator[BestEffort]:
    """A Redis that is unreachable."""
    opened = open_redis("redis://127.0.0.1:1", name="test")
    async with closing(opened):
        yield BestEffort(opened)


async def pause(client: Redis, seconds: float) -> None:
    """Make Redis accept commands without replying for that many seconds."""
    await client.client_pause(int(seconds * 1000))


async def test_a_cached_order_is_returned_complete(answers: ResponseCache) -> None:
    for kept in (order("confirmed"), order("failed", "insufficient-stock", key="key-2")):
        await answers.put(kept)
        assert await answers.get(kept.idempotency_key, PS5) == kept


async def test_a_cached_order_expires_after_a_day(answers: ResponseCache, client: Redis) -> None:
    await answers.put(order())
    assert TTL_SECONDS - 5 <= await client.ttl("idempotency:key-1") <= TTL_SECONDS == 86_400


async def test_a_key_with_another_body_is_a_cache_miss(answers: ResponseCache) -> None:
    await answers.put(order())
    assert await answers.get("key-1", fingerprint("ps5", 2)) is None
    assert await answers.get("key-2", PS5) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"not json",
        b"null",
        b"{}",
        b'{"fingerprint":"AA==","order":{}}',
        b'{"fingerprint":"\xff\xfe","order":null}',
        b"\x00\x01\x02",
        b"[" * 10_000,
    ],
)
async def test_an_invalid_cached_value_is_a_miss(answers: ResponseCache, client: Redis, value: bytes) -> None:
    await client.set("idempotency:key-1", value)
    assert await answers.get("key-1", PS5) is None


async def test_a_value_of_another_redis_type_is_a_miss(answers: ResponseCache, client: Redis) -> None:
    await client.lpush("idempotency:key-1", "x")
    assert await answers.get("key-1", PS5) is None


async def test_the_cached_response_of_another_order_is_a_miss(answers: ResponseCache, client: Redis) -> None:
    """The bodies may be equal; the orders differ."""
    await answers.put(order(key="key-2"))
    await client.rename("idempotency:key-2", "idempotency:key-1")
    assert await answers.get("key-1", PS5) is None


@pytest.mark.parametrize("status", ["pending", "queued", "dead"])
async def test_a_cached_order_that_is_not_final_is_a_miss(answers: ResponseCache, client: Redis, status: str) -> None:
    await answers.put(order())
    kept = msgspec.json.decode(await client.get("idempotency:key-1") or b"")
    kept["order"]["status"] = status
    await client.set("idempotency:key-1", msgspec.json.encode(kept))
    assert await answers.get("key-1", PS5) is None


async def test_every_key_is_a_miss_after_a_flush(answers: ResponseCache, client: Redis) -> None:
    await answers.put(order())
    await client.flushall()
    assert await answers.get("key-1", PS5) is None


async def test_concurrent_reads_each_return_their_own_order(answers: ResponseCache) -> None:
    kept = [order(key=name) for name in keys(300)]
    await asyncio.gather(*(answers.put(each) for each in kept))
    assert await asyncio.gather(*(answers.get(each.idempotency_key, PS5) for each in kept)) == kept


async def test_the_cache_is_unused_until_the_database_is_identified(redis: BestEffort, client: Redis) -> None:
    now = 100.0
    origin = Origin(lambda: now)
    answers = ResponseCache(redis, origin)
    await answers.put(order())
    assert await client.exists("idempotency:key-1") == 0
    origin.learn("one", "s" * 64)
    await answers.put(order())
    assert await answers.get("key-1", PS5) == order()
    now += TRUST_SECONDS
    assert await answers.get("key-1", PS5) is None, "nobody has asked the database for so long"
    origin.learn("one", "s" * 64)
    assert await answers.get("key-1", PS5) == order()
    origin.forget()
    assert await answers.get("key-1", PS5) is None


@pytest.mark.parametrize(("identity", "secret"), [("two", "s" * 64), ("one", "t" * 64)])
async def test_a_response_of_another_database_or_secret_is_a_miss(
    redis: BestEffort, identity: str, secret: str
) -> None:
    one, two = Origin(), Origin()
    one.learn("one", "s" * 64)
    two.learn(identity, secret)
    await ResponseCache(redis, one).put(order())
    assert await ResponseCache(redis, one).get("key-1", PS5) == order()
    assert await ResponseCache(redis, two).get("key-1", PS5) is None


async def test_every_bit_of_a_cached_response_is_signed(answers: ResponseCache, client: Redis) -> None:
    await answers.put(order())
    raw = bytes(await client.get("idempotency:key-1") or b"")  # type: ignore[arg-type]  # this client decodes nothing
    for place in range(len(raw)):
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        await client.set("idempotency:key-1", changed)
        assert await answers.get("key-1", PS5) in {None, order()}
    assert len(raw) > 200


@pytest.mark.timed
async def test_an_unreachable_redis_is_a_miss_at_once(nowhere: BestEffort) -> None:
    answers = ResponseCache(nowhere)
    began = time.monotonic()
    for name in keys(100):
        assert await answers.get(name, PS5) is None
        await answers.put(order(key=name))
    assert time.monotonic() - began < 200 * TIMEOUT / 10 * slowdown(), "a tenth of what it would take to wait each time"


@pytest.mark.timed
async def test_an_unresponsive_redis_costs_one_timeout_and_then_nothing_during_the_cooldown(
    hasty_answers: ResponseCache, client: Redis
) -> None:
    await hasty_answers.put(order())
    await pause(client, 0.8)
    began = time.monotonic()
    found = await asyncio.gather(*(hasty_answers.get("key-1", PS5) for _ in range(50)))
    assert found == [None] * 50
    assert time.monotonic() - began > TIMEOUT - 0.1
    began = time.monotonic()
    for _ in range(50):
        assert await hasty_answers.get("key-1", PS5) is None
    assert time.monotonic() - began < 50 * TIMEOUT / 10 * slowdown(), "a tenth of what it would take to wait each time"


async def test_redis_is_used_again_when_it_is_back(
    hasty_answers: ResponseCache, client: Redis, hasty: BestEffort
) -> None:
    await hasty_answers.put(order())
    await pause(client, 0.5)
    assert await hasty_answers.get("key-1", PS5) is None
    async with asyncio.timeout((COOLDOWN + 2) * slowdown()):
        while await hasty_answers.get("key-1", PS5) is None:  # noqa: ASYNC110 - the condition is in another process
            await asyncio.sleep(0)
    assert await hasty(lambda client: client.ping(), fallback=False)


async def test_a_late_redis_reply_is_not_taken_for_another(client: Redis) -> None:
    """Callers give up in the middle of a command; their connection must not serve another caller."""
    dice = chance(5)
    names = keys(50)
    await client.mset({name: name for name in names})

    async def ask(name: str) -> bytes | str | None:
        nothing: list[bytes | str | None] = [None]
        (value,) = await BestEffort(client)(lambda redis: redis.mget([name]), nothing)
        return value

    found = 0
    for lap in range(40):
        if lap % 10 == 9:
            await pause(client, 0.4)  # longer than the limit, so that some time out
        asked = {name: asyncio.create_task(ask(name)) for name in dice.sample(names, 20)}
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        for name in dice.sample(list(asked), 8):
            asked[name].cancel()
        results = await asyncio.gather(*asked.values(), return_exceptions=True)
        answered = {name: result for name, result in zip(asked, results, strict=True) if isinstance(result, bytes)}
        assert all(value == name.encode() for name, value in answered.items())
        found += len(answered)
    assert found > 200
